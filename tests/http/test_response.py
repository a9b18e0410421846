"""Responses: what goes to the server, and nothing of what is the server's own."""

import asyncio
import json

import pytest

from duck.http.response import (
    ErrorResponse,
    FileResponse,
    HttpRedirectResponse,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
    TemplateResponse,
)
from duck.testing import FakeStream, record_exchange
from duck.utils.xsocket import xsocket
from tests.http.lane import request, run, until


async def sent(response, method=b"GET", stream=None):
    exchange, stream = record_exchange(method, stream=stream)
    await response.write_to(xsocket(exchange))
    await response.aclose()
    return stream


def test_text_is_utf8_and_html_unless_said_otherwise():
    async def work():
        stream = await sent(HttpResponse("Küken"))
        assert (stream.status, bytes(stream.body)) == (200, "Küken".encode())
        assert stream.field("Content-Type") == "text/html; charset=utf-8"
        assert stream.head.content_length == 6

    run(work)


def test_what_belongs_to_the_connection_is_the_servers():
    async def work():
        names = {
            "Connection": "close",
            "Transfer-Encoding": "chunked",
            "Content-Length": "7",
            "Upgrade": "x",
            "X-A": "1",
        }
        stream = await sent(HttpResponse(b"ab", headers=names))
        assert [name for name, _ in stream.head.fields] == [b"X-A", b"Content-Type"]
        assert stream.head.content_length == 2

    run(work)


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_content_has_none(status):
    async def work():
        stream = await sent(HttpResponse(b"dropped", status))
        assert (bytes(stream.body), stream.head.content_length, stream.field("Content-Type")) == (b"", None, None)

    run(work)


def test_headers_are_reached_through_the_response():
    response = HttpResponse()
    response["X-A"] = "1"
    assert response["x-a"] == "1"
    assert "X-A" in response
    del response["X-A"]
    assert "X-A" not in response


def test_cookies_are_lines_of_their_own():
    response = HttpResponse()
    response.set_cookie("a", "1", secure=True)
    response.delete_cookie("__Host-b")
    lines = response.headers.getlist("Set-Cookie")
    assert lines[0].startswith("a=1;")
    assert "Secure" in lines[0]
    assert lines[1].startswith('__Host-b="";')
    assert "Max-Age=0" in lines[1]
    assert "Secure" in lines[1]


def test_json():
    response = JsonResponse({"ente": ["Küken", 1]}, 201)
    assert json.loads(response.content) == {"ente": ["Küken", 1]}
    assert (response.status_code, response["Content-Type"]) == (201, "application/json")


@pytest.mark.parametrize(
    ("made", "status", "location"),
    [
        (HttpRedirectResponse("/a"), 302, "/a"),
        (HttpRedirectResponse("/a", permanent=True), 301, "/a"),
        (HttpRedirectResponse("/a", status_code=308), 308, "/a"),
        (HttpRedirectResponse("/é?q=%20&x=y#z"), 302, "/%C3%A9?q=%20&x=y#z"),
        (HttpRedirectResponse("/a\r\nSet-Cookie: x"), 302, "/a%0D%0ASet-Cookie:%20x"),
    ],
)
def test_redirects(made, status, location):
    assert (made.status_code, made["Location"]) == (status, location)


def test_an_error_has_the_form_its_client_asks_for():
    response = ErrorResponse(404, "no <ducks>", request=request(b"/", (b"Accept", b"text/html")))
    assert b"no &lt;ducks&gt;" in response.content
    assert response["Cache-Control"] == "no-store"


def test_a_template_is_rendered_once_and_escaped(tmp_path):
    (tmp_path / "page.html").write_text("{{ name }} at {{ request.path }}{% if n %} {{ n }}{% endif %}")
    made = request(b"/here")
    made.settings = {"TEMPLATE_DIRS": [tmp_path]}
    response = TemplateResponse(made, "page.html", {"name": "<b>", "n": 3})
    assert response.content == b""
    response.render()
    response.render()
    assert response.content == b"&lt;b&gt; at /here 3"


async def letters():
    for letter in "abc":
        yield letter


@pytest.mark.parametrize("make", [lambda: ["a", b"b", "c"], lambda: (x for x in "abc"), letters])
def test_a_stream_of_any_kind_is_sent_chunk_by_chunk(make):
    async def work():
        stream = await sent(StreamingHttpResponse(make()))
        assert (bytes(stream.body), stream.chunks, stream.head.content_length) == (b"abc", [1, 1, 1], None)

    run(work)


def test_a_stream_whose_length_is_known_says_so():
    async def work():
        stream = await sent(StreamingHttpResponse([b"ab"], headers={"Content-Length": "2"}))
        assert stream.head.content_length == 2

    run(work)


def test_a_stream_is_closed_when_its_client_leaves_and_never_runs_ahead_of_it():
    made, closed = [], []

    def endless():
        try:
            while True:
                made.append(1)
                yield b"x" * 10
        finally:
            closed.append(True)

    async def work():
        exchange, stream = record_exchange(stream=FakeStream(high_water=25))
        carrier = xsocket(exchange)
        response = StreamingHttpResponse(endless())
        sending = asyncio.ensure_future(response.write_to(carrier))
        carrier.on_lost = sending.cancel
        await until(lambda: exchange.paused)
        await asyncio.sleep(0.01)
        assert len(made) == 3
        stream.leave()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert closed == [True]

    run(work)


def test_nothing_of_a_stream_is_made_for_head():
    async def work():
        def never():
            raise AssertionError("the body was made")
            yield

        stream = await sent(StreamingHttpResponse(never()), method=b"HEAD")
        assert stream.ended
        assert not stream.body

    run(work)


def test_a_file_is_sent_with_its_type_and_name(tmp_path):
    path = tmp_path / "grün.png"
    path.write_bytes(b"pixels")

    async def work():
        stream = await sent(FileResponse(path, as_attachment=True))
        assert bytes(stream.body) == b"pixels"
        assert stream.field("Content-Type") == "image/png"
        assert (
            stream.field("Content-Disposition") == "attachment; filename=\"gr?n.png\"; filename*=UTF-8''gr%C3%BCn.png"
        )
        assert (await sent(FileResponse(path), method=b"HEAD")).head.content_length == 6

    run(work)


def test_what_is_compressed_is_not_sent_as_what_it_unpacks_to(tmp_path):
    path = tmp_path / "page.html.gz"
    path.write_bytes(b"")
    response = FileResponse(path)
    assert response["Content-Type"] == "application/octet-stream"
    asyncio.run(response.aclose())

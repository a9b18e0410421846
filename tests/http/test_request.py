"""HttpRequest: the target, the client, the body."""

import asyncio

import pytest

from duck.exceptions import ClientGone, DuckError, LimitExceeded
from duck.http.request import HttpRequest
from duck.http.request_data import RequestData
from duck.testing import record_exchange
from duck.utils.xsocket import xsocket
from tests.http.lane import give, request, run, until


def over_socket(*fields, length=None, limit=1 << 20):
    exchange, stream = record_exchange(b"POST", b"/", list(fields), content_length=length)
    carrier = xsocket(exchange)
    made = HttpRequest(RequestData(exchange.request, exchange.peer, limit), carrier)
    made.bind(asyncio.get_running_loop())
    return made, exchange, stream


def test_the_target_is_there_decoded_and_as_received():
    made = request(b"/caf%C3%A9/%2e%2e?a=1&a=%20", (b"Accept", b"x"))
    assert (made.method, made.path, made.raw_path) == ("GET", "/café/..", b"/caf%C3%A9/%2e%2e")
    assert (made.query_string, made.full_path) == ("a=1&a=%20", "/caf%C3%A9/%2e%2e?a=1&a=%20")
    assert made.GET.getlist("a") == ["1", " "]
    assert made.QUERY is made.GET
    assert made.headers["accept"] == "x"


def test_host_and_scheme_make_absolute_urls():
    made = request(b"/a/b?q=%20", scheme=b"https")
    assert made.is_secure()
    assert made.get_host() == "example.org"
    assert made.build_absolute_uri() == "https://example.org/a/b?q=%20"
    assert made.build_absolute_uri("../c") == "https://example.org/c"
    assert made.build_absolute_uri("https://duck.example/") == "https://duck.example/"


def test_an_absolute_url_holds_nothing_that_html_could_take_for_markup():
    assert "<" not in request(b"/<script>?<b>").build_absolute_uri()


def test_without_a_host_the_listener_is_named():
    made = request()
    made.request_data.head.authority = b""
    assert made.host == "127.0.0.1:8000"
    made.request_data.peer.server_port = 80
    assert made.host == "127.0.0.1"
    made.request_data.peer.server_host = "::1"
    assert made.host == "[::1]"


def test_cookies_of_all_lines_are_there():
    assert request(b"/", (b"Cookie", b"a=1"), (b"Cookie", b"b=2")).COOKIES == {"a": "1", "b": "2"}


def test_meta_is_what_cgi_says_and_no_name_can_pose_as_another():
    meta = request(b"/p?q", (b"X-User", b"real"), (b"X_User", b"forged"), (b"Content-Type", b"t/x")).META
    assert (meta["REQUEST_METHOD"], meta["PATH_INFO"], meta["QUERY_STRING"]) == ("GET", "/p", "q")
    assert (meta["REMOTE_ADDR"], meta["SERVER_PORT"]) == ("127.0.0.1", "8000")
    assert (meta["HTTP_X_USER"], meta["CONTENT_TYPE"]) == ("real", "t/x")
    assert "HTTP_CONTENT_TYPE" not in meta


def test_a_body_is_read_once_and_kept():
    async def work():
        made, exchange, _ = over_socket()
        reading = asyncio.ensure_future(made.read())
        await asyncio.sleep(0)
        give(exchange, b"a", b"b")
        assert await reading == b"ab"
        assert await made.read() == b"ab"
        assert made.body == b"ab"
        assert [chunk async for chunk in made.stream()] == [b"ab"]
        made.close()

    run(work)


def test_a_large_body_is_spooled_and_comes_back_whole():
    async def work():
        made, exchange, stream = over_socket(limit=1 << 30)
        reading = asyncio.ensure_future(made.read())
        await asyncio.sleep(0)
        for _ in range(40):
            give(exchange, b"x" * 65_536, end=False)
            await asyncio.sleep(0)
        exchange.body_ended(None)
        assert await reading == b"x" * 65_536 * 40
        assert not stream.body_paused
        made.close()

    run(work)


@pytest.mark.parametrize("length", [11, None])
def test_a_body_beyond_the_limit_is_refused_before_or_while_it_comes(length):
    async def work():
        made, exchange, stream = over_socket(length=length, limit=10)
        reading = asyncio.ensure_future(made.read())
        await asyncio.sleep(0)
        assert stream.body_started is (length is None)
        if length is None:
            give(exchange, b"x" * 11, end=False)
        with pytest.raises(LimitExceeded) as refusal:
            await reading
        assert refusal.value.status == 413

    run(work)


def test_a_client_that_leaves_within_its_body_leaves_no_half_of_it():
    async def work():
        made, exchange, stream = over_socket()
        reading = asyncio.ensure_future(made.read())
        await asyncio.sleep(0)
        give(exchange, b"half", end=False)
        stream.leave()
        with pytest.raises(ClientGone):
            await reading

    run(work)


def test_a_body_that_was_streamed_cannot_be_had_again():
    async def work():
        made, exchange, _ = over_socket()
        give_later = asyncio.get_running_loop().call_soon
        give_later(lambda: give(exchange, b"x"))
        assert [chunk async for chunk in made.stream()] == [b"x"]
        assert made.body_is_gone
        with pytest.raises(DuckError, match="streamed"):
            await made.read()

    run(work)


def test_an_async_view_that_forgets_to_await_is_told_what_to_write():
    async def work():
        made, _, _ = over_socket()
        with pytest.raises(DuckError, match=r"await request\.read\(\)"):
            made.body  # noqa: B018
        with pytest.raises(DuckError, match=r"await request\.form\(\)"):
            made.POST  # noqa: B018

    run(work)


def test_a_thread_waits_for_body_and_form_by_itself():
    async def work():
        made, exchange, _ = over_socket((b"Content-Type", b"application/x-www-form-urlencoded"))
        working = asyncio.ensure_future(asyncio.to_thread(lambda: (made.POST["a"], len(made.FILES), made.body)))
        await until(lambda: exchange.body_sink is not None)
        give(exchange, b"a=1")
        assert await working == ("1", 0, b"a=1")
        made.close()

    run(work)


def test_json_and_an_awaited_form():
    async def work():
        made, exchange, _ = over_socket((b"Content-Type", b"application/json; charset=utf-8"))
        asyncio.get_running_loop().call_soon(lambda: give(exchange, b'{"a": [1]}'))
        assert await made.json() == {"a": [1]}
        assert made.content_type == "application/json"
        assert not (await made.form())[0]
        made.close()

    run(work)

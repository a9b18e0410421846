"""Error answers of the application lane."""

import json

import pytest

from duck.http.errors import SENTENCES, error_answer, format_traceback
from duck.wire.head import RequestHead

BROWSER = (b"Accept", b"text/html,*/*;q=0.8")


def request(*fields: tuple[bytes, bytes], target: bytes = b"/page?q=1") -> RequestHead:
    return RequestHead(b"GET", target, [(b"Host", b"example.org"), *fields])


@pytest.mark.parametrize("status", sorted(SENTENCES))
@pytest.mark.parametrize("accept", [b"text/html", b"application/json", b"*/*"])
def test_every_known_status_has_a_page_in_every_form(status: int, accept: bytes) -> None:
    head, body = error_answer(status, request=request((b"Accept", accept)))
    assert head.status == status
    assert head.content_length == len(body)
    assert dict(head.fields)[b"Cache-Control"] == b"no-store"
    assert SENTENCES[status].split(";")[0].split("'")[0] in body.decode()


def test_json_is_for_clients_that_ask_for_it() -> None:
    head, body = error_answer(404, detail="No such duck.", request=request((b"Accept", b"application/json")))
    assert dict(head.fields)[b"Content-Type"] == b"application/json"
    assert json.loads(body) == {"status": 404, "title": "Not Found", "detail": "No such duck."}


def test_a_browser_that_also_accepts_json_gets_html() -> None:
    head, _ = error_answer(404, request=request((b"Accept", b"text/html,application/json")))
    assert dict(head.fields)[b"Content-Type"].startswith(b"text/html")


@pytest.mark.parametrize("accept", [b"text/html", b"application/json", b"*/*"])
def test_a_traceback_is_shown_in_debug_only(accept: bytes) -> None:
    asked = request((b"Accept", accept))
    _, private = error_answer(500, request=asked, traceback="Traceback: secret_name")
    _, shown = error_answer(500, request=asked, traceback="Traceback: secret_name", debug=True)
    assert b"secret_name" not in private
    assert b"secret_name" in shown


def test_a_debug_page_escapes_whatever_came_from_the_client() -> None:
    asked = request(BROWSER, (b"X-<b>", b"<img src=x onerror=1>"), target=b"/<script>")
    _, body = error_answer(500, title="<i>", detail="<u>", request=asked, debug=True, traceback="<s>")
    for raw in (b"<script>", b"<img", b"<b>", b"<i>", b"<u>", b"<s>"):
        assert raw not in body


def test_a_debug_page_hides_credentials() -> None:
    asked = request(BROWSER, (b"Cookie", b"sessionid=abc"), (b"Authorization", b"Bearer abc"))
    _, body = error_answer(500, request=asked, debug=True)
    assert b"abc" not in body
    assert b"(hidden)" in body


def test_bytes_that_are_no_text_do_not_break_the_page() -> None:
    asked = request(BROWSER, (b"X-Odd", b"\xff\xfe"))
    _, body = error_answer(500, detail="lone \udc80 surrogate", request=asked, debug=True)
    body.decode("utf-8")


def test_without_a_request_the_answer_is_text() -> None:
    head, body = error_answer(400)
    assert dict(head.fields)[b"Content-Type"].startswith(b"text/plain")
    assert body.startswith(b"400 Bad Request\n")


def test_fields_given_are_part_of_the_head() -> None:
    head, _ = error_answer(405, fields=[(b"Allow", b"GET, HEAD")])
    assert (b"Allow", b"GET, HEAD") in head.fields


def test_a_traceback_names_its_causes() -> None:
    try:
        try:
            raise KeyError("inner")
        except KeyError as cause:
            raise ValueError("outer") from cause
    except ValueError as error:
        text = format_traceback(error)
    assert "KeyError: 'inner'" in text
    assert "ValueError: outer" in text

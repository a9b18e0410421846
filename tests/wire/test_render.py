"""The pages that the proxy can show by itself."""

import pytest

from duck.wire.head import RequestHead
from duck.wire.render import accepts_html, page, plain_error, reason


def test_a_plain_error_is_text_that_says_status_phrase_and_sentence() -> None:
    head, body = plain_error(502, "The application did not answer.", False)
    assert (head.status, body) == (502, b"502 Bad Gateway\nThe application did not answer.\n")
    assert (b"Content-Type", b"text/plain; charset=utf-8") in head.fields
    assert head.content_length == len(body)


def test_an_error_page_escapes_its_sentence() -> None:
    head, body = plain_error(504, 'backend "<script>alert(1)</script>"', True)
    assert b"<script>" not in body
    assert b"&lt;script&gt;" in body
    assert (b"Content-Type", b"text/html; charset=utf-8") in head.fields


@pytest.mark.parametrize("html", [True, False])
def test_an_error_is_never_stored_and_never_sniffed(html: bool) -> None:
    head, _ = plain_error(503, "Starting.", html, fields=[(b"Retry-After", b"1")])
    fields = dict(head.fields)
    assert fields[b"Cache-Control"] == b"no-store"
    assert fields[b"X-Content-Type-Options"] == b"nosniff"
    assert fields[b"Retry-After"] == b"1"


def test_a_page_fetches_nothing_and_follows_the_colour_scheme() -> None:
    text = page("Title & more", "<p>body</p>")
    assert "<title>Title &amp; more</title>" in text
    assert "color-scheme:light dark" in text
    assert "prefers-color-scheme:dark" in text
    for outside in ("http:", "https:", "src=", "url(", "<script", "<link"):
        assert outside not in text


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (b"text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", True),
        (b"Text/HTML", True),
        (b"*/*", False),
        (b"application/json", False),
        (b"", False),
    ],
)
def test_html_is_for_clients_that_ask_for_it_by_name(accept: bytes, html: bool) -> None:
    assert accepts_html(RequestHead(b"GET", b"/", [(b"Accept", accept)])) is html


def test_without_a_parsed_request_the_answer_is_text() -> None:
    assert accepts_html(None) is False


def test_an_unknown_status_has_a_phrase_too() -> None:
    assert reason(599) == "Error"

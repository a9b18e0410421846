"""How an answer is framed for its client: RFC 9112 §6, §9.3; RFC 9110 §6.6.1, §8.6; RFC 9113 §8."""

import hpack
import pytest

from duck.wire.answer import (
    CHUNKED,
    LENGTH,
    NO_BODY,
    UNTIL_CLOSE,
    answer_head,
    field_block,
    informational_head,
    status_line,
    upgrade_head,
)
from duck.wire.head import HTTP_2, HTTP_10, HTTP_11, RequestHead, ResponseHead

DATE = b"Date: now\r\n"
LENGTH_5 = b"Content-Length: 5\r\n"
CLOSE = b"Connection: close\r\n"
KEEP = b"Connection: keep-alive\r\n"
CHUNKS = b"Transfer-Encoding: chunked\r\n"


def answer(
    block: bytes = b"",
    length: int | None = None,
    *,
    status: int = 200,
    method: bytes = b"GET",
    version: int = HTTP_11,
    keep_alive: bool = True,
) -> tuple[bytes, int, bool]:
    """The lines after the status line, without the empty one; the framing; whether the connection is kept."""
    head = ResponseHead(status, block=block, content_length=length, reason=b"R")
    data, framing, kept = answer_head(RequestHead(method, b"/", [], version=version), head, keep_alive, DATE)
    line, _, rest = data.partition(b"\r\n")
    assert line == b"HTTP/1.1 %d R" % status
    assert rest.endswith(b"\r\n")
    return rest[:-2], framing, kept


@pytest.mark.parametrize(
    ("version", "block", "length", "keep_alive", "lines", "framing", "kept"),
    [
        # length known
        (HTTP_11, b"", 5, True, DATE + LENGTH_5, LENGTH, True),
        (HTTP_11, b"", 0, True, DATE + b"Content-Length: 0\r\n", LENGTH, True),
        (HTTP_11, LENGTH_5, 5, True, LENGTH_5 + DATE, LENGTH, True),
        (HTTP_11, b"X: y\r\ncontent-LENGTH:5\r\n", 5, True, b"X: y\r\ncontent-LENGTH:5\r\n" + DATE, LENGTH, True),
        (HTTP_11, b"X-Content-Length: 6\r\n", 5, True, b"X-Content-Length: 6\r\n" + DATE + LENGTH_5, LENGTH, True),
        (HTTP_11, b"", 5, False, DATE + LENGTH_5 + CLOSE, LENGTH, False),
        (HTTP_10, b"", 5, True, DATE + LENGTH_5 + KEEP, LENGTH, True),
        (HTTP_10, b"", 5, False, DATE + LENGTH_5 + CLOSE, LENGTH, False),
        # length not known
        (HTTP_11, b"", None, True, DATE + CHUNKS, CHUNKED, True),
        (HTTP_11, b"", None, False, DATE + CHUNKS + CLOSE, CHUNKED, False),
        (HTTP_10, b"", None, True, DATE + CLOSE, UNTIL_CLOSE, False),
        (HTTP_10, b"", None, False, DATE + CLOSE, UNTIL_CLOSE, False),
        # a length field that nobody vouches for
        (HTTP_11, b"A: b\r\n" + LENGTH_5, None, True, b"A: b\r\n" + DATE + CHUNKS, CHUNKED, True),
        (HTTP_10, b"A: b\r\n" + LENGTH_5, None, True, b"A: b\r\n" + DATE + CLOSE, UNTIL_CLOSE, False),
    ],
)
def test_a_body_is_framed_by_what_is_known_and_what_the_client_speaks(
    version: int, block: bytes, length: int | None, keep_alive: bool, lines: bytes, framing: int, kept: bool
) -> None:
    assert answer(block, length, version=version, keep_alive=keep_alive) == (lines, framing, kept)


@pytest.mark.parametrize(
    ("status", "method", "block", "length", "lines"),
    [
        # RFC 9110 §8.6: HEAD tells what GET would have; 304 may; 204 must not
        (200, b"HEAD", b"", 5, DATE + LENGTH_5),
        (200, b"HEAD", LENGTH_5, 5, LENGTH_5 + DATE),
        (200, b"HEAD", b"", None, DATE),
        (304, b"GET", b"", 5, DATE),
        (304, b"GET", LENGTH_5, 5, LENGTH_5 + DATE),
        (304, b"HEAD", b"", 5, DATE),
        (204, b"GET", b"", 5, DATE),
        (204, b"GET", b"", None, DATE),
        (204, b"GET", b"A: b\r\n" + LENGTH_5 + b"C: d\r\n", 5, b"A: b\r\nC: d\r\n" + DATE),
        (204, b"HEAD", LENGTH_5, 5, DATE),
    ],
)
@pytest.mark.parametrize("version", [HTTP_11, HTTP_10])
def test_an_answer_to_head_a_204_and_a_304_have_no_body(
    status: int, method: bytes, block: bytes, length: int | None, lines: bytes, version: int
) -> None:
    keep = KEEP if version == HTTP_10 else b""
    expected = (lines + keep, NO_BODY, True)
    assert answer(block, length, status=status, method=method, version=version) == expected
    expected = (lines + CLOSE, NO_BODY, False)
    assert answer(block, length, status=status, method=method, version=version, keep_alive=False) == expected


@pytest.mark.parametrize("block", [b"Date: then\r\n", b"A: b\r\ndate:then\r\n", b"DATE:\r\nA: b\r\n"])
def test_a_date_that_is_there_stays_the_only_one(block: bytes) -> None:
    assert answer(block, 0)[0] == block + b"Content-Length: 0\r\n"


@pytest.mark.parametrize("block", [b"Last-Date: x\r\n", b"A: date: x\r\n", b"Dated: x\r\n"])
def test_what_only_looks_like_a_date_is_none(block: bytes) -> None:
    assert DATE in answer(block, 0)[0]


def test_what_is_known_of_the_fields_is_believed() -> None:
    head = ResponseHead(200, block=LENGTH_5, content_length=5)
    head.has_date = head.has_length = True
    data, framing, _ = answer_head(RequestHead(b"GET", b"/", []), head, True, DATE)
    assert (data, framing) == (b"HTTP/1.1 200 OK\r\n" + LENGTH_5 + b"\r\n", LENGTH)


def test_a_shared_head_is_rendered_once_for_each_date() -> None:
    head = ResponseHead(200, block=b"A: b\r\n", content_length=5)
    head.is_shared = True
    get, old = RequestHead(b"GET", b"/", []), RequestHead(b"GET", b"/", [], version=HTTP_10)
    said = b"HTTP/1.1 200 OK\r\nA: b\r\n"
    for date in (DATE, b"Date: later\r\n"):
        # What is not for every client is neither kept nor given to others.
        for _ in range(2):
            kept = said + date + LENGTH_5
            assert answer_head(RequestHead(b"HEAD", b"/", []), head, True, date) == (kept + b"\r\n", NO_BODY, True)
            assert answer_head(get, head, False, date) == (kept + CLOSE + b"\r\n", LENGTH, False)
            assert answer_head(old, head, True, date) == (kept + KEEP + b"\r\n", LENGTH, True)
            assert answer_head(get, head, True, date) == (kept + b"\r\n", LENGTH, True)
        assert answer_head(get, head, True, date)[0] is answer_head(get, head, True, date)[0]


@pytest.mark.parametrize(("status", "length"), [(304, 5), (204, None), (200, None)])
def test_a_shared_head_of_an_answer_without_a_known_body_is_rendered_each_time(status: int, length: int | None) -> None:
    head = ResponseHead(status, block=b"A: b\r\n", content_length=length)
    head.is_shared = True
    get = RequestHead(b"GET", b"/", [])
    assert answer_head(get, head, True, DATE) == answer_head(get, head.copy(), True, DATE)
    assert answer_head(get, head, True, DATE) == answer_head(get, head.copy(), True, DATE)
    assert head.sent == b""


def test_the_version_is_the_servers_and_the_reason_the_backends() -> None:
    assert status_line(ResponseHead(404, reason=b"Nothing \xe9")) == b"HTTP/1.1 404 Nothing \xe9\r\n"
    assert status_line(ResponseHead(200, reason=b"")) == b"HTTP/1.1 200 \r\n"


def test_reasons_that_nobody_repeats_fill_no_memory() -> None:
    for number in range(600):
        assert status_line(ResponseHead(200, reason=b"R%d" % number)) == b"HTTP/1.1 200 R%d\r\n" % number


def test_an_interim_answer_is_its_fields_alone() -> None:
    head = ResponseHead(103, block=b"Link: </a.css>\r\n")
    assert informational_head(head) == b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"


def test_an_upgrade_names_the_protocol() -> None:
    head = ResponseHead(101, block=b"A: b\r\n")
    assert upgrade_head(head, b"websocket") == (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nA: b\r\n\r\n"
    )


# -- HTTP/2 -----------------------------------------------------------------------------------------------------------


def block_of(head, method=b"GET", date=b"Date: now\r\n"):
    block, framing = field_block(RequestHead(method, b"/", [], version=HTTP_2), head, date)
    return hpack.Decoder().decode(block, raw=True), framing


def test_a_field_block_says_what_a_head_of_http1_says():
    head = ResponseHead(201, [(b"X-A", b"1")], content_length=5)
    fields, framing = block_of(head)
    assert fields == [(b":status", b"201"), (b"x-a", b"1"), (b"date", b"now"), (b"content-length", b"5")]
    assert framing == LENGTH
    assert block_of(ResponseHead(200, []))[1] == CHUNKED
    assert block_of(head, b"HEAD")[1] == NO_BODY


def test_a_shared_field_block_is_made_once_for_each_date():
    head = ResponseHead(200, [(b"X-A", b"1")], content_length=5)
    head.is_shared = True
    request = RequestHead(b"GET", b"/", [], version=HTTP_2)
    now, later = b"Date: now\r\n", b"Date: later\r\n"
    first, _ = field_block(request, head, now)
    assert field_block(request, head, now) == (first, LENGTH) and field_block(request, head, now)[0] is first
    assert field_block(request, head, later)[0] != first
    assert field_block(RequestHead(b"HEAD", b"/", [], version=HTTP_2), head, later)[1] == NO_BODY

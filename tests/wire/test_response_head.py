"""Heads of answers: RFC 9112 §4, §6.3; RFC 9110 §8.6, §15."""

import pytest

from duck.exceptions import ProtocolError
from duck.wire.fields import Fields, get, get_all
from duck.wire.h1 import ResponseFacts, parse_response_head, response_facts
from duck.wire.head import ResponseHead


def parse(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK", method: bytes = b"GET") -> ResponseFacts:
    return parse_response_head(b"".join(line + b"\r\n" for line in (start, *lines)), method)


def refused(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK", method: bytes = b"GET") -> bool:
    """Whether the answer is refused, always as the backend's fault."""
    try:
        parse(*lines, start=start, method=method)
    except ProtocolError as error:
        assert error.status == 502
        return True
    return False


def framing(facts: ResponseFacts) -> tuple[int | None, bool, bool]:
    return facts.length, facts.chunked, facts.keep_alive


# -- the status line --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        (b"HTTP/1.1 200 OK", 200, b"OK"),
        (b"HTTP/1.1 200 ", 200, b""),
        (b"HTTP/1.1 200", 200, b""),
        (b"HTTP/1.0 404 Not Found", 404, b"Not Found"),
        (b"HTTP/1.1 599 \xc3\xa9 \t!", 599, b"\xc3\xa9 \t!"),
        (b"HTTP/1.1 999 x", 999, b"x"),
    ],
)
def test_a_status_line_has_version_status_and_maybe_a_reason(line: bytes, status: int, reason: bytes) -> None:
    head = parse(start=line).head
    assert (head.status, head.reason) == (status, reason)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"HTTP/1.1",
        b"HTTP/1.1 ",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 099 OK",
        b"HTTP/1.1 -20 OK",
        b"HTTP/1.1 2x0 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1\t200\tOK",
        b"HTTP/1.1 200\tOK",
        b"HTTP/1.1 200OK",
        b" HTTP/1.1 200 OK",
        b"HTTP/1.2 200 OK",
        b"HTTP/2 200 OK",
        b"HTTP/2.0 200 OK",
        b"http/1.1 200 OK",
        b"ICY 200 OK",
        b"HTTP/1.1 200 O\x00K",
        b"HTTP/1.1 200 OK\r",
        b"HTTP/1.1 200 OK\nX: y",
        b"<html>",
        "HTTP/1.1 \u0662\u0660\u0660 OK".encode(),
    ],
)
def test_any_other_status_line_is_refused(line: bytes) -> None:
    assert refused(start=line)


# -- fields -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"X",
        b"Date",
        b": y",
        b"X : y",
        b" X: y",
        b"X y: z",
        b"X\x00: y",
        b"X: a\r\n b",
        b"X: a\rb",
        b"X: a\nb",
        b"X: a\x00b",
        b"X\xe9: y",
        b"Content-Length : 5",
    ],
)
def test_a_malformed_field_line_is_the_backends_fault(line: bytes) -> None:
    assert refused(line)
    assert refused(line, start=b"HTTP/1.1 304 Not Modified")


def test_too_many_fields_are_refused() -> None:
    assert not refused(*[b"Set-Cookie: a=b"] * 200)
    assert refused(*[b"Set-Cookie: a=b"] * 201)


def test_what_concerns_only_the_backends_connection_is_taken_out() -> None:
    facts = parse(
        b"A: 1",
        b"Connection: keep-alive, X-Hop",
        b"Connection: x-hop-2",
        b"Keep-Alive: timeout=5",
        b"x-hop: 1",
        b"X-Hop-2: 1",
        b"Upgrade: h2c",
        b"Trailer: X",
        b"Proxy-Authenticate: Basic",
        b"TE: x",
        b"Set-Cookie: a=1",
        b"Set-Cookie: b=2",
        b"Host: odd",
        b"Expect: odd",
        b"X_Odd: 1",
        b"Forwarded: odd",
        b"Content-Length: 0",
    )
    assert facts.head.fields == [
        (b"A", b"1"),
        (b"Set-Cookie", b"a=1"),
        (b"Set-Cookie", b"b=2"),
        (b"Host", b"odd"),
        (b"Expect", b"odd"),
        (b"X_Odd", b"1"),
        (b"Forwarded", b"odd"),
        (b"Content-Length", b"0"),
    ]
    assert facts.keep_alive


def test_a_plain_answer_is_passed_on_byte_for_byte() -> None:
    block = b"Content-Type:text/html\r\nDATE:  x\r\nX:\xff\t \r\ncontent-length: 5\r\n"
    head = parse_response_head(b"HTTP/1.1 200 OK\r\n" + block, b"GET").head
    assert head.block == block
    assert (head.has_date, head.has_length, head.content_length) == (True, True, 5)


def test_connection_cannot_take_away_the_length_and_a_date_taken_away_is_not_there() -> None:
    head = parse(b"Connection: content-length, date", b"Content-Length: 5", b"Date: x").head
    assert head.fields == [(b"Content-Length", b"5")]
    assert (head.has_date, head.has_length) == (False, True)


# -- framing (RFC 9112 §6.3) ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b"Content-Length: 5"], (5, False, True)),
        ([b"Content-Length: 0"], (0, False, True)),
        ([b"Content-Length: 5", b"content-length: 5"], (5, False, True)),
        ([b"Transfer-Encoding: chunked"], (None, True, True)),
        ([b"Transfer-Encoding: Chunked", b"Connection: close"], (None, True, False)),
        ([], (None, False, False)),
        ([b"Connection: keep-alive"], (None, False, False)),
        ([b"Content-Length: 5", b"Connection: Close"], (5, False, False)),
    ],
)
def test_a_body_ends_by_length_by_chunks_or_with_the_connection(
    lines: list[bytes], expected: tuple[int | None, bool, bool]
) -> None:
    assert framing(parse(*lines)) == expected
    facts = parse(*lines)
    assert get_all(facts.head.fields, b"transfer-encoding") == []
    assert len(get_all(facts.head.fields, b"content-length")) <= 1


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b"Content-Length: 5"], (5, False, False)),
        ([b"Content-Length: 5", b"Connection: Keep-Alive"], (5, False, True)),
        ([b"Content-Length: 5", b"Connection: keep-alive, close"], (5, False, False)),
        ([b"Connection: keep-alive"], (None, False, False)),
    ],
)
def test_an_answer_of_http_1_0_is_kept_alive_only_where_it_says_so(
    lines: list[bytes], expected: tuple[int | None, bool, bool]
) -> None:
    assert framing(parse(*lines, start=b"HTTP/1.0 200 OK")) == expected


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 5", b"Content-Length: 6"],
        [b"Content-Length: 5", b"Content-Length: 05"],
        [b"Content-Length: 5, 5"],
        [b"Content-Length:"],
        [b"Content-Length: -1"],
        [b"Content-Length: +5"],
        [b"Content-Length: 0x5"],
        [b"Content-Length: 5 5"],
        [b"Content-Length: 1_0"],
        [b"Content-Length: 1000000000000000000"],
        ["Content-Length: \u0665".encode()],
        [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: identity", b"Content-Length: 5"],
        [b"Transfer-Encoding: gzip, chunked"],
        [b"Transfer-Encoding: gzip"],
        [b"Transfer-Encoding: identity"],
        [b"Transfer-Encoding: xchunked"],
        [b"Transfer-Encoding: chunked,"],
        [b"Transfer-Encoding: chunked\t"],
        [b"Transfer-Encoding:\tchunked"],
        [b"Transfer-Encoding: ,chunked"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding:"],
        [b"Transfer-Encoding: chunked, chunked"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding:"],
        [b"Transfer-Encoding: chunked;q=1"],
        [b'Transfer-Encoding: "chunked"'],
    ],
)
def test_an_answer_that_could_be_framed_in_two_ways_is_refused(lines: list[bytes]) -> None:
    assert refused(*lines)


def test_transfer_encoding_in_an_answer_of_http_1_0_is_refused() -> None:
    assert refused(b"Transfer-Encoding: chunked", start=b"HTTP/1.0 200 OK")


@pytest.mark.parametrize(
    ("start", "method"),
    [
        (b"HTTP/1.1 200 OK", b"HEAD"),
        (b"HTTP/1.1 404 Not Found", b"HEAD"),
        (b"HTTP/1.1 304 Not Modified", b"GET"),
        (b"HTTP/1.1 304 Not Modified", b"HEAD"),
    ],
)
def test_an_answer_to_head_and_a_304_tell_a_length_but_have_no_body(start: bytes, method: bytes) -> None:
    facts = parse(b"Content-Length: 5", start=start, method=method)
    assert framing(facts) == (0, False, True)
    assert facts.head.content_length == 5
    assert get(facts.head.fields, b"content-length") == b"5"
    facts = parse(b"Transfer-Encoding: chunked", start=start, method=method)
    assert framing(facts) == (0, False, True)
    assert facts.head.fields == []
    assert framing(parse(start=start, method=method)) == (0, False, True)
    assert refused(b"Content-Length: 5", b"Transfer-Encoding: chunked", start=start, method=method)
    assert refused(b"Content-Length: 5", b"Content-Length: 6", start=start, method=method)
    assert refused(b"Content-Length: x", start=start, method=method)


@pytest.mark.parametrize(
    "start", [b"HTTP/1.1 204 No Content", b"HTTP/1.1 100 Continue", b"HTTP/1.1 103 Early Hints", b"HTTP/1.1 101 X"]
)
def test_a_1xx_and_a_204_have_neither_body_nor_length(start: bytes) -> None:
    length = b"5" if b" 204 " in start else b"0"
    facts = parse(b"Link: x", b"Content-Length: " + length, start=start)
    assert framing(facts) == (0, False, True)
    assert facts.head.content_length is None
    assert facts.head.fields == [(b"Link", b"x")]
    assert facts.head.has_length is False
    assert framing(parse(b"Link: x", start=start)) == (0, False, True)
    assert refused(b"Transfer-Encoding: chunked", start=start)


@pytest.mark.parametrize("status", [b"100", b"101", b"102", b"103", b"199"])
def test_a_1xx_that_announces_a_body_is_refused(status: bytes) -> None:
    assert refused(b"Content-Length: 5", start=b"HTTP/1.1 %b X" % status)


def test_a_101_tells_the_protocol_switched_to() -> None:
    lines = [b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Accept: x"]
    facts = parse(*lines, start=b"HTTP/1.1 101 Switching Protocols")
    assert (facts.upgrade, facts.length) == (b"websocket", 0)
    assert facts.head.fields == [(b"Sec-WebSocket-Accept", b"x")]
    assert parse(*lines, start=b"HTTP/1.1 426 Upgrade Required").upgrade is None


# -- memory -----------------------------------------------------------------------------------------------------------


def test_equal_answers_are_parsed_once_and_share_a_head_that_nobody_changes() -> None:
    block = b"HTTP/1.1 200 OK\r\nX-Only-Here: 1\r\nContent-Length: 5\r\n"
    facts = response_facts(block, b"GET")
    assert response_facts(block, b"POST") is facts
    with pytest.raises(AssertionError):
        facts.head.fields = []
    changed = facts.head.copy()
    changed.fields = [(b"A", b"b")]
    assert (changed.block, changed.has_length) == (b"A: b\r\n", None)
    assert facts.head.fields == [(b"X-Only-Here", b"1"), (b"Content-Length", b"5")]
    assert response_facts(block, b"GET").head.block == b"X-Only-Here: 1\r\nContent-Length: 5\r\n"


def test_what_answers_head_is_not_remembered_for_other_methods() -> None:
    block = b"HTTP/1.1 200 OK\r\nX-Head-And-Get: 1\r\nContent-Length: 5\r\n"
    assert response_facts(block, b"HEAD").length == 0
    assert response_facts(block, b"GET").length == 5
    assert response_facts(block, b"HEAD").length == 0


def test_a_remembered_answer_that_grew_old_is_young_again_when_asked_for() -> None:
    def answer(number: int) -> bytes:
        return b"HTTP/1.1 200 OK\r\nX-Number: %d\r\nContent-Length: 5\r\n" % number

    first = response_facts(answer(0), b"GET")
    for number in range(1, 129):
        response_facts(answer(number), b"GET")
    assert response_facts(answer(0), b"GET") is first
    for number in range(200, 700):
        response_facts(answer(number), b"GET")
    assert response_facts(answer(0), b"GET") is not first


# -- ResponseHead -----------------------------------------------------------------------------------------------------


def test_a_head_shows_what_it_is() -> None:
    assert repr(ResponseHead(200, content_length=5)) == "<ResponseHead 200 length=5>"


def test_lines_and_pairs_of_a_head_are_made_from_each_other() -> None:
    fields: Fields = [(b"A", b"b"), (b"a", b"")]
    assert ResponseHead(200, fields).block == b"A: b\r\na: \r\n"
    assert ResponseHead(200, block=b"A:b\r\na:\r\n").fields == fields
    assert ResponseHead(200).fields == []
    assert ResponseHead(200).block == b""
    assert ResponseHead(200).reason == b"OK"
    assert ResponseHead(599).reason == b"Unknown"


def test_a_block_that_is_no_field_lines_is_our_own_fault() -> None:
    with pytest.raises(AssertionError):
        _ = ResponseHead(200, block=b"A b\r\n").fields

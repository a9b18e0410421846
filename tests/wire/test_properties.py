"""What holds for all input: how it is split, rendered or remembered makes no difference; nothing else is raised."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from duck.exceptions import ProtocolError
from duck.wire import field_block as blocks
from duck.wire.field_block import field_block, parse_field_block, request_fields
from duck.wire.fields import Fields, parse_fields, render_fields
from duck.wire.framing import MAX_CHUNK_LINE_BYTES, MAX_TRAILER_BYTES, ChunkedReader, chunk, last_chunk
from duck.wire.h1 import parse_request_head, parse_response_head
from duck.wire.head import FieldBlock, RequestHead, ResponseHead
from tests.wire.corpus import HOSTILE_ANSWERS, HOSTILE_REQUESTS, VALID_ANSWERS, VALID_REQUESTS
from tests.wire.judges import duck_answers, duck_requests
from tests.wire.test_judges import mutated

_settings = settings(deadline=None, max_examples=200)
TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

names = st.text(TOKEN, min_size=1, max_size=12).map(str.encode)
values = (
    st.lists(st.sampled_from([byte for byte in range(256) if byte == 9 or (byte > 31 and byte != 127)]), max_size=16)
    .map(bytes)
    .map(bytes.strip)
)
fields = st.lists(st.tuples(names, values), max_size=6)
# Names without a meaning to Duck, so that any value is one.
plain_fields = st.lists(st.tuples(names.map(lambda name: b"Q" + name.replace(b"_", b"-")), values), max_size=6)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    return [data[at:end] for at, end in pairwise(sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)}))]


# -- chunked bodies ---------------------------------------------------------------------------------------------------

ChunkedOutcome = tuple[bytes, Fields | None, bytes] | str


def read_chunked(parts: list[bytes]) -> ChunkedOutcome:
    """Body, trailers and rest; `refused`; or `waiting`."""
    reader = ChunkedReader()
    body = b""
    for index, part in enumerate(parts):
        try:
            body += reader.feed(part)
        except ProtocolError:
            return "refused"
        if reader.done:
            return body, reader.trailers, b"".join((reader.rest, *parts[index + 1 :]))
    return "waiting"


_sizes = st.sampled_from(
    [b"0", b"1", b"3", b"A", b"g", b"", b"3 ", b"3;a", b"3;a=b", b"3;", b"3\n", b"00000000000000003", b"0;x"]
)
_raw_chunks = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=20).map(chunk),
        st.builds(lambda size: size + b"\r\nabc\r\n", _sizes),
        st.sampled_from([b"\r\n", b"\n", b"\r", b"0\r\n", b"0\r\nX: y\r\n\r\n", b"0\r\n\r\n", b"X: y\r\n", b"GET /"]),
    ),
    max_size=6,
).map(b"".join)


@_settings
@given(data=_raw_chunks, cuts=st.lists(st.integers(0, 150), max_size=6))
@example(data=b"1;" + b"a" * (MAX_CHUNK_LINE_BYTES - 2) + b"\r\nx\r\n0\r\n\r\n", cuts=[MAX_CHUNK_LINE_BYTES + 1])
@example(data=b"1;" + b"a" * (MAX_CHUNK_LINE_BYTES - 1) + b"\r\nx\r\n0\r\n\r\n", cuts=[MAX_CHUNK_LINE_BYTES + 1])
@example(data=b"0\r\nX: " + b"a" * (MAX_TRAILER_BYTES - 5) + b"\r\n\r\n", cuts=[MAX_TRAILER_BYTES + 4])
@example(data=b"0\r\nX: " + b"a" * (MAX_TRAILER_BYTES - 4) + b"\r\n\r\n", cuts=[MAX_TRAILER_BYTES + 5])
def test_a_chunked_body_in_any_pieces_reads_the_same(data: bytes, cuts: list[int]) -> None:
    whole = read_chunked([data])
    assert read_chunked(pieces(data, cuts)) == whole
    if len(data) < 200:
        assert read_chunked([data[at : at + 1] for at in range(len(data))]) == whole
        for at in range(len(data)):
            assert read_chunked([data[:at], data[at:]]) == whole


@_settings
@given(
    parts=st.lists(st.binary(min_size=1, max_size=40), max_size=6), trailers=plain_fields, rest=st.binary(max_size=20)
)
def test_what_is_sent_in_chunks_is_read_as_it_was(parts: list[bytes], trailers: Fields, rest: bytes) -> None:
    data = b"".join(map(chunk, parts)) + last_chunk(trailers) + rest
    assert read_chunked([data]) == (b"".join(parts), trailers or None, rest)


# -- heads ------------------------------------------------------------------------------------------------------------


@_settings
@given(pairs=fields)
def test_fields_are_parsed_as_they_were_rendered(pairs: Fields) -> None:
    assert parse_fields(render_fields(pairs)) == pairs


@_settings
@given(
    method=st.text(TOKEN, min_size=1, max_size=32).map(str.encode).filter(lambda method: method != b"CONNECT"),
    target=st.text([chr(code) for code in range(33, 127) if chr(code) != "#"], max_size=20),
    pairs=plain_fields,
    length=st.none() | st.integers(0, 10**18 - 1),
)
def test_a_request_is_parsed_as_it_was_written(method: bytes, target: str, pairs: Fields, length: int | None) -> None:
    sent = [(b"Host", b"a"), *pairs]
    if length is not None:
        sent.append((b"Content-Length", b"%d" % length))
    path = b"/" + target.encode()
    request = parse_request_head(b"%b %b HTTP/1.1\r\n%b" % (method, path, render_fields(sent)))
    assert (request.method, request.target, request.fields) == (method, path, sent)
    assert (request.content_length, request.keep_alive) == (length or 0, True)
    assert request.path + (b"?" + request.query if b"?" in path else b"") == path


@_settings
@given(status=st.integers(200, 599), pairs=plain_fields, length=st.integers(0, 10**18 - 1))
def test_an_answer_is_parsed_as_it_was_written(status: int, pairs: Fields, length: int) -> None:
    fields = pairs if status in (204, 304) else [*pairs, (b"Content-Length", b"%d" % length)]
    head = ResponseHead(status, fields)
    facts = parse_response_head(b"HTTP/1.1 %d X\r\n%b" % (status, head.block), b"GET")
    assert (facts.head.status, facts.head.fields, facts.head.block) == (status, fields, head.block)
    assert facts.length == (0 if status in (204, 304) else length)


# What others keep with a block once they have made it of it.
KEPT = {"accept_encoding", "asks_plainly", "http_lines", "http_tail", "link_items", "link_tail"}


def said(block: FieldBlock) -> list[object]:
    return [getattr(block, name) for name in dir(block) if not name.startswith("_") and name not in KEPT]


def outcome(parse: object, block: bytes) -> object:
    try:
        return said(parse(block, 100))  # type: ignore[operator]
    except ProtocolError as error:
        return error.status, str(error)


_lines = st.lists(
    st.one_of(
        st.tuples(names, values).map(b": ".join),
        st.sampled_from(
            [
                b"Host: a",
                b"Content-Length: 3",
                b"Transfer-Encoding: chunked",
                b"Connection: close, X",
                b"Expect: 100-continue",
                b"X-Forwarded-For: a",
                b"Bad : x",
            ]
        ),
    ),
    max_size=5,
)


@_settings
@given(lines=_lines)
def test_what_is_remembered_is_what_would_be_parsed(lines: list[bytes]) -> None:
    block = b"".join(line + b"\r\n" for line in lines)
    expected = outcome(parse_field_block, block)
    for _ in range(3):
        assert outcome(field_block, block) == expected


# Around and within the value that is taken out before a block is looked up, and what could be taken for it.
_cookies = st.lists(
    st.one_of(
        _lines.map(b"\r\n".join),
        st.sampled_from(
            [b"Cookie: ", b"cookie: ", b"COOKIE: ", b"Cookie:", b"X-Cookie: ", b"X: ookie: ", b"X: "]
        ).flatmap(
            lambda name: st.sampled_from(
                [
                    b"",
                    b"a=b",
                    b" a=b\t",
                    b"a=b; Cookie: x",
                    b"ookie: ",
                    b"a\0",
                    b"a\rb",
                    b"\x7f",
                    b"\xff",
                    b"a\nCookie: b",
                ]
            ).map(lambda value: name + value)
        ),
        st.sampled_from([b"Connection: cookie", b"C\0X: y", b"\0"]),
    ),
    max_size=4,
)


def said_with_cookie(block: bytes, max_fields: int) -> list[object]:
    known, cookie = request_fields(block, max_fields)
    request = RequestHead(b"GET", b"/", known, cookie)
    whole = FieldBlock(request.fields, request.lines)
    for name in dir(known):
        if not name.startswith("_") and name not in ("fields", "lines", "cookie_at"):
            setattr(whole, name, getattr(known, name))
    return said(whole)


@_settings
@given(lines=_cookies)
def test_a_cookie_taken_out_changes_nothing_of_what_is_said(lines: list[bytes]) -> None:
    block = b"".join(line + b"\r\n" for line in lines)
    expected = outcome(parse_field_block, block)
    for _ in range(3):
        try:
            assert said_with_cookie(block, 100) == expected
        except ProtocolError as error:
            assert (error.status, str(error)) == expected


def test_a_remembered_block_grown_old_is_the_same_one() -> None:
    block = b"Host: grown-old\r\n"
    known = field_block(block, 100)
    for number in range(5000):
        field_block(b"X: %d\r\n" % number, 100)
        if block not in blocks._blocks.young:
            break
    assert block in blocks._blocks.old
    assert field_block(block, 100) is known
    assert block in blocks._blocks.young


def test_a_block_that_was_refused_is_refused_again() -> None:
    for _ in range(3):
        with pytest.raises(ProtocolError):
            field_block(b"Host: a\r\nHost: a\r\n", 100)


# -- anything at all --------------------------------------------------------------------------------------------------


@_settings
@given(data=mutated([*VALID_REQUESTS, *HOSTILE_REQUESTS]))
def test_a_request_with_any_mutation_raises_nothing_but_a_protocol_error(data: bytes) -> None:
    duck_requests(data)  # a ProtocolError is an ending; anything else is raised
    for end in (data.find(b"\r\n\r\n") + 2, len(data)):
        try:
            parse_request_head(data[:end])
        except ProtocolError as error:
            assert error.status in (400, 414, 417, 431, 501, 505)


@_settings
@given(data=mutated([*VALID_ANSWERS, *HOSTILE_ANSWERS]), method=st.sampled_from([b"GET", b"HEAD"]))
def test_an_answer_with_any_mutation_raises_nothing_but_a_502(data: bytes, method: bytes) -> None:
    duck_answers(data)
    for end in (data.find(b"\r\n\r\n") + 2, len(data)):
        try:
            parse_response_head(data[:end], method)
        except ProtocolError as error:
            assert error.status == 502


@_settings
@given(data=st.binary(max_size=120))
def test_any_bytes_at_all_raise_nothing_but_a_protocol_error(data: bytes) -> None:
    for parse in (
        lambda: parse_request_head(data),
        lambda: parse_request_head(b"GET / HTTP/1.1\r\n" + data),
        lambda: parse_request_head(b"GET " + data + b" HTTP/1.1\r\nHost: a\r\n"),
        lambda: parse_request_head(b"GET / HTTP/1.1\r\nHost: " + data + b"\r\n"),
        lambda: parse_response_head(data, b"GET"),
        lambda: parse_response_head(b"HTTP/1.1 200 OK\r\n" + data, b"GET"),
        lambda: ChunkedReader().feed(data),
        lambda: ChunkedReader().feed(b"0\r\n" + data),
    ):
        try:
            parse()
        except ProtocolError:
            pass


@_settings
@given(data=mutated(VALID_REQUESTS))
def test_what_is_accepted_is_passed_on_as_lines_that_parse_to_the_same(data: bytes) -> None:
    """What a backend gets of a request's fields says what the client's said."""
    head = data[: data.find(b"\r\n\r\n") + 2]
    try:
        request = parse_request_head(head)
    except ProtocolError:
        return
    lines = request.lines
    block = render_fields(request.fields) if lines is None else b"".join(line + b"\r\n" for line in lines)
    again = parse_request_head(b"%b %b HTTP/1.%d\r\n%b" % (request.method, request.target, request.version - 10, block))
    assert (again.fields, again.authority) == (request.fields, request.authority)
    assert (again.target, again.content_length) == (request.target, request.content_length)

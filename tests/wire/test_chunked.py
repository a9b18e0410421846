"""Chunked bodies: RFC 9112 §7.1; trailers: RFC 9110 §6.5."""

import pytest

from duck.exceptions import LimitExceeded, ProtocolError
from duck.wire.framing import (
    MAX_CHUNK_LINE_BYTES,
    MAX_EXTENSION_BYTES,
    MAX_TRAILER_BYTES,
    MAX_TRAILERS,
    ChunkedReader,
    chunk,
    last_chunk,
)

END = b"0\r\n\r\n"


def read(data: bytes) -> tuple[bytes, ChunkedReader]:
    reader = ChunkedReader()
    return reader.feed(data), reader


def refused(data: bytes) -> bool:
    """Whether `data` is refused, whole and byte by byte; what is neither complete nor refused fails."""
    outcomes = []
    for pieces in ([data], [data[at : at + 1] for at in range(len(data))]):
        reader = ChunkedReader()
        try:
            for piece in pieces:
                reader.feed(piece)
                if reader.done:
                    break
        except ProtocolError as error:
            assert error.status in (400, 431)
            outcomes.append(True)
        else:
            assert reader.done, "still waiting for more"
            outcomes.append(False)
    assert outcomes[0] is outcomes[1]
    return outcomes[0]


# -- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (END, b""),
        (b"5\r\nhello\r\n" + END, b"hello"),
        (b"a\r\n0123456789\r\nA\r\n0123456789\r\n" + END, b"0123456789" * 2),
        (b"005\r\nhello\r\n000\r\n\r\n", b"hello"),
        (b"000000000000005\r\nhello\r\n" + END, b"hello"),
        (b"2\r\n\r\n\r\n5\r\n0\r\n\r\n\r\n" + END, b"\r\n0\r\n\r\n"),
    ],
)
def test_a_size_is_hexadecimal_digits(data: bytes, body: bytes) -> None:
    read_body, reader = read(data + b"GET /next")
    assert (read_body, reader.done, reader.rest, reader.trailers) == (body, True, b"GET /next", None)


@pytest.mark.parametrize(
    "size",
    [
        b"",
        b" ",
        b" 5",
        b"\t5",
        b"5 ",
        b"5\t",
        b"5  ",
        b"+5",
        b"-5",
        b"-0",
        b"0x5",
        b"0X5",
        b"x5",
        b"5h",
        b"h",
        b"g",
        b"5_0",
        b"5.0",
        b"5,5",
        b"5 5",
        b'"5"',
        b"5\x00",
        b"\x005",
        b"\x0b5",
        b"5\x0c",
        b"5\xa0",
        b"\xff",
        "\u0665".encode(),
        b"0000000000000005",
        b"ffffffffffffffff",
        b"10000000000000005",
        b"5\n",
        b"\n5",
        b"5\r",
        b"\r5",
        b"5\r\r",
    ],
)
def test_any_other_size_is_refused(size: bytes) -> None:
    assert refused(size + b"\r\nhello\r\n" + END)
    assert refused(b"5\r\nhello\r\n" + size + b"\r\nhello\r\n" + END)


@pytest.mark.parametrize(
    "data",
    [
        b"5\nhello\r\n" + END,
        b"5\rhello\r\n" + END,
        b"5\n\nhello\r\n" + END,
        b"5\r\nhello\n" + END,
        b"5\r\nhello\r" + END,
        b"5\r\nhelloX\r\n" + END,
        b"5\r\nhello" + END,
        b"5\r\nhello\r\r\n" + END,
        b"5\r\nhello\r\n\r\n" + END,
        b"5\r\nhell\r\n" + END,
        b"5\r\nhello\n\r" + END,
        b"0\n\n",
        b"0\n\r\n\r\n",
    ],
)
def test_a_chunk_ends_with_crlf_right_after_its_last_byte(data: bytes) -> None:
    assert refused(data)


@pytest.mark.parametrize("end", [b"0\r\n\n\r\n\r\n", b"0\r\n\r\r\n\r\n", b"0\r\n \r\n\r\n", b"0\r\nX\r\n\r\n"])
def test_what_follows_the_last_chunk_is_trailers_or_the_empty_line(end: bytes) -> None:
    assert refused(end)


# -- early refusal: a client that waits must not wait for its deadline ------------------------------------------------


@pytest.mark.parametrize(
    "partial",
    [
        b"g",
        b"\n",
        b"\rx",
        b"\r",
        b" ",
        b"-",
        b"0x",
        b"5\n",
        b"5\rx",
        b"5;a\n",
        b"5;a\rb",
        b"f" * 16,
        b"5\r\nhelloX",
        b"5\r\nhello\n",
        b"5\r\nhello\rX",
        b"5;" + b"a" * MAX_CHUNK_LINE_BYTES,
        b"5;" + b"a" * (MAX_CHUNK_LINE_BYTES - 2) + b"\rX",
        b"0\r\nX: y\n",
        b"0\r\nX: y\rZ",
        b"0\r\n" + b"a" * (MAX_TRAILER_BYTES + 2),
    ],
)
def test_what_no_further_byte_can_mend_is_refused_at_once(partial: bytes) -> None:
    with pytest.raises(ProtocolError):
        ChunkedReader().feed(partial)


@pytest.mark.parametrize(
    "partial", [b"", b"5", b"f" * 15, b"5;", b"5 ;a", b'5;a="', b"5\r", b"5\r\nhello\r", b"0\r\n\r", b"0\r\nX: y\r\n\r"]
)
def test_what_may_still_become_a_chunk_is_waited_for(partial: bytes) -> None:
    body, reader = read(partial)
    assert not reader.done
    assert body in (b"", b"hello")


def test_body_bytes_are_passed_on_as_they_come_and_not_gathered() -> None:
    reader = ChunkedReader()
    assert reader.feed(b"fffffff\r\nab") == b"ab"
    piece = b"x" * 1000
    assert reader.feed(piece) is piece


# -- extensions (RFC 9112 §7.1.1) -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "extension",
    [
        b";a",
        b";a=b",
        b" ; a = b",
        b"\t;\ta\t=\tb",
        b";a;b;c=d",
        b';a="quoted; , \\" \\\\ \t \x80"',
        b';a=""',
        b";" + b"a" * (MAX_CHUNK_LINE_BYTES - 2),
    ],
)
def test_a_well_formed_extension_is_dropped(extension: bytes) -> None:
    assert not refused(b"5" + extension + b"\r\nhello\r\n0" + extension + b"\r\n\r\n")
    body, reader = read(b"5" + extension + b"\r\nhello\r\n0" + extension + b"\r\n\r\nrest")
    assert (body, reader.rest) == (b"hello", b"rest")


@pytest.mark.parametrize(
    "extension",
    [
        b";",
        b"; ",
        b";;a",
        b";a;",
        b";a ",
        b";=b",
        b";a=",
        b";a=b c",
        b";a b",
        b';a="',
        b';a="b',
        b';a="b"c',
        b';a="\\"',
        b';a="\x01"',
        b";a=\x00",
        b";a\x0b",
        b";\xff",
        b";a=\xff",
        b",a",
        b":a",
        b"\n;a",
        b";a\n",
        b";\n",
        b";a\r",
        b"\r;a",
        b";a\n0\r\n\r\nGET / HTTP/1.1",
        b';a="\n"',
        b';a="\r"',
        b";" + b"a" * (MAX_CHUNK_LINE_BYTES - 1),
    ],
)
def test_any_other_extension_is_refused(extension: bytes) -> None:
    assert refused(b"5" + extension + b"\r\nhello\r\n" + END)
    assert refused(b"0" + extension + b"\r\n\r\n")


def test_a_body_made_of_extensions_is_refused() -> None:
    extension = b";" + b"a" * 1000
    piece = b"1" + extension + b"\r\nx\r\n"
    allowed = MAX_EXTENSION_BYTES // len(extension)
    assert not refused(piece * allowed + END)
    assert refused(piece * (allowed + 1) + END)


# -- trailers ---------------------------------------------------------------------------------------------------------


def test_trailers_are_told_in_order_and_what_follows_is_kept() -> None:
    _, reader = read(b"0\r\nX-Sum: 1 \r\nx-sum:2\r\nETag:\t\xe9\r\n\r\nGET /")
    assert reader.trailers == [(b"X-Sum", b"1"), (b"x-sum", b"2"), (b"ETag", b"\xe9")]
    assert reader.rest == b"GET /"


@pytest.mark.parametrize(
    "name",
    [
        b"Content-Length",
        b"TRANSFER-ENCODING",
        b"Host",
        b"Connection",
        b"Keep-Alive",
        b"Upgrade",
        b"TE",
        b"Trailer",
        b"Expect",
        b"Authorization",
        b"Proxy-Authorization",
        b"cookie",
        b"Set-Cookie",
        b"Content-Type",
        b"Content-Encoding",
        b"Content-Range",
        b"Cache-Control",
        b"Range",
        b"If-Match",
        b"Via",
        b"Date",
        b"Forwarded",
        b"X-Forwarded-For",
        b"x-forwarded-proto",
        b"X-Real-IP",
        b"Proxy",
        b"Content_Length",
        b"X_Forwarded_For",
    ],
)
def test_a_trailer_that_would_frame_route_or_claim_is_dropped(name: bytes) -> None:
    _, reader = read(b"0\r\n" + name + b": 1\r\n\r\n")
    assert reader.done
    assert reader.trailers is None
    _, reader = read(b"0\r\nA: b\r\n" + name + b": 1\r\nC: d\r\n\r\n")
    assert reader.trailers == [(b"A", b"b"), (b"C", b"d")]


@pytest.mark.parametrize(
    "lines",
    [
        b"X\r\n",
        b"X : y\r\n",
        b": y\r\n",
        b" X: y\r\n",
        b"X: y\r\n z\r\n",
        b"X: y\nZ: z\r\n",
        b"X: y\rZ: z\r\n",
        b"X: \x00\r\n",
        b"X: y\n",
        b"A: b\r\n" * (MAX_TRAILERS + 1),
        b"GET / HTTP/1.1\r\nHost: a\r\n",
    ],
)
def test_malformed_trailers_are_refused(lines: bytes) -> None:
    assert refused(b"0\r\n" + lines + b"\r\n")


def test_trailers_are_bounded_in_one_piece_and_in_many() -> None:
    longest = b"X: " + b"y" * (MAX_TRAILER_BYTES - 5) + b"\r\n"
    assert len(longest) == MAX_TRAILER_BYTES
    assert not refused(b"0\r\n" + longest + b"\r\n")
    assert refused(b"0\r\nX" + longest + b"\r\n")
    with pytest.raises(LimitExceeded) as raised:
        read(b"0\r\nX" + longest + b"\r\n")
    assert raised.value.status == 431


@pytest.mark.parametrize(
    "data", [b"x", b"5\r\nhelloX", b"0\r\nX\r\n\r\n", b"0\r\n" + b"a" * MAX_TRAILER_BYTES * 2, b";a=b\r\n"]
)
def test_in_an_answer_the_fault_is_the_backends(data: bytes) -> None:
    with pytest.raises(ProtocolError) as raised:
        ChunkedReader(status=502).feed(data)
    assert raised.value.status == 502


# -- sending ----------------------------------------------------------------------------------------------------------


def test_a_chunk_is_its_size_and_its_bytes() -> None:
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"


def test_the_last_chunk_carries_the_trailers_if_any() -> None:
    assert last_chunk(None) == last_chunk([]) == END
    assert last_chunk([(b"A", b"b"), (b"A", b"")]) == b"0\r\nA: b\r\nA: \r\n\r\n"

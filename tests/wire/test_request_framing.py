"""Where a request's body ends: RFC 9112 §6; RFC 9110 §8.6. The heart of request smuggling."""

import pytest

from tests.wire.request_head import parse, refusal

POST = b"POST / HTTP/1.1"


@pytest.mark.parametrize(
    ("value", "length"),
    [
        (b"0", 0),
        (b"5", 5),
        (b" \t5\t ", 5),
        (b"00005", 5),
        (b"999999999999999999", 999_999_999_999_999_999),
    ],
)
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_content_length_is_digits(value: bytes, length: int, version: bytes) -> None:
    request = parse(b"Content-Length:" + value, start=b"POST / " + version)
    assert request.content_length == length


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b"-5",
        b"+5",
        b"-0",
        b"5 5",
        b"5\t5",
        b"5,5",
        b"5, 5",
        b"5, 6",
        b",5",
        b"5,",
        b"5;",
        b"5;q=1",
        b"0x5",
        b"0b1",
        b"0o5",
        b"5h",
        b"a",
        b"1_0",
        b"1e1",
        b"5.0",
        b"5.",
        b'"5"',
        b"'5'",
        b"5\x0b",
        b"\x0c5",
        b"5\x00",
        b"\x005",
        b"5\r",
        b"5\n",
        b"\xa05",
        b"5\xa0",
        b"\x855",
        "\u0665".encode(),
        "\u00b2".encode(),
        "\u00b2".encode("latin-1"),
        "\uff15".encode(),
        b"1000000000000000000",
        b"18446744073709551616",
        b"18446744073709551621",
        b"9" * 5000,
        b"nan",
        b"chunked",
    ],
)
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_any_other_content_length_is_refused(value: bytes, version: bytes) -> None:
    assert refusal(b"Content-Length: " + value, start=b"POST / " + version) == 400


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 5", b"Content-Length: 6"],
        [b"Content-Length: 5", b"Content-Length: 5"],
        [b"Content-Length: 5", b"content-length: 5"],
        [b"Content-Length: 0", b"Content-Length: 5"],
        [b"Content-Length: 5", b"Content-Length:"],
        [b"Content-Length:", b"Content-Length: 5"],
        [b"Content-Length: 5", b"X: y", b"CONTENT-LENGTH: 05"],
    ],
)
def test_more_than_one_content_length_is_refused_even_when_equal(lines: list[bytes]) -> None:
    assert refusal(*lines, start=POST) == 400


@pytest.mark.parametrize("line", [b"Content-Length_: 5", b"Content_Length: 5", b"X-Content-Length: 5", b"Length: 5"])
def test_a_name_that_only_looks_like_content_length_frames_nothing(line: bytes) -> None:
    assert parse(line, start=POST).content_length == 0


def test_a_request_without_framing_fields_has_no_body() -> None:
    for method in (b"GET", b"POST", b"DELETE", b"X"):
        assert parse(start=method + b" / HTTP/1.1").content_length == 0


@pytest.mark.parametrize(
    "line",
    [
        b"Transfer-Encoding: chunked",
        b"transfer-encoding:chunked",
        b"TRANSFER-ENCODING: Chunked",
        b"Transfer-Encoding: \t chunked \t",
    ],
)
def test_chunked_alone_is_a_body_whose_end_will_tell(line: bytes) -> None:
    request = parse(line, start=POST)
    assert request.content_length is None
    assert request.block.chunked


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ([b""], 400),
        ([b","], 400),
        ([b"identity"], 400),
        ([b"gzip"], 400),
        ([b"x"], 400),
        ([b"xchunked"], 400),
        ([b"chunkedx"], 400),
        ([b"chunke"], 400),
        ([b"chunk"], 400),
        ([b"chunked\x00"], 400),
        ([b"\x0bchunked"], 400),
        ([b"chunked\x0c"], 400),
        ([b"\xa0chunked"], 400),
        ([b"chunked\xff"], 400),
        ([b"c\xe1\xba\x9ahunked"], 400),
        ([b"chun\tked"], 400),
        ([b"chunked chunked"], 400),
        ([b'"chunked"'], 400),
        ([b"'chunked'"], 400),
        ([b"chunked;q=1"], 400),
        ([b"chunked; foo=bar"], 400),
        ([b"chunked,"], 400),
        ([b",chunked"], 400),
        ([b", chunked"], 400),
        ([b"chunked, "], 400),
        ([b"chunked, chunked"], 400),
        ([b"chunked,chunked"], 400),
        ([b"chunked, identity"], 400),
        ([b"chunked, gzip"], 400),
        ([b"chunked, gzip, chunked"], 400),
        ([b"chunked", b"chunked"], 400),
        ([b"chunked", b"identity"], 400),
        ([b"identity", b"chunked"], 400),
        ([b"gzip", b"chunked"], 400),
        ([b"chunked", b""], 400),
        ([b"", b"chunked"], 400),
        ([b"chunked", b"x"], 400),
        ([b"x", b"chunked"], 400),
        ([b"gzip, chunked"], 501),
        ([b"GZIP , Chunked"], 501),
        ([b"identity, chunked"], 501),
        ([b"deflate, gzip, chunked"], 501),
    ],
)
def test_any_other_transfer_encoding_is_refused(values: list[bytes], status: int) -> None:
    assert refusal(*[b"Transfer-Encoding: " + value for value in values], start=POST) == status


@pytest.mark.parametrize(
    "line",
    [
        b"Transfer_Encoding: chunked",
        b"Transfer-Encoding_: chunked",
        b"X-Transfer-Encoding: chunked",
        b"Transfer-Encodin: chunked",
        b"TE: chunked",
    ],
)
def test_a_name_that_only_looks_like_transfer_encoding_frames_nothing(line: bytes) -> None:
    assert parse(line, b"Content-Length: 3", start=POST).content_length == 3


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b"identity", b"x", b"", b"gzip, chunked"])
@pytest.mark.parametrize("length", [b"0", b"5", b"", b"x"])
def test_content_length_and_transfer_encoding_together_are_refused(coding: bytes, length: bytes) -> None:
    lines = [b"Content-Length: " + length, b"Transfer-Encoding: " + coding]
    assert refusal(*lines, start=POST) == 400
    assert refusal(*reversed(lines), start=POST) == 400
    assert refusal(*lines, start=b"POST / HTTP/1.0") == 400


def test_transfer_encoding_under_http_1_0_is_refused() -> None:
    assert refusal(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.0") == 400
    assert refusal(b"Transfer-Encoding: chunked", b"Connection: keep-alive", start=b"POST / HTTP/1.0") == 400
    assert refusal(b"Transfer-Encoding: identity", start=b"POST / HTTP/1.0") == 400


def test_framing_is_decided_before_anything_else_is_answered() -> None:
    assert refusal(b"Content-Length: 1", b"Transfer-Encoding: chunked", b"Expect: x", start=POST) == 400
    assert refusal(b"Content-Length: 1", b"Transfer-Encoding: chunked", start=b"CONNECT a:1 HTTP/1.1") == 400
    assert refusal(b"Content-Length: 1", b"Content-Length: 2", start=b"GET http://a/ HTTP/1.1") == 400

"""Streams that a hostile client, or a broken backend, would send; each with one more message behind it."""

from __future__ import annotations

from typing import Final

NEXT: Final = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
SMUGGLED: Final = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
_CHUNKS: Final = b"3\r\nabc\r\n0\r\n\r\n"


def request(
    *lines: bytes, start: bytes = b"POST /first HTTP/1.1", body: bytes = b"", host: bytes = b"Host: a"
) -> bytes:
    """One request and the next one."""
    return b"\r\n".join((start, *((host,) if host else ()), *lines, b"", b"")) + body + NEXT


def answer(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK", body: bytes = b"") -> bytes:
    """One answer, and bytes behind it."""
    return b"\r\n".join((start, *lines, b"", b"")) + body + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


VALID_REQUESTS: Final[list[bytes]] = [
    request(start=b"GET /first?a=b HTTP/1.1"),
    request(b"X-A: b", b"Accept: */*", b"Cookie: a=b; c=d", start=b"GET / HTTP/1.1"),
    request(b"Content-Length: 3", body=b"abc"),
    request(b"Content-Length: 0"),
    request(b"Content-Length: 40", body=SMUGGLED.ljust(40)),
    request(b"Transfer-Encoding: chunked", body=_CHUNKS),
    request(b"Transfer-Encoding: chunked", b"Trailer: X", body=b"a;x=y\r\n0123456789\r\n0\r\nX: y\r\n\r\n"),
    request(b"Content-Length: 3", b"Connection: keep-alive", body=b"abc", start=b"PUT /a HTTP/1.0"),
    request(b"Connection: close", start=b"GET / HTTP/1.1"),
    request(start=b"OPTIONS * HTTP/1.1"),
    request(start=b"GET http://b/c HTTP/1.1"),
    request(b"Expect: 100-continue", b"Content-Length: 3", body=b"abc"),
    request(b"Connection: Upgrade", b"Upgrade: websocket", start=b"GET /ws HTTP/1.1"),
    request(b"TE: trailers", b"Connection: TE", start=b"DELETE / HTTP/1.1"),
    b"\r\n" + NEXT,
    NEXT * 3,
]

_LENGTHS: Final = [
    b"+3", b"-3", b"3 ", b" 3", b"3,3", b"3, 3", b"3;", b"0x3", b"3h", b"3_0", b"03", b"3.0", b"3e0", b'"3"', b"",
    b"3 3", b"\x0b3", b"3\x0c", b"\xa03", b"\xb3", "\u0663".encode(), b"3\x00", b"\t3\t", b"3\r",
    b"18446744073709551619",
    b"4294967299", b"9" * 40, b"3\n", b"abc", b"3\r\n 0", b"\r\n 3",
]  # fmt: skip

_CODINGS: Final = [
    b"chunked", b"Chunked", b"CHUNKED", b" chunked", b"\tchunked", b"chunked ", b"chunked\t", b"chunked \t ",
    b"\x0bchunked", b"chunked\x0b",
    b"\x0cchunked", b"\xa0chunked", b"chunked\xff", b"xchunked", b"chunkedx", b"chunke",
    b"chunked, identity",
    b"identity, chunked", b"identity", b"gzip, chunked", b"chunked, gzip", b"chunked, chunked", b"chunked,chunked",
    b"chunked,", b",chunked", b", chunked", b'"chunked"', b"'chunked'", b"chunked;q=1", b"chunked; a=b", b"chun ked",
    b"chunked\r\n x", b"\r\n chunked", b"\r\n\tchunked", b"x\r\n chunked", b"chunked\n", b"chunked\r", b"\nchunked",
    b"chunked\x00", b"\x00chunked", b"", b"cow", b"cow, chunked", b"chunked cow", b"[chunked]", b"{chunked}",
]  # fmt: skip

_NAMES: Final = [
    b"Transfer-Encoding ", b"Transfer-Encoding\t", b" Transfer-Encoding", b"\tTransfer-Encoding",
    b"Transfer_Encoding",
    b"Transfer-Encoding\x00", b"Transfer-Encoding\x0b", b"\x00Transfer-Encoding", b"Transfer-Encoding\xa0",
    b"Transfer Encoding", b"Transfer-Encoding\r", b"X\nTransfer-Encoding", b"X: y\nTransfer-Encoding",
    b"X: y\rTransfer-Encoding", b"X: y\r\r\nTransfer-Encoding", b"X: y\n\rTransfer-Encoding",
    b"X:\nTransfer-Encoding",
    b"X: y\x00\nTransfer-Encoding", b"Tr\x61nsfer-Encoding", b"\xffTransfer-Encoding", b"Transfer-\r\n Encoding",
    b"tRANSFER-eNCODING", b'"Transfer-Encoding"', b"Transfer-Encoding:", b": Transfer-Encoding",
    b"Foo Transfer-Encoding",
]  # fmt: skip

_SIZES: Final = [
    b"3", b"03", b"0003", b"0" * 15 + b"3", b"0" * 20 + b"3", b" 3", b"3 ", b"\t3", b"3\t", b"+3", b"-3", b"0x3",
    b"3h",
    b"3_", b"3,", b"", b" ", b"g", b"3 3", b"3\x00", b"\x0b3", b"3\x0c", b"3\xff", b"3\n", b"\n3", b"3\r",
    b"10000000000000003",
    b"FFFFFFFFFFFFFFFF", b"3;", b"3;;", b"3;a", b"3; a=b", b'3;a="b"', b'3;a="b', b'3;a="\n"', b"3;a\n", b"3;\n",
    b"3;a\rb",
    b"3 ;a", b"3;a ;b", b"3;a=\xff", b"3;\x00", b"3;" + b"a" * 3000, b"3;a=b;c=d", b"3\n;a", b"3;a\n0", b"3:a",
    b"3a;\n",
]  # fmt: skip

HOSTILE_REQUESTS: Final[list[bytes]] = [
    # CL.TE, TE.CL, TE.TE, CL.CL, CL.0, 0.CL
    *(request(b"Content-Length: " + value, body=b"abc") for value in _LENGTHS),
    *(request(b"Content-Length: 3", b"Content-Length: " + value, body=b"abc") for value in _LENGTHS),
    *(request(b"Content-Length: 0", b"Content-Length: " + value, body=SMUGGLED) for value in (b"0", b"36", b"")),
    *(request(b"Transfer-Encoding: " + value, body=_CHUNKS) for value in _CODINGS),
    *(request(b"Content-Length: 13", b"Transfer-Encoding: " + value, body=_CHUNKS) for value in _CODINGS),
    *(request(b"Transfer-Encoding: " + value, b"Content-Length: 3", body=_CHUNKS) for value in _CODINGS),
    *(
        request(b"Transfer-Encoding: " + one, b"Transfer-Encoding: " + two, body=_CHUNKS)
        for one in (b"chunked", b"cow", b"identity") for two in (b"chunked", b"cow", b"identity", b"")
    ),
    *(request(name + b": chunked", body=_CHUNKS) for name in _NAMES),
    *(request(b"Content-Length: 13", name + b": chunked", body=_CHUNKS) for name in _NAMES),
    *(request(name.replace(b"Transfer-Encoding", b"Content-Length") + b": 3", body=b"abc") for name in _NAMES),
    *(request(name.replace(b"Transfer-Encoding", b"X-Y") + b": z") for name in _NAMES),
    request(b"Content-Length: 36", start=b"GET /first HTTP/1.1", body=SMUGGLED),
    request(b"Content-Length: 36", start=b"HEAD /first HTTP/1.1", body=SMUGGLED),
    request(b"Content-Length: 36", start=b"OPTIONS /first HTTP/1.1", body=SMUGGLED),
    request(b"Transfer-Encoding: chunked", start=b"GET /first HTTP/1.1", body=_CHUNKS),
    request(b"Expect: 100-continue", b"Content-Length: 36", body=SMUGGLED),
    request(b"Expect: 100-continue, x", b"Content-Length: 36", body=SMUGGLED),
    request(b"Expect: y 100-continue", b"Content-Length: 36", body=SMUGGLED),
    request(b"Connection: Content-Length", b"Content-Length: 36", body=SMUGGLED),
    request(b"Connection: Transfer-Encoding", b"Transfer-Encoding: chunked", body=_CHUNKS),
    request(b"Connection: Host", b"Content-Length: 3", body=b"abc"),
    request(b"Connection: close, keep-alive", b"Content-Length: 3", body=b"abc"),
    request(b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 3", body=b"abc"),
    request(b"Connection: Upgrade", b"Upgrade: h2c", b"Transfer-Encoding: chunked", body=_CHUNKS),
    request(b"Upgrade: websocket", b"Content-Length: 3", body=b"abc"),
    # HTTP/1.0, other versions, no version
    *(
        request(b"Connection: keep-alive", line, start=b"POST / " + version, body=_CHUNKS)
        for version in (b"HTTP/1.0", b"HTTP/1.2", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.", b"http/1.1", b"HTTP/1.1 x", b"")
        for line in (b"Transfer-Encoding: chunked", b"Content-Length: 13", b"X: y")
    ),
    b"GET /\r\n\r\n" + NEXT,
    b"GET /\r\n" + NEXT,
    # chunks
    *(
        request(b"Transfer-Encoding: chunked", body=size + b"\r\nabc\r\n0\r\n\r\n" + SMUGGLED)
        for size in _SIZES
    ),
    *(request(b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n" + size.replace(b"3",
    b"0") + b"\r\n\r\n") for size in _SIZES),
    *(
        request(b"Transfer-Encoding: chunked", body=body)
        for body in (
            b"3\r\nabcd\r\n0\r\n\r\n", b"3\r\nabc\n0\r\n\r\n", b"3\r\nabcXX0\r\n\r\n", b"3\nabc\n0\n\n",
            b"3\rabc\r0\r\r",
            b"3\r\nabc0\r\n\r\n", b"3\r\nabc\r\n\r\n0\r\n\r\n", b"3\r\nabc\r\n0\r\n\n", b"3\r\nabc\r\n0\n\r\n",
            b"0\r\n\r",
            b"3\r\nabc\r\n0\r\nX: y\r\n\r\n", b"3\r\nabc\r\n0\r\nX: y\n\r\n", b"3\r\nabc\r\n0\r\nX : y\r\n\r\n",
            b"3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n", b"3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"3\r\nabc\r\n0\r\nX\r\n\r\n", b"3\r\nabc\r\n0\r\n X: y\r\n\r\n", b"3\r\nabc\r\n0\r\nX: y\r\n z\r\n\r\n",
            b"3\r\nabc\r\n0\r\n" + SMUGGLED, b"0\r\nX: y\rZ: z\r\n\r\n", b"0\r\nX: \x00\r\n\r\n",
            b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n",
        )
    ),
    # the request line
    *(
        request(start=start)
        for start in (
            b"GET  / HTTP/1.1", b"GET /  HTTP/1.1", b"GET\t/ HTTP/1.1", b"GET /\tHTTP/1.1", b" GET / HTTP/1.1",
            b"GET / HTTP/1.1 ",
            b"GET /a b HTTP/1.1", b"GET /\x00 HTTP/1.1", b"GET /\x0b HTTP/1.1", b"GET /\xe9 HTTP/1.1",
            b"GET /# HTTP/1.1",
            b"GET / HTTP/1.1\r", b"GET / HTTP/1.1\nX: y", b"GET /\rX HTTP/1.1", b"GET / HTTP/1.1\r\n X: y",
            b"GET / HTTP/1.1\x00",
            b"G\x00ET / HTTP/1.1", b"G(T / HTTP/1.1", b"get / HTTP/1.1", b"UNKNOWN / HTTP/1.1",
            b"GET a HTTP/1.1", b"GET * HTTP/1.1",
            b"GET http://a@b/ HTTP/1.1", b"GET http:///x HTTP/1.1", b"CONNECT a:1 HTTP/1.1", b"GET //a HTTP/1.1",
            b"GET ? HTTP/1.1",
            b"GET /?\\ HTTP/1.1", b"GET /<> HTTP/1.1", b"GET /%00 HTTP/1.1", b"PRI * HTTP/2.0",
            b"SOURCE / ICE/1.0", b"M-SEARCH * HTTP/1.1",
        )
    ),
    # Host
    *(
        request(b"Content-Length: 3", body=b"abc", host=host)
        for host in (
            b"", b"Host:", b"Host: a\r\nHost: b", b"Host: a\r\nHost: a", b"Host: a@b", b"Host: a/b",
            b"Host: a b", b"Host: a,b",
            b"Host : a", b" Host: a", b"Host: a\r\n b", b"Host: a\x00", b"Host: \xff", b"Host: [::1]:80",
            b"Host: [::1", b"Host: a:b",
            b"X: y\r\n Host: a", b"Host: a\nHost: b", b"Host: a\rHost: b",
        )
    ),
    # line ends and empty lines
    b"\r\n\r\n" + NEXT,
    b"\n" + NEXT,
    b"\r" + NEXT,
    b"\r\n" * 5 + NEXT,
    b" \r\n" + NEXT,
    NEXT.replace(b"\r\n", b"\n"),
    NEXT.replace(b"\r\n", b"\r"),
    NEXT.replace(b"\r\n", b"\r\r\n"),
    NEXT.replace(b"\r\n", b"\n\r"),
    NEXT[:-2] + b"\n" + NEXT,
    NEXT[:-4] + b"\n\n" + NEXT,
    NEXT[:-2] + b"\r\r\n" + NEXT,
    NEXT[:-2] + b" \r\n" + NEXT,
    request(b"X: y\r\n\n"),
    request(b"Content-Length: 3", body=b"abc\r\n"),
    request(b"Content-Length: 3", body=b"abc\n"),
    request(b"Content-Length: 3", body=b"abc\r\n\r\n"),
    request(b"X: " + b"y" * 2000),
    *(request(b"X: a" + bytes((code,)) + b"b") for code in (*range(32), 127, 128, 255)),
    *(request(b"X" + bytes((code,)) + b"b: c") for code in (*range(33), 40, 47, 59, 61, 64, 127, 128, 255)),
]  # fmt: skip

VALID_ANSWERS: Final[list[bytes]] = [
    answer(b"Content-Length: 3", b"X: y", body=b"abc"),
    answer(b"Content-Length: 0"),
    answer(b"Transfer-Encoding: chunked", body=_CHUNKS),
    answer(b"Transfer-Encoding: chunked", body=b"3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n"),
    answer(b"X: y", start=b"HTTP/1.1 204 No Content"),
    answer(b"X: y", start=b"HTTP/1.1 304 Not Modified"),
    answer(b"Content-Length: 3", start=b"HTTP/1.1 304 Not Modified"),
    answer(b"Link: x", start=b"HTTP/1.1 103 Early Hints"),
    answer(start=b"HTTP/1.1 100 Continue"),
    answer(b"Connection: close", body=b"abc"),
    answer(b"Content-Length: 3", body=b"abc", start=b"HTTP/1.0 404 Not Found"),
    answer(b"Connection: Upgrade", b"Upgrade: websocket", start=b"HTTP/1.1 101 Switching Protocols"),
]

HOSTILE_ANSWERS: Final[list[bytes]] = [
    *(answer(b"Content-Length: " + value, body=b"abc") for value in _LENGTHS),
    *(answer(b"Content-Length: 3", b"Content-Length: " + value, body=b"abc") for value in (*_LENGTHS, b"3")),
    *(answer(b"Transfer-Encoding: " + value, body=_CHUNKS) for value in _CODINGS),
    *(answer(b"Content-Length: 13", b"Transfer-Encoding: " + value, body=_CHUNKS) for value in _CODINGS),
    *(answer(name + b": chunked", body=_CHUNKS) for name in _NAMES),
    *(answer(b"Content-Length: 13", name + b": chunked", body=_CHUNKS) for name in _NAMES),
    *(answer(b"Transfer-Encoding: chunked", body=size + b"\r\nabc\r\n0\r\n\r\n") for size in _SIZES),
    *(
        answer(line, start=b"HTTP/1.1 " + status, body=body)
        for status in (b"100 C", b"101 S", b"103 E", b"199 X", b"204 N", b"205 R", b"304 N", b"200", b"999 X", b"099 X")
        for line, body in ((b"Content-Length: 3", b"abc"), (b"Transfer-Encoding: chunked", _CHUNKS), (b"X: y", b""))
    ),
    answer(b"Transfer-Encoding: chunked", start=b"HTTP/1.0 200 OK", body=_CHUNKS),
    answer(b"Content-Length: 3", start=b"HTTP/2.0 200 OK", body=b"abc"),
    answer(b"Content-Length: 3", start=b"HTTP/1.1  200 OK", body=b"abc"),
    answer(b"Content-Length: 3", start=b"HTTP/1.1 200 OK\nX: y", body=b"abc"),
    b"\r\n" + answer(b"Content-Length: 3", body=b"abc"),
    answer(b"Content-Length: 3", body=b"abc").replace(b"\r\n", b"\n"),
]  # fmt: skip

# What is put into, or in the place of, valid bytes to see what it does.
POISONS: Final[list[bytes]] = [
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\x00", b"\x0b", b"\x0c", b" ", b"\t", b"\x7f", b"\x80",
    b"\xff", b":", b";", b",",
    b"0", b"1", b"3", b"f", b"0x", b"+", b"-", b"_", b'"', b"#", b"*", b"@", b"/", b"\\", b"\r\n ", b"\r\n\t",
    b"chunked", b"close",
    b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Host: b\r\n", b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Upgrade: x\r\n", b"0\r\n\r\n",
    b"3\r\nabc\r\n", b"HTTP/1.0", b"HTTP/1.1",
]  # fmt: skip

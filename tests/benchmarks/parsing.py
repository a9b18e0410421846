"""What one request head costs to parse: by Duck, by llhttp (httptools) with the checks Duck would have to add, by h11.

    python -m tests.benchmarks.parsing

CPU time of this process in microseconds for one head; every parser in turn, eleven rounds, the least and the median.
`docs/explanation/http-parsing.md` holds a run of it.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Final

import h11
import httptools

from duck.exceptions import ProtocolError
from duck.wire.field_block import (
    CLAIM,
    CONNECTION,
    CONTENT_LENGTH,
    HOST,
    SPELLINGS,
    TRANSFER_ENCODING,
    check_authority,
    field_block,
    kind_of,
    parse_content_length,
    parse_field_block,
)
from duck.wire.fields import tokens
from duck.wire.h1 import parse_request_head
from duck.wire.head import FieldBlock, RequestHead

ROUNDS: Final = 11
HEADS: Final = 2000  # all different: more than Duck remembers

LINE: Final = b"GET /products/detail/42?tab=reviews HTTP/1.1\r\n"
BROWSER: Final = (
    b"Host: www.example.org\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Referer: https://www.example.org/products/list?page=%d\r\n"
    b"Connection: keep-alive\r\n"
    b"Cookie: csrftoken=abcdefghijklmnopqrstuvwxyz012345; sessionid=0123456789abcdefghijklmnopqr%04d\r\n"
    b"Upgrade-Insecure-Requests: 1\r\n"
    b"Sec-Fetch-Dest: document\r\n"
    b"Sec-Fetch-Mode: navigate\r\n"
    b"Sec-Fetch-Site: same-origin\r\n"
    b"Priority: u=0, i\r\n"
)
PROGRAM: Final = b"Host: 127.0.0.1:8000\r\nUser-Agent: curl/8.5.%d\r\nAccept: */*\r\nCookie: a=%d\r\n"


class Gather:
    """The fields that llhttp calls back with."""

    __slots__ = ("fields", "url")

    def __init__(self) -> None:
        self.url = b""
        self.fields: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))


def llhttp_fields(head: bytes) -> None:
    """Tokenised, and the fields in a list: as much as a server needs that trusts llhttp with the rest."""
    gathered = Gather()
    parser = httptools.HttpRequestParser(gathered)
    parser.feed_data(head + b"\r\n")
    parser.get_method()


def llhttp_checked(head: bytes) -> RequestHead:
    """The same with what llhttp does not check or tell, as `parse_request_head` gives it."""
    gathered = Gather()
    parser = httptools.HttpRequestParser(gathered)
    parser.feed_data(head + b"\r\n")
    target = gathered.url
    if not target.startswith(b"/") or b"#" in target:
        raise ProtocolError("a malformed request target")
    block = FieldBlock(gathered.fields)
    connection: list[bytes] = []
    codings: list[bytes] = []
    length: bytes | None = None
    for index, (name, value) in enumerate(gathered.fields):
        kind = SPELLINGS.get(name, -1)
        if kind < 0:
            kind = kind_of(name)
        if kind == 0:
            continue
        if kind == HOST:
            if block.authority is not None:
                raise ProtocolError("more than one Host")
            check_authority(value)
            block.authority = value
        elif kind == CONTENT_LENGTH:
            if length is not None:
                raise ProtocolError("more than one Content-Length")
            length = value
        elif kind == CLAIM:
            block.claims.append(index)
        else:
            block.hops.append(index)
            if kind == CONNECTION:
                connection.append(value)
            elif kind == TRANSFER_ENCODING:
                codings.append(value)
    if codings:
        if length is not None or codings != [b"chunked"]:
            raise ProtocolError("a Transfer-Encoding that does not say where the body ends")
        block.content_length = None
    elif length is not None:
        block.content_length = parse_content_length(length)
    if connection:
        options = tokens(connection)
        block.close = b"close" in options
        block.keep_alive = b"keep-alive" in options
        block.connection_named = tuple([option for option in options if option not in (b"close", b"keep-alive")])
    if block.authority is None:
        raise ProtocolError("no Host")
    return RequestHead(
        parser.get_method(),
        target,
        block,
        authority=block.authority,
        content_length=block.content_length,
        keep_alive=parser.get_http_version() == "1.1" and not block.close,
    )


def h11_request(head: bytes) -> None:
    """One event of h11's."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head + b"\r\n")
    connection.next_event()


def measure(heads: list[bytes], sessions: list[bytes]) -> dict[str, tuple[float, float]]:
    """Least and median cost of one head, in microseconds, by parser; `sessions` differ in their cookies alone."""
    blocks = [head[len(LINE) :] for head in heads]
    same = [heads[0]] * len(heads)
    rows: list[tuple[str, Callable[[bytes], object], list[bytes]]] = [
        ("Duck: fields alone, not seen before", lambda block: parse_field_block(block, 100), blocks),
        # Cut out of the head each time, as in life: the hash of the bytes is part of the look-up.
        ("Duck: fields alone, seen before", lambda head: field_block(head[len(LINE) :], 100), same),
        ("Duck: the head, fields not seen before", parse_request_head, heads),
        ("Duck: the head, another cookie each", parse_request_head, sessions),
        ("Duck: the head, fields seen before", parse_request_head, same),
        ("llhttp: fields in a list, nothing checked", llhttp_fields, heads),
        ("llhttp: the head, with Duck's checks", llhttp_checked, heads),
        ("h11: the head", h11_request, heads[:200]),
    ]
    found: dict[str, list[float]] = {name: [] for name, _, _ in rows}
    for _ in range(ROUNDS):
        for name, parse, inputs in rows:
            started = time.process_time_ns()
            for data in inputs:
                parse(data)
            found[name].append((time.process_time_ns() - started) / len(inputs) / 1000)
    return {name: (min(costs), statistics.median(costs)) for name, costs in found.items()}


def main() -> None:
    """Print both tables."""
    gc.disable()
    for title, fields in (("a browser's 13 fields", BROWSER), ("a program's 4 fields", PROGRAM)):
        print(title)
        heads = [LINE + fields % (number, number) for number in range(HEADS)]
        sessions = [LINE + fields % (0, number) for number in range(HEADS)]
        for name, (least, median) in measure(heads, sessions).items():
            print(f"  {name:45} {least:6.2f} {median:6.2f}")


if __name__ == "__main__":
    main()

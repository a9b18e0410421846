"""Requests that cannot be understood have a line in the access log as others have."""

from __future__ import annotations

import json

import pytest

from duck.net.exchange_log import ExchangeLog
from duck.net.unread import begun
from duck.wire import h2_frames as frames
from duck.wire.head import MAX_TOLD
from tests.net.front import Front, answers, get
from tests.net.h2_client import Client
from tests.wire.h2_peer import frame

MOMENT = 1_700_000_000.25


def lines(front: Front, style: str) -> list[str]:
    """What the log says of all that could not be understood."""
    written: list[str] = []
    log = ExchangeLog(style, written.append, wall_clock=lambda: MOMENT)
    for exchange in front.unread:
        log.ended(exchange)
    return "".join(written).splitlines()


def told(front: Front) -> list[tuple[bytes, bytes, int, int, int]]:
    return [
        (one.request.method, one.request.target, one.request.version, one.status, one.bytes_sent)
        for one in front.unread
    ]


@pytest.mark.parametrize(
    ("data", "method", "target", "version", "status"),
    [
        (get("/a?b=c", "X : y"), b"GET", b"/a?b=c", 11, 400),
        (get("/a", "Expect: miracles", version="1.0"), b"GET", b"/a", 10, 417),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"GET", b"/" + b"a" * (MAX_TOLD - 1), 11, 414),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 102, b"GET", b"/", 11, 431),
        (b"GET /a HTTP/9.9\r\n\r\n", b"-", b"-", 0, 505),
        (b"\r\n\r\n", b"-", b"-", 0, 400),
        (b"nonsense\r\n\r\n", b"-", b"-", 0, 400),
        (b"GET /\x1b[31m HTTP/1.1\r\nHost: a\r\n\r\n", b"-", b"-", 0, 400),
    ],
)
def test_what_could_be_read_is_told(data: bytes, method: bytes, target: bytes, version: int, status: int) -> None:
    front = Front()
    client = front.connect()
    client.receive(data)
    ((_, _, body),) = answers(client.pop_sent())
    assert told(front) == [(method, target, version, status, len(body))]
    front.pass_time(3)
    front.check_clean()


def test_each_format_has_its_line() -> None:
    front = Front()
    front.ask(get("/a", "X : y"))
    front.ask(b"nonsense\r\n\r\n")
    first, second = front.unread
    ids = first.id.decode(), second.id.decode()
    client, sizes = first.peer.host, [one.bytes_sent for one in front.unread]
    errors = [str(one.error) for one in front.unread]
    assert lines(front, "text") == [
        f'2023-11-14T22:13:20.250Z {client} GET /a HTTP/1.1 400 {sizes[0]} 0.000000 {ids[0]} - "{errors[0]}"',
        f'2023-11-14T22:13:20.250Z {client} - - - 400 {sizes[1]} 0.000000 {ids[1]} - "{errors[1]}"',
    ]
    begin = f"{client} - - [14/Nov/2023:22:13:20 +0000]"
    assert lines(front, "combined") == [
        f'{begin} "GET /a HTTP/1.1" 400 {sizes[0]} "-" "-" "{ids[0]}"',
        f'{begin} "- - -" 400 {sizes[1]} "-" "-" "{ids[1]}"',
    ]
    assert lines(front, "dev")[1].endswith(f"] 400 - - {sizes[1]} B 0.0 ms ({errors[1]})")
    said = [json.loads(line) for line in lines(front, "json")]
    assert [(one["method"], one["target"], one["protocol"], one["status"], one["error"]) for one in said] == [
        ("GET", "/a", "HTTP/1.1", 400, errors[0]),
        ("-", "-", "-", 400, errors[1]),
    ]


def test_a_head_that_comes_too_slowly_has_one() -> None:
    front = Front(head_timeout_s=5)
    front.connect().receive(b"GET /slow HTTP/1.1\r\nX: ")
    front.pass_time(6)
    assert [one[:4] for one in told(front)] == [(b"GET", b"/slow", 11, 408)]


def test_a_refused_head_request_has_sent_no_body() -> None:
    front = Front()
    front.ask(get("/a", "X : y", method="HEAD"))
    assert told(front) == [(b"HEAD", b"/a", 11, 400, 0)]


def test_a_connection_that_is_one_too_many_is_no_request() -> None:
    front = Front(max_connections=1)
    front.connect()
    assert front.connect().pop_sent().startswith(b"HTTP/1.1 503 ")
    assert front.refused == [503] and not front.unread


def test_of_http2_both_what_is_answered_and_what_is_reset_is_told() -> None:
    front = Front(max_target_bytes=100)
    client = Client(front)
    long = client.ask("/" * 200)
    refused = client.ask("/b", ("expect", "x"))
    client.raw(frame(frames.HEADERS, 5, 5, b"\x82\x87\x04\x02/c\x01\x01x\x00\x01A\x01b"))
    assert told(front) == [
        (b"GET", b"/" * 200, 20, 414, len(long.body)),
        (b"GET", b"/b", 20, 417, len(refused.body)),
        (b"GET", b"/c", 20, 0, 0),
    ]
    assert [line.split()[2:6] for line in lines(front, "text")][2] == ["GET", "/c", "HTTP/2", "-"]


def test_a_fault_of_a_connection_of_http2_is_no_request() -> None:
    front = Front()
    client = Client(front)
    client.raw(frame(frames.PING, 0, 1, b"8" * 8))
    assert front.refused == [400] and not front.unread


def test_a_line_that_is_none_is_not_told() -> None:
    for data in (b"GET / HTTP/1.1", b"GET /a b HTTP/1.1\r\n", b"\x16\x03\x01", b""):
        assert begun(data).method == b"-"

"""The access log: what a line says, that nobody can forge one, and when lines are written."""

from __future__ import annotations

import errno
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duck.exceptions import ClientGone
from duck.net.exchange_log import PIECE_BYTES, ExchangeLog
from duck.net.peer import Peer
from duck.testing import record_exchange
from duck.wire.head import RequestHead

if TYPE_CHECKING:
    from collections.abc import Callable

    from duck.net.exchange import Exchange

MOMENT = 1_700_000_000.25
STYLES = ["dev", "text", "json", "combined"]
ID = "[0-9a-f]{18,}"


def an_exchange(
    target: bytes = b"/a?b=c",
    user_agent: bytes = b"curl/8",
    referer: bytes = b"http://x/",
    *,
    method: bytes = b"GET",
    version: int = 11,
    **changes: Any,
) -> Exchange:
    exchange, _ = record_exchange()
    fields = [(b"User-Agent", user_agent), (b"Referer", referer)]
    exchange.request = RequestHead(method, target, [pair for pair in fields if pair[1]], version=version)
    exchange.status = 200
    exchange.bytes_sent = 1234
    exchange.started, exchange.dispatched_at, exchange.ended_at = 100.0, 100.002, 100.0042
    exchange.waited_s = 0.0015
    exchange.backend = "django"
    for name, value in changes.items():
        setattr(exchange, name, value)
    return exchange


def line_of(style: str, exchange: Exchange, **more: Any) -> str:
    written: list[str] = []
    ExchangeLog(style, written.append, wall_clock=lambda: MOMENT, **more).ended(exchange)
    return "".join(written)


def test_text_says_all_that_matters_in_columns() -> None:
    exchange = an_exchange()
    assert line_of("text", exchange) == (
        f'2023-11-14T22:13:20.250Z 127.0.0.1 GET /a?b=c HTTP/1.1 200 1234 0.004200 {exchange.id.decode()} "django" -\n'
    )
    exchange = an_exchange(backend="", error=ClientGone("the client left"), status=0)
    assert line_of("text", exchange).endswith(f' - 1234 0.004200 {exchange.id.decode()} - "the client left"\n')


def test_combined_is_that_of_apache_and_nginx_and_the_id() -> None:
    exchange = an_exchange()
    begin = '127.0.0.1 - - [14/Nov/2023:22:13:20 +0000] "GET /a?b=c HTTP/1.1" 200 1234'
    assert line_of("combined", exchange) == f'{begin} "http://x/" "curl/8" "{exchange.id.decode()}"\n'
    exchange = an_exchange(user_agent=b"", referer=b"", peer=Peer("", 0, "localhost", 80))
    assert re.fullmatch(rf'unix: - - \[.*\] ".*" 200 1234 "-" "-" "{ID}"\n', line_of("combined", exchange))


def test_json_says_everything() -> None:
    exchange = an_exchange(error=ClientGone("the client left"))
    assert json.loads(line_of("json", exchange)) == {
        "time": "2023-11-14T22:13:20.250Z",
        "id": exchange.id.decode(),
        "client": "127.0.0.1",
        "method": "GET",
        "target": "/a?b=c",
        "protocol": "HTTP/1.1",
        "status": 200,
        "bytes": 1234,
        "duration_ms": 4.2,
        "wait_ms": 1.5,
        "upstream_ms": 2.2,
        "backend": "django",
        "user_agent": "curl/8",
        "referer": "http://x/",
        "error": "the client left",
    }
    told = json.loads(line_of("json", an_exchange(backend="", dispatched_at=0.0, waited_s=0.0, status=0)))
    assert [told[key] for key in ("status", "wait_ms", "upstream_ms", "backend")] == [None, None, None, ""]
    assert "error" not in told
    streamed = json.loads(line_of("json", an_exchange(answered_at=100.003)))
    assert streamed["upstream_ms"] == 1.0


def test_development_has_short_lines() -> None:
    assert line_of("dev", an_exchange())[10:] == " 200 GET /a?b=c 1.2 kB 4.2 ms\n"
    error = ClientGone("it\nfailed")
    exchange = an_exchange(status=502, error=error, ended_at=112.0, bytes_sent=0)
    assert line_of("dev", exchange)[10:] == " 502 GET /a?b=c 0 B 12.0 s (it\\x0afailed)\n"
    assert line_of("dev", an_exchange(status=0, bytes_sent=2_500_000))[10:] == " --- GET /a?b=c 2.5 MB 4.2 ms\n"


@pytest.mark.parametrize(("status", "code"), [(101, 36), (200, 32), (304, 36), (404, 33), (500, 31), (0, 31)])
def test_the_status_is_coloured_by_its_class(status: int, code: int) -> None:
    line = line_of("dev", an_exchange(status=status), colour=True)
    assert f"\x1b[{code}m{status or '---'}\x1b[0m" in line


HOSTILE = st.one_of(
    st.binary(max_size=40),
    st.text(alphabet='"\\\n\r\t\x00\x1b\x7f {}:,\u2028é', max_size=20).map(lambda text: text.encode()),
)


@given(HOSTILE, st.sampled_from(STYLES))
def test_nothing_a_client_sends_makes_a_second_line_or_reaches_the_terminal(value: bytes, style: str) -> None:
    error = ClientGone(value.decode("latin-1"))
    exchange = an_exchange(value, value, value, method=value or b"X", error=error, backend=value.decode("latin-1"))
    line = line_of(style, exchange)
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert line.isascii()
    if style == "combined":
        assert line.count('"') == 8
    elif style == "json":
        told = json.loads(line)
        assert told["target"] == told["user_agent"] == told["referer"] == told["error"] == value.decode("latin-1")
        assert told["method"] == (value or b"X").decode("latin-1")
        assert len(told) == 15


def test_what_is_kept_of_a_program_is_kept_for_one_style() -> None:
    exchange = an_exchange(user_agent=b'"x')
    assert json.loads(line_of("json", exchange))["user_agent"] == '"x'
    assert '"\\x22x"' in line_of("combined", exchange)
    assert json.loads(line_of("json", exchange))["user_agent"] == '"x'


def test_a_quiet_path_is_told_only_where_a_backend_answered() -> None:
    assert line_of("text", an_exchange(b"/quiet?x", backend=""), quiet_path=b"/quiet") == ""
    assert line_of("text", an_exchange(b"/quiet?x"), quiet_path=b"/quiet") != ""


class Timers:
    """A loop's `call_later`."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Callable[[], None]]] = []

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        self.waiting.append((seconds, callback))

    def run(self) -> None:
        waiting, self.waiting = self.waiting, []
        for _, callback in waiting:
            callback()


def test_lines_wait_for_each_other_and_leave_in_one_write() -> None:
    written: list[str] = []
    timers = Timers()
    log = ExchangeLog("text", written.append, timers.later)
    for _ in range(3):
        log.ended(an_exchange())
    assert not written
    assert [seconds for seconds, _ in timers.waiting] == [0.1]
    timers.run()
    assert [piece.count("\n") for piece in written] == [3]
    log.ended(an_exchange())
    assert len(timers.waiting) == 1


def test_who_develops_need_not_wait() -> None:
    timers = Timers()
    ExchangeLog("dev", print, timers.later).ended(an_exchange())
    assert [seconds for seconds, _ in timers.waiting] == [0.0]


@pytest.mark.parametrize("style", ["text", "json", "combined"])
def test_what_waits_is_bounded_and_pieces_are_whole_lines(style: str) -> None:
    written: list[str] = []
    timers = Timers()
    log = ExchangeLog(style, written.append, timers.later)
    for number in range(500):
        log.ended(an_exchange(b"/%d" % number))
    assert len(timers.waiting) <= len(written) + 1
    timers.run()
    assert all(piece.endswith("\n") and len(piece) <= PIECE_BYTES for piece in written)
    assert "".join(written).count("\n") == 500
    assert [int(n) for n in re.findall(r"[ \"]/(\d+)", "".join(written))] == list(range(500))


def test_a_line_longer_than_a_piece_stands_alone() -> None:
    written: list[str] = []
    timers = Timers()
    log = ExchangeLog("text", written.append, timers.later)
    for target in (b"/1", b"/" + b"x" * 9000, b"/2"):
        log.ended(an_exchange(target))
    log.flush()
    assert [piece.count("\n") for piece in written] == [1, 1, 1]


def test_at_its_end_all_is_written_and_what_still_comes_at_once() -> None:
    written: list[str] = []
    timers = Timers()
    log = ExchangeLog("text", written.append, timers.later)
    log.ended(an_exchange())
    log.close()
    assert len(written) == 1
    log.ended(an_exchange())
    assert len(written) == 2
    timers.run()
    assert len(written) == 2


@pytest.mark.parametrize(
    "error", [BrokenPipeError(), OSError(errno.ENOSPC, "disk full"), BlockingIOError(), ValueError("closed file")]
)
def test_a_log_that_cannot_be_written_is_lost_and_nothing_else(error: Exception) -> None:
    def write(text: str) -> None:
        raise error

    timers = Timers()
    log = ExchangeLog("text", write, timers.later)
    for _ in range(100):
        log.ended(an_exchange())
    timers.run()
    log.close()
    log.ended(an_exchange())

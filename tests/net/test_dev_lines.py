"""What who develops reads of each request: a line, and one for the files of a page."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duck.net.dev_lines import LONGEST_S, QUIET_S
from duck.net.exchange import FILES, Exchange
from duck.net.exchange_log import ExchangeLog
from duck.net.measure import Measure
from tests.net.test_exchange_log import MOMENT, Timers, an_exchange, line_of


def unstamped(line: str) -> str:
    """`line` without the time and the space behind it."""
    return re.sub(r"^(\x1b\[2m)?\[\d\d:\d\d:\d\d\](\x1b\[0m)? ", "", line)


def dev(exchange: Exchange, **more: Any) -> str:
    """The line without its time."""
    return unstamped(line_of("dev", exchange, **more).rstrip("\n"))


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        (None, "200 GET /a?b=c 1.2 kB 4.2 ms"),
        (Measure(0, 0.0, 0.0, 0.003), "200 GET /a?b=c 1.2 kB 4.2 ms, no queries"),
        (Measure(1, 0.0011, 0.0, 0.003), "200 GET /a?b=c 1.2 kB 4.2 ms, 1 query 1.1 ms"),
        (Measure(37, 0.0255, 0.0, 0.003), "200 GET /a?b=c 1.2 kB 4.2 ms, 37 queries 26 ms"),
    ],
)
def test_queries_and_their_time_are_said_where_they_are_known(measure: Measure | None, said: str) -> None:
    assert dev(an_exchange(measure=measure)) == said


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"status": 200}, "\x1b[32m200\x1b[0m GET /a?b=c 1.2 kB 4.2 ms"),
        ({"status": 500}, "\x1b[31m500\x1b[0m GET \x1b[31m/a?b=c\x1b[0m 1.2 kB"),
        ({"ended_at": 102.0}, "1.2 kB \x1b[33m2000 ms\x1b[0m"),
        ({"ended_at": 102.0, "open_ended": True}, "1.2 kB 2000 ms"),
        ({"measure": Measure(3, 0.001, 0.0, 0.1)}, "\x1b[2m, 3 queries 1.0 ms\x1b[0m"),
        ({"measure": Measure(50, 0.001, 0.0, 0.1)}, "\x1b[33m, 50 queries 1.0 ms\x1b[0m"),
    ],
)
def test_colours_tell_the_outcome(changes: dict[str, Any], part: str) -> None:
    assert part in dev(an_exchange(**changes), colour=True)


def test_a_long_path_loses_its_middle_at_a_terminal_and_nowhere_else() -> None:
    target = b"/static/" + b"x" * 200 + b"/the-end.js"
    assert target.decode() in dev(an_exchange(target))
    line = line_of("dev", an_exchange(target), width=lambda: 80)
    assert len(line) - 1 == 80
    assert "/static/xx" in line and "..." in line and "/the-end.js 1.2 kB" in line
    narrow = dev(an_exchange(target), width=lambda: 10)
    assert narrow.startswith("200 GET /static/xxx") and "..." in narrow
    assert "/a?b=c" in dev(an_exchange(), width=lambda: 10)


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([None, Measure(123, 1.5, 0.0, 2.0)]))
def test_a_line_is_no_wider_than_the_terminal_that_has_room_for_it(
    length: int, width: int, measure: Measure | None
) -> None:
    target = b"/" * length
    line = line_of("dev", an_exchange(target, measure=measure), width=lambda: width).rstrip("\n")
    whole = line_of("dev", an_exchange(target, measure=measure)).rstrip("\n")
    assert len(line) <= max(width, len(whole) - length + 24)
    assert line == whole or len(line) < len(whole)


def test_what_duck_asks_of_itself_is_no_news() -> None:
    assert line_of("dev", an_exchange(b"/.duck/socket", backend="")) == ""
    assert line_of("dev", an_exchange(b"/.duck/socket")) != "", "Django has answered it"


class Console:
    """A log whose timers the test runs, and what it has written."""

    def __init__(self, **more: Any) -> None:
        self.timers = Timers()
        self.written: list[str] = []
        self.now = 100.0
        self.log = ExchangeLog("dev", self.written.append, self.timers.later, wall_clock=lambda: MOMENT, **more)

    def file(self, size: int = 1000, status: int = 200, **changes: Any) -> None:
        """A file has been answered, a millisecond after the one before it."""
        self.now += 0.001
        changes = {"backend": FILES, "started": self.now - 0.0005, "ended_at": self.now, **changes}
        self.log.ended(an_exchange(b"/static/a.css", bytes_sent=size, status=status, **changes))

    def run(self) -> list[str]:
        """What is written when all timers that are armed now have run."""
        self.timers.run()
        lines = [unstamped(line) for line in "".join(self.written).splitlines()]
        self.written.clear()
        return lines


def test_the_files_of_a_page_are_one_line_when_no_more_come() -> None:
    console = Console()
    console.log.ended(an_exchange(b"/"))
    for _ in range(14):
        console.file(size=16_500)
    assert console.run() == ["200 GET / 1.2 kB 4.2 ms"]
    assert console.run() == []  # more have come since it was looked at first
    console.timers.run()
    assert console.run() == ["  + 14 static files, 231.0 kB, 14 ms"]
    assert console.timers.waiting == []


def test_modules_of_a_front_end_server_are_files_and_what_goes_wrong_there_is_not() -> None:
    console = Console(file_server="vite")
    console.file()
    console.file(backend="vite")
    console.file(backend="vite", status=500)
    console.file(backend="django pages 7")
    first, second, third = until_written(console)
    assert first == "  + 2 static files, 2.0 kB, 1.5 ms"
    assert second.startswith("500 GET ")
    assert third.startswith("200 GET ")
    console.file(backend="")
    console.file(backend="")
    assert len(until_written(console)) == 2


def until_written(console: Console) -> list[str]:
    for _ in range(20):
        lines = console.run()
        if lines:
            return lines
    raise AssertionError("nothing was written")


def test_files_that_were_not_modified_are_told_of() -> None:
    console = Console()
    for status in (304, 200, 304):
        console.file(size=0 if status == 304 else 500, status=status)
    assert until_written(console) == ["  + 3 static files (2 not modified), 500 B, 2.5 ms"]


def test_one_file_is_told_of_like_any_request() -> None:
    console = Console()
    console.file()
    assert until_written(console) == ["200 GET /static/a.css 1.0 kB 0.5 ms"]


@pytest.mark.parametrize("changes", [{"status": 404}, {"status": 200, "error": OSError("cut")}])
def test_a_file_that_failed_stands_alone_behind_those_before_it(changes: dict[str, Any]) -> None:
    console = Console()
    console.file()
    console.file()
    console.file(**changes)
    first, second = until_written(console)
    assert first == "  + 2 static files, 2.0 kB, 1.5 ms"
    assert second.startswith(f"{changes['status']} GET /static/a.css")


def test_the_next_page_comes_behind_the_files_before_it() -> None:
    console = Console()
    console.file()
    console.file()
    console.log.ended(an_exchange(b"/next"))
    console.file()
    assert until_written(console)[:2] == ["  + 2 static files, 2.0 kB, 1.5 ms", "200 GET /next 1.2 kB 4.2 ms"]
    assert until_written(console) == ["200 GET /static/a.css 1.0 kB 0.5 ms"]


def test_files_that_never_cease_are_told_of_all_the_same() -> None:
    console = Console()
    written: list[str] = []
    for _ in range(100):
        console.now += QUIET_S
        console.file()
        console.file()
        written += console.run()
    # As many lines as there are spans of the longest time, and what waits is bounded by it.
    assert len(written) >= 100 * QUIET_S / (LONGEST_S + 2 * QUIET_S) - 1
    assert all(line.startswith("  + ") for line in written)


def test_at_the_end_nothing_is_kept_back() -> None:
    console = Console()
    console.file()
    console.file()
    console.log.close()
    assert [unstamped(line) for line in console.written] == ["  + 2 static files, 2.0 kB, 1.5 ms\n"]
    console.file()
    assert len(console.written) == 2, "and what still comes is told at once"


@pytest.mark.parametrize("style", ["text", "json", "combined"])
def test_other_styles_fold_nothing(style: str) -> None:
    written: list[str] = []
    timers = Timers()
    log = ExchangeLog(style, written.append, timers.later)
    for _ in range(5):
        log.ended(an_exchange(backend=FILES))
    timers.run()
    assert "".join(written).count("\n") == 5

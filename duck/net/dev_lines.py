"""The access log for who develops: a line for each request, and one for all the files of a page.

    [12:00:01] 200 GET /cart/?page=2 1.2 kB 4.2 ms, 3 queries 1.1 ms
    [12:00:01]   + 14 static files (12 not modified), 230.4 kB, 38 ms

Files that were answered well wait for each other until a quarter of a second brings none, two seconds at most, or until
another request has something to say; one alone, and one that has failed, is told of like any request.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from duck.logs import paint
from duck.net.amounts import size_text
from duck.net.exchange import FILES
from duck.net.log_text import safe, safe_text

if TYPE_CHECKING:
    from duck.net.exchange import Exchange
    from duck.net.measure import Measure

QUIET_S: Final = 0.25
LONGEST_S: Final = 2.0

# What Duck itself asks and answers in development.
OWN_PATHS: Final = b"/.duck/"

_RED, _GREEN, _YELLOW, _CYAN, _DIM = "31", "32", "33", "36", "2"
_LEAST_TARGET: Final = 24  # characters of a target that are shown, however narrow the terminal is
_MANY_QUERIES: Final = 50
_SLOW_S: Final = 1.0


class DevLines:
    """Makes the lines of one loop.

    Args:
        later: calls back after so many seconds; None to tell each file at once.
        tell: takes lines that nobody waited for, at their time.
        width: how many columns the terminal has; 0 for no terminal, whose lines are not shortened.
        file_server: the backend whose answers are as good as files, a front-end server; empty for none.
    """

    __slots__ = (
        "_batch",
        "_colour",
        "_count",
        "_file_server",
        "_first",
        "_first_line",
        "_is_armed",
        "_last",
        "_later",
        "_second",
        "_size",
        "_stamp",
        "_tell",
        "_unmodified",
        "_width",
    )

    def __init__(
        self,
        tell: Callable[[str], None],
        later: Callable[[float, Callable[[], None]], object] | None,
        *,
        colour: bool = False,
        width: Callable[[], int] | None = None,
        file_server: str = "",
    ) -> None:
        self._file_server = file_server
        self._tell = tell
        self._later = later
        self._colour = colour
        self._width = width
        self._second = -1
        self._stamp = ""
        self._is_armed = False
        # Of the files that wait:
        self._batch = 0  # how many times files have waited
        self._count = 0
        self._unmodified = 0
        self._size = 0
        self._first = 0.0
        self._last = 0.0
        self._first_line = ""

    def of(self, exchange: Exchange, now: float) -> str:
        """The lines, without the last line feed, to write now that `exchange` has ended; empty for none yet.

        `now` is the time of day.
        """
        if not exchange.backend and exchange.request.path.startswith(OWN_PATHS):
            return ""
        line = self._line(exchange, now)
        if self._later is not None and self._is_quiet(exchange):
            self._fold(exchange, line)
            return ""
        folded = self.unfold()
        return f"{folded}\n{line}" if folded else line

    def unfold(self) -> str:
        """The line for the files that have waited; empty where there are none."""
        count = self._count
        if not count:
            return ""
        self._count = 0
        if count == 1:
            return self._first_line
        unmodified = f" ({self._unmodified} not modified)" if self._unmodified else ""
        duration = _duration(self._last - self._first)
        text = f"  + {count} static files{unmodified}, {size_text(self._size)}, {duration}"
        return f"{self._stamp} {paint(text, _DIM, self._colour)}"

    def at_once(self) -> None:
        """Nobody calls back any more: let nothing wait."""
        self._later = None

    # -- files ----------------------------------------------------------------------------------------------------

    def _fold(self, exchange: Exchange, line: str) -> None:
        if not self._count:
            self._batch += 1
            self._first_line = line
            self._first = exchange.started
            self._size = self._unmodified = 0
            self._last = exchange.ended_at
        self._count += 1
        self._size += exchange.bytes_sent
        self._unmodified += exchange.status == 304
        self._first = min(self._first, exchange.started)
        self._last = max(self._last, exchange.ended_at)
        if not self._is_armed and self._later is not None:
            self._is_armed = True
            self._wait(self._count)

    def _wait(self, count: int) -> None:
        """Look again after a while whether more than `count` files wait by then."""
        batch = self._batch

        def look() -> None:
            self._is_armed = False
            if not self._count:
                return
            if self._batch != batch or (self._count > count and self._last - self._first < LONGEST_S):
                self._is_armed = True
                self._wait(self._count)
            else:
                self._tell(self.unfold())

        if self._later is not None:
            self._later(QUIET_S, look)

    # -- lines ----------------------------------------------------------------------------------------------------

    def _line(self, exchange: Exchange, now: float) -> str:
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = paint(time.strftime("[%H:%M:%S]", time.localtime(second)), _DIM, self._colour)
        colour = self._colour
        status = exchange.status
        request = exchange.request
        seconds = exchange.ended_at - exchange.started
        method, shown = safe(request.method), str(status) if status else "---"
        size, duration = size_text(exchange.bytes_sent), _duration(seconds)
        cost = "" if exchange.measure is None else ", " + _cost(exchange.measure)
        error = f" ({safe_text(str(exchange.error))})" if exchange.error is not None else ""
        # The stamp has ten characters, and between the parts stand five.
        others = 15 + len(shown) + len(method) + len(size) + len(duration) + len(cost)
        target = self._shortened(safe(request.target), others)
        if colour:
            shown = paint(shown, _status_colour(status), True)
            if seconds >= _SLOW_S and not exchange.open_ended:
                duration = paint(duration, _YELLOW, True)
            if cost:
                many = exchange.measure is not None and exchange.measure.queries >= _MANY_QUERIES
                cost = paint(cost, _YELLOW if many else _DIM, True)
            if status >= 500 or status == 0:
                target = paint(target, _RED, True)
        return f"{self._stamp} {shown} {method} {target} {size} {duration}{cost}{error}"

    def _is_quiet(self, exchange: Exchange) -> bool:
        backend = exchange.backend
        if backend != FILES and (not backend or backend != self._file_server):
            return False
        return exchange.error is None and 200 <= exchange.status < 400

    def _shortened(self, target: str, others: int) -> str:
        """`target` without its middle, where the line would not fit: its end tells more than its middle does."""
        width = self._width() if self._width is not None else 0
        room = max(_LEAST_TARGET, width - others)
        if not width or len(target) <= room:
            return target
        tail = (room - 3) // 2
        return f"{target[: room - 3 - tail]}...{target[len(target) - tail :]}"


def _cost(measure: Measure) -> str:
    if measure.queries == 0:
        return "no queries"
    return f"{measure.queries} quer{'y' if measure.queries == 1 else 'ies'} {_duration(measure.database_s)}"


def _status_colour(status: int) -> str:
    if status >= 500 or status == 0:
        return _RED
    if status >= 400:
        return _YELLOW
    return _CYAN if status >= 300 or status < 200 else _GREEN


def _duration(seconds: float) -> str:
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.1f} s"

"""What one loop counts of its exchanges and connections, and the sum of many such counts. Hot code.

`Stats.count` is called once for each exchange, whether there is an access log or not, and costs 0.3 to 0.5 us.
Everything is a list of numbers or a number: read from another thread they may be a request apart, never wrong.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from duck.exceptions import BackendError, ClientGone
from duck.net.exchange import CUT, FILES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from duck.net.exchange import Exchange

# By method, and by the first digit of the status; 0 where nothing was answered. Other methods are one group: clients
# choose their names.
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other")
CLASSES: Final = 6
_ROWS: Final = {method.encode(): index * CLASSES for index, method in enumerate(METHODS)}
_OTHER: Final = _ROWS[b"other"]

# Upper bounds, in seconds and bytes; one more bucket has what is above the last. Of no certain length for mypyc, which
# would make a tuple of 15 anew for each look into it.
SECONDS: Final[tuple[float, ...]] = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
)
_FIRST: Final = 0.001  # where most answers are: told without a search
BYTES: Final[tuple[int, ...]] = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000)


class Stats:
    """The counts of one loop, which alone changes them; from 0 at its start, and never down.

    Attributes:
        accepted: connections taken in, those too many included.
        crowded_out: connections that were too many.
        handshakes, handshakes_failed: of TLS, complete, and ended before that.
        upgraded: exchanges that became tunnels.
        tunnels: of these, those that are open now.
    """

    __slots__ = (
        "_cut",
        "_durations",
        "_durations_s",
        "_failures",
        "_files",
        "_gone",
        "_received",
        "_requests",
        "_sent",
        "_sizes",
        "_upstream",
        "_upstream_s",
        "_waits",
        "_waits_s",
        "accepted",
        "crowded_out",
        "handshakes",
        "handshakes_failed",
        "tunnels",
        "upgraded",
    )

    def __init__(self) -> None:
        self.accepted = 0
        self.crowded_out = 0
        self.handshakes = 0
        self.handshakes_failed = 0
        self.upgraded = 0
        self.tunnels = 0
        self._requests = [0] * (len(METHODS) * CLASSES)
        self._durations = [0] * (len(SECONDS) + 1)
        self._durations_s = 0.0
        self._sizes = [0] * (len(BYTES) + 1)
        self._sent = 0
        self._received = 0
        self._upstream = [0] * (len(SECONDS) + 1)
        self._upstream_s = 0.0
        self._waits = [0] * (len(SECONDS) + 1)
        self._waits_s = 0.0
        self._files = 0
        self._cut = 0
        self._gone = 0
        self._failures = {502: 0, 503: 0, 504: 0}

    def count(self, exchange: Exchange) -> None:
        """`exchange` has ended, at its `ended_at`."""
        status = exchange.status
        self._requests[_ROWS.get(exchange.request.method, _OTHER) + (status // 100 if status < 600 else 5)] += 1
        sent = exchange.bytes_sent
        self._sent += sent
        if status != 101:
            # How long a tunnel lasts says nothing of how fast anything is.
            seconds = exchange.ended_at - exchange.started
            self._durations[0 if seconds <= _FIRST else bisect_left(SECONDS, seconds)] += 1
            self._durations_s += seconds
            self._sizes[bisect_left(BYTES, sent)] += 1
        received = exchange.bytes_received
        if received:
            self._received += received
        dispatched = exchange.dispatched_at
        if dispatched:
            answered = exchange.answered_at
            seconds = (answered if answered else exchange.ended_at) - dispatched
            self._upstream[0 if seconds <= _FIRST else bisect_left(SECONDS, seconds)] += 1
            self._upstream_s += seconds
        elif exchange.backend is FILES:
            self._files += 1
        waited = exchange.waited_s
        if waited:
            self._waits[bisect_left(SECONDS, waited)] += 1
            self._waits_s += waited
        elif dispatched:
            self._waits[0] += 1
        if exchange.error is not None:
            self._count_failure(exchange, exchange.error)

    def _count_failure(self, exchange: Exchange, error: Exception) -> None:
        if exchange.answer_state is CUT:
            self._cut += 1
        if isinstance(error, BackendError):
            self._failures[error.status if error.status in self._failures else 502] += 1
        elif isinstance(error, ClientGone):
            self._gone += 1

    @property
    def ended(self) -> int:
        """Exchanges that have ended."""
        return sum(self._requests)

    def snapshot(self) -> dict[str, Any]:
        """All counts as JSON can carry them, to be added to others by `merge`."""
        return {
            "requests": {
                method: self._requests[row * CLASSES : (row + 1) * CLASSES] for row, method in enumerate(METHODS)
            },
            "duration": {"counts": self._durations.copy(), "sum": self._durations_s},
            "answer": {"counts": self._sizes.copy(), "sum": self._sent},
            "received_bytes": self._received,
            "upstream": {"counts": self._upstream.copy(), "sum": self._upstream_s},
            "wait": {"counts": self._waits.copy(), "sum": self._waits_s},
            "files": self._files,
            "cut": self._cut,
            "clients_gone": self._gone,
            "backend_failures": {str(status): count for status, count in self._failures.items()},
            "connections": {"accepted": self.accepted, "crowded_out": self.crowded_out, "upgraded": self.upgraded},
            "tls": {"handshakes": self.handshakes, "failed": self.handshakes_failed},
        }


def merge(snapshots: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum of `snapshots`: numbers are added, lists item by item, mappings by key; what one lacks counts nothing."""
    total: dict[str, Any] = {}
    for snapshot in snapshots:
        for key, value in snapshot.items():
            total[key] = _add(total[key], value) if key in total else _copy(value)
    return total


def _add(one: Any, other: Any) -> Any:
    if isinstance(one, dict):
        return merge((one, other))
    if isinstance(one, list):
        # Of unequal length where two versions of Duck serve for a moment.
        return [left + right for left, right in zip_longest(one, other, fillvalue=0)]
    return one + other


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return value.copy() if isinstance(value, list) else value

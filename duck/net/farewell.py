"""When what would not end by itself is ended, WebSockets and event streams: in order, spread, and by a deadline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# How long both sides of a WebSocket may take to confirm that it ends.
CONFIRM_S: Final = 3.0
# How long before its deadline the last stream is ended: what it sent is taken by then.
BEFORE_THE_CUT_S: Final = 0.25


@dataclass(frozen=True)
class Farewell:
    """Times in seconds, from the moment at which something is to be left.

    Attributes:
        spread_s: over how long the ends of many are spread, so that their clients do not all come back at once; less
            where a deadline leaves less.
        sockets_s: a WebSocket has ended by then: it is told at its turn, and has the rest of the time to end the frame
            that is under way, and of that CONFIRM_S to confirm.
        streams_s: a stream has ended by then, and not much earlier, for many end by themselves.
    """

    spread_s: float = 0.0
    sockets_s: float = CONFIRM_S
    streams_s: float = 0.0

    def sockets(self, count: int) -> list[tuple[float, float]]:
        """For each of `count` WebSockets: when it is told to end, and how long it has from then on."""
        spread_s = min(self.spread_s, self.sockets_s / 2)
        delays = [spread_s * index / count for index in range(count)]
        return [(delay_s, self.sockets_s - delay_s) for delay_s in delays]

    def streams(self, count: int) -> list[float]:
        """For each of `count` streams: when it is ended."""
        spread_s = min(self.spread_s, self.streams_s / 2)
        begin_s = max(0.0, self.streams_s - spread_s - BEFORE_THE_CUT_S)
        return [begin_s + spread_s * index / count for index in range(count)]

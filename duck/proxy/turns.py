"""The slots of one Django process, given out at its pace: in narrow pace one call after the other. Hot code."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from duck.net.clock import NEVER
from duck.net.link_connection import LinkConnection
from duck.proxy.pace import SLOW_S, Pace
from duck.proxy.pool import Pool
from duck.proxy.utilisation import Utilisation
from duck.wire.link import FRONT_BYTES, HARD

if TYPE_CHECKING:
    from collections.abc import Callable

    from duck.net.clock import Clock
    from duck.proxy.upstream import QueueLimits, Upstream


class Turns:
    """Makes the pool of one upstream's slots, hears of every call's start and end, and holds the pool by these.

    In narrow pace one call is the current one; the pool is held until it ends, or has proved to be slow. Slots that the
    process has recalled for another front are given back.
    """

    __slots__ = (
        "_clock",
        "_current",
        "_front",
        "_looking",
        "_loop",
        "_on_idle",
        "_on_lost",
        "_upstream",
        "pace",
        "pool",
        "utilisation",
    )

    def __init__(
        self,
        upstream: Upstream,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        limits: QueueLimits,
    ) -> None:
        self._upstream = upstream
        self._loop = loop
        self._clock = clock
        self._front = os.urandom(FRONT_BYTES)
        self.pace = Pace()
        self.utilisation = Utilisation()
        self._current: LinkConnection | None = None
        self._looking: asyncio.TimerHandle | None = None
        self.pool: Pool[LinkConnection] = Pool(
            upstream,
            loop,
            clock,
            limits,
            self._make,
        )

    def _make(
        self, on_idle: Callable[[LinkConnection], None], on_lost: Callable[[LinkConnection, Exception], None]
    ) -> LinkConnection:
        self._on_idle = on_idle
        self._on_lost = on_lost
        return LinkConnection(
            self._upstream.name, self._upstream.secret, self._started, self._idle, self._lost, self._front
        )

    def _started(self, connection: LinkConnection) -> None:
        connection.started_at = self._clock.time()
        if self.pace.narrow:
            self._current = connection
            self.pool.held = True
            if self._looking is None:
                self._looking = self._loop.call_later(SLOW_S, self._look)

    def _idle(self, connection: LinkConnection) -> None:
        pool = self.pool
        started = connection.started_at
        if started != NEVER:
            connection.started_at = NEVER
            now = self._clock.time()
            crowded = len(pool.waiting) > 0 or pool.busy > 1
            self.pace.ended(now, self.utilisation.told(now, connection.all_us), now - started, crowded)
        if connection is self._current or not self.pace.narrow:
            self._current = None
            pool.held = False
        if connection.recalled and (connection.recalled == HARD or not pool.waiting):
            connection.close()  # the pool hears of its end, and asks again where requests wait
        else:
            self._on_idle(connection)
        if pool.waiting and not pool.held:
            pool.give_idle()

    def _lost(self, connection: LinkConnection, error: Exception) -> None:
        if connection is self._current:
            self._current = None
            self.pool.held = False
        self._on_lost(connection, error)
        if self.pool.waiting:
            self.pool.give_idle()

    def _look(self) -> None:
        """Start another call beside one that has proved to be slow."""
        self._looking = None
        current = self._current
        if current is None:
            return
        self._looking = self._loop.call_later(SLOW_S, self._look)
        if self.pool.waiting and current.started_at + SLOW_S <= self._clock.time():
            self._current = None
            self.pool.held = False
            self.pool.give_idle()

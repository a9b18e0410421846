"""Connections to one upstream: the one used last first, no more than it has slots, and a bounded queue for the rest."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar, cast

from duck.exceptions import BackendBusy, BackendError, BackendTimeout, BackendUnreachable
from duck.net.clock import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from duck.net.clock import Clock
    from duck.proxy.upstream import QueueLimits, Upstream

logger = logging.getLogger("duck.proxy")

MAX_DIALS: Final = 32


class Pooled(Protocol):
    """A connection that a pool keeps; both LinkConnection and UpstreamConnection are such."""

    @property
    def is_usable(self) -> bool:
        """Whether it may take a call now: idle, and as far as is known open at both ends."""

    def close(self) -> None:
        """End it; what it is in use for ends with it."""


C = TypeVar("C", bound=Pooled)
C_contra = TypeVar("C_contra", bound=Pooled, contravariant=True)


class Waiter(Protocol[C_contra]):
    """Who wants a connection."""

    queued_at: float

    def ready(self, connection: C_contra) -> None:
        """Use this connection now."""

    def refused(self, error: BackendError) -> None:
        """There is none to be had."""


class Pool(Generic[C]):
    """The connections of one worker to one upstream.

    `make(on_idle, on_lost)` gives a protocol for a new connection.

    Attributes:
        busy: connections in use.
        waiting: who waits for one, in order.
        held: for the time being no connection is given out, though some are idle.
        upgraded: what became tunnels: they stay open for long and cost a server no work, so they take no slot.
    """

    def __init__(
        self,
        upstream: Upstream,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        limits: QueueLimits,
        make: Callable[[Callable[[C], None], Callable[[C, Exception], None]], C],
    ) -> None:
        self.upstream = upstream
        self.deadline = NEVER
        self.held = False
        self.waiting: deque[Waiter[C]] = deque()
        self.idle: list[C] = []
        self.open: set[C] = set()
        self.upgraded: set[C] = set()
        self._loop = loop
        self._clock = clock
        self._make = make
        self._limits = limits
        self._dials: dict[C, asyncio.Task[None]] = {}
        self._fresh: set[C] = set()  # being dialled, or connected and not yet usable; `open` has them, too
        self._closing = False
        self._on_empty: Callable[[], None] | None = None
        clock.watched.add(self)

    @property
    def busy(self) -> int:
        """Connections in use."""
        return len(self.open) - len(self.idle) - len(self._fresh)

    @property
    def free(self) -> int:
        """How many more calls could start now."""
        return self.upstream.slots - self.busy - len(self.waiting)

    def acquire(self, waiter: Waiter[C]) -> None:
        """Give `waiter` a connection: at once, or when one is free or has been dialled."""
        idle = self.idle
        while idle and not self.held:
            connection = idle.pop()
            if connection.is_usable:
                waiter.ready(connection)
                return
        self._queue(waiter)

    def _queue(self, waiter: Waiter[C]) -> None:
        if self._closing:
            waiter.refused(
                BackendUnreachable(f"{self.upstream.name} was replaced", backend=self.upstream.name, retryable=True)
            )
            return
        if len(self.waiting) >= self._limits.max_queue:
            waiter.refused(
                BackendBusy(
                    f"{len(self.waiting)} requests wait for {self.upstream.name} already", backend=self.upstream.name
                )
            )
            return
        waiter.queued_at = self._clock.time()
        self.waiting.append(waiter)
        if self.deadline == NEVER:
            self.deadline = waiter.queued_at + self._limits.queue_timeout_s
        self._dial_for_waiting()

    def forget(self, waiter: Waiter[C]) -> None:
        """`waiter` wants none any more."""
        try:
            self.waiting.remove(waiter)
        except ValueError:
            pass

    def drop_idle(self) -> None:
        """Close what is idle: the process at the other end has died, and not every connection knows it yet."""
        idle, self.idle = self.idle, []
        for connection in idle:
            connection.close()

    def upgrade(self, connection: C) -> None:
        """`connection` is a tunnel from now on, and its slot another's."""
        self.open.discard(connection)
        self.upgraded.add(connection)
        if self.waiting and not self._closing:
            self._dial_for_waiting()

    def close(self, on_empty: Callable[[], None] | None = None) -> None:
        """No more calls: idle connections close, busy ones when they are done; who waits is refused.

        `on_empty` is called once no connection is left, tunnels included; here, where there is none.
        """
        self._closing = True
        self._clock.watched.discard(self)
        for connection in list(self._fresh):
            task = self._dials.get(connection)
            if task is not None:
                task.cancel()
            else:
                connection.close()  # connected, and waits for a slot
        for connection in list(self.idle):
            connection.close()
        self.idle.clear()
        self._refuse_all(
            BackendUnreachable(f"{self.upstream.name} was replaced", backend=self.upstream.name, retryable=True)
        )
        self._on_empty = on_empty
        self._check_empty()

    def _check_empty(self) -> None:
        on_empty = self._on_empty
        if on_empty is not None and not self.open and not self.upgraded:
            self._on_empty = None
            on_empty()

    def expire(self, now: float) -> None:
        """Refuse who has waited too long."""
        while self.waiting and self.waiting[0].queued_at + self._limits.queue_timeout_s <= now:
            self.waiting.popleft().refused(
                BackendBusy(
                    f"no slot of {self.upstream.name} became free within {self._limits.queue_timeout_s:g} s",
                    backend=self.upstream.name,
                )
            )
        self.deadline = self.waiting[0].queued_at + self._limits.queue_timeout_s if self.waiting else NEVER

    # -- connections ----------------------------------------------------------------------------------------------

    def _dial_for_waiting(self) -> None:
        # Where some are idle it is held: who waits gets those.
        wanted = min(len(self.waiting), MAX_DIALS) - len(self._fresh) - len(self.idle)
        room = self.upstream.slots - len(self.open)
        for _ in range(min(wanted, room)):
            connection = self._make(self.release, self._lost)
            # Counted from here on, not when the loop asks for it: uvloop does so before it connects, asyncio after.
            self.open.add(connection)
            self._fresh.add(connection)
            self._dials[connection] = self._loop.create_task(self._dial(connection), name=f"dial {self.upstream.name}")

    async def _dial(self, connection: C) -> None:
        address = self.upstream.address
        protocol = cast("asyncio.Protocol", connection)
        error: BackendError
        try:
            async with asyncio.timeout(self._limits.connect_timeout_s):
                if isinstance(address, str):
                    await self._loop.create_unix_connection(lambda: protocol, address)
                else:
                    await self._loop.create_connection(lambda: protocol, address[0], address[1])
            return
        except TimeoutError:
            error = BackendTimeout(
                f"{self.upstream.name} did not take the connection within {self._limits.connect_timeout_s:g} s",
                backend=self.upstream.name,
                retryable=True,
            )
        except (OSError, ValueError) as reason:  # ValueError: a name that is none
            error = BackendUnreachable(
                f"{self.upstream.name} cannot be reached: {getattr(reason, 'strerror', None) or reason}",
                backend=self.upstream.name,
                retryable=True,
            )
        except asyncio.CancelledError:
            self.open.discard(connection)
            self._fresh.discard(connection)
            self._check_empty()
            raise
        finally:
            self._dials.pop(connection, None)
        if connection in self._fresh:
            self._fresh.discard(connection)
            self.open.discard(connection)
            self._no_connection(error)

    def _no_connection(self, error: BackendError) -> None:
        """A dial came to nothing. While others work, those who wait may still get theirs."""
        self._check_empty()
        if not self.open:
            self._refuse_all(error)

    def release(self, connection: C) -> None:
        """A connection may be used: a new one, or one that is whole again."""
        if self._fresh:
            self._fresh.discard(connection)
        if self._closing:
            connection.close()
            return
        if self.waiting and not self.held:
            self._give(connection)
        else:
            self.idle.append(connection)

    def give_idle(self) -> None:
        """Give idle connections to those who wait, while it is not held."""
        idle = self.idle
        while idle and self.waiting and not self.held:
            connection = idle.pop()
            if connection.is_usable:
                self._give(connection)

    def _give(self, connection: C) -> None:
        """Give a connection to who has waited longest."""
        waiting = self.waiting
        waiter = waiting.popleft()
        if not waiting:
            self.deadline = NEVER
        waiter.ready(connection)

    def _lost(self, connection: C, error: Exception) -> None:
        self.open.discard(connection)
        self.upgraded.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        if self._closing:
            self._fresh.discard(connection)
            self._check_empty()
            return
        if connection in self._fresh:
            # Taken and dropped before it could be used: dialling again at once would be a loop.
            self._fresh.discard(connection)
            self._no_connection(
                BackendUnreachable(
                    f"{self.upstream.name} closes new connections: {error}",
                    backend=self.upstream.name,
                    retryable=True,
                )
            )
        elif self.waiting:
            self._dial_for_waiting()

    def _refuse_all(self, error: BackendError) -> None:
        waiting, self.waiting = self.waiting, deque()
        self.deadline = NEVER
        for waiter in waiting:
            waiter.refused(error)

"""A generation as one worker uses it: its upstreams with their pools, and which of them takes the next request."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from duck.net.clock import NEVER
from duck.net.upstream_connection import UpstreamConnection
from duck.proxy.pool import Pool
from duck.proxy.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from duck.net.clock import Clock
    from duck.net.peer import Peer
    from duck.proxy.upstream import Generation, QueueLimits, Upstream

SHUN_S: Final = 1.0
# How many more may wait for a process of one's own than for another; each takes a millisecond at most (see pace).
OWN_QUEUE: Final = 64
_SHUNNED: Final = 1 << 30  # more than any load


class Backend:
    """One upstream and the connections to it; one of `links` and `https` is used, as its protocol says.

    Attributes:
        shunned: it could not be reached a moment ago, so that any other is asked first.
        is_own: this front's share of the processes holds it.
        left_at: when it was replaced, by `Clock.time`; NEVER while it was not.
        seal: of the field with an answer's cost (net.measure); empty where there is none.
    """

    __slots__ = (
        "_clock",
        "_identity",
        "_loop",
        "https",
        "is_link",
        "is_own",
        "left_at",
        "links",
        "seal",
        "shunned",
        "turns",
        "upstream",
    )

    def __init__(
        self,
        upstream: Upstream,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        limits: QueueLimits,
    ) -> None:
        self.upstream = upstream
        self._loop = loop
        self._clock = clock
        self.left_at = NEVER
        self.shunned = False
        self.is_own = True
        self.is_link = upstream.protocol == "link"
        name = upstream.name
        self.turns = Turns(upstream, loop, clock, limits)
        self.links = self.turns.pool
        self.https: Pool[UpstreamConnection] = Pool(
            upstream,
            loop,
            clock,
            limits,
            lambda on_idle, on_lost: UpstreamConnection(name, on_idle, on_lost),
        )
        self.seal = f"{upstream.measure_field}:{upstream.secret}".encode() if upstream.measure_field else b""
        self._identity = b""
        if upstream.identity_field:
            self._identity = f"{upstream.identity_field}: {upstream.secret} ".encode()

    @property
    def load(self) -> int:
        """Calls and tunnels under way and calls waiting, less what it could take."""
        pool = self.links if self.is_link else self.https
        load = pool.busy + len(pool.upgraded) + len(pool.waiting) - self.upstream.slots
        return load + _SHUNNED if self.shunned else load

    def shun(self) -> None:
        """Ask others first for a while: a process that has died has nothing to do, and would get every request."""
        if not self.shunned:
            self.shunned = True
            self._loop.call_later(SHUN_S, self._ask_again)

    def _ask_again(self) -> None:
        self.shunned = False

    def identity(self, peer: Peer) -> bytes:
        """The line that tells a wrapped ASGI application who asks; empty for servers that Duck did not start."""
        if not self._identity:
            return b""
        return self._identity + peer.identity + b"\r\n"

    @property
    def is_left(self) -> bool:
        """Whether it was replaced: what was begun there ends, and nothing new begins."""
        return self.left_at != NEVER

    def close(self, on_empty: Callable[[Backend], None] | None = None) -> None:
        """Take no more calls; those under way end by themselves. `on_empty` is called once nothing is in flight."""
        self.left_at = self._clock.time()
        unused, used = (self.https, self.links) if self.is_link else (self.links, self.https)
        unused.close()
        used.close(None if on_empty is None else partial(on_empty, self))


class Backends:
    """The upstreams of one generation.

    Those that were in the generation before, `previous`, are the same objects: their connections, and who waits for
    them, are not touched by the switch.

    `share` is this front among so many, from 0. Where all processes are busy, each front keeps to its own: two that
    share one have two calls at work in it, which hand the interpreter lock over. A process that has time to spare is
    anybody's.

    Attributes:
        finder: the link that is asked where static files lie; None where nobody can be asked.
    """

    def __init__(
        self,
        generation: Generation,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        limits: QueueLimits,
        *,
        previous: Backends | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.generation = generation
        self._clock = clock

        def make(upstream: Upstream, kept: list[Backend]) -> Backend:
            for backend in kept:
                if backend.upstream == upstream:
                    return backend
            return Backend(upstream, loop, clock, limits)

        old_pages = [] if previous is None else previous.pages
        old_sockets = [] if previous is None else previous.sockets
        old_finders = [] if previous is None else previous._finders
        self.pages: list[Backend] = [make(upstream, old_pages) for upstream in generation.pages]
        self.sockets: list[Backend] = [make(upstream, old_sockets) for upstream in generation.sockets]
        self._own = [self.pages[index] for index in own_share(len(self.pages), *share)]
        for backend in self.pages:
            backend.is_own = backend in self._own
        self._own_first = sorted(self.pages, key=lambda backend: not backend.is_own)
        self._finders: list[Backend] = []
        if generation.finder is not None:
            self._finders.append(make(generation.finder, old_finders))
        askable = self._finders or [backend for backend in self.pages if backend.is_link]
        self.finder: Backend | None = askable[0] if askable else None

    def pick_page(self) -> Backend:
        """Who takes the next plain request: the one with the least to do; one that others keep busy, only in need."""
        pages = self._own_first
        least = pages[0] if len(pages) == 1 else min(pages, key=_load)
        if least.is_own or not least.turns.utilisation.is_full(self._clock.time()):
            return least
        own = min(self._own, key=_load)
        load = own.load
        return own if load < 0 or (own.turns.pace.narrow and load < least.load + OWN_QUEUE) else least

    def pick_socket(self) -> Backend | None:
        """Who takes the next upgrade; None where nobody can."""
        return min(self.sockets, key=_load) if self.sockets else None

    def group_of(self, backend: Backend) -> list[Backend]:
        """Those that can take a call of `backend`."""
        return self.pages if backend in self.pages else self.sockets

    def without(self, successor: Backends | None = None) -> set[Backend]:
        """Those that are left when the generation is replaced by that of `successor`, which goes on with the others."""
        kept = set() if successor is None else {*successor.pages, *successor.sockets, *successor._finders}
        return {*self.pages, *self.sockets, *self._finders} - kept

    def close(self) -> None:
        """The worker ends."""
        for backend in self.without():
            backend.close()


def own_share(count: int, index: int, fronts: int) -> list[int]:
    """Which of `count` processes are those of front `index` of so many: each has one at least."""
    if count <= fronts:
        return [index % count] if count else []
    return list(range(index % fronts, count, fronts))


def _load(backend: Backend) -> int:
    return backend.load

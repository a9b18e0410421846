"""A generation as one worker uses it: its upstreams with their pools, and which of them takes the next request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from duck.net.upstream_connection import UpstreamConnection
from duck.proxy.pool import Pool
from duck.proxy.turns import Turns

if TYPE_CHECKING:
    from duck.net.clock import Clock
    from duck.net.peer import Peer
    from duck.proxy.upstream import Generation, Upstream


class Backend:
    """One upstream and the connections to it; one of `links` and `https` is used, as its protocol says."""

    __slots__ = ("_identity", "https", "is_link", "links", "turns", "upstream")

    def __init__(
        self,
        upstream: Upstream,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        *,
        max_queue: int,
        queue_timeout_s: float,
        connect_timeout_s: float,
    ) -> None:
        self.upstream = upstream
        self.is_link = upstream.protocol == "link"
        name = upstream.name
        self.turns = Turns(
            upstream,
            loop,
            clock,
            max_queue=max_queue,
            queue_timeout_s=queue_timeout_s,
            connect_timeout_s=connect_timeout_s,
        )
        self.links = self.turns.pool
        self.https: Pool[UpstreamConnection] = Pool(
            upstream,
            loop,
            clock,
            lambda on_idle, on_lost: UpstreamConnection(name, on_idle, on_lost),
            max_queue=max_queue,
            queue_timeout_s=queue_timeout_s,
            connect_timeout_s=connect_timeout_s,
        )
        self._identity = b""
        if upstream.identity_field:
            self._identity = f"{upstream.identity_field}: {upstream.secret} ".encode()

    @property
    def load(self) -> int:
        """Calls and tunnels under way and calls waiting, less what it could take."""
        pool = self.links if self.is_link else self.https
        return pool.busy + len(pool.upgraded) + len(pool.waiting) - self.upstream.slots

    def identity(self, peer: Peer) -> bytes:
        """The line that tells a wrapped ASGI application who asks; empty for servers that Duck did not start."""
        if not self._identity:
            return b""
        return (
            self._identity
            + peer.scheme
            + f" {peer.host or '-'} {peer.port} {peer.server_host} {peer.server_port}\r\n".encode()
        )

    def close(self) -> None:
        """Take no more calls; those under way end by themselves."""
        self.links.close()
        self.https.close()


class Backends:
    """The upstreams of one generation.

    Attributes:
        finder: the link that is asked where static files lie; None where nobody can be asked.
    """

    def __init__(
        self,
        generation: Generation,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        *,
        max_queue: int = 1024,
        queue_timeout_s: float = 30.0,
        connect_timeout_s: float = 5.0,
    ) -> None:
        self.generation = generation

        def make(upstream: Upstream) -> Backend:
            return Backend(
                upstream,
                loop,
                clock,
                max_queue=max_queue,
                queue_timeout_s=queue_timeout_s,
                connect_timeout_s=connect_timeout_s,
            )

        self.pages = [make(upstream) for upstream in generation.pages]
        self.sockets = [make(upstream) for upstream in generation.sockets]
        links = [backend for backend in self.pages if backend.is_link]
        self._own_finder = None if generation.finder is None else make(generation.finder)
        self.finder: Backend | None = self._own_finder or (links[0] if links else None)

    def pick_page(self) -> Backend:
        """Who takes the next plain request: the one with the least to do."""
        pages = self.pages
        return pages[0] if len(pages) == 1 else min(pages, key=_load)

    def pick_socket(self) -> Backend | None:
        """Who takes the next upgrade; None where nobody can."""
        return min(self.sockets, key=_load) if self.sockets else None

    def close(self) -> None:
        """The generation is replaced."""
        for backend in (*self.pages, *self.sockets):
            backend.close()
        if self._own_finder is not None:
            self._own_finder.close()


def _load(backend: Backend) -> int:
    return backend.load

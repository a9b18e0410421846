"""What the two kinds of calls share: a body that is completed first, a wait for a connection, a deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from duck.net.clock import NEVER
from duck.proxy.spool import SpoolFull

if TYPE_CHECKING:
    from duck.exceptions import BackendError
    from duck.net.exchange import Exchange
    from duck.proxy.backends import Backend
    from duck.proxy.handler import ProxyHandler
    from duck.proxy.spool import SpoolFile

# A body up to this length is kept in memory; a longer one in a file.
INLINE_BYTES: Final = 262_144

# Methods that may be sent again when nobody knows whether they were acted upon (RFC 9110 §9.2.2).
IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))


class Call:
    """One exchange on its way through a backend."""

    __slots__ = (
        "_backend",
        "_chunks",
        "_exchange",
        "_paused",
        "_proxy",
        "_retried",
        "_size",
        "_spooled",
        "_watched",
        "deadline",
        "gone_since",
        "queued_at",
    )

    def __init__(self, proxy: ProxyHandler, exchange: Exchange) -> None:
        self._proxy = proxy
        self._exchange = exchange
        self._backend: Backend | None = None
        self._chunks: list[bytes] | None = None  # of the request's body, where it is kept in memory
        self._size = 0  # of what was kept of it
        self._spooled: SpoolFile | None = None  # all that was kept of it, where it is long
        self._retried = False
        self._paused = False  # the client is slow
        self._watched = False  # the clock looks at the deadline
        self.queued_at = 0.0
        self.gone_since = 0.0
        self.deadline = NEVER

    @property
    def exchange(self) -> Exchange:
        """What is answered."""
        return self._exchange

    def refused(self, error: BackendError) -> None:
        """There is no connection to be had: the queue is full or too slow, or the backend is gone (Waiter)."""
        exchange = self._exchange
        if self.queued_at:
            self._count_wait(self._proxy.clock.time())
        if exchange.is_over:
            self._finish()
        elif error.retryable and self._backend is not None:
            self._proxy.backend_gone(self, self._backend, error)
        else:
            self._finish()
            self._proxy.fail(exchange, error)

    def _keep(self, chunk: bytes, *, named: bool) -> None:
        """More of the request's body, for later; `named` where a file of it is read by another process."""
        self._size += len(chunk)
        spooled = self._spooled
        try:
            if spooled is None:
                declared = self._exchange.request.content_length
                if self._size <= INLINE_BYTES and (declared is None or declared <= INLINE_BYTES):
                    if self._chunks is None:
                        self._chunks = []
                    self._chunks.append(chunk)
                    return
                self._spooled = spooled = self._proxy.spool.create(named=named)
                for earlier in self._chunks or ():
                    spooled.write(earlier)
                self._chunks = None
            spooled.write(chunk)
        except SpoolFull as error:
            self._finish()
            self._exchange.drop_body()
            self._proxy.refuse(self._exchange, error, 503)

    @property
    def _name(self) -> str:
        """The backend's, for messages."""
        return self._backend.upstream.name if self._backend is not None else ""

    def _moved(self) -> None:
        """The backend has done something: its time starts again."""
        if self._proxy.read_timeout_s:
            self.deadline = self._proxy.clock.time() + self._proxy.read_timeout_s

    def _count_wait(self, now: float) -> None:
        """The wait in a queue is over."""
        self._exchange.waited_s += now - self.queued_at
        self.queued_at = 0.0

    def _let_go(self) -> None:
        """The backend is not waited for any more, and has no use for the request's body."""
        if self.queued_at:
            self._count_wait(self._proxy.clock.time())
        if self._proxy.streams:
            self._proxy.streams.pop(self._exchange, None)
        if self._watched:
            self._watched = False
            self.deadline = NEVER
            self._proxy.clock.watched.discard(self)
        spooled = self._spooled
        if spooled is not None:
            self._spooled = None
            spooled.close()

    # -- what differs ---------------------------------------------------------------------------------------------

    def start(self, backend: Backend) -> None:
        """Wait for a connection to `backend`."""
        raise NotImplementedError

    def pause(self) -> None:
        """See `Producer`."""
        raise NotImplementedError

    def resume(self) -> None:
        """See `Producer`."""
        raise NotImplementedError

    def cancel(self, error: Exception) -> None:
        """See `Producer`."""
        raise NotImplementedError

    def expire(self, now: float) -> None:
        """The deadline has passed (Watched)."""
        raise NotImplementedError

    def _finish(self) -> None:
        """The call is over: nothing of it stays."""
        raise NotImplementedError

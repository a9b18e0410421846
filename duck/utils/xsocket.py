"""xsocket: one client's exchange as an application sees it, awaited instead of called back.

The connection itself belongs to the server. An `xsocket` carries one request's body in and one answer out, keeps
back-pressure in both directions, and never holds more than a few chunks.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from duck.exceptions import ClientGone
from duck.http.duplex import AsyncDuplex
from duck.net.exchange import READING

if TYPE_CHECKING:
    from duck.net.exchange import Exchange
    from duck.wire.fields import Fields
    from duck.wire.head import ResponseHead

HIGH_WATER_BYTES: Final = 65_536
LOW_WATER_BYTES: Final = 16_384
FILE_CHUNK_BYTES: Final = 262_144


class xsocket:
    """The client's side of one exchange: `receive` its body, `send` its answer.

    Belongs to the loop it was made on. It is the exchange's producer: when the client leaves, every wait here ends with
    ClientGone, and `on_lost` is called.

    Attributes:
        exchange: what is carried; for what `xsocket` does not offer.
        loop: the one that owns it; other threads reach it by `asyncio.run_coroutine_threadsafe`.
        on_half_closed: called when the client sends no more; most that do so have left.
        on_lost: called once, when the client has left before its answer was complete.
        on_go_away: called once the server goes away, where the answer has left HTTP: to tell the client, and end.
    """

    is_secure = False

    __slots__ = ("_body", "_drained", "_error", "exchange", "loop", "on_go_away", "on_half_closed", "on_lost")

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.loop = asyncio.get_running_loop()
        self.on_go_away: Callable[[], object] | None = None
        self.on_lost: Callable[[], object] | None = None
        self.on_half_closed: Callable[[], object] | None = None
        self._body: _Body | None = None
        self._drained: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        exchange.producer = self

    def getpeername(self) -> tuple[str, int]:
        """The client's address and port, as Django would see them."""
        return self.exchange.peer.host, self.exchange.peer.port

    def getsockname(self) -> tuple[str, int]:
        """The listener's address and port."""
        return self.exchange.peer.server_host, self.exchange.peer.server_port

    # -- the request's body ---------------------------------------------------------------------------------------

    async def receive(self, limit: int = 65_536) -> bytes:
        """The next bytes of the request's body, at most `limit`; `b""` at its end, and ever after.

        The first call asks the client for the body (`Expect: 100-continue`).

        Raises:
            ClientGone: the client left within its body.
            ProtocolError: the body cannot be framed, or is larger than the server allows (LimitExceeded).
        """
        body = self._body
        if body is None:
            body = self._body = _Body(self.exchange)
            self.exchange.read_body(body)
        return await body.receive(limit)

    @property
    def body_is_untouched(self) -> bool:
        """Whether nothing has asked for the body yet."""
        return self._body is None

    # -- the answer -----------------------------------------------------------------------------------------------

    def informational(self, head: ResponseHead) -> None:
        """Send a 1xx answer before the final one."""
        self.exchange.response.informational(head)

    async def send_head(self, head: ResponseHead) -> None:
        """Begin the answer. Framing is the server's business: with no `content_length` the body ends with `end`.

        Raises:
            ClientGone: the client has left, or the answer is over.
        """
        self._require_open()
        self.exchange.response.head(head)

    async def send(self, data: bytes) -> None:
        """Send bytes of the answer's body; returns when the client keeps up.

        Raises:
            ClientGone: the client has left, or the answer is over.
        """
        self._require_open()
        if data:
            self.exchange.response.data(data)
        await self._drain()

    async def send_file(self, descriptor: int, offset: int, count: int) -> None:
        """Send `count` bytes of an open file as body, by `sendfile` where nothing on the way has to see them."""
        self._require_open()
        if not count:
            return
        if self.exchange.response is self.exchange:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.exchange.file(descriptor, offset, count, lambda error: _settle(done, error))
            await done
            return
        while count > 0:
            chunk = await asyncio.to_thread(os.pread, descriptor, min(count, FILE_CHUNK_BYTES), offset)
            if not chunk:
                raise OSError(f"the file ended {count} bytes before its size said")
            offset += len(chunk)
            count -= len(chunk)
            await self.send(chunk)

    def end(self, trailers: Fields | None = None) -> None:
        """Complete the answer."""
        self._require_open()
        self._drop_rest()
        self.exchange.response.end(trailers)

    def answer(self, head: ResponseHead, body: bytes) -> None:
        """Send a whole answer in one write; of `body` nothing but its length is sent for HEAD.

        Raises:
            ClientGone: the client has left, or the answer is over.
        """
        self._require_open()
        self._drop_rest()
        if self.exchange.request.method == b"HEAD":
            if head.content_length is None:
                head.content_length = len(body)
            body = b""
        self.exchange.response.answer(head, body)

    def abort(self, error: Exception) -> None:
        """Give the answer up; the client sees that it is incomplete."""
        self.exchange.response.abort(error)

    def upgrade(self, head: ResponseHead) -> AsyncDuplex:
        """Answer 101 and leave HTTP: the connection's bytes, both ways.

        Raises:
            ClientGone: the client has left already.
        """
        duplex = self.exchange.response.upgrade(head)
        self.exchange.producer = None  # from now on it is the duplex that tells of the client's end
        return AsyncDuplex(duplex)

    @property
    def is_over(self) -> bool:
        """Whether nothing can be answered any more."""
        return self._error is not None or self.exchange.is_over

    # -- a Producer -----------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """For the exchange: the client is slow. `send` looks at the exchange itself."""

    def resume(self) -> None:
        """For the exchange: the client takes more."""
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def cancel(self, error: Exception) -> None:
        """For the exchange: the client has left."""
        self._error = error
        self.resume()
        on_lost, self.on_lost = self.on_lost, None
        if on_lost is not None:
            on_lost()

    def half_closed(self) -> None:
        """For the server: the client sends no more."""
        if self.on_half_closed is not None:
            self.on_half_closed()

    async def _drain(self) -> None:
        while self.exchange.paused and not self.is_over:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)
        if self._error is not None:
            raise ClientGone("the client left while its answer was sent") from self._error

    def _drop_rest(self) -> None:
        # What nobody reads any more would keep the connection from its next request.
        if self.exchange.request_state is READING:
            self.exchange.drop_body()

    def _require_open(self) -> None:
        if self._error is not None:
            raise ClientGone("the client has left") from self._error
        if self.exchange.is_over:
            raise ClientGone("the answer is over")


class ssl_xsocket(xsocket):
    """An `xsocket` whose client came by HTTPS, here or at a trusted proxy."""

    is_secure = True

    __slots__ = ()


class _Body:
    """A BodySink that keeps what has come until it is asked for; pauses the client beyond HIGH_WATER_BYTES."""

    __slots__ = ("_buffered", "_chunks", "_ended", "_error", "_exchange", "_paused", "_waiter")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._paused = False
        self._ended = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def receive(self, limit: int) -> bytes:
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._ended:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        chunk = self._chunks.popleft()
        if len(chunk) > limit:
            self._chunks.appendleft(chunk[limit:])
            chunk = chunk[:limit]
        self._buffered -= len(chunk)
        if self._paused and self._buffered < LOW_WATER_BYTES:
            self._paused = False
            self._exchange.resume_body()
        return chunk

    def data(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._buffered += len(chunk)
        if not self._paused and self._buffered > HIGH_WATER_BYTES:
            self._paused = True
            self._exchange.pause_body()
        self._wake()

    def end(self, trailers: Fields | None) -> None:
        self._ended = True
        self._wake()

    def abort(self, error: Exception) -> None:
        # What has come of a broken body must not be taken for the body.
        self._chunks.clear()
        self._buffered = 0
        self._error = error
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def _settle(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)

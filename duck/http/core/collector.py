"""Collector: an exchange within an exchange, for what the direct lane answers and the application lane looks at.

    client <-> Exchange <-> xsocket <-> HttpProxyResponse <-> Collector <-> inner Exchange <-> Handler <-> Django

The direct lane's handler sees an exchange like any other. Its answer stops here: the head first, so that middlewares
can look at it, then the body chunk by chunk as it is asked for.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from duck.exceptions import ClientGone
from duck.http.core.pipe import PipeEnd, pipe
from duck.http.kept_body import KeptBody
from duck.http.unspliced import Unspliced
from duck.net.exchange import Exchange
from duck.utils.xsocket import FILE_CHUNK_BYTES, HIGH_WATER_BYTES, LOW_WATER_BYTES

if TYPE_CHECKING:
    from duck.net.interfaces import Duplex, Handler
    from duck.utils.xsocket import xsocket
    from duck.wire.fields import Fields
    from duck.wire.head import RequestHead, ResponseHead


class Collector(Unspliced):
    """The `Stream` of an inner exchange. Holds at most HIGH_WATER_BYTES and one chunk of an answer.

    Attributes:
        exchange: the inner one.
        whole: the body, where the answer came whole.
        duplex: the client's end of an upgraded connection.
        trailers: of the answer, once its body has been received.
    """

    __slots__ = (
        "_answered",
        "_buffered",
        "_chunks",
        "_error",
        "_outer",
        "_over",
        "_relay",
        "_waiter",
        "duplex",
        "exchange",
        "trailers",
        "whole",
    )

    def __init__(self, outer: xsocket, head: RequestHead, body: bytes | None) -> None:
        """`body` is the request's, where somebody has read it already; None: it comes from the client."""
        source = outer.exchange
        self._outer = outer
        self.exchange = Exchange(head, source.peer, self, source.started, source.max_body_bytes)
        self.exchange.stand_for(source)
        self._relay: _ClientBody | KeptBody = (
            _ClientBody(source, self) if body is None else KeptBody(body, self.exchange)
        )
        self._answered: asyncio.Future[ResponseHead] = asyncio.get_running_loop().create_future()
        self._chunks: deque[bytes | _File] = deque()
        self._buffered = 0
        self._over = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.whole: bytes | None = None
        self.duplex: PipeEnd | None = None
        self.trailers: Fields | None = None

    async def head(self, handler: Handler) -> ResponseHead:
        """Let `handler` answer, and wait for the answer's head.

        Raises:
            Exception: what the handler gave the answer up with, as BackendCut.
        """
        self._outer.on_half_closed = self._half_closed
        try:
            handler.handle(self.exchange)
            head = await self._answered
        except BaseException:
            self.cancel()
            raise
        finally:
            self._outer.exchange.learn_from(self.exchange, time.monotonic())
        return head

    async def receive(self) -> bytes:
        """The next chunk of the answer's body; `b""` at its end.

        Raises:
            Exception: what the handler cut the answer with.
        """
        while True:
            if self._chunks:
                first = self._chunks[0]
                if isinstance(first, _File):
                    chunk = await first.read()
                    if first.is_read:
                        self._chunks.popleft()
                        first.done(None)
                    if not chunk:
                        continue
                    return chunk
                self._chunks.popleft()
                self._buffered -= len(first)
                if self.exchange.paused and self._buffered < LOW_WATER_BYTES:
                    self.exchange.resume_answer()
                return first
            if self._error is not None:
                raise self._error
            if self._over:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def cancel(self) -> None:
        """Nobody wants the rest of the answer; may be called when it is complete, and again."""
        if self._over:
            return
        self._over = True
        error = ClientGone("the client left, or its answer was replaced")
        for item in self._chunks:
            if isinstance(item, _File):
                item.done(error)
        self._chunks.clear()
        if self.duplex is not None:
            self.duplex.abort()
        self.exchange.lost(error)
        self.exchange.ended()

    # -- a Stream: the answer -------------------------------------------------------------------------------------

    def send_informational(self, head: ResponseHead) -> None:
        """For the exchange: a 1xx answer, which goes straight to the client."""
        self._outer.informational(head)

    def send_head(self, exchange: Exchange, head: ResponseHead) -> None:
        """For the exchange: the head."""
        self._tell(head)

    def send_data(self, chunk: bytes) -> None:
        """For the exchange: bytes of the body."""
        self._chunks.append(chunk)
        self._buffered += len(chunk)
        if self._buffered > HIGH_WATER_BYTES and not self.exchange.paused:
            self.exchange.pause_answer()
        self._wake()

    def send_file(self, descriptor: int, offset: int, count: int, done: Callable[[Exception | None], None]) -> None:
        """For the exchange: a part of a file, read as it is asked for."""
        self._chunks.append(_File(descriptor, offset, count, done))
        self._wake()

    def send_end(self, trailers: Fields | None) -> None:
        """For the exchange: the answer is complete."""
        self.trailers = trailers
        self._end()

    def send_answer(self, exchange: Exchange, head: ResponseHead, body: bytes) -> None:
        """For the exchange: the whole answer."""
        self.whole = body
        if head.content_length is None:
            head.content_length = len(body)
        self._tell(head)
        self._end()

    def send_upgrade(self, head: ResponseHead) -> Duplex:
        """For the exchange: the backend leaves HTTP; the handler gets one end of a pipe."""
        backend_end, self.duplex = pipe()
        self._tell(head)
        return backend_end

    def reset(self, error: Exception) -> None:
        """For the exchange: the answer cannot be completed."""
        self._error = error
        if not self._answered.done():
            self._answered.set_exception(error)
        self._end()

    # -- a Stream: the request's body -----------------------------------------------------------------------------

    def start_body(self) -> None:
        """For the exchange: the handler wants the body."""
        self._relay.start()

    def pause_body(self) -> None:
        """For the exchange: the backend is slow."""
        self._relay.pause()

    def resume_body(self) -> None:
        """For the exchange: the backend takes more."""
        self._relay.resume()

    def _half_closed(self) -> None:
        notify = getattr(self.exchange.producer, "half_closed", None)
        if notify is not None:
            notify()

    def _tell(self, head: ResponseHead) -> None:
        if not self._answered.done():
            self._answered.set_result(head)

    def _end(self) -> None:
        if not self._over:
            self._over = True
            self._outer.exchange.measure = self.exchange.measure  # of a stream it is known now
            self._wake()
            self.exchange.ended()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class _ClientBody:
    """The body as it comes from the client (a BodySink of the outer exchange)."""

    __slots__ = ("_collector", "_source")

    def __init__(self, source: Exchange, collector: Collector) -> None:
        self._source = source
        self._collector = collector

    def start(self) -> None:
        # A route may have changed what is allowed here, and the server checks it.
        self._source.max_body_bytes = self._collector.exchange.max_body_bytes
        self._source.read_body(self)

    def pause(self) -> None:
        self._source.pause_body()

    def resume(self) -> None:
        self._source.resume_body()

    def data(self, chunk: bytes) -> None:
        inner = self._collector.exchange
        inner.bytes_received += len(chunk)
        if inner.body_sink is not None:
            inner.body_sink.data(chunk)

    def end(self, trailers: Fields | None) -> None:
        self._collector.exchange.body_ended(trailers)

    def abort(self, error: Exception) -> None:
        self._collector.exchange.body_failed(error)


class _File:
    """A part of an open file, still to be sent."""

    __slots__ = ("_count", "_descriptor", "_done", "_offset")

    def __init__(self, descriptor: int, offset: int, count: int, done: Callable[[Exception | None], None]) -> None:
        self._descriptor = descriptor
        self._offset = offset
        self._count = count
        self._done: Callable[[Exception | None], None] | None = done

    @property
    def is_read(self) -> bool:
        return self._count <= 0

    async def read(self) -> bytes:
        if self._count <= 0:
            return b""
        size = min(self._count, FILE_CHUNK_BYTES)
        chunk = await asyncio.to_thread(os.pread, self._descriptor, size, self._offset)
        if not chunk:
            raise OSError(f"the file ended {self._count} bytes before its size said")
        self._offset += len(chunk)
        self._count -= len(chunk)
        return chunk

    def done(self, error: Exception | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(error)

"""Django's answers in the application lane: asked for through the direct lane's handler, given as a response."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, cast

from duck.exceptions import DuckError, LimitExceeded
from duck.http.calls import in_thread
from duck.http.core.collector import Collector
from duck.http.headers import Headers
from duck.http.response import HttpResponse
from duck.wire.field_block import with_fields
from duck.wire.head import RequestHead, ResponseHead

if TYPE_CHECKING:
    from duck.http.core.pipe import PipeEnd
    from duck.http.request import HttpRequest
    from duck.net.interfaces import Handler
    from duck.utils.xsocket import xsocket

MAX_READ_BYTES = 10_485_760


class HttpProxyResponse(HttpResponse):
    """An answer of Django's, on its way: the head is here, the body comes as it is asked for.

    What nobody changes crosses byte for byte. Assigning `content` replaces the body; changing `headers` or
    `status_code` changes the head.

    Attributes:
        is_upgrade: Django has left HTTP (101); `take_duplex` gives the connection.
    """

    streaming = True

    def __init__(self, collector: Collector, head: ResponseHead) -> None:
        self._collector = collector
        self._head = head
        self._replaced: bytes | None = None
        self._closers = []
        self.status_code = head.status
        self.headers = Headers(head.fields)

    @property
    def is_upgrade(self) -> bool:
        """Whether this is 101 Switching Protocols."""
        return self._collector.duplex is not None

    @property
    def content(self) -> bytes:
        """The body, where it came whole, was read or was assigned.

        Raises:
            DuckError: it is still on its way: `await response.read()` first.
        """
        content = self._replaced if self._replaced is not None else self._collector.whole
        if content is None:
            raise DuckError("the body of this response is still on its way: write await response.read() first")
        return content

    @content.setter
    def content(self, content: bytes | bytearray | memoryview | str) -> None:
        self._replaced = content.encode() if isinstance(content, str) else bytes(content)

    async def read(self, limit: int = MAX_READ_BYTES) -> bytes:
        """The whole body, kept in `content`.

        Raises:
            LimitExceeded: it is longer than `limit` bytes.
        """
        if self._replaced is None and self._collector.whole is None:
            chunks: list[bytes] = []
            size = 0
            async for chunk in self:
                size += len(chunk)
                if size > limit:
                    raise LimitExceeded(f"an answer of more than {limit} bytes was to be kept in memory", 500)
                chunks.append(chunk)
            self._replaced = b"".join(chunks)
        return self.content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body's chunks, as Django sends them; each is given once."""
        if self._replaced is not None or self._collector.whole is not None:
            yield self.content
            return
        while chunk := await self._collector.receive():
            yield chunk

    def take_duplex(self) -> PipeEnd:
        """The connection of an upgrade; the caller closes it."""
        duplex = self._collector.duplex
        if duplex is None:
            raise DuckError("this response is no upgrade: see is_upgrade")
        return duplex

    def head(self, content_length: int | None = None) -> ResponseHead:
        """The head for the client: Django's own, where nothing was changed."""
        head = self._head
        if self.headers.changed or self.status_code != head.status:
            # `Content-Length` is kept apart from the fields from here on: what was assigned to it does not count.
            fields = [pair for pair in self.headers.fields if pair[0].lower() != b"content-length"]
            reason = head.reason if self.status_code == head.status else None
            head = ResponseHead(self.status_code, fields, content_length=head.content_length, reason=reason)
        if content_length is not None and head.content_length != content_length:
            fields = [pair for pair in head.fields if pair[0].lower() != b"content-length"]
            head = ResponseHead(head.status, fields, content_length=content_length, reason=head.reason)
        return head

    async def write_to(self, socket: xsocket) -> None:
        """Send the answer on; where Django's is cut, so is this.

        Raises:
            ClientGone: the client left.
            BackendError: Django's answer ended before its end.
        """
        if self._replaced is not None:
            socket.answer(self.head(len(self._replaced)), self._replaced)
            return
        if self._collector.whole is not None:
            socket.answer(self.head(), self._collector.whole)
            return
        await socket.send_head(self.head())
        while chunk := await self._collector.receive():
            await socket.send(chunk)
        socket.end(self._collector.trailers)

    async def aclose(self) -> None:
        """Give the backend back: what is still to come is not wanted."""
        self._collector.cancel()
        await super().aclose()


class AsyncHttpProxyHandler:
    """Asks Django, by way of `handler`: the direct lane's, with its pools, gates and rules."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler

    async def get_response(self, request: HttpRequest) -> HttpProxyResponse:
        """Django's answer to `request`, from its head on. A middleware's changes of `request.headers` count.

        Raises:
            BackendError: there is none.
            DuckError: the body was streamed before, so it is not there for Django.
        """
        socket = request.client_socket
        assert socket is not None
        if request.body_is_gone:
            raise DuckError("a middleware streamed the request's body; use await request.read(), which keeps it")
        head = request.request_data.head
        if request.headers.changed:
            head = _with_fields(head, request.headers)
        body = None if socket.body_is_untouched else await request.read()
        collector = Collector(socket, head, body)
        return HttpProxyResponse(collector, await collector.head(self.handler))


class HttpProxyHandler:
    """The same for a thread: waits for the answer's head."""

    def __init__(self, handler: Handler) -> None:
        self._handler = AsyncHttpProxyHandler(handler)

    def get_response(self, request: HttpRequest) -> HttpProxyResponse:
        """See `AsyncHttpProxyHandler.get_response`; not on the loop's own thread."""
        loop = request.loop
        return asyncio.run_coroutine_threadsafe(self._handler.get_response(request), loop).result()


class _InThread(AsyncHttpProxyHandler):
    """A handler whose `get_response` blocks, for who awaits it."""

    def __init__(self, blocking: HttpProxyHandler) -> None:
        self._blocking = blocking

    async def get_response(self, request: HttpRequest) -> HttpProxyResponse:
        response: HttpProxyResponse = await in_thread(self._blocking.get_response, request)
        return response


def for_a_loop(handler: AsyncHttpProxyHandler | HttpProxyHandler) -> AsyncHttpProxyHandler:
    """`handler`, or, where its `get_response` blocks, one that runs it in a thread."""
    if inspect.iscoroutinefunction(handler.get_response):
        return cast("AsyncHttpProxyHandler", handler)
    return _InThread(cast("HttpProxyHandler", handler))


def _with_fields(head: RequestHead, headers: Headers) -> RequestHead:
    """`head` with `headers`, but for what says how the message is framed, and where it goes."""
    kept = (b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"te", b"expect")
    fields = [pair for pair in headers.fields if pair[0].lower() not in kept]
    fields[:0] = [pair for pair in head.fields if pair[0].lower() in kept]
    return with_fields(head, fields)

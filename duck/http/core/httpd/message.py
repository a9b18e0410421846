"""Plain callbacks by path, for a server without an application: mock servers, private services, tests.

    head received -> early callbacks -> body received -> callbacks -> the message's answer

The longest path that is the request's own, or one of its parents, counts; early and other callbacks of it both run. A
callback answers by setting a status on the message; once one is set, no further callback is called.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from duck.http.headers import Headers
from duck.http.routing import match_path
from duck.wire.head import ResponseHead
from duck.wire.render import plain_error

if TYPE_CHECKING:
    from duck.http.core.httpd.httpd import BaseServer
    from duck.net.exchange import Exchange
    from duck.net.farewell import Farewell
    from duck.net.interfaces import Handler
    from duck.wire.fields import Fields

logger = logging.getLogger("duck.http")

# Bodies of these callbacks are held in memory.
MAX_BODY_BYTES: Final = 16 * 1024 * 1024

Callback = Callable[["BaseServer", "ServerMessage", str, dict[str, str] | None, Any], None]


class ServerMessage:
    """One request and its answer, for a callback. On its worker's loop; `unpause` is for any thread.

    Attributes:
        method: as received.
        path: decoded once, dot segments resolved.
        query: the last value of each name, or None where the target has no query.
        request_headers: of the request.
        request_body: complete for callbacks, empty for early ones.
        response_headers: of the answer; Content-Length is added.
        response_body: of the answer.
        status: of the answer; 0 while none was set.
        remote_address: host and port of the client.
    """

    def __init__(self, exchange: Exchange, loop: asyncio.AbstractEventLoop) -> None:
        request = exchange.request
        self.method = request.method.decode("latin-1")
        self.path = match_path(request.path)
        self.query = (
            dict(parse_qsl(request.query.decode("latin-1"), keep_blank_values=True)) if b"?" in request.target else None
        )
        self.request_headers = Headers(request.fields)
        self.request_body = b""
        self.response_headers = Headers()
        self.response_body = b""
        self.status = 0
        self.remote_address = (exchange.peer.host, exchange.peer.port)
        self._exchange = exchange
        self._loop = loop
        self._paused = False

    def set_status(self, status: int) -> None:
        """Answer with `status`."""
        if not 200 <= status <= 599:
            raise ValueError(f"{status} is no status of a final answer; give 200 to 599")
        self.status = status

    def set_response(self, content_type: str | None, body: bytes) -> None:
        """Answer with `body`."""
        if content_type is not None:
            self.response_headers["Content-Type"] = content_type
        self.response_body = body

    def set_redirect(self, status: int, location: str) -> None:
        """Answer with a redirect to `location`."""
        self.set_status(status)
        self.response_headers["Location"] = location

    def pause(self) -> None:
        """Do not answer when the callback returns, but when `unpause` is called."""
        self._paused = True

    def unpause(self) -> None:
        """Answer now with what was set."""
        self._loop.call_soon_threadsafe(self._resume)

    @property
    def is_paused(self) -> bool:
        """Whether the answer waits for `unpause`."""
        return self._paused

    def send(self) -> None:
        """Answer, unless the client has left; for the table."""
        exchange = self._exchange
        if exchange.is_over:
            return
        if not self.status:
            exchange.response.answer(*plain_error(500, "No handler has set a status.", False))
            return
        head = ResponseHead(self.status, content_length=len(self.response_body))
        fields = [pair for pair in self.response_headers.fields if pair[0].lower() != b"content-length"]
        if self.status not in (204, 304):
            fields.append((b"Content-Length", b"%d" % len(self.response_body)))
        head.fields = fields
        exchange.response.answer(head, self.response_body)

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self.send()


class PathCallbacks:
    """The callbacks of a server, by path; a `Handler` for each worker is made of it with `handler`.

    Changed while the server serves, it counts for the requests that come afterwards.
    """

    def __init__(self, server: BaseServer) -> None:
        self._server = server
        self._early: dict[str, tuple[Callback, Any]] = {}
        self._normal: dict[str, tuple[Callback, Any]] = {}

    def add(self, path: str | None, callback: Callback, user_data: Any, *, early: bool) -> None:
        """Call `callback` for `path` and what lies below it; None and `/` for all that has nothing nearer."""
        (self._early if early else self._normal)[_key(path)] = (callback, user_data)

    def remove(self, path: str | None) -> None:
        """Forget the callbacks of `path`, early and other."""
        self._early.pop(_key(path), None)
        self._normal.pop(_key(path), None)

    def __bool__(self) -> bool:
        return bool(self._early or self._normal)

    def find(self, path: str) -> str | None:
        """The registered path nearest to `path`; `*` (`OPTIONS *`) is only itself."""
        known = self._early.keys() | self._normal.keys()
        if path == "*":
            return "*" if "*" in known else None
        key = _key(path)
        while key:
            if key in known:
                return key
            key = key.rpartition("/")[0]
        return "" if "" in known else None

    def early(self, key: str, message: ServerMessage) -> None:
        """Call the early callback of `key`."""
        self._call(self._early.get(key), message)

    def normal(self, key: str, message: ServerMessage) -> None:
        """Call the callback of `key`."""
        self._call(self._normal.get(key), message)

    def handler(self, loop: asyncio.AbstractEventLoop, otherwise: Handler) -> Handler:
        """What answers by these callbacks, and by `otherwise` where there is none."""
        return _CallbackHandler(self, loop, otherwise)

    def _call(self, found: tuple[Callback, Any] | None, message: ServerMessage) -> None:
        if found is None or message.status:
            return
        callback, user_data = found
        callback(self._server, message, message.path, message.query, user_data)


class _CallbackHandler:
    def __init__(self, callbacks: PathCallbacks, loop: asyncio.AbstractEventLoop, otherwise: Handler) -> None:
        self._callbacks = callbacks
        self._loop = loop
        self._otherwise = otherwise

    def handle(self, exchange: Exchange) -> None:
        """Answer `exchange` (`Handler`)."""
        target = exchange.request.target
        key = self._callbacks.find("*" if target == b"*" else match_path(exchange.request.path))
        if key is None:
            self._otherwise.handle(exchange)
            return
        message = ServerMessage(exchange, self._loop)
        self._callbacks.early(key, message)
        if message.status and not message.is_paused:
            message.send()
            return
        exchange.max_body_bytes = min(exchange.max_body_bytes, MAX_BODY_BYTES)
        exchange.read_body(_Collected(self._callbacks, key, message))

    def drain(self, farewell: Farewell) -> None:
        """The worker is to end (see `Worker.drain`)."""
        drain = getattr(self._otherwise, "drain", None)
        if drain is not None:
            drain(farewell)


class _Collected:
    """Takes the body (a `BodySink`), then calls back."""

    __slots__ = ("_body", "_callbacks", "_key", "_message")

    def __init__(self, callbacks: PathCallbacks, key: str, message: ServerMessage) -> None:
        self._callbacks = callbacks
        self._key = key
        self._message = message
        self._body = bytearray()

    def data(self, chunk: bytes) -> None:
        self._body += chunk

    def end(self, trailers: Fields | None) -> None:
        message = self._message
        message.request_body = bytes(self._body)
        try:
            self._callbacks.normal(self._key, message)
        except Exception:
            logger.exception("a callback for %s failed", message.path)
            message.status = 0
        if not message.is_paused:
            message.send()

    def abort(self, error: Exception) -> None:
        """The connection answers for a body that could not be read."""


def _key(path: str | None) -> str:
    return "" if path is None else path if path == "*" else path.rstrip("/")

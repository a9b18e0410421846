"""WebSocketView: a WebSocket connection answered by Duck itself (RFC 6455).

The protocol is `websockets`' sans-I/O core; here are its bytes, its limits and its time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import urlsplit

from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import DATA_OPCODES, CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from duck.exceptions import ClientGone
from duck.http.calls import call
from duck.http.response import ErrorResponse
from duck.wire.head import ResponseHead

if TYPE_CHECKING:
    from websockets.typing import Subprotocol

    from duck.http.duplex import AsyncDuplex
    from duck.http.request import HttpRequest

logger = logging.getLogger("duck.http")
# Of the protocol: what it says of each connection that opens and closes, the access log says better.
_protocol_logger = logging.getLogger("duck.http.websocket")
_protocol_logger.setLevel(logging.WARNING)

NOT_A_HANDSHAKE: Final = "This address is for WebSocket connections."

# Of the handshake the core reads these, and those of WebSocket itself; it is given nothing else.
_HANDSHAKE: Final = (b"host", b"origin")
# Of the core's answer, what the server writes by itself.
_SERVERS_OWN: Final = frozenset(("upgrade", "connection", "date", "server", "content-length"))


class WebSocketView:
    """A view for a WebSocket: override `on_open`, `on_receive`, `on_close`, or `run` for a loop of your own.

    One instance for each connection; what the path gives stands in `kwargs`. Messages come one after the other: while
    `on_receive` works, the client waits.

    Attributes:
        subprotocols: those spoken here, the first that the client offers is taken.
        allowed_origins: origins (`https://example.org`) whose pages may connect, `*` for all; None: only pages of this
            host, since a browser sends its cookies with any page's handshake. Clients that name no origin may connect.
        max_message_bytes: a longer message ends the connection with 1009.
        max_queued: messages kept for a view that is behind; then the client waits.
        compression: agree to permessage-deflate (RFC 7692) where the client offers it.
        ping_interval_s: how often an idle client is asked for a sign of life; 0: never.
        ping_timeout_s: how long that may take, before the connection is closed with 1011.
        close_timeout_s: how long the client may take to confirm the end.
    """

    subprotocols: ClassVar[Sequence[str]] = ()
    allowed_origins: ClassVar[Sequence[str] | None] = None
    max_message_bytes: ClassVar[int] = 1_048_576
    max_queued: ClassVar[int] = 16
    ping_interval_s: ClassVar[float] = 20.0
    ping_timeout_s: ClassVar[float] = 20.0
    close_timeout_s: ClassVar[float] = 10.0
    compression: ClassVar[bool] = True

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.request = request
        self.args = args
        self.kwargs = kwargs
        self.subprotocol: str | None = None
        self._duplex: AsyncDuplex | None = None
        self._core: ServerProtocol | None = None
        self._messages: deque[str | bytes] = deque()
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._over = asyncio.Event()
        self._ended = False
        self._deaf = False
        self._parts: list[bytes] = []
        self._is_text = False
        self._heard_at = 0.0

    # -- for subclasses -------------------------------------------------------------------------------------------

    async def on_open(self) -> None:
        """The connection is there."""

    async def on_receive(self, message: str | bytes) -> None:
        """A message has come: text as `str`, binary as `bytes`."""

    async def on_close(self, code: int, reason: str) -> None:
        """The connection is over; 1006 means that it broke."""

    async def run(self) -> None:
        """What is done with the connection: hands each message to `on_receive`, until the end."""
        await call(self.on_open)
        while True:
            message = await self.receive()
            if message is None:
                return
            await call(self.on_receive, message)

    async def receive(self) -> str | bytes | None:
        """The next message; None when there will be no more."""
        while not self._messages:
            if self._ended:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        message = self._messages.popleft()
        self._taken.set()
        return message

    async def send(self, message: str | bytes) -> None:
        """Send text or binary; returns when the client keeps up.

        Raises:
            ClientGone: the connection is over.
        """
        core = self._open_core()
        if isinstance(message, str):
            core.send_text(message.encode())
        else:
            core.send_binary(bytes(message))
        await self._flush()

    async def send_json(self, value: Any) -> None:
        """Send `value` as JSON text."""
        import json

        await self.send(json.dumps(value))

    async def ping(self, payload: bytes = b"") -> None:
        """Ask for a sign of life."""
        self._open_core().send_ping(payload)
        await self._flush()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """End the connection; messages that have come already can still be received.

        Raises:
            websockets.exceptions.ProtocolError: `code` is none that may be sent (RFC 6455 §7.4).
        """
        core = self._core
        if core is not None and core.state is OPEN:
            core.send_close(code, reason)
            self._end_of_messages()
            await self._flush()

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self._core is not None and self._core.state is OPEN and not self._ended

    # -- the connection -------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """For the lane: shake hands, `run`, close. A request that is no handshake gets its error."""
        socket = self.request.client_socket
        assert socket is not None
        refusal = self._shake_hands()
        if isinstance(refusal, ErrorResponse):
            await refusal.write_to(socket)
            return
        self._duplex = socket.upgrade(refusal)
        socket.on_go_away = self._go_away
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        name = f"duck-websocket {self.request.path[:80]}"
        tasks = [loop.create_task(self._read(), name=f"{name} reader")]
        if self.ping_interval_s:
            tasks.append(loop.create_task(self._keep_alive(), name=f"{name} keep-alive"))
        try:
            await self.run()
            await self.close()
        except ClientGone:
            pass
        except asyncio.CancelledError:
            await self._fail(CloseCode.GOING_AWAY)
            raise
        except Exception:
            logger.exception("the WebSocket view %s failed", type(self).__qualname__)
            await self._fail(CloseCode.INTERNAL_ERROR)
        finally:
            # Nobody takes messages any more; the reader goes on only for the client's last frame.
            self._deaf = True
            self._taken.set()
            try:
                await asyncio.wait_for(self._over.wait(), self.close_timeout_s)
            except TimeoutError:
                self._duplex.abort()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                self._duplex.close()
            await call(self.on_close, *self._ending())

    def _shake_hands(self) -> ResponseHead | ErrorResponse:
        request = self.request
        head = request.request_data.head
        if head.upgrade is None or head.upgrade.lower() != b"websocket":
            return ErrorResponse(400, NOT_A_HANDSHAKE, request=request)
        if not self._origin_is_allowed():
            return ErrorResponse(403, "Pages of that origin may not connect here.", request=request)
        core = _Core(
            subprotocols=[_subprotocol(name) for name in self.subprotocols] or None,
            # A client may offer none of ours: it is let in without, as most servers do.
            select_subprotocol=_select if self.subprotocols else None,
            extensions=[ServerPerMessageDeflateFactory()] if self.compression else None,
            max_size=self.max_message_bytes,
            logger=_protocol_logger,
        )
        # Over HTTP/2 the handshake has neither field (RFC 8441 §5); over HTTP/1 they were looked at above.
        lines = [b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"]
        for name, value in head.fields:
            lowered = name.lower()
            if lowered in _HANDSHAKE or lowered.startswith(b"sec-websocket-"):
                lines.append(b"%b: %b\r\n" % (name, value))
        core.receive_data(b"".join(lines) + b"\r\n")
        events = core.events_received()
        if not events or not isinstance(events[0], Request):
            return ErrorResponse(400, "The WebSocket handshake cannot be read.", request=request)
        response = core.accept(events[0])
        if response.status_code != 101:
            detail = (response.body or b"").decode("utf-8", "replace").strip()
            fields = {name: value for name, value in response.headers.raw_items() if name.lower() in _REFUSAL_FIELDS}
            # 426 has to carry `Upgrade` (RFC 9110 §15.5.22), which is the connection's and not a response's here.
            status = 400 if response.status_code == 426 else response.status_code
            return ErrorResponse(status, detail, request=request, headers=fields)
        core.send_response(response)
        core.data_to_send()  # the response as bytes, which the server writes by itself
        self._core = core
        self.subprotocol = core.subprotocol
        return ResponseHead(
            101,
            [
                (name.encode("latin-1"), value.encode("latin-1"))
                for name, value in response.headers.raw_items()
                if name.lower() not in _SERVERS_OWN
            ],
        )

    def _origin_is_allowed(self) -> bool:
        origin = self.request.headers.get("Origin")
        if origin is None:
            return True
        if self.allowed_origins is not None:
            return "*" in self.allowed_origins or origin in self.allowed_origins
        return urlsplit(origin).netloc.lower() == self.request.host

    async def _read(self) -> None:
        duplex, core = self._duplex, self._core
        assert duplex is not None and core is not None
        try:
            while True:
                data = await duplex.receive()
                self._heard_at = asyncio.get_running_loop().time()
                if data:
                    core.receive_data(data)
                else:
                    core.receive_eof()
                for event in core.events_received():
                    if isinstance(event, Frame):
                        await self._frame(core, event)
                await self._flush()
                if core.state is not OPEN:
                    self._end_of_messages()
                if not data or (core.close_rcvd is not None and core.close_sent is not None):
                    return
        except ClientGone:
            core.receive_eof()
        finally:
            self._over.set()
            self._end_of_messages()

    async def _frame(self, core: ServerProtocol, frame: Frame) -> None:
        if frame.opcode not in DATA_OPCODES:
            return
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
        self._parts.append(bytes(frame.data))
        if not frame.fin:
            return
        whole = b"".join(self._parts)
        self._parts.clear()
        if self._is_text:
            try:
                message: str | bytes = whole.decode()
            except UnicodeDecodeError:
                core.fail(CloseCode.INVALID_DATA, "text that is not UTF-8")
                return
        else:
            message = whole
        self._messages.append(message)
        self._arrived.set()
        # The reader stops here while the view is behind; then so does the client.
        while len(self._messages) >= self.max_queued and not self._deaf:
            self._taken.clear()
            await self._taken.wait()

    def _end_of_messages(self) -> None:
        self._ended = True
        self._arrived.set()

    async def _keep_alive(self) -> None:
        loop = asyncio.get_running_loop()
        while self.is_open:
            quiet_s = loop.time() - self._heard_at
            if quiet_s < self.ping_interval_s:
                await asyncio.sleep(self.ping_interval_s - quiet_s)
                continue
            asked_at = loop.time()
            try:
                await self.ping(b"duck")
                await asyncio.sleep(self.ping_timeout_s)
            except ClientGone:
                return
            if self._heard_at < asked_at:
                await self._fail(CloseCode.INTERNAL_ERROR, "no sign of life")
                self._over.set()
                self._end_of_messages()
                return

    async def _flush(self) -> None:
        core, duplex = self._core, self._duplex
        assert core is not None and duplex is not None
        for data in core.data_to_send():
            if data:
                await duplex.send(data)
            else:
                duplex.send_eof()

    def _go_away(self) -> None:
        """The server ends: tell the client; what came before that the view may still receive."""
        core, duplex = self._core, self._duplex
        assert core is not None and duplex is not None
        if core.state is OPEN and not duplex.is_lost:
            core.send_close(CloseCode.GOING_AWAY)
            for data in core.data_to_send():
                duplex.write(data)
            self._end_of_messages()

    async def _fail(self, code: CloseCode, reason: str = "") -> None:
        core = self._core
        assert core is not None
        try:
            if core.state is OPEN:
                core.fail(code, reason)
            await self._flush()
        except ClientGone:
            pass

    def _open_core(self) -> ServerProtocol:
        if self._core is None or not self.is_open:
            raise ClientGone("the WebSocket connection is over")
        return self._core

    def _ending(self) -> tuple[int, str]:
        core = self._core
        close = None if core is None else core.close_rcvd or core.close_sent
        return (1006, "") if close is None else (int(close.code), close.reason)


class _Core(ServerProtocol):
    """The library's, but that a client may close within a message of several frames (RFC 6455 §5.4): it is not 1002."""

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None  # of the message that has begun
        super().recv_frame(frame)


_REFUSAL_FIELDS: Final = frozenset(("allow", "sec-websocket-version"))


def _subprotocol(name: str) -> Subprotocol:
    from websockets.typing import Subprotocol

    return Subprotocol(name)


def _select(core: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    for name in core.available_subprotocols or ():
        if name in offered:
            return name
    return None

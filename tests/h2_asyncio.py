"""A client of HTTP/2 on asyncio's streams, framed by `h2`; its WebSockets (RFC 8441) are framed by `websockets`."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

DEADLINE_S = 60.0
GOAWAY = 7


@dataclass
class Answer:
    """What has come of one stream; `gone_away` tells that the server will not answer it."""

    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None
    gone_away: bool = False

    @property
    def is_over(self) -> bool:
        return self.ended or self.reset is not None or self.gone_away


class Connection:
    """One connection, on which many ask at once."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, scheme: str) -> None:
        self._reader = reader
        self._writer = writer
        self._scheme = scheme
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.answers: dict[int, Answer] = {}
        self.is_leaving = False  # the server opens no more streams
        self.is_closed = False
        self._changed = asyncio.Condition()
        self.h2.initiate_connection()
        self._flush()
        self._task = asyncio.get_running_loop().create_task(self._read(), name="h2 client")

    @classmethod
    async def open(cls, port: int, context: ssl.SSLContext | None = None, session: Any = None) -> Connection:
        """At 127.0.0.1; over TLS with `context`, whose ALPN is set here."""
        if context is None:
            return cls(*await asyncio.open_connection("127.0.0.1", port), "http")
        context.set_alpn_protocols(["h2"])
        made = cls(*await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost"), "https")
        assert made._writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        return made

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def until(self, condition: Any) -> None:
        """Until `condition()` holds, which something that came has changed."""
        async with asyncio.timeout(DEADLINE_S), self._changed:
            await self._changed.wait_for(condition)

    def begin(self, target: str, *, method: str = "GET", end: bool = True, **fields: str) -> int:
        """Send a request's head; its stream."""
        stream_id = self.h2.get_next_available_stream_id()
        self.answers[stream_id] = Answer()
        pseudo = [(":method", method), (":scheme", self._scheme), (":authority", "localhost"), (":path", target)]
        if ":protocol" in fields:
            pseudo.append((":protocol", fields.pop(":protocol")))
        self.h2.send_headers(stream_id, [*pseudo, *fields.items()], end_stream=end)
        self._flush()
        return stream_id

    async def send(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """Send a body, as the windows allow."""
        answer = self.answers[stream_id]
        while data:
            await self.until(lambda: answer.is_over or self.h2.local_flow_control_window(stream_id) > 0)
            if answer.is_over:
                return
            size = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size, len(data))
            self.h2.send_data(stream_id, data[:size])
            data = data[size:]
            self._flush()
            await self._writer.drain()
        if end and not answer.is_over:
            self.h2.end_stream(stream_id)
            self._flush()

    def reset(self, stream_id: int) -> None:
        self.h2.reset_stream(stream_id, 8)
        self._flush()

    async def ask(self, target: str, *, method: str = "GET", body: bytes | None = None, **fields: str) -> Answer:
        """A whole request; its answer, over."""
        stream_id = self.begin(target, method=method, end=body is None, **fields)
        if body is not None:
            await self.send(stream_id, body, end=True)
        answer = self.answers[stream_id]
        await self.until(lambda: answer.is_over)
        return answer

    async def websocket(self, target: str, **fields: str) -> WebSocket:
        """An extended CONNECT, answered."""
        await self.until(lambda: self.h2.remote_settings.enable_connect_protocol)
        fields = {":protocol": "websocket", "sec-websocket-version": "13", **fields}
        stream_id = self.begin(target, method="CONNECT", end=False, **fields)
        answer = self.answers[stream_id]
        await self.until(lambda: answer.status or answer.is_over)
        return WebSocket(self, stream_id, answer)

    def _flush(self) -> None:
        data = self.h2.data_to_send()
        if data:
            self._writer.write(data)

    async def _read(self) -> None:
        try:
            data = b""
            while more := await self._reader.read(65_536):
                data += more
                while len(data) >= 9 and len(data) >= (end := 9 + int.from_bytes(data[:3], "big")):
                    frame, data = data[:end], data[end:]
                    if frame[3] == GOAWAY:
                        self._goodbye(int.from_bytes(frame[9:13], "big") & 0x7FFF_FFFF)
                        continue
                    for event in self.h2.receive_data(frame):
                        self._take(event)
                self._flush()
                async with self._changed:
                    self._changed.notify_all()
        finally:
            self.is_closed = True
            for answer in self.answers.values():
                answer.gone_away = answer.gone_away or not answer.is_over
            async with self._changed:
                self._changed.notify_all()

    def _goodbye(self, last: int) -> None:
        """A GOAWAY, which `h2` is not told of: it would be closed by that, and streams go on (RFC 9113 §6.8)."""
        self.is_leaving = True
        for stream_id, answer in self.answers.items():
            answer.gone_away = answer.gone_away or stream_id > last

    def _take(self, event: Any) -> None:
        answer = self.answers.get(getattr(event, "stream_id", 0) or 0)
        if answer is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            answer.fields = dict(event.headers or ())
            answer.status = int(answer.fields.pop(":status"))
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            answer.reset = event.error_code


class WebSocket:
    """One stream that has left HTTP."""

    def __init__(self, connection: Connection, stream_id: int, answer: Answer) -> None:
        self._connection = connection
        self._stream_id = stream_id
        self.answer = answer
        self._protocol = Protocol(Side.CLIENT)
        self._taken = 0
        self._messages: list[bytes] = []

    async def send(self, text: str) -> None:
        self._protocol.send_text(text.encode())
        await self._flush()

    async def close(self, code: int = 1000) -> None:
        self._protocol.send_close(code)
        await self._flush()
        await self._connection.until(lambda: self._take() or self.answer.is_over)

    async def receive(self) -> str | None:
        """The next message; None at the end, and `close_code` tells why."""
        await self._connection.until(lambda: self._take() or self._messages or self.answer.is_over)
        await self._flush()
        return self._messages.pop(0).decode() if self._messages else None

    @property
    def close_code(self) -> int:
        received = self._protocol.close_rcvd
        return 1006 if received is None else received.code

    def _take(self) -> bool:
        """Read what has come; whether a Close has."""
        body = self.answer.body
        if len(body) > self._taken and self._protocol.close_rcvd is None:
            self._protocol.receive_data(bytes(body[self._taken :]))
            self._taken = len(body)
            for event in self._protocol.events_received():
                if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.CONT):
                    self._messages.append(bytes(event.data))
        return self._protocol.close_rcvd is not None

    async def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data and not self.answer.is_over:
                await self._connection.send(self._stream_id, data)

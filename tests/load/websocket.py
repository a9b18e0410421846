"""WebSocket of a client: the bytes by asyncio's streams, the protocol by `websockets` without its input and output."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from tests.load.outcome import End, Outcome

ABNORMAL = 1006  # no Close came (RFC 6455 §7.1.5)
GOING_AWAY = 1001
SERVICE_RESTART = 1012


async def talk(
    port: int,
    target: str,
    outcome: Outcome,
    stopping: Callable[[], bool],
    *,
    every_s: float = 0.1,
    deadline_s: float = 10.0,
) -> int:
    """Open one, and have messages echoed until `stopping`, or until the other side ends it; how many were echoed.

    `outcome.end` is OK where this side closed it, CLOSED with the code where the other did.
    """
    outcome.is_websocket = True
    writer: asyncio.StreamWriter | None = None
    echoed = 0
    try:
        try:
            async with asyncio.timeout(deadline_s):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                outcome.port = writer.get_extra_info("sockname")[1]
                channel = _Channel(reader, writer, f"ws://localhost{target}")
                await channel.shake_hands(outcome)
        except ConnectionRefusedError as error:
            outcome.end, outcome.detail = End.REFUSED, str(error)
            return 0
        except TimeoutError:
            outcome.end, outcome.detail = End.TIMEOUT, "no end of the handshake"
            return 0
        except (OSError, EOFError) as error:
            outcome.end = End.RESET_BEFORE if outcome.sent is None else End.RESET_AFTER
            outcome.detail = f"handshake: {error or 'closed'}"
            return 0
        except InvalidHandshake as error:
            outcome.end, outcome.detail = (End.STATUS if outcome.status else End.WRONG), str(error)
            return 0
        try:
            while not stopping():
                async with asyncio.timeout(deadline_s):
                    outcome.pid = await channel.echo(f"{outcome.load_id}-{echoed}")
                    echoed += 1
                await channel.hear(every_s)
            async with asyncio.timeout(deadline_s):
                await channel.close()
            outcome.end = End.OK
        except TimeoutError:
            outcome.end, outcome.detail = End.TIMEOUT, "no echo, or no Close"
        except _WrongEcho as error:
            outcome.end, outcome.detail = End.WRONG, str(error)
        except (OSError, EOFError) as error:
            outcome.end, outcome.code, outcome.detail = End.CLOSED, channel.close_code, str(error)
        return echoed
    finally:
        outcome.ended = time.monotonic()
        if writer is not None:
            writer.transport.abort()
            try:
                await writer.wait_closed()
            except OSError:
                pass


class _WrongEcho(Exception):
    pass


class _Channel:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, uri: str) -> None:
        self._reader = reader
        self._writer = writer
        self._protocol = ClientProtocol(parse_uri(uri))
        self._messages: list[str] = []

    @property
    def close_code(self) -> int:
        received = self._protocol.close_rcvd
        return ABNORMAL if received is None else received.code

    async def shake_hands(self, outcome: Outcome) -> None:
        request = self._protocol.connect()
        request.headers["X-Load-Id"] = outcome.load_id
        self._protocol.send_request(request)
        self._flush()
        await self._writer.drain()
        outcome.sent = time.monotonic()
        while self._protocol.state is State.CONNECTING:
            data = await self._reader.read(65_536)
            if not data:
                raise EOFError("closed")
            outcome.first_byte = outcome.first_byte or time.monotonic()
            self._protocol.receive_data(data)
            for event in self._protocol.events_received():
                if isinstance(event, Response):
                    outcome.status = event.status_code
                else:
                    self._take(event)
            if self._protocol.handshake_exc is not None:
                raise self._protocol.handshake_exc

    async def echo(self, text: str) -> int:
        """Have `text` sent back; the process that did it."""
        self._messages.clear()
        self._expect_open()
        self._protocol.send_text(text.encode())
        self._flush()
        await self._writer.drain()
        while not self._messages:
            await self._receive()
        answer = json.loads(self._messages.pop(0))
        if answer["text"] != text:
            raise _WrongEcho(f"{answer['text']!r}, not {text!r}")
        return int(answer["pid"])

    async def hear(self, for_s: float) -> None:
        """Take what comes meanwhile: a Close, or an end."""
        try:
            async with asyncio.timeout(for_s):
                while True:
                    await self._receive()
        except TimeoutError:
            return

    async def close(self) -> None:
        """Close it in order."""
        self._expect_open()
        self._protocol.send_close(1000)
        self._flush()
        while True:
            try:
                await self._receive()
            except EOFError:
                if self.close_code != 1000:
                    raise
                return

    def _expect_open(self) -> None:
        """A Close may have come with the bytes of a handshake or of an echo."""
        if self._protocol.close_rcvd is not None:
            raise EOFError(self._protocol.close_rcvd.reason)

    async def _receive(self) -> None:
        data = await self._reader.read(65_536)
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            self._take(event)
        if not self._writer.transport.is_closing():
            self._flush()  # the answer to a Close, or to a Ping
        if not data or self._protocol.close_rcvd is not None:
            raise EOFError(self._protocol.close_rcvd.reason if self._protocol.close_rcvd else "no Close")

    def _take(self, event: object) -> None:
        if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
            self._messages.append(bytes(event.data).decode())

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._writer.write(data)

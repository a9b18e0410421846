"""Servers that misbehave on purpose, each in one way, so that it is known that the clients see it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import socket
import struct
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable

Play = Callable[["Peer"], Awaitable[None]]


class Peer:
    """One connection, at the server's end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.load_id = ""

    async def head(self) -> bytes:
        """The next request's."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"(?i)x-load-id: (\S+)", head)
        self.load_id = found[1].decode() if found else ""
        return head

    async def write(self, data: bytes) -> None:
        """Send it."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(
        self, *, status: str = "200 OK", load_id: str | None = None, pid: int = 7, fields: str = ""
    ) -> None:
        """An answer as the project's `/pid` gives it."""
        who = self.load_id if load_id is None else load_id
        body = json.dumps({"pid": pid, "id": who})
        head = f"HTTP/1.1 {status}\r\nX-Pid: {pid}\r\nX-Load-Id: {who}\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
        await self.write(f"{head}{body}".encode())

    async def shake_hands(self) -> None:
        """Take a WebSocket."""
        found = re.search(rb"(?i)sec-websocket-key: (\S+)", await self.head())
        assert found is not None
        accept = b64encode(hashlib.sha1(found[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        await self.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )

    async def say_close(self, code: int) -> None:
        """A Close frame."""
        await self.write(b"\x88\x02" + struct.pack("!H", code))

    def reset(self) -> None:
        """End with a reset instead of an end."""
        client: socket.socket = self.writer.get_extra_info("socket")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@contextlib.asynccontextmanager
async def misbehaving(play: Play) -> AsyncIterator[int]:
    """A server that does `play` with every connection and then closes it; its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
            await play(Peer(reader, writer))
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()

"""What backend.c does, where no compiler is: prints its port, answers `/` with 13 bytes and `/mb` with 1 MiB."""

from __future__ import annotations

import asyncio
from typing import cast

HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"Server: backend\r\n"
    b"Date: Sat, 21 Nov 2026 12:00:00 GMT\r\n"
    b"Content-Type: text/html; charset=utf-8\r\n"
    b"X-Frame-Options: DENY\r\n"
    b"Vary: Cookie\r\n"
    b"Content-Length: %d\r\n\r\n"
)
SMALL = HEAD % 13 + b"Hello, World!"
BIG = HEAD % (1 << 20) + b"x" * (1 << 20)


class Backend(asyncio.Protocol):
    """One connection; requests have no body."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        *heads, self.buffer = (self.buffer + data).split(b"\r\n\r\n")
        for head in heads:
            self.transport.write(BIG if head.startswith(b"GET /mb") else SMALL)


async def main() -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Backend, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(main())
    else:
        uvloop.run(main())

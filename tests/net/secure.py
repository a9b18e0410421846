"""A worker that speaks TLS on loopback, on either loop, and clients for it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from duck.net.limits import Limits
from duck.net.listener import open_listeners
from duck.net.tls import Contexts, TlsConfig
from duck.net.worker import Worker, new_loop
from duck.settings.listen import parse_listen
from duck.wire.head import ResponseHead
from tests.certificates import Authority, Pair

if TYPE_CHECKING:
    from duck.net.exchange import Exchange

LOOPS = [asyncio.new_event_loop, new_loop]
GET = b"GET /who HTTP/1.1\r\nHost: a.example\r\n\r\n"


class Served:
    """A worker over TLS that answers with scheme and target, or `answer`."""

    def __init__(
        self,
        *pairs: Pair,
        answer: Callable[[Exchange], None] | None = None,
        make_loop: Callable[[], asyncio.AbstractEventLoop] = new_loop,
        limits: Limits | None = None,
        **config: object,
    ) -> None:
        self.contexts = Contexts(TlsConfig(tuple(pairs), **config))  # type: ignore[arg-type]
        self.listeners = open_listeners([parse_listen("https://127.0.0.1:0")])
        self.address = self.listeners[0].getsockname()
        self._answer = answer or told
        self.worker = Worker(
            "secure",
            list(self.listeners),
            lambda loop, clock: self,
            limits or Limits(),
            contexts=self.contexts,
            make_loop=make_loop,
        )
        self.worker.start()

    def handle(self, exchange: Exchange) -> None:
        self._answer(exchange)

    def plain(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=10)

    def connect(
        self, context: ssl.SSLContext, name: str | None = "a.example", session: ssl.SSLSession | None = None
    ) -> ssl.SSLSocket:
        return context.wrap_socket(self.plain(), server_hostname=name, session=session)

    @property
    def tls_counts(self) -> dict[str, int]:
        assert self.worker.server is not None
        counts: dict[str, int] = self.worker.server.snapshot()["tls"]
        return counts

    def close(self) -> None:
        self.worker.stop()
        for listener in self.listeners:
            listener.close()


def told(exchange: Exchange) -> None:
    body = exchange.peer.scheme + b" " + exchange.request.target
    exchange.response.answer(ResponseHead(200, [], content_length=len(body)), body)


@contextmanager
def serving(*pairs: Pair, **more: object) -> Iterator[Served]:
    served = Served(*pairs, **more)  # type: ignore[arg-type]
    try:
        yield served
    finally:
        served.close()


def ask(client: ssl.SSLSocket | socket.socket, request: bytes = GET) -> bytes:
    """The whole answer, by its Content-Length."""
    client.sendall(request)
    return read_answer(client)


def read_answer(client: ssl.SSLSocket | socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(65_536)
        if not more:
            return data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))[16:])
    pieces, have = [body], len(body)
    while have < length:
        more = client.recv(262_144)
        assert more, "cut"
        pieces.append(more)
        have += len(more)
    return head + b"\r\n\r\n" + b"".join(pieces)


__all__ = ["GET", "LOOPS", "Authority", "Served", "ask", "read_answer", "serving", "told"]

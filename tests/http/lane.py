"""The application lane without and with sockets: what its tests share."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from duck.http.core.asgi import ASGI
from duck.http.handlers import AppHandler
from duck.http.request import HttpRequest
from duck.http.request_data import RequestData
from duck.net.clock import Clock
from duck.net.limits import Limits
from duck.net.server import Server, Trust
from duck.testing import FakeStream, record_exchange
from duck.wire.head import ResponseHead

DEADLINE_S = 30.0


def run(work: Callable[[], Awaitable[object]], loop: str = "asyncio") -> None:
    """Run one coroutine function to its end, on a loop of its own (`asyncio` or `uvloop`), within a deadline."""

    async def within_deadline() -> None:
        await asyncio.wait_for(work(), DEADLINE_S)

    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(within_deadline())


def to_the_end(work: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
    """`work`, and then whatever it has begun: a thread that gives something back needs the loop to the last."""

    async def all_of_it() -> None:
        before = asyncio.all_tasks()
        await work()
        await until(lambda: asyncio.all_tasks() <= before)

    return all_of_it


def request(target=b"/", *fields, method=b"GET", scheme=b"http", length=0) -> HttpRequest:
    """A request whose body nobody sends."""
    exchange, _ = record_exchange(method, target, list(fields), content_length=length)
    exchange.peer.scheme = scheme
    return HttpRequest(RequestData(exchange.request, exchange.peer, 1 << 20))


class App:
    """An AppHandler over fake streams."""

    def __init__(self, routes=(), *, gateway=None, proxy=None, debug=False, **settings):
        settings = {"URLPATTERNS": list(routes), "ALLOWED_HOSTS": ["*"], "DEBUG": debug, **settings}
        self.gateway = gateway or ASGI(settings)
        self.handler = AppHandler(self, self.gateway, proxy=proxy, debug=debug, max_body_bytes=1 << 20)

    def begin(self, target=b"/", *fields, method=b"GET", length=0, stream=None):
        """The exchange and stream of a request, under way."""
        stream = stream or FakeStream()
        exchange, _ = record_exchange(method, target, list(fields), content_length=length, stream=stream)
        self.handler.handle(exchange)
        return exchange, stream

    async def ask(self, target=b"/", *fields, method=b"GET", body=b"", stream=None):
        """The stream of an answered request."""
        exchange, stream = self.begin(target, *fields, method=method, length=len(body), stream=stream)
        if body:
            await until(lambda: stream.body_started or exchange.is_over)
            give(exchange, body)
        await self.idle()
        return stream

    async def idle(self):
        """Until nothing is being answered any more."""
        await until(lambda: not self.handler.in_flight)


def give(exchange, *chunks, end=True):
    """The client sends its body."""
    for chunk in chunks:
        if exchange.body_sink is not None:
            exchange.bytes_received += len(chunk)
            exchange.body_sink.data(chunk)
    if end:
        exchange.body_ended(None)


async def until(condition):
    """Until `condition()` holds; the test's deadline bounds it."""
    while not condition():  # noqa: ASYNC110 - what is waited for is not always a task
        await asyncio.sleep(0.001)


class Backend:
    """A Handler that answers as `script(exchange)` says, and keeps what it was asked."""

    def __init__(self, script):
        self.script = script
        self.exchanges = []

    def handle(self, exchange):
        self.exchanges.append(exchange)
        self.script(exchange)


class BodyKeeper:
    """A BodySink that answers with what it was sent."""

    def __init__(self, exchange):
        self.exchange = exchange
        self.body = bytearray()
        self.error = None

    def data(self, chunk):
        self.body += chunk

    def end(self, trailers):
        body = bytes(self.body)
        self.exchange.response.answer(ResponseHead(200, [(b"X-From", b"django")], content_length=len(body)), body)

    def abort(self, error):
        self.error = error


class Producer:
    """Keeps what it was told."""

    def __init__(self):
        self.told = []

    def pause(self):
        self.told.append("pause")

    def resume(self):
        self.told.append("resume")

    def cancel(self, error):
        self.told.append("cancel")


@asynccontextmanager
async def serving(handler, trust=(), **limits):
    """A real server on loopback whose connections `handler` answers; gives its port."""
    loop = asyncio.get_running_loop()
    clock = Clock(loop)
    server = Server(loop, clock, handler, Limits(**limits), trust=Trust(trust))
    listener = await loop.create_server(server.protocol, "127.0.0.1", 0)
    clock.start()
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        server.cut()
        clock.stop()
        await until(lambda: not server.connections)

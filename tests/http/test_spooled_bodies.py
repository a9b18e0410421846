"""Long bodies of requests to Duck's own views: in the site's spool they count like Django's."""

import asyncio
import os
import tempfile

import pytest

from duck.http.core.asgi import ASGI
from duck.http.core.wsgi import WSGI
from duck.http.handlers import AppHandler
from duck.http.request import SPOOL_BYTES
from duck.proxy.spool import Spool
from duck.testing import FakeStream, record_exchange
from duck.urls import path
from tests.http.lane import give, run, to_the_end, until

LONG = SPOOL_BYTES * 2


def sending(handler, body, *, end=True):
    """The stream of a POST of `body`, under way."""
    stream = FakeStream()
    exchange, _ = record_exchange(b"POST", b"/", content_length=LONG, stream=stream)
    handler.handle(exchange)

    async def send():
        await until(lambda: stream.body_started or exchange.is_over)
        for at in range(0, len(body), 65_536):
            give(exchange, body[at : at + 65_536], end=False)
            await asyncio.sleep(0)
        if end:
            exchange.body_ended(None)

    return stream, send


def make(gateway, spool, view):
    made = gateway({"URLPATTERNS": [path("/", view)], "ALLOWED_HOSTS": ["*"]})
    return AppHandler(None, made, spool=spool, max_body_bytes=1 << 30)


@pytest.mark.parametrize("gateway", [ASGI, WSGI])
@pytest.mark.parametrize("size", [SPOOL_BYTES, LONG])
def test_a_body_counts_from_the_moment_it_leaves_memory_to_the_end_of_its_view(tmp_path, gateway, size):
    async def work():
        spool = Spool(str(tmp_path), 1 << 30)
        used = []

        def view(request):
            body = request.body
            used.append(spool.used)
            return str(len(body))

        stream, send = sending(make(gateway, spool, view), b"x" * size)
        await send()
        await until(lambda: stream.ended)
        assert (bytes(stream.body), used) == (b"%d" % size, [size if size > SPOOL_BYTES else 0])
        await until(lambda: spool.used == 0)

    run(to_the_end(work))


@pytest.mark.parametrize("gateway", [ASGI, WSGI])
@pytest.mark.parametrize("why", ["full", "no directory"])
def test_a_body_without_room_is_503(tmp_path, gateway, why, caplog):
    async def work():
        full = why == "full"
        spool = Spool(str(tmp_path if full else tmp_path / "absent"), LONG - 1 if full else 1 << 30)
        stream, send = sending(make(gateway, spool, lambda request: request.body), b"x" * LONG)
        await send()
        await until(lambda: stream.ended)
        assert stream.status == 503
        assert ("MAX_SPOOL_BYTES" if full else "SPOOL_DIR") in caplog.text
        await until(lambda: spool.used == 0)

    run(to_the_end(work))


def test_a_client_that_leaves_gives_its_room_back(tmp_path):
    async def work():
        spool = Spool(str(tmp_path), 1 << 30)
        stream, send = sending(make(ASGI, spool, lambda request: request.body), b"x" * (LONG - 1), end=False)
        await send()
        await until(lambda: spool.used == LONG - 1)
        stream.leave()
        await until(lambda: spool.used == 0)

    run(to_the_end(work))


def test_a_body_that_fails_on_its_way_gives_its_room_back(tmp_path):
    async def work():
        spool = Spool(str(tmp_path), 1 << 30)
        stream, send = sending(make(ASGI, spool, lambda request: request.body), b"x" * (LONG - 1), end=False)
        await send()
        await until(lambda: spool.used == LONG - 1)
        stream.exchange.body_failed(ValueError("no body"))
        await until(lambda: stream.ended)
        await until(lambda: spool.used == 0)

    run(to_the_end(work))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are found in /proc")
def test_a_body_lies_where_the_spool_does(tmp_path):
    where = []

    def view(request):
        assert request.body
        for name in os.listdir("/proc/self/fd"):
            try:
                where.append(os.readlink(f"/proc/self/fd/{name}"))
            except OSError:
                continue
        return "done"

    async def work():
        stream, send = sending(make(ASGI, Spool(str(tmp_path), 1 << 30), view), b"x" * LONG)
        await send()
        await until(lambda: stream.ended)

    run(to_the_end(work))
    assert str(tmp_path) != tempfile.gettempdir()
    assert [name for name in where if name.startswith(str(tmp_path))]

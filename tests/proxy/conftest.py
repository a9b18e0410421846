"""A worker with a site before backends that the test plays; on both loops."""

import asyncio
import concurrent.futures
import contextlib
import http.client
import socket
import tempfile
import threading
import time
from pathlib import Path

import pytest

from duck.http.site import Site, SiteConfig
from duck.net.limits import Limits
from duck.net.worker import Worker, new_loop
from duck.proxy.upstream import Generation
from tests.proxy.backends import TIMEOUT_S, HttpBackend, LinkBackend

LOOPS = {"asyncio": asyncio.new_event_loop, "best": new_loop}


class Client(socket.socket):
    """A client's connection."""

    def answer(self, method="GET"):
        """The next answer, read to its end; `IncompleteRead` when it was cut."""
        response = self.head(method)
        response.body = response.read()
        return response

    def head(self, method="GET"):
        """The next answer's head; the rest is read by its `read`."""
        response = http.client.HTTPResponse(self, method=method)
        response.begin()
        return response

    def ask(self, data, method="GET"):
        self.sendall(data)
        return self.answer(method)

    def rest(self):
        """What comes until the end."""
        data = bytearray()
        with contextlib.suppress(ConnectionError):
            while piece := self.recv(65_536):
                data += piece
        return bytes(data)


class Front:
    """A worker with a site."""

    def __init__(self, make_loop, limits=None, **config):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.exchanges = []
        self.site = None

        def make_handler(loop, clock):
            self.site = Site(SiteConfig(**config), loop, clock)
            return self.site

        self.worker = Worker(
            "front",
            [self.listener],
            make_handler,
            Limits() if limits is None else limits,
            trusted_proxies=list(config.get("trusted_proxies", ())),
            on_exchange=self.exchanges.append,
            make_loop=make_loop,
        )
        self.worker.start()
        self._clients = []
        self._generations = 0

    def call(self, function, *args):
        """What `function` returns, called on the worker's loop."""
        future = concurrent.futures.Future()

        def call():
            try:
                future.set_result(function(*args))
            except BaseException as error:
                future.set_exception(error)

        assert self.worker.post(call)
        return future.result(TIMEOUT_S)

    def switch(self, *pages, sockets=(), on_left=None, **facts):
        """Post a new generation."""
        self._generations += 1
        generation = Generation(self._generations, tuple(pages), tuple(sockets), facts)
        self.call(self.site.switch, generation, on_left)

    def sweep(self, seconds):
        """Let the clock sweep as if `seconds` had passed."""
        clock = self.worker._clock
        self.call(lambda: clock.sweep(clock.time() + seconds))

    def connect(self, receive_buffer=0):
        client = Client()
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(TIMEOUT_S)
        client.connect(self.address)
        self._clients.append(client)
        return client

    def ask(self, data, method="GET"):
        """The answer to `data` on a new connection."""
        return self.connect().ask(data, method)

    def wait_exchanges(self, count):
        wait(lambda: len(self.exchanges) >= count)

    @property
    def pool(self):
        """The pool of the first page upstream."""
        backend = self.site.proxy.backends.pages[0]
        return backend.links if backend.is_link else backend.https

    @property
    def pace(self):
        """The pace of the first page upstream, a worker."""
        return self.site.proxy.backends.pages[0].turns.pace

    def close(self):
        for client in self._clients:
            client.close()
        with contextlib.suppress(concurrent.futures.TimeoutError, AssertionError):
            self.call(self.site.close)
            self.call(self.worker.server.cut)
        wait(lambda: not self.worker.server.connections)
        self.worker.stop()
        self.listener.close()
        assert not self.site.spool.used


def wait(condition, seconds=TIMEOUT_S):
    """Wait until `condition()` is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.002)


@pytest.fixture(params=sorted(LOOPS))
def make_loop(request):
    return LOOPS[request.param]


@pytest.fixture
def front(make_loop):
    """A front without a backend; `front.switch` gives it one."""
    front = Front(make_loop)
    yield front
    front.close()


@pytest.fixture
def make_front(make_loop):
    """A function that makes a front with settings of its own."""
    fronts = []

    def make(limits=None, **config):
        fronts.append(Front(make_loop, limits, **config))
        return fronts[-1]

    yield make
    for front in fronts:
        front.close()


@pytest.fixture
def http_backend():
    """A function that starts an HTTP/1.1 backend for a script."""
    backends = []

    def make(script, **more):
        backends.append(HttpBackend(script, **more))
        return backends[-1]

    yield make
    for backend in backends:
        backend.close()


@pytest.fixture
def link_backend():
    """A function that starts a link worker for a script."""
    backends = []
    with tempfile.TemporaryDirectory(prefix="duck-") as directory:

        def make(script, **more):
            backends.append(LinkBackend(script, address=Path(directory) / f"{len(backends)}.sock", **more))
            return backends[-1]

        yield make
        for backend in backends:
            backend.close()


@pytest.fixture
def event():
    """Something that one thread waits for and another lets happen."""
    event = threading.Event()
    yield event
    event.set()

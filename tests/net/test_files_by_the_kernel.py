"""`sendfile` under a connection: whole to slow readers, cut when the file shrinks, let go when the client leaves."""

import asyncio
import hashlib
import http.client
import os
import socket
import threading
import time

import pytest

from duck.net.limits import Limits
from duck.net.worker import Worker, new_loop
from duck.wire.head import ResponseHead

SIZE = 50 << 20
PIECE = os.urandom(1 << 20)


class FileHandler:
    """Answers every request with a file."""

    def __init__(self, path):
        self.path = path
        self.length = os.stat(path).st_size
        self.done = []
        self.told = threading.Event()

    def handle(self, exchange):
        descriptor = os.open(self.path, os.O_RDONLY)

        def done(error):
            os.close(descriptor)
            self.done.append(error)
            if error is None:
                exchange.end(None)
            else:
                exchange.abort(error)
            self.told.set()

        exchange.head(ResponseHead(200, [], content_length=self.length))
        exchange.file(descriptor, 0, self.length, done)


@pytest.fixture(params=["asyncio", "best"])
def served(request, tmp_path):
    path = tmp_path / "file"
    with open(path, "wb") as file:
        for _ in range(SIZE // len(PIECE)):
            file.write(PIECE)
    handler = FileHandler(path)
    listener = socket.create_server(("127.0.0.1", 0))
    loops = {"asyncio": asyncio.new_event_loop, "best": new_loop}
    worker = Worker("files", [listener], lambda loop, clock: handler, Limits(), make_loop=loops[request.param])
    worker.start()
    handler.address = listener.getsockname()
    handler.worker = worker
    yield handler
    worker.stop()
    listener.close()
    assert len(handler.done) > 0


def ask(handler, method="GET"):
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    client.settimeout(20)
    client.connect(handler.address)
    client.sendall(f"{method} / HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client


def test_a_slow_reader_gets_the_whole_file_and_the_connection_stays(served):
    with ask(served) as client:
        for _ in range(2):
            response = http.client.HTTPResponse(client)
            response.begin()
            digest = hashlib.sha256()
            reads = 0
            while data := response.read(300_000):
                digest.update(data)
                reads += 1
                if reads % 10 == 0:
                    time.sleep(0.002)
            expected = hashlib.sha256()
            for _ in range(SIZE // len(PIECE)):
                expected.update(PIECE)
            assert digest.digest() == expected.digest()
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    served.told.wait(10)


def test_a_file_that_becomes_shorter_is_cut(served):
    with ask(served) as client:
        response = http.client.HTTPResponse(client)
        response.begin()
        response.read(100_000)
        os.truncate(served.path, 20 << 20)
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            while response.read(1 << 20):
                pass
            raise http.client.IncompleteRead(b"") if response.length else AssertionError("it looked complete")
    assert served.told.wait(10) and isinstance(served.done[0], OSError)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_lets_go_of_the_file(served, how):
    client = ask(served)
    client.recv(1000)
    if how == "reset":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    assert served.told.wait(10) and served.done[0] is not None


def test_a_client_that_reads_nothing_is_cut_off(served):
    with ask(served) as client:
        client.recv(1000)
        clock = served.worker._clock
        for seconds in (61, 122, 183):
            time.sleep(0.02)
            served.worker.post(lambda seconds=seconds: clock.sweep(clock.time() + seconds))
        assert served.told.wait(10) and served.done[0] is not None


def test_head_sends_no_file(served):
    with ask(served, "HEAD") as client:
        response = http.client.HTTPResponse(client, method="HEAD")
        response.begin()
        assert response.getheader("Content-Length") == str(SIZE)
        assert served.told.wait(10) and served.done == [None]

"""Large bodies and many requests: what they cost the process that passes them on."""

import asyncio
import gc
import os
import socket
import threading
import time

import psutil
import pytest

from duck.wire import link
from tests.net.front import get
from tests.proxy.backends import LinkBackend, answer, serve
from tests.proxy.conftest import wait

SIZE = 100 << 20
PIECE = os.urandom(1 << 16)
MAX_GROWTH = 32 << 20


class Peak:
    """How much the process grows while something is done."""

    def __enter__(self):
        gc.collect()
        self._process = psutil.Process()
        self._before = self._process.memory_info().rss
        self._peak = self._before
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self):
        while not self._done.wait(0.005):
            self._peak = max(self._peak, self._process.memory_info().rss)

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

    @property
    def growth(self):
        return self._peak - self._before


def upload(client, *fields):
    client.sendall(get("/", f"Content-Length: {SIZE}", *fields, method="POST"))
    for _ in range(SIZE // len(PIECE)):
        client.sendall(PIECE)
    return client.answer()


def download_slowly(client):
    """Read with pauses, so that whoever sends is always ahead; the number of bytes."""
    client.sendall(get("/", "Connection: close"))
    buffer = bytearray(1 << 20)
    size = -1
    data = b""
    while b"\r\n\r\n" not in data:
        data += client.recv(1000)
    size = len(data) - data.index(b"\r\n\r\n") - 4
    reads = 0
    while got := client.recv_into(buffer):
        size += got
        reads += 1
        if reads % 20 == 0:
            time.sleep(0.001)
    return size


class SizeOnly(LinkBackend):
    """Tells how long the body is, and that it came in a file."""

    def play(self, slot):
        slot.hello()
        while True:
            kind, payload = slot.read_frame()
            items, body = link.split_request(link.frame(kind, payload))
            spool = dict(zip(link.REQUEST_ITEMS, items, strict=False))["spool"]
            slot.answer(b"%d %d" % (os.stat(spool).st_size if spool else 0, len(body)))


def test_a_large_upload_to_a_worker_goes_through_a_file(make_front, tmp_path, link_backend):
    front = make_front(spool_dir=str(tmp_path))
    backend = SizeOnly(None, address=os.path.join(os.path.dirname(link_backend(None).address), "size.sock"))
    try:
        front.switch(backend.upstream())
        with Peak() as peak:
            assert upload(front.connect()).body == b"%d 0" % SIZE
        assert peak.growth < MAX_GROWTH
        wait(lambda: not front.site.spool.used)
    finally:
        backend.close()


def test_a_large_upload_to_a_server_is_held_back_by_it(front, http_backend):
    def script(connection):
        connection.read_until(b"\r\n\r\n")
        size = len(connection.buffer)
        buffer = bytearray(1 << 18)
        while size < SIZE:
            size += connection.sock.recv_into(buffer)
            time.sleep(0.0002)
        connection.send(answer(b"%d" % size))

    front.switch(http_backend(script).upstream())
    with Peak() as peak:
        assert upload(front.connect()).body == b"%d" % SIZE
    assert peak.growth < MAX_GROWTH


@pytest.mark.parametrize("length", [SIZE, None])
def test_a_large_answer_of_a_worker_to_a_slow_client_takes_little_memory(front, link_backend, length):
    def script(slot, items, fields, body):
        slot.head(length=length)
        for _ in range(SIZE // len(PIECE)):
            slot.data(PIECE)
        slot.end()
        slot.free()

    front.switch(link_backend(script).upstream())
    with Peak() as peak:
        size = download_slowly(front.connect(receive_buffer=65_536))
    assert size == SIZE if length else size > SIZE
    assert peak.growth < MAX_GROWTH


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_answer_of_a_server_is_held_back_by_a_slow_client(front, http_backend, chunked):
    def script(connection):
        connection.read_until(b"\r\n\r\n")
        connection.send(b"HTTP/1.1 200 OK\r\n")
        if chunked:
            connection.send(b"Transfer-Encoding: chunked\r\n\r\n")
            for _ in range(SIZE // len(PIECE)):
                connection.send(b"%x\r\n" % len(PIECE) + PIECE + b"\r\n")
            connection.send(b"0\r\n\r\n")
        else:
            connection.send(b"Content-Length: %d\r\n\r\n" % SIZE)
            for _ in range(SIZE // len(PIECE)):
                connection.send(PIECE)
        connection.wait_end()

    front.switch(http_backend(script).upstream())
    with Peak() as peak:
        size = download_slowly(front.connect(receive_buffer=65_536))
    assert size > SIZE if chunked else size == SIZE
    assert peak.growth < MAX_GROWTH


@pytest.mark.parametrize("kind", ["link", "http"])
def test_ten_thousand_requests_leave_nothing(front, link_backend, http_backend, kind):
    if kind == "link":
        backend = link_backend(lambda slot, items, fields, body: (slot.answer(b"hello"), slot.requests.clear()))
    else:

        def reply(connection, line, fields, body):
            connection.requests.clear()
            return answer(b"hello")

        backend = http_backend(serve(reply))
    front.switch(backend.upstream())
    client = front.connect()
    batch = get("/", "User-Agent: test") * 100

    def serve_batches(count):
        for _ in range(count):
            client.sendall(batch)
            data = b""
            while data.count(b"hello") < 100:
                data += client.recv(65_536)
        front.exchanges.clear()
        wait(lambda: front.pool.busy == 0)

    serve_batches(2)
    tasks = front.call(lambda: len(asyncio.all_tasks(front.worker._loop)))
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        serve_batches(100)
        assert len(gc.get_objects()) - before < 500
    finally:
        gc.enable()
    assert front.call(lambda: len(asyncio.all_tasks(front.worker._loop))) == tasks == 0


def test_a_client_that_prints_and_ends_gets_all_its_answers(front, link_backend):
    """As `printf ... | nc` does: everything at once, then the end."""

    def script(slot, items, fields, body):
        time.sleep(0.002)
        slot.answer(items["path"].encode() + body)

    front.switch(link_backend(script).upstream())
    client = front.connect()
    client.sendall(b"".join(get(f"/{number}/") for number in range(50)))
    client.shutdown(socket.SHUT_WR)
    data = client.rest()
    assert [data.count(b"/%d/" % number) for number in range(50)] == [1] * 50
    assert data.index(b"/1/") < data.index(b"/10/") < data.index(b"/49/")

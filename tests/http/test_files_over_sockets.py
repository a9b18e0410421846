"""Files over real connections, through a real worker: whole, in parts, to slow clients, and to those that leave."""

import os
import socket
import time

import httpx
import pytest

from duck.http.files import StaticFiles
from duck.net.limits import Limits
from duck.net.worker import Worker
from duck.wire.head import ResponseHead
from tests.waiting import wait_until

LARGE = os.urandom(1 << 20) * 24


class NotFound:
    """Stands where Django would."""

    def handle(self, exchange):
        exchange.response.answer(ResponseHead(404, [], content_length=0), b"")


class Served:
    """A directory behind a worker, and what happened to its exchanges."""

    def __init__(self, root):
        self.root = root
        self.exchanges = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.worker = Worker(
            "files",
            [self.listener],
            lambda loop, clock: StaticFiles("/static/", NotFound(), root=str(root), now=loop.time),
            Limits(),
            on_exchange=self.exchanges.append,
        )

    @property
    def url(self):
        return "http://{}:{}".format(*self.address)

    def connect(self, target, fields=""):
        """A connection on which `target` has been asked for."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.settimeout(10)
        client.connect(self.address)
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode())
        return client

    def open_files(self):
        """Descriptors of this process that are files of the directory."""
        found = []
        for number in os.listdir("/proc/self/fd"):
            try:
                path = os.readlink(f"/proc/self/fd/{number}")
            except OSError:
                continue
            if path.startswith(str(self.root)):
                found.append(path)
        return found


@pytest.fixture
def served(tmp_path):
    (tmp_path / "large.bin").write_bytes(LARGE)
    (tmp_path / "small.css").write_bytes(b"small")
    served = Served(tmp_path)
    served.worker.start()
    yield served
    served.worker.stop()
    served.listener.close()


def read_all(client):
    """What comes until the connection ends; a reset is an end, too."""
    data = bytearray()
    try:
        while chunk := client.recv(262_144):
            data += chunk
    except ConnectionResetError:
        pass
    return bytes(data)


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are counted in /proc")


def test_one_connection_serves_small_large_parts_and_misses(served):
    with httpx.Client(base_url=served.url, timeout=60) as client:
        for _ in range(2):
            assert client.get("/static/small.css").content == b"small"
            large = client.get("/static/large.bin")
            assert large.content == LARGE and large.headers["content-length"] == str(len(LARGE))
            part = client.get("/static/large.bin", headers={"Range": "bytes=100-999"})
            assert (part.status_code, part.content) == (206, LARGE[100:1000])
            parts = client.get("/static/large.bin", headers={"Range": "bytes=0-9,-70000"})
            assert parts.status_code == 206 and LARGE[-70000:] in parts.content
            assert client.head("/static/large.bin").headers["content-length"] == str(len(LARGE))
            known = client.get("/static/large.bin", headers={"If-None-Match": large.headers["etag"]})
            assert (known.status_code, known.content) == (304, b"")
            assert client.get("/static/large.bin", headers={"Range": "bytes=99999999-"}).status_code == 416
            assert client.get("/static/none").status_code == 404


def test_pipelined_requests_are_answered_in_order_around_a_large_file(served):
    with served.connect("/static/small.css") as client:
        client.sendall(
            b"GET /static/large.bin HTTP/1.1\r\nHost: x\r\n\r\n"
            b"GET /static/small.css HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        data = read_all(client)
    assert data.partition(b"\r\n\r\n")[2].startswith(b"small") and data.endswith(b"\r\n\r\nsmall")
    assert data.count(LARGE) == 1


@needs_proc
def test_a_slow_client_gets_everything_and_the_file_is_closed(served):
    with served.connect("/static/large.bin", "Connection: close\r\n") as client:
        wait_until(lambda: len(served.open_files()) == 1)
        head = client.recv(10)
        time.sleep(0.2)
        assert (head + read_all(client)).endswith(LARGE)
    wait_until(lambda: not served.open_files())


@needs_proc
def test_a_client_that_leaves_in_the_middle_closes_the_file(served):
    with served.connect("/static/large.bin") as client:
        client.recv(1000)
        wait_until(lambda: len(served.open_files()) == 1)
    wait_until(lambda: not served.open_files())
    wait_until(lambda: served.exchanges)
    assert type(served.exchanges[0].error).__name__ == "ClientGone"


@needs_proc
def test_a_file_that_becomes_shorter_cuts_the_connection(served):
    with served.connect("/static/large.bin") as client:
        client.recv(1000)
        os.truncate(served.root / "large.bin", 1 << 20)
        data = read_all(client)
    assert len(data) < len(LARGE)
    wait_until(lambda: not served.open_files() and served.exchanges)
    assert "became shorter" in str(served.exchanges[0].error)

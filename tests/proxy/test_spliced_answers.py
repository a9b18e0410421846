"""Long answers that pass inside the kernel: the same bytes, the same failures, nothing left behind."""

import hashlib
import http.client
import os
import socket
import sys
import threading

import psutil
import pytest

from duck.net import splice
from duck.net.limits import Limits
from tests.net.front import get
from tests.proxy.backends import serve
from tests.proxy.conftest import wait

BODY = os.urandom(5 << 20)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)

pytestmark = pytest.mark.skipif(not splice.AVAILABLE, reason=f"{sys.platform} cannot splice")


def whole(connection, line, fields, body):
    return HEAD + BODY


@pytest.fixture
def pieces(monkeypatch):
    """How many bytes were spliced out of backends."""
    moved = []
    real = os.splice

    def count(source, sink, size, **options):
        got = real(source, sink, size, **options)
        moved.append(got)
        return got

    monkeypatch.setattr(os, "splice", count)
    return moved


def descriptors():
    return psutil.Process().num_fds()


def test_a_long_answer_arrives_as_it_was_sent_and_the_connections_are_used_again(front, http_backend, pieces):
    backend = http_backend(serve(whole))
    front.switch(backend.upstream())
    client = front.connect()
    for _ in range(3):
        assert hashlib.sha256(client.ask(get("/")).body).digest() == hashlib.sha256(BODY).digest()
    assert sum(pieces) > len(BODY), "nothing was spliced"
    wait(lambda: front.pool.busy == 0)
    assert len(backend.connections) == 1
    front.wait_exchanges(3)
    assert [exchange.bytes_sent for exchange in front.exchanges] == [len(BODY)] * 3


def test_a_client_that_reads_slowly_gets_all_of_it(front, http_backend, pieces):
    front.switch(http_backend(serve(whole)).upstream())
    client = front.connect(receive_buffer=4096)
    client.sendall(get("/", "Connection: close"))
    received = bytearray()
    pause = threading.Event()
    while data := client.recv(300_000):
        received += data
        pause.wait(0.001)
    assert bytes(received).endswith(BODY) and pieces


def test_an_answer_that_the_backend_cuts_is_cut(front, http_backend, pieces):
    def cut(connection, line, fields, body):
        connection.sock.sendall(HEAD + BODY[: 3 << 20])
        connection.sock.shutdown(socket.SHUT_RDWR)

    def read_what_is_cut():
        client = front.connect()
        client.sendall(get("/"))
        response = client.head()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()
        client.close()
        wait(lambda: front.pool.busy == 0)

    front.switch(http_backend(serve(cut)).upstream())
    read_what_is_cut()
    assert pieces
    before = descriptors()  # what is opened once and kept is open by now
    for _ in range(3):
        read_what_is_cut()
    wait(lambda: descriptors() <= before)


def test_a_client_that_leaves_leaves_no_descriptor(front, http_backend, pieces):
    gone = threading.Event()

    def endless(connection, line, fields, body):
        try:
            connection.sock.sendall(HEAD + BODY)
        finally:
            gone.set()

    front.switch(http_backend(serve(endless)).upstream())
    client = front.connect()
    assert client.ask(get("/")).body == BODY
    wait(lambda: front.pool.busy == 0)
    before = descriptors()
    for _ in range(5):
        leaving = front.connect(receive_buffer=4096)
        leaving.sendall(get("/"))
        leaving.recv(100_000)
        leaving.close()
    wait(lambda: front.pool.busy == 0)
    assert gone.wait(5)
    # What was only half moved cannot be used again: its pipe is closed, not kept.
    wait(lambda: descriptors() <= before)


@pytest.mark.parametrize("why", ["left", "took nothing", "stopped"])
def test_a_client_that_is_gone_is_no_fault_of_the_backend(make_front, http_backend, pieces, caplog, why):
    front = make_front(Limits(send_timeout_s=30))
    front.switch(http_backend(serve(lambda *_: HEAD + BODY)).upstream())
    client = front.connect(receive_buffer=4096)
    client.sendall(get("/"))
    client.recv(10_000)
    wait(lambda: pieces)
    if why == "left":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    elif why == "took nothing":
        wait(lambda: front.call(lambda: [one.deadline < 1e9 for one in front.worker.server.connections]) == [True])
        front.sweep(31)
        front.sweep(62)
    else:
        front.call(front.worker.server.cut)
    front.wait_exchanges(1)
    assert (
        str(front.exchanges[0].error)
        == {
            "left": "the client left",
            "took nothing": "the client took nothing of its answer for 30 s and was cut off",
            "stopped": "Duck stopped before the answer was complete",
        }[why]
    )
    assert 0 < front.exchanges[0].bytes_sent < len(BODY)
    wait(lambda: front.pool.busy == 0)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_an_answer_of_unknown_length_passes_by_way_of_the_process(front, http_backend, pieces):
    def until_close(connection, line, fields, body):
        connection.sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + BODY)
        connection.sock.shutdown(socket.SHUT_WR)

    front.switch(http_backend(serve(until_close)).upstream())
    assert front.ask(get("/")).body == BODY
    assert not pieces


def test_bytes_after_a_long_answer_never_reach_the_client(front, http_backend, pieces):
    def more(connection, line, fields, body):
        return HEAD + BODY + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

    backend = http_backend(serve(more))
    front.switch(backend.upstream())
    client = front.connect()
    assert client.ask(get("/")).body == BODY
    assert client.ask(get("/")).body == BODY
    assert len(backend.connections) == 2, "a connection with bytes nobody asked for was used again"


def test_a_client_that_is_slow_is_not_taken_for_a_backend_that_is(make_front, http_backend, pieces):
    front = make_front(Limits(send_timeout_s=1000), read_timeout_s=10)
    front.switch(http_backend(serve(whole)).upstream())
    client = front.connect(receive_buffer=4096)
    client.sendall(get("/", "Connection: close"))
    wait(lambda: pieces)
    wait(lambda: front.call(lambda: [one.deadline < 1e9 for one in front.worker.server.connections]) == [True])
    front.sweep(11)
    assert client.rest().endswith(BODY)
    front.wait_exchanges(1)
    assert front.exchanges[0].error is None


def test_a_backend_that_stalls_is_not_waited_for_after_a_client_was_slow(make_front, http_backend, pieces, event):
    def stall(connection, line, fields, body):
        connection.send(HEAD + BODY[:-1])
        event.wait(20)

    front = make_front(Limits(send_timeout_s=1000), read_timeout_s=10)
    front.switch(http_backend(serve(stall)).upstream())
    client = front.connect(receive_buffer=4096)
    client.sendall(get("/"))
    wait(lambda: front.call(lambda: [one.deadline < 1e9 for one in front.worker.server.connections]) == [True])
    received = bytearray()
    while not received.endswith(BODY[-101:-1]):
        received += client.recv(1 << 20)
    front.sweep(11)
    assert client.rest() == b""
    front.wait_exchanges(1)
    assert "sent nothing in time" in str(front.exchanges[0].error)

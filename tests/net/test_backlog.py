"""How many connections may wait to be accepted: as many as the listener was made for, on every loop."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import threading
import time
from pathlib import Path

import pytest

from duck.net.limits import Limits
from duck.net.listener import open_listeners
from duck.net.worker import Worker, new_loop
from duck.settings.listen import parse_listen
from duck.wire.head import ResponseHead


@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel for a listener's backlog")
@pytest.mark.parametrize("make_loop", [new_loop, asyncio.new_event_loop])
def test_a_loop_does_not_shorten_the_backlog(make_loop):
    listeners = open_listeners([parse_listen("http://127.0.0.1:0")], backlog=700)
    worker = Worker("backlog", listeners, lambda loop, clock: None, Limits(), backlog=700, make_loop=make_loop)
    worker.start()
    try:
        # tcpi_sacked: the greatest number of waiting connections, for a socket that listens.
        info = listeners[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
        assert struct.unpack_from("I", info, 28)[0] == min(700, int(Path("/proc/sys/net/core/somaxconn").read_text()))
    finally:
        worker.stop()
        listeners[0].close()


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, new_loop], ids=["asyncio", "best"])
def test_who_waits_in_the_backlog_when_the_last_worker_drains_is_answered(make_loop):
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        going_on = threading.Event()
        worker = Worker("worker", [listener], lambda loop, clock: Answer(), Limits(), make_loop=make_loop)
        worker.start()
        # The loop stands still while clients connect, and hears of the end before it hears of them.
        held = threading.Event()
        worker.post(lambda: (held.set(), going_on.wait(10)))
        held.wait(10)
        drained = threading.Event()
        worker.drain(10, drained.set, takes_backlog=True)
        clients = [socket.create_connection(listener.getsockname(), timeout=10) for _ in range(20)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        listener.close()
        going_on.set()
        for client in clients:
            with client:
                assert client.recv(65_536).startswith(b"HTTP/1.1 204 ")
        assert drained.wait(10)
        worker.stop()


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, new_loop], ids=["asyncio", "best"])
def test_what_was_sent_while_the_loop_stood_still_is_answered_before_idle_connections_close(make_loop):
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        held, going_on, drained = threading.Event(), threading.Event(), threading.Event()
        worker = Worker("worker", [listener], lambda loop, clock: Answer(), Limits(), make_loop=make_loop)
        worker.start()
        clients = [socket.create_connection(listener.getsockname(), timeout=10) for _ in range(20)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(65_536).startswith(b"HTTP/1.1 204 ")
        worker.drain(10, drained.set, idle_s=0.01)
        # Whatever the order in which a loop takes timers and sockets: the time is over when it goes on.
        worker.post(lambda: (held.set(), going_on.wait(10), time.sleep(0.02)))
        held.wait(10)
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        going_on.set()
        for client in clients:
            with client:
                assert client.recv(65_536).startswith(b"HTTP/1.1 204 ")
        assert drained.wait(10)
        worker.stop()


class Answer:
    def handle(self, exchange):
        exchange.response.answer(ResponseHead(204), b"")

"""How many connections may wait to be accepted: as many as the listener was made for, on every loop."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from pathlib import Path

import pytest

from duck.net.limits import Limits
from duck.net.listener import open_listeners
from duck.net.worker import Worker, new_loop
from duck.settings.listen import parse_listen


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

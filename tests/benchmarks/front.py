"""Duck's worker and proxy handler before a server that runs already, without App, routes and settings.

python -m tests.benchmarks.front PORT HOST:PORT
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from typing import TYPE_CHECKING

from duck.net.limits import Limits
from duck.net.server import Trust
from duck.net.worker import Worker
from duck.proxy.handler import ProxyHandler
from duck.proxy.spool import Spool
from duck.proxy.upstream import Generation, Upstream

if TYPE_CHECKING:
    from duck.net.clock import Clock

SLOTS = 64
SPOOL_BYTES = 1 << 30


def main() -> None:
    """Serve until a signal comes."""
    host, _, port = sys.argv[2].rpartition(":")
    upstream = Upstream("http", (host, int(port)), SLOTS, "backend")

    def make_handler(loop: asyncio.AbstractEventLoop, clock: Clock) -> ProxyHandler:
        handler = ProxyHandler(loop, clock, Spool(None, SPOOL_BYTES), Trust(()))
        handler.switch(Generation(1, (upstream,)))
        return handler

    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024)
    worker = Worker("front", [listener], make_handler, Limits())
    worker.start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    worker.stop()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()

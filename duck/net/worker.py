"""A worker: one loop in one thread, with its own connections and pools; others post to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from duck.net.clock import Clock
from duck.net.farewell import Farewell
from duck.net.listener import DEFAULT_BACKLOG, speaks_tls
from duck.net.server import Server, Trust

if TYPE_CHECKING:
    from duck.exceptions import ProtocolError
    from duck.net.exchange import Exchange
    from duck.net.interfaces import Handler
    from duck.net.limits import Limits
    from duck.net.peer import Peer
    from duck.net.tls import Contexts

logger = logging.getLogger("duck.net")

# What clients sent before they could know of the end is read, where the loop has not come to it yet.
IDLE_S: Final = 0.05


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's loop where it is installed (2.4 times as fast), else the standard one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class Worker:
    """Serves listeners with one loop in a thread of its own.

    `make_handler(loop, clock)` is called on the loop, once, and gives what answers every exchange.

    Attributes:
        name: also the thread's.
        server: the connections and counters; its numbers may be read from any thread.
    """

    def __init__(
        self,
        name: str,
        listeners: list[socket.socket],
        make_handler: Callable[[asyncio.AbstractEventLoop, Clock], Handler],
        limits: Limits,
        *,
        trusted_proxies: list[str] | None = None,
        server_name: str = "",
        on_exchange: Callable[[Exchange], None] | None = None,
        on_refusal: Callable[[Peer, ProtocolError], None] | None = None,
        backlog: int = DEFAULT_BACKLOG,
        contexts: Contexts | None = None,
        http2: bool = True,
        make_loop: Callable[[], asyncio.AbstractEventLoop] = new_loop,
    ) -> None:
        self.name = name
        self.server: Server | None = None
        self._listeners = listeners
        self._make_handler = make_handler
        self._limits = limits
        self._trust = Trust(trusted_proxies or ())
        self._server_name = server_name
        self._on_exchange = on_exchange
        self._on_refusal = on_refusal
        self._backlog = backlog
        self._contexts = contexts
        self._http2 = http2
        self._make_loop = make_loop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._clock: Clock | None = None
        self._accepting: list[asyncio.AbstractServer] = []
        self._copies: list[socket.socket] = []  # what the loop accepts from, within reach
        self._late: set[asyncio.Task[object]] = set()
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread; returns once connections are accepted.

        Raises:
            BaseException: what kept the worker from starting.
        """
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure

    def post(self, callback: Callable[[], object]) -> bool:
        """Run `callback` on the loop soon; False when the loop has ended. For any thread."""
        loop = self._loop
        if loop is None or loop.is_closed():
            return False
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(callback)
            return True
        return False

    def drain(
        self,
        deadline_s: float,
        done: Callable[[], None],
        *,
        spread_s: float = 0.0,
        streams_s: float | None = None,
        sockets_s: float | None = None,
        idle_s: float = IDLE_S,
        takes_backlog: bool = False,
    ) -> None:
        """Accept nothing more, answer what was begun for at most `deadline_s` seconds, cut the rest, and say `done`.

        `done` is called on the worker's loop; for any thread.

        Args:
            spread_s: WebSockets and event streams are ended evenly over so many seconds, lest their clients come back
                all at once.
            streams_s: answers that have begun are cut after so many seconds, event streams ended before that; by
                default with the rest, and never earlier.
            sockets_s: WebSockets are cut after so many seconds; by default with the rest, and never earlier.
            idle_s: idle connections are closed after so many seconds; who asks on one meanwhile is answered.
            takes_backlog: who has connected and was not accepted yet is answered, too: nobody else will.
        """
        streams_s = deadline_s if streams_s is None else max(deadline_s, streams_s)
        sockets_s = deadline_s if sockets_s is None else max(deadline_s, sockets_s)
        farewell = Farewell(spread_s, sockets_s, streams_s)
        if not self.post(lambda: self._drain(deadline_s, done, farewell, idle_s, takes_backlog)):
            done()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the loop and its thread, cutting what is left; waits for them `timeout_s` seconds. For other threads."""
        self.post(self._stop)
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        loop = self._make_loop()
        asyncio.set_event_loop(loop)
        self._loop = loop
        try:
            loop.run_until_complete(self._open())
        except BaseException as error:
            self._failure = error
            self._started.set()
            loop.close()
            return
        self._started.set()
        try:
            loop.run_forever()
        finally:
            self._close(loop)

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        self._clock = clock = Clock(loop)
        self.server = Server(
            loop,
            clock,
            self._make_handler(loop, clock),
            self._limits,
            trust=self._trust,
            server_name=self._server_name,
            on_exchange=self._on_exchange,
            on_refusal=self._on_refusal,
            contexts=self._contexts,
            http2=self._http2,
        )
        clock.start()
        for listener in self._listeners:
            # A copy: what a loop closes at its end, the App may still hand on.
            copy = listener.dup()
            self._copies.append(listener.dup())
            # A loop listens again, with a backlog of its own (100) where it is told none.
            backlog = self._backlog
            protocol = self._protocol(listener)
            if listener.family == getattr(socket, "AF_UNIX", None):
                accepting: asyncio.AbstractServer = await loop.create_unix_server(protocol, sock=copy, backlog=backlog)
            else:
                accepting = await loop.create_server(protocol, sock=copy, backlog=backlog)
            self._accepting.append(accepting)

    def _protocol(self, listener: socket.socket) -> Callable[[], asyncio.Protocol]:
        """What is spoken on `listener`."""
        assert self.server is not None
        return self.server.tls_protocol if speaks_tls(listener) else self.server.protocol

    def stop_accepting(self) -> None:
        """Leave new connections to the backlog; on the loop only."""
        for accepting in self._accepting:
            accepting.close()
        self._accepting.clear()
        for listener in self._copies:
            listener.close()
        self._copies.clear()

    def _take_backlog(self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> None:
        """Accept who waits on `listener`; the loop does so itself only when it hears of them."""
        assert self._loop is not None
        for _ in range(self._backlog):
            try:
                client, _address = listener.accept()
            except OSError:
                return
            client.setblocking(False)
            task = self._loop.create_task(self._loop.connect_accepted_socket(protocol, client))
            self._late.add(task)
            task.add_done_callback(self._late.discard)

    def _drain(
        self,
        deadline_s: float,
        done: Callable[[], None],
        farewell: Farewell,
        idle_s: float,
        takes_backlog: bool,
    ) -> None:
        server, loop = self.server, self._loop
        assert server is not None and loop is not None
        if takes_backlog:
            for listener in self._copies:
                self._take_backlog(listener, self._protocol(listener))
        self.stop_accepting()
        finished = False

        def finish() -> None:
            nonlocal finished
            if not finished:
                finished = True
                for timer in timers:
                    timer.cancel()
                done()

        def overdue() -> None:
            _tell_of(server.cut())
            finish()

        last_s = max(deadline_s, farewell.streams_s, farewell.sockets_s)
        timers = [loop.call_later(last_s, overdue)]
        if farewell.streams_s < last_s:
            timers.append(loop.call_later(farewell.streams_s, lambda: _tell_of(server.cut(upgraded=False))))
        if deadline_s < min(last_s, farewell.streams_s):
            timers.append(loop.call_later(deadline_s, lambda: _tell_of(server.cut(upgraded=False, answering=False))))
        # What would never end by itself (a tunnel, a view's WebSocket) its handler ends.
        drain = getattr(server.handler, "drain", None)
        if drain is not None:
            drain(farewell)

        def begin(_: object = None) -> None:
            server.drain(finish, min(idle_s, deadline_s / 2))

        if self._late:
            asyncio.gather(*self._late, return_exceptions=True).add_done_callback(begin)
        else:
            begin()

    def _stop(self) -> None:
        self.stop_accepting()
        if self.server is not None:
            self.server.cut()
        if self._loop is not None:
            # What was cut tells its owners in the next turns.
            self._loop.call_later(0.01, self._loop.stop)

    def _close(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._clock is not None:
            self._clock.stop()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _tell_of(count: int) -> None:
    if count:
        logger.warning("cut %d connection%s still busy at the deadline", count, "s" if count > 1 else "")

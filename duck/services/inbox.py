"""The one place where everything that happens to the App arrives: signals, commands, child output, changes, timers.

An `Inbox` is a selector loop run by the App's main thread, which owns all services. Other threads and signal handlers
only `post`; each callback runs on the main thread, one after the other, and none may block for long.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import selectors
import socket
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

logger = logging.getLogger("duck.services")


class Timer:
    """A call to come; `cancel` it while it has not."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Do not call; may be said again, and after the call."""
        self._callback = None

    def fire(self) -> None:
        """Call now, once."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Inbox:
    """A selector loop of file descriptors, posted calls and timers."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._timers: list[tuple[float, int, Timer]] = []
        self._count = itertools.count()
        self._running = False
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_out.setblocking(False)
        self._wake_in.setblocking(False)
        self._selector.register(self._wake_out, selectors.EVENT_READ, self._drain_wakes)

    def post(self, callback: Callable[[], None]) -> None:
        """Run `callback` on the inbox's thread soon. For any thread, and for signal handlers."""
        self._posted.put(callback)
        try:
            self._wake_in.send(b"\0")
        except (BlockingIOError, OSError):
            pass  # full: a wake-up is under way already; closed: nobody is left to wake

    def watch(self, file: int | socket.socket, on_readable: Callable[[], None], *, writable: bool = False) -> None:
        """Call `on_readable` while `file` is readable, or with `writable` when it can be written."""
        event = selectors.EVENT_WRITE if writable else selectors.EVENT_READ
        self._selector.register(file, event, on_readable)

    def unwatch(self, file: int | socket.socket) -> None:
        """Forget `file`, before it is closed; unknown ones are ignored."""
        try:
            self._selector.unregister(file)
        except (KeyError, ValueError):
            pass

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call once after `delay_s` seconds; on the inbox's thread only."""
        timer = Timer(callback)
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._count), timer))
        return timer

    def run(self) -> None:
        """Serve until `stop`."""
        self._running = True
        while self._running:
            self.run_once(None)

    def run_once(self, timeout_s: float | None) -> None:
        """Wait for something, at most `timeout_s` seconds, and serve what has come."""
        if self._timers:
            due = max(0.0, self._timers[0][0] - time.monotonic())
            timeout_s = due if timeout_s is None else min(due, timeout_s)
        watched = self._selector.get_map()
        for key, _ in self._selector.select(timeout_s):
            # A call before it may have forgotten this one, and closed it.
            if watched.get(key.fd) is key:
                self._call(key.data)
        self._run_posted()
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            self._call(heapq.heappop(self._timers)[2].fire)

    def stop(self) -> None:
        """Make `run` return after what it is doing. For the inbox's thread; others post it."""
        self._running = False

    def close(self) -> None:
        """Give the descriptors back."""
        self._selector.close()
        self._wake_out.close()
        self._wake_in.close()

    def _run_posted(self) -> None:
        while True:
            try:
                callback = self._posted.get_nowait()
            except Empty:
                return
            self._call(callback)

    def _drain_wakes(self) -> None:
        try:
            while self._wake_out.recv(4096):
                pass
        except BlockingIOError:
            pass

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:
            logger.exception("a callback of the App failed")

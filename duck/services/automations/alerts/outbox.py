"""Outboxes: alerts on their way to one receiver, which may be dead: a thread of its own waits for it, nobody else."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from duck.services.automations.alerts.webhook import NotTaken

logger = logging.getLogger("duck.automations")

_MOST: Final = 100
# Between the tries of one alert.
_WAITS_S: Final = (2.0, 10.0, 60.0)


class Outbox:
    """A queue and a thread, which begins with the first alert.

    Args:
        send: gives one to the receiver, and waits for it; raises `NotTaken`.
        waits_s: how long to wait before each further try.
    """

    def __init__(self, name: str, send: Callable[[dict[str, Any]], None], waits_s: Sequence[float] = _WAITS_S) -> None:
        self._name = name
        self._send = send
        self._waits_s = waits_s
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue(_MOST)  # None ends the thread
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._thread: threading.Thread | None = None
        self._sending: dict[str, Any] | None = None
        self._is_full = False

    def put(self, values: dict[str, Any]) -> bool:
        """Have it sent; False where too many wait already, or nothing is sent any more. Never waits."""
        if self._closing.is_set():
            self._lose(values, "nothing is sent there any more")
            return False
        try:
            self._queue.put_nowait(values)
        except queue.Full:
            if not self._is_full:
                self._is_full = True
                logger.error("Alerts for %s are dropped: %d wait for its receiver.", self._name, _MOST)
            self._lose(values, "too many wait before it")
            return False
        self._is_full = False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"duck-alerts-{self._name}", daemon=True)
            self._thread.start()
        return True

    def hurry(self) -> None:
        """Nothing is to be sent behind what waits, and nothing is tried again from now on."""
        self._closing.set()
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)

    @property
    def is_over(self) -> bool:
        """Whether nothing waits and nothing is under way, once it was told to hurry."""
        return self._thread is None or not self._thread.is_alive()

    def close(self, within_s: float) -> None:
        """Send what waits, as far as that is done within so many seconds; then the process ends, and that is logged.

        May be said again; the shorter time counts.
        """
        self.hurry()
        now = time.monotonic()
        self._deadline = min(self._deadline, now + within_s)
        if self._thread is not None:
            self._thread.join(max(0.0, self._deadline - now))
        sending, self._sending = self._sending, None
        if sending is not None:
            self._lose(sending, "Duck has ended before")
        self._drop("Duck has ended before")

    def discard(self) -> None:
        """Send nothing more than what is under way; the rest is logged."""
        self.hurry()
        self._deadline = 0.0
        self._drop("its channel is another one now")

    def _drop(self, why: str) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                values = self._queue.get_nowait()
                if values is not None:
                    self._lose(values, why)

    def _run(self) -> None:
        while True:
            values = self._queue.get()
            if values is None:
                return
            self._sending = values
            if time.monotonic() <= self._deadline:
                self._deliver(values)
            else:
                self._lose(values, "nothing is sent there any more")
            self._sending = None
            if time.monotonic() > self._deadline or (self._closing.is_set() and self._queue.empty()):
                return

    def _lose(self, values: dict[str, Any], why: str) -> None:
        logger.error(
            "The alert %r of %s has not reached %s: %s.", values["event"], values["automation"], self._name, why
        )

    def _deliver(self, values: dict[str, Any]) -> None:
        for wait_s in (*self._waits_s, None):
            try:
                self._send(values)
                return
            except NotTaken as why:
                if wait_s is None or not why.may_again or self._closing.wait(wait_s):
                    self._lose(values, str(why))
                    return
            except Exception:
                logger.exception("The alert %r of %s failed.", values["event"], values["automation"])
                return

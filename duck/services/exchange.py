"""Exchange: one request of httpx, which is over at a time of ours, however slowly its bytes come.

httpx waits so long for each part of an answer, and there may be any number of them. So what the system knows of the
connection is kept beside, and shut down from another thread: whoever waits for it hears that it has ended.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any


class Exchange:
    """To be entered by the thread that asks, with `extensions` for `httpx.Client.stream`; `end` is for any thread.

    Args:
        timeout_s: it is over after so many seconds; None for when `end` is said.

    Attributes:
        is_over: it was ended: what httpx raises then says nothing of the other side.
    """

    def __init__(self, timeout_s: float | None = None) -> None:
        self.is_over = False
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._timer: threading.Timer | None = None
        if timeout_s is not None:
            self._timer = threading.Timer(timeout_s, self.end)
            self._timer.daemon = True

    @property
    def extensions(self) -> dict[str, Any]:
        """For the request."""
        return {"trace": self._trace}

    def end(self) -> None:
        """It is over; may be said again, and afterwards."""
        with self._lock:
            self.is_over = True
            self._shut()

    def __enter__(self) -> Exchange:
        if self._timer is not None:
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            for each in self._sockets:
                each.close()
            self._sockets.clear()

    def _trace(self, event: str, told: Mapping[str, Any]) -> None:
        """See the extension `trace` of httpcore. One connection follows another where the answer leads elsewhere."""
        # Later, it would leave open what is connected; that is shut down below, and fails by itself.
        if self.is_over and event == "connection.connect_tcp.started":
            raise TimeoutError("it is over")
        if event == "connection.connect_tcp.complete":
            connected: socket.socket | None = told["return_value"].get_extra_info("socket")
            if connected is not None:
                with self._lock:
                    # A copy: TLS takes the descriptor away from this one.
                    self._sockets.append(connected.dup())
                    self._shut()

    def _shut(self) -> None:
        """End the connections, where it is over; with the lock."""
        for each in self._sockets if self.is_over else ():
            with contextlib.suppress(OSError):  # the other side was faster
                each.shutdown(socket.SHUT_RDWR)

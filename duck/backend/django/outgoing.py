"""Outgoing: what is written to the control socket of a process, as fast as that reads it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from duck.services.inbox import Inbox

# A process that reads nothing is not given more.
MOST_BYTES: Final = 16 << 20


class Outgoing:
    """Lines in order, each whole. On the inbox's thread.

    A socket holds some 200 KB, and a line of a few hundred bytes takes a kilobyte of that: 500 runs at one moment are
    more than it takes, and what did not fit would be lost, and half of a line with it.
    """

    def __init__(self, inbox: Inbox, connection: socket.socket) -> None:
        self._inbox = inbox
        self._connection = connection
        self._unsent = bytearray()
        self._watched: socket.socket | None = None

    def send(self, line: bytes) -> bool:
        """Write `line`, now or as soon as there is room; False where nobody reads any more."""
        if self._unsent:
            if len(self._unsent) > MOST_BYTES:
                return False
            self._unsent += line
            return True
        try:
            sent = self._connection.send(line)
        except BlockingIOError:
            sent = 0
        except OSError:
            return False
        if sent < len(line):
            self._unsent += line[sent:]
            # The inbox watches the socket itself for what comes from it.
            self._watched = self._connection.dup()
            self._inbox.watch(self._watched, self._writable, writable=True)
        return True

    def send_with(self, line: bytes, descriptors: list[int]) -> bool:
        """The same with descriptors; False where it cannot be done at once."""
        if self._unsent:
            return False
        try:
            return socket.send_fds(self._connection, [line], descriptors) == len(line)
        except OSError:
            return False

    def close(self) -> None:
        """Forget what was not sent; the socket is its owner's."""
        self._unsent.clear()
        if self._watched is not None:
            self._inbox.unwatch(self._watched)
            self._watched.close()
            self._watched = None

    def _writable(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._connection.send(self._unsent)]
        except BlockingIOError:
            return
        except OSError:
            pass  # its exit tells the rest
        self.close()

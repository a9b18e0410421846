"""A slot that was granted to a front, and how it is asked back, or taken (see slots)."""

from __future__ import annotations

import socket
import threading

from ....wire.link import HARD, RECALL, SOFT, TAKEN, frame

_PATIENCE_S = 1.0  # an idle slot that was recalled is given back within this, or taken

_RECALL_FRAMES = {level: frame(RECALL, bytes((level,))) for level in (SOFT, HARD, TAKEN)}


class Grant:
    """A slot that was granted.

    Attributes:
        front: who has it.
        lock: held while a request is served: whoever holds it may write to the connection.
        owed: the level of a recall to be said with the end of the present request; 0 for none.
        requests: how many it has had; counted by the thread that serves it.
        told: the level of the last recall, and told_after how many requests it came.
        taken: it was taken from the front: what comes on the connection is not for this process any more.
    """

    __slots__ = (
        "_silent_after",
        "_silent_since",
        "connection",
        "front",
        "lock",
        "owed",
        "requests",
        "since",
        "taken",
        "told",
        "told_after",
    )

    def __init__(self, connection: socket.socket, front: bytes, now: float) -> None:
        self.connection = connection
        self.front = front
        self.lock = threading.Lock()
        self.owed = 0
        self.since = now
        self.requests = 0
        self.told = 0
        self.told_after = 0
        self.taken = False
        self._silent_since = 0.0  # the first look at which it was as it is: recalled, idle, no request since
        self._silent_after = -1

    def recall(self, level: int) -> None:
        """Ask for it back: now where it is idle, else as its request ends."""
        self.told = self.owed = level
        self.told_after = self.requests
        self.settle()

    def settle(self) -> None:
        """Say what is owed, unless a request is served: then its thread does so."""
        while self.owed and self.lock.acquire(blocking=False):
            try:
                self.connection.send(self.take_owed(), getattr(socket, "MSG_DONTWAIT", 0))
            except OSError:
                pass  # it is gone, or full of an answer that nobody reads
            finally:
                self.lock.release()

    def take_owed(self) -> bytes:
        """The frame that is owed; empty where none is. With the lock held."""
        level, self.owed = self.owed, 0
        return _RECALL_FRAMES[level] if level else b""

    def is_silent(self, now: float) -> bool:
        """Whether its front has left a recall without an answer for long. By one thread, again and again."""
        if not self.told or not self.is_idle:
            self._silent_after = -1
            return False
        if self._silent_after != self.requests:
            self._silent_after = self.requests
            self._silent_since = now
            return False
        return now - self._silent_since >= _PATIENCE_S

    def take_back(self) -> bool:
        """Take it from its front, unless a request is served; whether it was taken. Its thread ends the connection."""
        if not self.lock.acquire(blocking=False):
            return False
        try:
            # A request that its thread is reading now is dropped as it sees this.
            self.taken = True
            self.owed = 0
            self.connection.send(_RECALL_FRAMES[TAKEN], getattr(socket, "MSG_DONTWAIT", 0))
        except OSError:
            pass  # its end says as much
        finally:
            self.lock.release()
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended
        return True

    @property
    def is_idle(self) -> bool:
        """Whether no request is served."""
        return not self.lock.locked()

"""Outgoing: messages to another process over a control socket, written as fast as that reads them.

The other end reads them with `JsonLines`.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from duck.services.inbox import Inbox

# What may wait for a process that does not read.
MOST_BYTES: Final = 16 << 20


class Outgoing:
    """JSON objects in order, each on a line, and each whole or not at all. On the inbox's thread.

    A socket holds some 200 KB, and a line of a few hundred bytes takes a kilobyte of that: 500 runs at one moment are
    more than it takes, and what did not fit would be lost, and half of a line with it. So what does not fit waits here
    until the socket takes more. Where `most_bytes` wait, another message is refused, and what waits stays: the answer
    is False, and what that means is the caller's to say.

    Args:
        connection: the socket, which does not block; it stays its owner's, who closes this one first.
        most_bytes: so much may wait, and the rest of one message.
    """

    def __init__(self, inbox: Inbox, connection: socket.socket, most_bytes: int = MOST_BYTES) -> None:
        self._inbox = inbox
        self._connection = connection
        self._most_bytes = most_bytes
        self._unsent = bytearray()
        self._watched: socket.socket | None = None

    @property
    def unsent(self) -> bytes:
        """What waits; its first line may have been sent in part. The next Duck of this process gives it to `go_on`."""
        return bytes(self._unsent)

    @property
    def waits(self) -> bool:
        """Whether anything waits: the other process does not keep up, or stands still."""
        return bool(self._unsent)

    def send(self, message: Mapping[str, Any]) -> bool:
        """Write `message`, now or as soon as there is room; False where it is refused, or nobody reads any more."""
        return self.go_on(_line(message))

    def send_with(self, message: Mapping[str, Any], descriptors: list[int]) -> bool:
        """The same with descriptors; False where it cannot be done at once."""
        if self._unsent:
            return False
        line = _line(message)
        try:
            return socket.send_fds(self._connection, [line], descriptors) == len(line)
        except OSError:
            return False

    def go_on(self, data: bytes) -> bool:
        """Write `data`, which is what waited before an exec, or a line; as `send`."""
        if self._unsent:
            if len(self._unsent) >= self._most_bytes:
                return False
            self._unsent += data
            self._watch()
            return True
        try:
            sent = self._connection.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return False
        if sent < len(data):
            self._unsent += data[sent:]
            self._watch()
        return True

    def _watch(self) -> None:
        """Go on when there is room. Where no descriptor is left, the next message tries again."""
        if self._watched is None:
            with contextlib.suppress(OSError):
                # The inbox watches the socket itself for what comes from it.
                self._watched = self._connection.dup()
                self._inbox.watch(self._watched, self._writable, writable=True)

    def flush(self, within_s: float) -> None:
        """Send what waits, and wait for the other process so many seconds: before this one ends."""
        self._connection.settimeout(within_s)
        try:
            self._connection.sendall(self._unsent)
        except OSError:
            pass  # it stands still, or is gone
        finally:
            self._connection.setblocking(False)
        self.close()

    def close(self) -> None:
        """Forget what was not sent."""
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


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"

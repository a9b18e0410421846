"""Incoming: messages of another process from a control socket, as they come; the other end is an `Outgoing`."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from duck.services.json_lines import JsonLines

if TYPE_CHECKING:
    from duck.services.inbox import Inbox

_READ_BYTES: Final = 262_144
_LAST_READS: Final = 64


class Incoming:
    """JSON objects, one on each line. On the inbox's thread.

    Args:
        connection: the socket, which does not block; it stays its owner's, who closes this one first.
        most_bytes: a longer line is no message.
        on_message: called with each.
        garbled: called for each line that is no message.
        on_end: called when nobody writes any more; the socket is watched no longer then.
    """

    def __init__(
        self,
        inbox: Inbox,
        connection: socket.socket,
        most_bytes: int,
        on_message: Callable[[dict[str, Any]], None],
        garbled: Callable[[], None],
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._inbox = inbox
        self._connection = connection
        self._lines = JsonLines(most_bytes, garbled)
        self._on_message = on_message
        self._on_end = on_end
        self._is_closed = False

    def listen(self) -> None:
        """Take messages from now on; those that came before come first."""
        self._inbox.watch(self._connection, self._readable)

    @property
    def unread(self) -> bytes:
        """The beginning of a message whose end has not come. The next Duck of this process gives it to `go_on`."""
        return self._lines.unread

    def go_on(self, unread: bytes) -> None:
        """So a message began, of which the rest is to come."""
        self._lines.unread = unread

    def take_last(self) -> None:
        """Take what a process has left that is gone; bounded, since a descendant of it may write on."""
        for _ in range(_LAST_READS):
            self._readable()

    def close(self) -> None:
        """Take no more."""
        self._is_closed = True
        self._inbox.unwatch(self._connection)

    def _readable(self) -> None:
        if self._is_closed:
            return  # in the same turn of the inbox
        try:
            data = self._connection.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            self._on_end()
            return
        for message in self._lines.feed(data):
            self._on_message(message)

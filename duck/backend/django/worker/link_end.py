"""The worker's end of a link connection: frames out of it, bytes into it. Hot code."""

from __future__ import annotations

import select
import socket
from typing import Any, Optional

from ....wire.link import FRAME, MAX_SMALL_FRAME, REQUEST, LinkError

_READ_BYTES = 32_768


class FrontGone(Exception):
    """The front has closed the connection; whom the answer was for is not known any more."""


class LinkEnd:
    """What a slot reads and writes. For the thread that serves the slot."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._recv = connection.recv
        self._sendall = connection.sendall
        self._poll: Optional[Any] = None
        self._left = b""

    def refuse_more(self) -> None:
        """No further request is read; what was received already, and answers, are not touched. From any thread."""
        try:
            self._connection.shutdown(socket.SHUT_RD)
        except OSError:
            pass

    def _send(self, data: bytes) -> None:
        try:
            self._sendall(data)
        except OSError as error:
            raise FrontGone from error

    def _read_frame(self) -> Optional[bytes]:
        """The next frame, its five bytes of header included; None at the end of the stream."""
        data = self._left or self._recv(_READ_BYTES)
        while len(data) < 5:
            more = self._recv(_READ_BYTES) if data else b""
            if not more:
                return None
            data += more
        size, kind = FRAME.unpack_from(data)
        end = size + 5
        have = len(data)
        if have == end:
            self._left = b""
            return data
        if have > end:
            self._left = data[end:]
            return data[:end]
        if kind != REQUEST and size > MAX_SMALL_FRAME:
            raise LinkError(f"a frame of type {kind} with {size} bytes")
        return self._read_rest(data, end)

    def _read_rest(self, data: bytes, end: int) -> Optional[bytes]:
        buffer = bytearray(end)
        view = memoryview(buffer)
        at = len(data)
        view[:at] = data
        while at < end:
            count = self._connection.recv_into(view[at:])
            if not count:
                return None
            at += count
        self._left = b""
        return bytes(buffer)

    def _readable(self) -> bool:
        if self._left:
            return True
        if hasattr(select, "poll"):
            if self._poll is None:
                self._poll = select.poll()
                self._poll.register(self._connection, select.POLLIN)
            return bool(self._poll.poll(0))
        return bool(select.select([self._connection], [], [], 0)[0])

"""A file on its way into one stream of HTTP/2: read piece by piece, as the client's windows take it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

# Read at once.
PIECE_BYTES: Final = 65_536


class FileTurns:
    """What is still to be read of it.

    Attributes:
        left: bytes.
        done: to be called once, when all is sent, or with the error that ended it.
    """

    __slots__ = ("_at", "_descriptor", "done", "left")

    def __init__(self, descriptor: int, offset: int, count: int, done: Callable[[Exception | None], None]) -> None:
        self._descriptor = descriptor
        self._at = offset
        self.left = count
        self.done = done

    def read(self) -> bytes:
        """The next piece, not empty.

        Raises:
            OSError: it cannot be read, or has become shorter.
        """
        data = os.pread(self._descriptor, min(self.left, PIECE_BYTES), self._at)
        if not data:
            raise OSError("the file became shorter while it was sent")
        self._at += len(data)
        self.left -= len(data)
        return data

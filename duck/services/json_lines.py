"""JsonLines: messages out of a stream of bytes, one JSON object on each line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any


class JsonLines:
    """What one peer says, however it was split.

    Args:
        max_bytes: a longer line is no message, and is not kept.
        garbled: called for each line that is no message.

    Attributes:
        unread: the beginning of a line whose end has not come.
    """

    def __init__(self, max_bytes: int, garbled: Callable[[], None]) -> None:
        self.unread = b""
        self._max_bytes = max_bytes
        self._garbled = garbled

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The messages that `data` completes."""
        *lines, unread = (self.unread + data).split(b"\n")
        self.unread = unread[: self._max_bytes + 1]  # enough to know that it is too long
        for line in lines:
            try:
                message = json.loads(line) if len(line) <= self._max_bytes else None
            except ValueError:
                message = None
            if isinstance(message, dict):
                yield message
            else:
                self._garbled()

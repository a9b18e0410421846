"""The end of what a run printed: the last so many bytes, whole lines where that is possible."""

from __future__ import annotations

from collections import deque
from typing import Final

OUTPUT_BYTES: Final = 16_384


class Tail:
    """Keeps the end of a text that may be endless."""

    def __init__(self, most: int = OUTPUT_BYTES) -> None:
        self._most = most
        self._parts: deque[str] = deque()
        self._size = 0
        self.is_cut = False

    def add(self, text: str) -> None:
        """`text` was printed."""
        text = text[-self._most :]
        self._parts.append(text)
        self._size += len(text)
        while self._size - len(self._parts[0]) >= self._most:
            self._size -= len(self._parts.popleft())
            self.is_cut = True

    def __str__(self) -> str:
        whole = "".join(self._parts)
        if len(whole) <= self._most and not self.is_cut:
            return whole
        end = whole[-self._most :]
        return "[...]\n" + (end.partition("\n")[2] or end)

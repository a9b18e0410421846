"""The end of what a run printed: the last so many bytes, whole lines where that is possible."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

from duck.services.automations.engine import Printed

OUTPUT_BYTES: Final = 16_384
CUT: Final = "[...]\n"
"""Stands before what is kept, where the beginning is not."""
# How many runs' output is told at one beat, so that a flood of many keeps nobody waiting: 1 MiB.
_MOST_TOLD: Final = 64


class Tail:
    """Keeps the end of a text that may be endless.

    Attributes:
        count: how many characters it was in all.
        told: how many it was when it was last told of.
    """

    def __init__(self, most: int = OUTPUT_BYTES) -> None:
        self._most = most
        self._parts: deque[str] = deque()
        self._size = 0
        self.is_cut = False
        self.count = 0
        self.told = 0

    def add(self, text: str) -> None:
        """`text` was printed."""
        self.count += len(text)
        self.is_cut |= len(text) > self._most
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
        return CUT + (end.partition("\n")[2] or end)

    def tell(self) -> Printed:
        """What was printed until now."""
        self.told = self.count
        return Printed(str(self), self.count)


def news(tails: Mapping[int, Tail]) -> dict[int, Printed]:
    """Of runs that have printed more; those that do not fit in are told the next time, floods last."""
    changed = [(run_id, tail) for run_id, tail in tails.items() if tail.told != tail.count]
    if len(changed) > _MOST_TOLD:
        changed = sorted(changed, key=lambda each: each[1].told)[:_MOST_TOLD]
    return {run_id: tail.tell() for run_id, tail in changed}

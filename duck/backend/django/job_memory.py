"""How much job processes may hold: one that is worn is replaced between runs, one that leaks on is ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import psutil

WEIGH_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class MemoryBound:
    """Resident memory of one process, in bytes; what it has started is not counted.

    Attributes:
        recycle_bytes: one that holds more when a run has ended in it is replaced; None for none.
        most_bytes: one that holds more is ended by force; None for none.
    """

    recycle_bytes: int | None = None
    most_bytes: int | None = None

    def is_worn(self, pid: int) -> bool:
        """Whether a process is to have no more runs."""
        return self.recycle_bytes is not None and _held(pid) > self.recycle_bytes

    def excess(self, pid: int) -> str:
        """Why a process is to be ended; empty where it is not."""
        if self.most_bytes is None:
            return ""
        held = _held(pid)
        if held <= self.most_bytes:
            return ""
        return f"its process held {held / 1e6:.0f} MB, of {self.most_bytes / 1e6:.0f} MB allowed (AUTOMATION_MEMORY)"


def _held(pid: int) -> int:
    """Zero for one that has gone."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0

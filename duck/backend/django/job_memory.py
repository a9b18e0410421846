"""How much job processes may hold: one that is worn is replaced between runs, one that leaks on is ended."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import psutil

from duck.services.automations.memory import excesses
from duck.services.process_tree import resident_bytes


@dataclass(frozen=True, slots=True)
class MemoryBound:
    """Resident memory, in bytes.

    Attributes:
        recycle_bytes: a process that holds more by itself when a run has ended in it is replaced; None for none.
        most_bytes: one that holds more, with all that it has started, is ended by force; None for none.
    """

    recycle_bytes: int | None = None
    most_bytes: int | None = None

    def is_worn(self, pid: int) -> bool:
        """Whether a process is to have no more runs."""
        if self.recycle_bytes is None:
            return False
        try:
            return resident_bytes([psutil.Process(pid)]) > self.recycle_bytes
        except psutil.Error:
            return False  # it has gone

    def excesses(self, pids: Collection[int]) -> dict[int, str]:
        """Those of these processes that are to be ended, and why."""
        return excesses(pids, self.most_bytes) if self.most_bytes is not None and pids else {}

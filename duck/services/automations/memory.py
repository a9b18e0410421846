"""How much what carries a run out may hold: its process, with all that it has started."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from duck.services.process_tree import proportional_bytes, resident_bytes, trees

# How often it is looked, while anything runs.
WEIGH_S: Final = 1.0


def excesses(pids: Collection[int], most_bytes: int) -> dict[int, str]:
    """Of these processes those whose trees hold more than `most_bytes`, and why they are to be ended."""
    found: dict[int, str] = {}
    for pid, tree in trees(pids).items():
        # Copies of one process share most of what they hold; that is asked only where it could decide.
        if resident_bytes(tree) <= most_bytes:
            continue
        held = proportional_bytes(tree)
        if held > most_bytes:
            whose = "its process" if len(tree) == 1 else "its processes"
            found[pid] = f"{whose} held {held / 1e6:.0f} MB, of {most_bytes / 1e6:.0f} MB allowed (AUTOMATION_MEMORY)"
    return found

"""Process trees: a process, and all that it has started, whatever groups and sessions those are in."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

import psutil

_PROC: Final = Path("/proc")


def trees(roots: Collection[int]) -> dict[int, list[psutil.Process]]:
    """Of each of these processes itself and what it has started, as far as the one between them lives.

    All processes of the system are looked at, once: some milliseconds. One that has gone has an empty tree.
    """
    if not roots:
        return {}
    # It keeps what it has seen, and leaves out, once, a process whose number was another's when it looked before.
    psutil.process_iter.cache_clear()
    known: dict[int, psutil.Process] = {}
    children: dict[int, list[int]] = {}
    for process in psutil.process_iter(["ppid"]):
        known[process.pid] = process
        children.setdefault(process.info["ppid"] or 0, []).append(process.pid)
    found: dict[int, list[psutil.Process]] = {}
    for root in roots:
        found[root] = []
        waiting = [root] if root in known else []
        while waiting:
            pid = waiting.pop()
            found[root].append(known[pid])
            waiting += children.get(pid, ())
    return found


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """End these by force; one whose number is another's by now is left."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()


def resident_bytes(processes: Iterable[psutil.Process]) -> int:
    """What they hold in memory, each by itself; what several share counts for each."""
    held = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            held += process.memory_info().rss
    return held


def proportional_bytes(processes: Iterable[psutil.Process]) -> int:
    """What they hold together: of memory that several share its part for each (`smaps_rollup` of proc(5)).

    As `resident_bytes` where the kernel does not say. It walks their page tables: milliseconds for a large one.
    """
    held = 0
    for process in processes:
        try:
            text = (_PROC / str(process.pid) / "smaps_rollup").read_text()
            held += next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
        except (OSError, StopIteration, ValueError):
            held += resident_bytes([process])
    return held

"""Whether a process runs; one that has ended and that nobody has reaped yet does not."""

from __future__ import annotations

import psutil


def is_alive(pid: int) -> bool:
    """Whether the process `pid` runs: an orphan stays a zombie for as long as the system's first process is slow."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

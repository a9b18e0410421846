"""Whether a process runs; one that has ended and that nobody has reaped yet does not."""

from __future__ import annotations

import time
from collections.abc import Iterable

import psutil


def is_alive(pid: int) -> bool:
    """Whether the process `pid` runs: an orphan stays a zombie for as long as the system's first process is slow."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def still_alive(processes: Iterable[psutil.Process], within_s: float) -> list[psutil.Process]:
    """Those of `processes` that run on after so many seconds; returns as soon as none does.

    `psutil.wait_procs` waits for the system's first process as well, where these are not children of the test.
    """
    end = time.monotonic() + within_s
    while True:
        processes = [process for process in processes if process.is_running() and is_alive(process.pid)]
        if not processes or time.monotonic() > end:
            return processes
        time.sleep(0.01)

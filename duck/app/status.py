"""What `duck status` shows of processes: role, memory, times, as plain values."""

from __future__ import annotations

import time
from typing import Any

import psutil


def describe_process(role: str, pid: int, **more: Any) -> dict[str, Any]:
    """One process: `role`, `pid`, `state`, `uptime_s`, `memory_bytes`, `cpu_s` (user and system), and `more`.

    `memory_bytes` is what the process holds alone (USS) where the system tells, else its resident size. Of a process
    that is gone only role, pid and the state `gone` are known.
    """
    told: dict[str, Any] = {"role": role, "pid": pid}
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            told |= {
                "state": "gone" if process.status() == psutil.STATUS_ZOMBIE else "running",
                "uptime_s": round(time.time() - process.create_time(), 1),
                "memory_bytes": _memory(process),
                "cpu_s": round(times.user + times.system, 2),
            }
    except psutil.Error:
        told["state"] = "gone"
    return told | more


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().uss)
    except (psutil.AccessDenied, AttributeError):
        return int(process.memory_info().rss)

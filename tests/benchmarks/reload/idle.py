"""What watching costs while nobody changes anything."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from tests.benchmarks.reload.loaded import settled
from tests.benchmarks.servers import cpu_seconds

if TYPE_CHECKING:
    from tests.benchmarks.reload.peers import Running


@dataclass(frozen=True)
class Idle:
    """Of one server.

    Attributes:
        part: of a core, as a number from 0 to 1, of all its processes together.
        memory: bytes of all its processes; what several share counts once (PSS), where the system tells it.
    """

    part: float
    processes: int
    memory: int


async def idle(servers: Sequence[Running], seconds: float) -> list[Idle]:
    """Measure all at once, for so long, after they have come to rest; nobody asks them anything."""
    await asyncio.gather(*(settled(server) for server in servers))
    before = [(cpu_seconds(server.processes()), time.monotonic()) for server in servers]
    await asyncio.sleep(seconds)
    found = []
    for server, (used, at) in zip(servers, before, strict=True):
        processes = server.processes()
        part = (cpu_seconds(processes) - used) / (time.monotonic() - at)
        found.append(Idle(part, len(processes), memory(processes)))
    return found


def memory(processes: Sequence[psutil.Process]) -> int:
    """Bytes of all of these."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            full = process.memory_full_info()
            total += getattr(full, "pss", full.rss)
    return total

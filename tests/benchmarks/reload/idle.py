"""What watching costs while nobody changes anything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.benchmarks.reload.waiting import quiet
from tests.benchmarks.servers import cpu_seconds

if TYPE_CHECKING:
    from tests.benchmarks.reload.peers import Running


@dataclass(frozen=True)
class Idle:
    """Of one server.

    Attributes:
        part: of a core, as a number from 0 to 1, of all its processes together.
    """

    part: float
    processes: int


async def idle(servers: Sequence[Running], seconds: float) -> list[Idle]:
    """Measure all at once, for so long, after they have come to rest; nobody asks them anything."""
    for server in servers:
        await quiet(server)
    await asyncio.sleep(2.0)  # what watches a new tree may begin late
    before = [(cpu_seconds(server.processes()), time.monotonic()) for server in servers]
    await asyncio.sleep(seconds)
    found = []
    for server, (used, at) in zip(servers, before, strict=True):
        processes = server.processes()
        found.append(Idle((cpu_seconds(processes) - used) / (time.monotonic() - at), len(processes)))
    return found

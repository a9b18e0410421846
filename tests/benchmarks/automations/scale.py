"""Many schedules: how long they take to load, what they cost while nothing is due, and many due at once."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from tests.benchmarks.automations.node import CALLS, Node
from tests.benchmarks.automations.results import Burst, Load
from tests.benchmarks.servers import cpu_seconds

_ZONE: Final = "Europe/Berlin"
# Until what a start has put off is done.
_SETTLE_S: Final = 3.0
_REST_S: Final = 12.0


def load_many(directory: Path, schedules: int, idle_s: float) -> Load:
    """Load so many schedules, beside a node that loads one, and do nothing for a while.

    None of them is due meanwhile: they lie half a day away.

    Raises:
        Failed: a node does not start.
    """
    alone = Node(directory / "one", _far(1))
    try:
        alone_s = alone.start()
        alone_cpu_s = cpu_seconds(alone.server.family())
    finally:
        alone.server.stop()
    node = Node(directory / "many", _far(schedules))
    try:
        took_s = node.start()
        cpu_s = cpu_seconds(node.server.family()) - alone_cpu_s
        time.sleep(min(_SETTLE_S, idle_s))
        before, began = cpu_seconds(node.server.family()), time.monotonic()
        time.sleep(idle_s)
        used_s = cpu_seconds(node.server.family()) - before
        part = used_s / (time.monotonic() - began)
    finally:
        node.server.stop()
    return Load(schedules, took_s, alone_s, cpu_s, part, idle_s)


def _far(count: int) -> dict[str, dict[str, Any]]:
    hour = (datetime.now(ZoneInfo(_ZONE)) + timedelta(hours=12)).hour
    return {
        f"job-{number}": {
            "command": "check",
            "cron": f"{number % 60} {hour} * * *",
            "tz": _ZONE,
        }
        for number in range(count)
    }


def burst(directory: Path, lane: str, jobs: int, period_s: int, *, within_s: float = 120.0) -> Burst:
    """So many automations due at one moment, in one lane; each is due again after `period_s`.

    Raises:
        Failed: not all of them started.
    """
    table = {"call": CALLS[lane], "run_in": lane, "every": f"{period_s}s"}
    settings = {"automation_threads": jobs} if lane == "thread" else {}
    node = Node(directory / lane, {f"job-{number}": table for number in range(jobs)}, settings)
    # The moment comes when a node that has just started has come to rest.
    time.sleep(max(0.0, min(_REST_S, period_s / 2) - (period_s - time.time() % period_s)))
    try:
        node.start()
        marks = node.wait_for(jobs, within_s)
        claims = node.claims()
    finally:
        node.server.stop()
    planned = marks[0].planned
    started = sorted(mark.delay_s for mark in marks)
    return Burst(lane, jobs, sorted(claim.delay_s for claim in claims if claim.planned == planned), started)

"""Coming: what nodes tell of their automations, for people who look where Duck's schedules cannot be asked.

Facts of each declaration and its next planned times are told once, and again before the times run out; a few at a time,
so that ten thousand automations delay nothing. Each hour it is said that they still hold.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from duck.services.automations.engines.local_rows import number
from duck.services.automations.schedule import oddity, upcoming

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration

# How many times are told, and how many are to be there whenever somebody looks.
TIMES: Final = 12
ALWAYS: Final = 5
# What has not been told for longer is declared by nobody any more.
AGAIN: Final = timedelta(hours=1)
_AT_ONCE: Final = 25

# Name, facts and coming times; the last two as JSON, and empty where they are as they were told.
Told = tuple[str, str, str]


class Coming:
    """Says what is to be told. Pure: moments are handed in."""

    def __init__(self) -> None:
        self._declared: dict[str, Declaration] = {}
        self._heap: list[tuple[datetime, str]] = []
        self._holds: dict[str, datetime] = {}  # until when what was told does

    def declare(self, declarations: Sequence[Declaration], now: datetime) -> None:
        """These, and no others, from now on."""
        self._declared = {each.name: each for each in declarations}
        self._heap = [(now, each.name) for each in declarations]
        heapq.heapify(self._heap)
        self._holds = {}

    def take(self, now: datetime, most: int = _AT_ONCE) -> list[Told]:
        """What is to be told now."""
        told: list[Told] = []
        while self._heap and self._heap[0][0] <= now and len(told) < most:
            _, name = heapq.heappop(self._heap)
            if name in self._holds and now < self._holds[name]:
                told.append((name, "", ""))
            else:
                self._holds[name] = self._tell(self._declared[name], now, told)
            heapq.heappush(self._heap, (min(self._holds[name], now + AGAIN), name))
        return told

    def _tell(self, declaration: Declaration, now: datetime, told: list[Told]) -> datetime:
        """Add what is to be told of it; until when that holds."""
        schedule = declaration.plan.schedule
        times = upcoming(schedule, now, TIMES) if schedule is not None else []
        zone = declaration.plan.zone
        coming = [[number(at), oddity(at, zone)] for at in times]
        told.append((declaration.name, json.dumps(facts_of(declaration)), json.dumps(coming)))
        return times[-ALWAYS] if len(times) == TIMES else datetime.max.replace(tzinfo=UTC)

    def forget(self, told: Sequence[Told], now: datetime) -> None:
        """It could not be told after all."""
        names = {name for name, _, _ in told}
        for name in names:
            self._holds.pop(name, None)
        self._heap = [(now if name in names else at, name) for at, name in self._heap]
        heapq.heapify(self._heap)


def facts_of(declaration: Declaration) -> dict[str, Any]:
    """What people want to know of a declaration; plain values, times in seconds."""
    return {
        "description": declaration.sentence,
        "when": declaration.when,
        "zone": declaration.plan.zone.key,
        "runs": f"{declaration.kind} {declaration.target}",
        "declared_in": declaration.origin,
        "planned": declaration.plan.schedule is not None,
        "missed": declaration.missed,
        "within_s": declaration.within_s,
        "overlap": declaration.overlap,
        "timeout_s": declaration.timeout_s,
        "retry": declaration.retry,
        "on_crash": declaration.on_crash,
        "run_in": declaration.lane,
        "run_on": declaration.run_on,
    }

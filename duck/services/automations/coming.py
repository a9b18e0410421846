"""Coming: what nodes tell of their automations, for people who look where Duck's schedules cannot be asked.

Facts of each declaration and its next planned times are told once, and again before the times run out; a few at a time,
so that ten thousand automations delay nothing, and cost no more of a processor than a node that rests may use. Each
hour it is said that they still hold.
"""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from duck.services.automations.engines.local_rows import moment, number
from duck.services.automations.schedule import oddity

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.schedule import Schedule

# How many times are told at most, and how many are to be there whenever somebody looks; of those that lie far away one
# more than these is enough.
TIMES: Final = 12
ALWAYS: Final = 5
_FAR: Final = timedelta(days=1)
# What has not been told for longer is declared by nobody any more.
AGAIN: Final = timedelta(hours=1)
# Then all that is to be said by the end of that minute is said at once: a question costs more than a name in it.
_MINUTE_US: Final = 60_000_000
# So many seconds of a processor, and so many automations, at once; where more wait, they do for so long.
_SPENT_S: Final = 0.01
_AT_ONCE: Final = 100
REST: Final = timedelta(seconds=10)

# Name, facts and coming times; the last two as JSON, and empty where they are as they were told.
Told = tuple[str, str, str]


class Coming:
    """Says what is to be told. Pure: moments are handed in.

    Args:
        spent: how many seconds of a processor this thread has used.
    """

    def __init__(self, spent: Callable[[], float] = time.thread_time) -> None:
        self._spent = spent
        self._rests_until = datetime.min.replace(tzinfo=UTC)
        self._declared: dict[str, Declaration] = {}
        self._heap: list[tuple[datetime, str]] = []
        self._holds: dict[str, datetime] = {}  # until when what was told does

    def declare(self, declarations: Sequence[Declaration], now: datetime) -> None:
        """These, and no others, from now on."""
        self._rests_until = now
        self._declared = {each.name: each for each in declarations}
        self._heap = [(now, each.name) for each in declarations]
        heapq.heapify(self._heap)
        self._holds = {}

    def take(self, now: datetime, most: int = _AT_ONCE) -> list[Told]:
        """What is to be told now."""
        told: list[Told] = []
        if now < self._rests_until <= now + REST:
            return told
        began = self._spent()
        while self._heap and self._heap[0][0] <= now:
            if len(told) == most or self._spent() - began > _SPENT_S:
                self._rests_until = now + REST
                break
            _, name = heapq.heappop(self._heap)
            if name in self._holds and now < self._holds[name]:
                told.append((name, "", ""))
            else:
                self._holds[name] = self._tell(self._declared[name], now, told)
            again = moment((number(now + AGAIN) // _MINUTE_US + 1) * _MINUTE_US)
            heapq.heappush(self._heap, (min(self._holds[name], again), name))
        return told

    def _tell(self, declaration: Declaration, now: datetime, told: list[Told]) -> datetime:
        """Add what is to be told of it; until when that holds."""
        schedule = declaration.plan.schedule
        times, are_all = _coming(schedule, now) if schedule is not None else ([], True)
        zone = declaration.plan.zone
        coming = [[number(at), oddity(at, zone)] for at in times]
        told.append((declaration.name, json.dumps(facts_of(declaration)), json.dumps(coming)))
        return datetime.max.replace(tzinfo=UTC) if are_all else times[-ALWAYS]

    def forget(self, told: Sequence[Told], now: datetime) -> None:
        """It could not be told after all."""
        names = {name for name, _, _ in told}
        for name in names:
            self._holds.pop(name, None)
        self._heap = [(now if name in names else at, name) for at, name in self._heap]
        heapq.heapify(self._heap)


def _coming(schedule: Schedule, now: datetime) -> tuple[list[datetime], bool]:
    """Its next times, and whether there are no others."""
    times: list[datetime] = []
    while len(times) < TIMES and not (len(times) > ALWAYS and times[-1] - now > _FAR):
        at = schedule.after(times[-1] if times else now)
        if at is None:
            return times, True
        times.append(at)
    return times, False


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

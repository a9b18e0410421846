"""Steady load, and meanwhile: reloads of the project, reloads of Duck itself, Django and front processes killed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.benchmarks.servers import Failed
from tests.load.attribution import Kill, Report, Role, read_journal, report
from tests.load.clients import Load
from tests.load.killer import kill

if TYPE_CHECKING:
    from tests.load.outcome import Outcome
    from tests.load.served import Census, Served

SETTLE_S = 20.0
_TRIES = 3  # of a reload whose new processes are killed


@dataclass(frozen=True)
class Plan:
    """What is done within `seconds`.

    Attributes:
        reloads: of the project, of which the last is begun well before the end.
        self_reloads: of Duck itself, between them.
        django_every_s, front_every_s: between two kills; 0 for none.
        pause: as of `Load.start_steady`.
    """

    seconds: float
    reloads: int
    self_reloads: int
    django_every_s: float = 3.0
    front_every_s: float = 5.0
    pause: float = 1.0


@dataclass
class Told:
    """What a run came to.

    Attributes:
        commands: reloads that were done, each with its duration in seconds, by their name.
        given_up: how many reloads failed because a process of the new generation was killed; each was tried again.
        refused: other reloads that failed, and what they said.
        during_reloads: how many of the kills fell into a reload.
        events: what was done, and when: of `time.monotonic`, as the times of the outcomes.
    """

    before: Census
    after: Census
    outcomes: list[Outcome] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    commands: dict[str, list[float]] = field(default_factory=dict)
    given_up: int = 0
    refused: list[str] = field(default_factory=list)
    during_reloads: int = 0
    events: list[tuple[float, str]] = field(default_factory=list)
    echoed: int = 0
    report: Report = field(default_factory=Report)

    def __str__(self) -> str:
        killed = [kill.role for kill in self.kills]
        lines = [
            str(self.report),
            f"{self.echoed} WebSocket messages echoed",
            f"killed: {killed.count(Role.DJANGO)} Django processes, {killed.count(Role.FRONT)} front processes; "
            f"{self.during_reloads} of them during a reload",
        ]
        for name, taken in self.commands.items():
            lines.append(f"{name}: {len(taken)} times, {min(taken):.1f} to {max(taken):.1f} s")
        lines.append(f"{self.given_up} reloads given up, since a new process was killed, and tried again")
        lines += [f"refused: {text.strip()}" for text in self.refused]
        lines += [f"before: {self.before}", f"after:  {self.after}"]
        if self.report.faults:
            lines += [f"{at:.3f} {what}" for at, what in self.events]
        return "\n".join(lines)

    def note(self, what: str, at: float | None = None) -> None:
        """Remember what was done, now or at that time."""
        self.events.append((time.monotonic() if at is None else at, what))


class Faults:
    """One run against a Duck that serves."""

    def __init__(self, served: Served, plan: Plan, say: Callable[[str], None] = lambda sentence: None) -> None:
        self._served = served
        self._plan = plan
        self._say = say
        self._random = random.Random(1)
        self._reloading = False
        self._end = 0.0

    async def run(self) -> Told:
        """Do it all; what came of it."""
        before = await settled(self._served)
        told = Told(before, before)
        load = Load(self._served.port)
        load.start_steady(self._plan.pause)
        self._end = time.monotonic() + self._plan.seconds
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._reload(told))
                group.create_task(self._kill(told, Role.DJANGO, self._plan.django_every_s))
                group.create_task(self._kill(told, Role.FRONT, self._plan.front_every_s))
            await asyncio.sleep(max(0.0, self._end - time.monotonic()))
            await load.stop()
        except BaseException:
            await load.abandon()
            raise
        load.check()
        told.outcomes = load.outcomes
        told.echoed = load.echoed
        told.report = report(load.outcomes, told.kills, read_journal(self._served.project))
        told.after = await settled(self._served, before)
        return told

    async def _reload(self, told: Told) -> None:
        """Reloads, spread over the time; each of Duck itself behind so many of the project."""
        plan = self._plan
        names = ["duck reload"] * plan.reloads
        for number in range(plan.self_reloads):
            names.insert(round((number + 0.5) * (plan.reloads / plan.self_reloads)) + number, "duck reload --self")
        began = time.monotonic()
        for number, name in enumerate(names):
            await asyncio.sleep(max(0.0, began + plan.seconds * number / len(names) - time.monotonic()))
            for _ in range(_TRIES):
                if await self._reload_once(told, name):
                    break

    async def _reload_once(self, told: Told, name: str) -> bool:
        """Whether there is nothing to be tried again."""
        self._reloading = True
        told.note(f"{name} ...")
        done = await self._served.command(*name.split()[1:])
        self._reloading = False
        told.note(f"{name}: {done.status}")
        self._say(f"{name}: {done.status} after {done.taken_s:.1f} s")
        if done.status == 0:
            told.commands.setdefault(name, []).append(done.taken_s)
        elif "SIGKILL" in done.text and any(str(kill.pid) in done.text for kill in told.kills):
            told.given_up += 1
            return False
        else:
            told.refused.append(f"{name}: {done.status}: {done.text}")
        return True

    async def _kill(self, told: Told, role: Role, every_s: float) -> None:
        if not every_s:
            return
        began = time.monotonic()
        number = 0
        while True:
            number += 1
            at = began + number * every_s
            if at >= self._end:
                return
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            pids = await asyncio.to_thread(self._served.pids, role)
            if not pids:
                continue
            killed = await kill(role, self._random.choice(pids), self._served.port)
            if killed is not None:
                told.kills.append(killed)
                told.during_reloads += self._reloading
                told.note(f"killed the {role} process {killed.pid}", killed.at)
                self._say(f"killed the {role} process {killed.pid}{', during a reload' if self._reloading else ''}")


async def settled(served: Served, wanted: Census | None = None) -> Census:
    """What Duck has once that does not change any more; or once it is `wanted`, within SETTLE_S."""
    end = time.monotonic() + SETTLE_S
    last: Census | None = None
    while True:
        if await asyncio.to_thread(served.state) == "running":
            census = await asyncio.to_thread(served.census)
            if census == wanted or (wanted is None and census == last):
                return census
            last = census
        if time.monotonic() > end:
            if last is None:
                raise Failed(f"Duck does not run\n{served.log}")
            return last
        await asyncio.sleep(0.5)

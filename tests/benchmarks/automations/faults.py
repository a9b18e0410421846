"""Three nodes on one store, a firing each second, and one fault after the other.

    a node is killed (and another started), stopped and continued; cut off from the store, or its packets held up;
    the store is restarted, or crashes; a worker is killed, or the broker is away and forgets what it had

Afterwards each planned time from the first to the last has to have one row of history, and none may have been started
twice. What a node had taken when it was killed counts as started: the row says that it was lost.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.automation_site import Site
from tests.benchmarks.automations.celery_store import STORES
from tests.benchmarks.servers import Failed

if TYPE_CHECKING:
    from tests.benchmarks.automations.stores import Store

NODES: Final = 3
TICK: Final = """
automation_keep = 10000
{store}
[automations.tick]
shell = "echo $DUCK_KEY $(date +%s.%N) >> ran"
every = "1s"
overlap = "allow"
missed = "all"
within = "{within:g}s"
"""
WITHIN_S: Final = 600.0
# How long each fault lasts; a stall is longer than a node waits for an answer.
_LASTS_S: Final = {"kill": 0.0, "stop": 2.0, "stall": 8.0, "cut": 2.0, "restart": 1.0, "crash": 1.0}
_LASTS_S |= {"worker": 0.0, "broker": 1.0}
_DEADLINE_S: Final = 90.0


@dataclass
class Outcome:
    """What three nodes made of it.

    Attributes:
        planned: times from the first to the last.
        doubled: keys of planned times that were started twice.
        lost: planned times that have no row.
        late_s: how much later than planned runs were started; those within a fault are among them.
        faults: how many there were, by their names.
        states: how many rows there are of each.
        logs: what the nodes said, where the promise was not kept.
    """

    planned: int = 0
    started: int = 0
    doubled: list[str] = field(default_factory=list)
    lost: list[datetime] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=dict)
    logs: str = field(default="", repr=False)

    def __str__(self) -> str:
        doubled, lost = len(self.doubled), len(self.lost)
        return f"{self.planned} planned, {self.started} started, {doubled} of them twice, {lost} without a row"

    @property
    def is_right(self) -> bool:
        """Whether the promise was kept."""
        return not self.doubled and not self.lost and self.started > 0 and max(self.late_s) < WITHIN_S


def try_faults(
    directory: Path, name: str, planned: int, pause_s: float = 1.0, settles: Collection[str] = ()
) -> Outcome:
    """That, on the store of this name.

    Args:
        settles: no row is in one of these states at the end; by default those of the store.

    Raises:
        Missing: the store is not on this machine.
        Failed: nothing is planned or run.
    """
    directory.mkdir()
    with contextlib.ExitStack() as cleanup:
        store = STORES[name](directory, NODES)
        cleanup.callback(store.close)
        faults = Faults(directory, store, settles or store.settles)
        cleanup.callback(faults.close)
        outcome = faults.run(planned, pause_s)
        if not outcome.is_right:
            outcome.logs = faults.site.logs()
        return outcome


class Faults:
    """Nodes of one site on one store."""

    def __init__(self, directory: Path, store: Store, settles: Collection[str]) -> None:
        self._settles = settles
        self.site = Site(directory, TICK.format(store=store.toml, within=WITHIN_S), store.root)
        self._store = store
        self._names = itertools.count(1)
        self._nodes = [self._start(place) for place in range(NODES)]
        self._outcome = Outcome()

    def run(self, firings: int, pause_s: float = 1.0) -> Outcome:
        """Let faults follow each other until there were so many firings and each fault; the nodes are ended.

        Raises:
            Failed: nothing is planned or run.
        """
        first = self._first()
        until = first + timedelta(seconds=firings)
        faults = ("kill", "stop", *self._store.faults)
        for turn in itertools.count():
            if turn >= len(faults) and self._now() >= until:
                break
            fault = faults[turn % len(faults)]
            self._fault(fault, (turn + turn // len(faults)) % NODES)  # each node has each of them in its turn
            self._outcome.faults[fault] = self._outcome.faults.get(fault, 0) + 1
            time.sleep(pause_s)
        self._settle()
        return self._read(first)

    def close(self) -> None:
        """End what runs."""
        self.site.end()

    def _start(self, place: int) -> Any:
        name = f"node{next(self._names)}"
        return self.site.start("--node", name, environ=self._store.environment(place))

    def _fault(self, fault: str, place: int) -> None:
        node = self._nodes[place]
        if fault == "kill":
            node.kill()
            node.wait()
            self._nodes[place] = self._start(place)
        elif fault == "stop":
            node.send_signal(signal.SIGSTOP)
            time.sleep(_LASTS_S[fault])
            node.send_signal(signal.SIGCONT)
        else:
            self._store.befall(fault, place)
            time.sleep(_LASTS_S[fault])
            self._store.mend(fault, place)

    def _now(self) -> datetime:
        return datetime.now().astimezone()

    def _first(self) -> datetime:
        """The first planned time, once a few were run."""
        deadline = time.monotonic() + _DEADLINE_S
        while True:
            while len(self._ran()) < 3:  # to ask for the history takes a process
                self._look(deadline)
            runs = self.site.runs()
            if sum(1 for run in runs if run["node"]) >= 3:
                return min(datetime.fromisoformat(run["planned"]) for run in runs)
            self._look(deadline)

    def _settle(self) -> None:
        """Wait until the store is reached by all again: what waits is decided on, and nothing is under way."""
        deadline = time.monotonic() + _DEADLINE_S
        since = self._now() + timedelta(seconds=2)
        while True:
            while all(_planned(key) <= since for key, _ in self._ran()):
                self._look(deadline)
            rows = self.site.runs()
            waits = {datetime.fromisoformat(run["planned"]): run["state"] in self._settles for run in rows}
            if max(waits) > since and not any(waiting for planned, waiting in waits.items() if planned < since):
                break
            self._look(deadline)
        for node in self._nodes:
            node.send_signal(signal.SIGTERM)
        for node in self._nodes:
            with contextlib.suppress(Exception):
                node.wait(30)

    def _look(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            runs = [run for run in self.site.runs() if run["state"] not in self._settles][:20]
            raise Failed(f"the nodes do not go on; not over are {runs}:\n{self.site.logs(2000)}")
        time.sleep(0.5)

    def _ran(self) -> list[tuple[str, float]]:
        """The key of each run, and when it began (`time.time`), as runs themselves have written it."""
        with contextlib.suppress(FileNotFoundError):
            lines = (self.site.directory / "ran").read_text().splitlines(keepends=True)
            words = [line.split() for line in lines if line.endswith("\n")]
            return [(key, float(at)) for key, at in words]
        return []

    def _read(self, first: datetime) -> Outcome:
        outcome = self._outcome
        runs = self.site.runs()
        rows = Counter(datetime.fromisoformat(run["planned"]) for run in runs)
        last = max(rows)
        outcome.planned = int((last - first).total_seconds()) + 1
        times = [first + timedelta(seconds=number) for number in range(outcome.planned)]
        outcome.lost = [each for each in times if each not in rows]
        lines = self._ran()
        ran = Counter(key for key, _ in lines)
        outcome.started = len(ran)
        outcome.doubled = [key for key, count in ran.items() if count > 1]
        outcome.doubled += [f"{each:%H:%M:%S}" for each, count in rows.items() if count > 1]
        outcome.states = dict(Counter(run["state"] for run in runs))
        outcome.late_s = sorted(at - _planned(key).timestamp() for key, at in lines)
        return outcome


def _planned(key: str) -> datetime:
    """Of `tick:2026-01-02T03:04:05Z`."""
    return datetime.fromisoformat(key.partition(":")[2])

"""What one run found."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.benchmarks.reload.results import Wanted, percentile

if TYPE_CHECKING:
    from tests.benchmarks.automations.faults import Outcome

DUCK: Final = "duck"
LOADED_S: Final = 2.0
IDLE: Final = 0.005  # of a core
WITHIN_S: Final = 1.0
MEDIAN_MS: Final = 20.0
PERCENTILE_MS: Final = 200.0


@dataclass(frozen=True)
class Load:
    """Many schedules.

    Attributes:
        took_s: from the start of a node to its first look at what is due.
        alone_s: the same with one schedule.
        cpu_s: processor time of that, more than with one.
        idle: the part of a core that the node, its job process included, uses while nothing is due.
    """

    schedules: int
    took_s: float
    alone_s: float
    cpu_s: float
    idle: float
    idle_s: float

    @property
    def loaded_s(self) -> float:
        """What the schedules cost."""
        return self.took_s - self.alone_s


@dataclass(frozen=True)
class Burst:
    """Many automations due at one moment; seconds after it, in order.

    Attributes:
        claimed: when each was claimed.
        started: when each job began, by its own clock.
    """

    lane: str
    jobs: int
    claimed: Sequence[float]
    started: Sequence[float]


@dataclass(frozen=True)
class Delays:
    """Starts of one scheduler, one after the other.

    Attributes:
        how: what carries its jobs out.
        each_s: from the planned time to the job's own clock.
    """

    name: str
    how: str
    each_s: Sequence[float]

    @property
    def median_ms(self) -> float:
        """Of all."""
        return statistics.median(self.each_s) * 1000

    @property
    def percentile_ms(self) -> float:
        """The 99th."""
        return percentile(self.each_s, 0.99) * 1000


@dataclass
class Results:
    """All of it.

    Attributes:
        faults: what became of planned times on each store.
        missing: why a scheduler was left out, by its name.
        failed: how one failed, by its name.
    """

    loads: list[Load] = field(default_factory=list)
    bursts: list[Burst] = field(default_factory=list)
    delays: list[Delays] = field(default_factory=list)
    faults: dict[str, Outcome] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def wanted(self) -> list[Wanted]:
        """Every bar that was measured."""
        found = []
        for load in self.loads:
            found.append(
                Wanted(
                    f"{load.schedules:,} schedules loaded", load.loaded_s, f"{load.cpu_s:.2f} s of CPU", LOADED_S, " s"
                )
            )
            found.append(Wanted("idle, of a core", load.idle * 100, f"over {load.idle_s:.0f} s", IDLE * 100, " %"))
        for burst in self.bursts:
            who = f"{burst.jobs} due at once, {burst.lane}"
            of = f"{len(burst.claimed)} claimed"
            found.append(Wanted(f"{who}: the last is claimed", _last(burst.claimed, burst.jobs), of, WITHIN_S, " s"))
            if burst.lane != "process":
                of = f"{len(burst.started)} started"
                last = _last(burst.started, burst.jobs)
                found.append(Wanted(f"{who}: the last has started", last, of, WITHIN_S, " s"))
        for each in self.delays:
            if each.name == DUCK:
                spread = f"{min(each.each_s) * 1000:.1f} to {max(each.each_s) * 1000:.1f} ms"
                found.append(Wanted(f"delay, {each.how}: median", each.median_ms, spread, MEDIAN_MS, " ms"))
                found.append(
                    Wanted(f"delay, {each.how}: 99th percentile", each.percentile_ms, spread, PERCENTILE_MS, " ms")
                )
        for name, outcome in self.faults.items():
            of = f"{outcome.planned} planned, {sum(outcome.faults.values())} faults"
            found.append(Wanted(f"faults, {name}: started twice", len(outcome.doubled), of, 0, ""))
            found.append(Wanted(f"faults, {name}: without a row", len(outcome.lost), of, 0, ""))
        return found

    def as_json(self) -> dict[str, Any]:
        """Every figure."""
        return {
            **dataclasses.asdict(self),
            "wanted": [{**dataclasses.asdict(each), "met": each.is_met} for each in self.wanted()],
        }


def _last(seconds: Sequence[float], jobs: int) -> float:
    """Of all of them; whatever never came took longer than all that did."""
    return max(seconds) if len(seconds) == jobs else float("inf")

"""Whose fault it is that a request failed.

    served                  it was answered, or a WebSocket was ended in order
    inside a killed process it was in a process that the test killed, and may not be repeated
    handed to one           it had been sent, it may not be repeated, and a Django process died over it before it was
                            noted there: it lay in that process's socket, which nobody can tell from inside
    Duck's fault            everything else

The killer says which processes died when, and of a front process which connections it held; the journal of the project
says which processes a request had entered.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.load.outcome import IDEMPOTENT, End, Outcome
from tests.load.websocket import ABNORMAL, GOING_AWAY, SERVICE_RESTART

# How long after a kill its consequence may come: the kernel closes sockets at once, and two busy processors are slow.
GRACE_S = 2.0

# What a client may see of a request that was inside a Django process that died: 502 of the front, or a cut answer.
_OF_A_DEAD_DJANGO = 502
# Of a WebSocket whose Django process died: no Close at all, or a Close that tells of it.
_CLOSES_OF_A_DEAD_DJANGO = (ABNORMAL, 1011, 1014)

Journal = Mapping[str, Sequence[tuple[int, float]]]


class Role(enum.StrEnum):
    """What a killed process was."""

    DJANGO = "django"
    FRONT = "front"


@dataclass(frozen=True)
class Kill:
    """A process that was killed.

    Attributes:
        at: of `time.monotonic`.
        gone: when it was seen to be no more; until then its sockets took what was sent.
        ports: of the clients whose connections a front process held.
    """

    role: Role
    pid: int
    at: float
    gone: float
    ports: frozenset[int] = frozenset()


class Verdict(enum.StrEnum):
    """Who has to answer for it."""

    SERVED = "served"
    INSIDE = "inside a killed process"
    HANDED_OVER = "handed to a killed process"
    FAULT = "Duck's fault"


def judge(outcome: Outcome, kills: Iterable[Kill], journal: Journal) -> Verdict:
    """Whose fault `outcome` is."""
    if outcome.end is End.OK:
        return Verdict.SERVED
    if outcome.end is End.CLOSED and outcome.code in (GOING_AWAY, SERVICE_RESTART):
        return Verdict.SERVED
    # One that died long before it failed, or after, has nothing to do with it.
    over_it = [kill for kill in kills if kill.at <= outcome.ended <= kill.gone + GRACE_S]
    if any(_was_in_front(outcome, kill) for kill in over_it):
        return Verdict.INSIDE
    if not _can_be_of_a_dead_django(outcome):
        return Verdict.FAULT
    entered = journal.get(outcome.load_id, ())
    died = {kill.pid: kill for kill in kills if kill.role is Role.DJANGO}
    deaths = [died[pid] for pid, at in entered if pid in died and at <= died[pid].gone]
    is_repeatable = outcome.method in IDEMPOTENT and outcome.end is End.STATUS
    if any(death in over_it for death in deaths):
        # One that may be repeated is, once: it fails where a second process dies over it, too.
        return Verdict.FAULT if is_repeatable and len(deaths) < 2 else Verdict.INSIDE
    if not entered and not is_repeatable and outcome.sent is not None:
        for kill in over_it:
            if kill.role is Role.DJANGO and outcome.sent <= kill.gone:
                return Verdict.HANDED_OVER
    return Verdict.FAULT


def _was_in_front(outcome: Outcome, kill: Kill) -> bool:
    if kill.role is not Role.FRONT or outcome.port not in kill.ports:
        return False
    if outcome.end is End.CLOSED:
        return outcome.code == ABNORMAL
    return outcome.end in (End.RESET_BEFORE, End.RESET_AFTER, End.CUT)


def _can_be_of_a_dead_django(outcome: Outcome) -> bool:
    if outcome.end is End.CLOSED:
        return outcome.code in _CLOSES_OF_A_DEAD_DJANGO
    if outcome.end is End.STATUS:
        return outcome.status == _OF_A_DEAD_DJANGO
    return outcome.end is End.CUT


def read_journal(project: Path) -> Journal:
    """Which requests entered which processes, and when."""
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for path in (project / "journal").iterdir():
        for line in path.read_text().splitlines():
            load_id, _, at = line.partition(" ")
            found[load_id].append((int(path.name), float(at)))
    return found


@dataclass
class Report:
    """What a load came to."""

    counts: dict[Verdict, int] = field(default_factory=lambda: dict.fromkeys(Verdict, 0))
    faults: list[Outcome] = field(default_factory=list)
    excused: list[tuple[Verdict, Outcome]] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Requests and WebSockets in all."""
        return sum(self.counts.values())

    def __str__(self) -> str:
        lines = [f"{self.total} in all: " + ", ".join(f"{count} {name}" for name, count in self.counts.items())]
        lines += [f"  {Verdict.FAULT}: {outcome}" for outcome in self.faults[:40]]
        if len(self.faults) > 40:
            lines.append(f"  and {len(self.faults) - 40} more")
        return "\n".join(lines)


def report(outcomes: Iterable[Outcome], kills: Sequence[Kill], journal: Journal) -> Report:
    """Judge all."""
    made = Report()
    for outcome in outcomes:
        verdict = judge(outcome, kills, journal)
        made.counts[verdict] += 1
        if verdict is Verdict.FAULT:
            made.faults.append(outcome)
        elif verdict is not Verdict.SERVED:
            made.excused.append((verdict, outcome))
    return made

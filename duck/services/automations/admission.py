"""Admission: what a new run does where the one before has not ended. Pure; engines ask it within one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from duck.services.automations.run import State

# Of one automation: what comes faster than it is done does not fill the store.
MOST_QUEUED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Admission:
    """How a new run begins.

    Attributes:
        replaces: whether those that run or wait are asked to end.
    """

    state: State
    reason: str = ""
    replaces: bool = False


def admit(overlap: str, running: int, queued: int) -> Admission:
    """For a run of an automation with that `overlap`, so many of whose runs are running and queued."""
    if queued >= MOST_QUEUED and overlap != "replace":
        return Admission(State.SKIPPED, f"{queued} runs are waiting already")
    if overlap in ("allow", "queue_all") or running + queued == 0:
        return Admission(State.QUEUED)
    if overlap == "replace":
        return Admission(State.QUEUED, replaces=True)
    if overlap == "queue_one" and queued == 0:
        return Admission(State.QUEUED)
    return Admission(State.SKIPPED, "the run before has not ended" if running else "a run is waiting already")


def may_start(overlap: str, running: int) -> bool:
    """Whether a queued run may start beside so many that run."""
    return overlap == "allow" or running == 0

"""Admission: which runs begin, and what is said of those that do not. Pure; engines ask it within one transaction.

It lies here for engines that decide in the project's interpreter; states are as `duck.services.automations.run` has
them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

RUNNING = "running"
QUEUED = "queued"
SKIPPED = "skipped"

# Of one automation: what comes faster than it is done does not fill the store.
MOST_QUEUED: Final = 10_000
MISSED_BY: Final = "missed by "
BACKFILLED: Final = "it was backfilled before"
REPLACED: Final = "replaced by a newer run"


class Admission(NamedTuple):
    """How a new run begins.

    Attributes:
        state: QUEUED or SKIPPED.
        replaces: whether those that run or wait are asked to end.
    """

    state: str
    reason: str = ""
    replaces: bool = False


def admit(overlap: str, running: int, queued: int) -> Admission:
    """For a run of an automation with that `overlap`, so many of whose runs are running and queued."""
    if queued >= MOST_QUEUED and overlap != "replace":
        return Admission(SKIPPED, f"{queued} runs are waiting already")
    if overlap in ("allow", "queue_all") or running + queued == 0:
        return Admission(QUEUED)
    if overlap == "replace":
        return Admission(QUEUED, replaces=True)
    if overlap == "queue_one" and queued == 0:
        return Admission(QUEUED)
    return Admission(SKIPPED, "the run before has not ended" if running else "a run is waiting already")


def may_start(overlap: str, running: int) -> bool:
    """Whether a queued run may start beside so many that run."""
    return overlap == "allow" or running == 0


def missed_beyond(late_s: float) -> str:
    """Why what is so late does not run."""
    return f"{MISSED_BY}{written(late_s)}, which is more than `within`"


def written(seconds: float) -> str:
    """`90 s`, `5 min`, `3 h`, `2 d`: in the largest unit of which there are two."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{int(seconds) // size} {unit}"
    return f"{int(seconds)} s"

"""Admission: which runs begin, and what is said of those that do not. Pure; engines ask it within one transaction.

It lies here for engines that decide in the project's interpreter; states are as `duck.services.automations.run` has
them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

RUNNING = "running"
QUEUED = "queued"
SKIPPED = "skipped"

# Of one automation: what comes faster than it is done does not fill the store. So many runs wait, with so much told by
# their events.
MOST_QUEUED: Final = 10_000
MOST_QUEUED_BYTES: Final = 128 * 1024 * 1024
# From here on who could still be asked to wait is: what is under way to the store by then has room.
CROWDED: Final = 8_000
CROWDED_BYTES: Final = 48 * 1024 * 1024
MISSED_BY: Final = "missed by "
BACKFILLED: Final = "it was backfilled before"
REPLACED: Final = "replaced by a newer run"


class Crowded(Exception):
    """A sentence on why one run more is not queued; nothing is kept of it."""


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


def check_room(name: str, overlap: str, queued: int, kept: int, adds: int) -> None:
    """Whether a run that no schedule planned, and that adds so many bytes, may wait beside `queued` with `kept` bytes.

    Raises:
        Crowded: there is no room.
    """
    if overlap == "replace":
        return
    if queued >= MOST_QUEUED:
        raise Crowded(f"{queued} runs of {name} are waiting already.")
    if kept + adds > MOST_QUEUED_BYTES:
        raise Crowded(f"{queued} runs of {name} are waiting already, for events that tell {kept >> 20} MiB.")


def is_crowded(queued: int, kept: int) -> bool:
    """Whether so many runs of an automation wait, with so many bytes, that nobody should send more."""
    return queued >= CROWDED or kept >= CROWDED_BYTES


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

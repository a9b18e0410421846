"""What is due: which planned times run now, and which are told of and passed over. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from duck.automation.admission import MISSED_BY, missed_beyond, written
from duck.services.automations.run import Cause, State
from duck.services.automations.schedule import missed

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.run import Run

# A start so late is no miss: a busy machine, a store that was restarted.
PUNCTUAL: Final = timedelta(seconds=60)
# Of several that are due at once, and punctual, each runs; else the first would keep the latest from it.
_ONE_BY_ONE: Final = ("allow", "queue_all")
# Of a longer absence the latest so many planned times have a row each.
MOST_ROWS: Final = 1000


@dataclass(frozen=True, slots=True)
class Due:
    """One planned time, decided on.

    Attributes:
        runs: whether it runs.
        reason: why it does not.
        missed: how many planned times before it this run stands for.
    """

    planned: datetime
    runs: bool
    reason: str = ""
    missed: int = 0


def due(declaration: Declaration, since: datetime, now: datetime) -> list[Due]:
    """What becomes of the times planned after `since` whose moment, jitter included, has come; in order."""
    schedule = declaration.plan.schedule
    if schedule is None:
        return []
    planned = missed(schedule, since, now - timedelta(seconds=declaration.delay_s), MOST_ROWS)
    if not planned:
        return []
    window = timedelta(seconds=declaration.within_s)
    latest = planned[-1]
    found: list[Due] = []
    for at in planned:
        late = now - at - timedelta(seconds=declaration.delay_s)
        if late > window and late > PUNCTUAL:
            found.append(Due(at, False, missed_beyond(late.total_seconds())))
        elif declaration.missed == "all":
            found.append(Due(at, True))
        elif declaration.missed == "skip" and late > PUNCTUAL:
            found.append(Due(at, False, f"{MISSED_BY}{written(late.total_seconds())}"))
        elif at == latest or (declaration.missed == "skip" and declaration.overlap in _ONE_BY_ONE):
            # Those it stands for were missed, and not passed over for being too old.
            stands_for = sum(1 for each in found if each.reason.startswith("one run"))
            found.append(Due(at, True, missed=stands_for if declaration.missed == "once" else 0))
        else:
            found.append(Due(at, False, f"one run stands for it, that of {latest:%Y-%m-%d %H:%M:%S} UTC"))
    return found


def stale(declaration: Declaration, run: Run, now: datetime) -> str:
    """Why a queued run is not to start any more, "" where it is: it has waited beyond `within`, as a machine slept."""
    late = now - run.planned - timedelta(seconds=declaration.delay_s)
    is_first = run.cause is Cause.SCHEDULE and run.attempt == 0
    if is_first and late > max(timedelta(seconds=declaration.within_s), PUNCTUAL):
        return missed_beyond(late.total_seconds())
    return ""


def was_missed(run: Run) -> bool:
    """Whether it is a planned time at which nothing could run."""
    return run.state is State.SKIPPED and run.reason.startswith(MISSED_BY)

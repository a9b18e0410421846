"""What is told of an automation, and what of a run is worth telling. Pure; `Engine.once` has it told once.

failed      the first failure after a success, and again each day while it goes on failing
recovered   the success after failures, or after a silence
late        it started long after its time; at most once an hour
missed      planned times at which nothing could run; at most once an hour
silent      it has not succeeded for `alert_after`, and again each day
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from duck.services.automations.run import Cause, State

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.run import Run

FAILURES: Final = (State.FAILED, State.TIMED_OUT, State.LOST)
# Runs that say something of whether an automation works.
_OUTCOMES: Final = (State.SUCCEEDED, *FAILURES)
_AGAIN: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)
_EPOCH: Final = datetime.min
_OUTPUT_CHARACTERS: Final = 2000


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that is told.

    Attributes:
        event: one of `failed`, `recovered`, `late`, `missed`, `silent`, `test`.
        key: what it is told once for, over all nodes.
        sentence: for people.
        run: the run that it is about.
    """

    name: str
    event: str
    key: str
    sentence: str
    run: Run | None = None

    def values(self, sender: str) -> dict[str, Any]:
        """As receivers get it, in JSON; `text` is what those of chats show."""
        values: dict[str, Any] = {
            "text": f"{self.sentence} ({sender})",
            "event": self.event,
            "automation": self.name,
            "sender": sender,
            "run": None,
        }
        if self.run is not None:
            values["run"] = {
                "id": self.run.id,
                "planned": _iso(self.run.planned),
                "started": _iso(self.run.started),
                "ended": _iso(self.run.ended),
                "state": self.run.state.value,
                "reason": self.run.reason,
                "attempt": self.run.attempt,
                "node": self.run.node,
                "key": self.run.key,
                "output": self.run.output[-_OUTPUT_CHARACTERS:],
            }
        return values


def of_end(declaration: Declaration, run: Run, before: Sequence[Run]) -> Alert | None:
    """What the end of `run` tells.

    Args:
        before: earlier runs of it, the newest first.
    """
    earlier = [each for each in before if each.id < run.id and each.state in _OUTCOMES]
    failed: list[Run] = []
    for each in earlier:
        if each.state is State.SUCCEEDED:
            break
        failed.append(each)
    ended = run.ended or run.planned
    if run.state in FAILURES:
        first = failed[-1] if failed else run
        days = (ended - (first.ended or first.planned)) // _AGAIN
        reason = f": {run.reason}" if run.reason else ""
        times = f", as {len(failed)} runs before it" if failed else ""
        said = f"{run.name} {run.state}{reason}{times}."
        return Alert(run.name, "failed", f"failed:{run.name}:{first.id}:{days}", said, run)
    if run.state is not State.SUCCEEDED or not earlier:
        return None
    if failed:
        runs = "one run" if len(failed) == 1 else f"{len(failed)} runs"
        said = f"{run.name} succeeded again, after {runs} that did not."
        return Alert(run.name, "recovered", f"recovered:{run.name}:{run.id}", said, run)
    since = earlier[0].ended or earlier[0].planned
    if declaration.alert_after_s is not None and (ended - since).total_seconds() > declaration.alert_after_s:
        said = f"{run.name} succeeded again, {in_words(ended - since)} after the time before."
        return Alert(run.name, "recovered", f"recovered:{run.name}:{run.id}", said, run)
    return None


def of_start(declaration: Declaration, run: Run) -> Alert | None:
    """What it tells that `run` has begun."""
    if run.cause is not Cause.SCHEDULE or run.attempt > 1 or run.started is None:
        return None
    late = run.started - run.planned - timedelta(seconds=declaration.delay_s)
    if run.missed or late.total_seconds() <= declaration.alert_late_s:
        return None
    said = f"{run.name} started {in_words(late)} after its time, {_iso(run.planned)}."
    return Alert(run.name, "late", f"late:{run.name}:{_hour(run.started)}", said, run)


def of_missed(name: str, count: int, latest: Run, now: datetime) -> Alert:
    """What it tells that `count` planned times were missed, `latest` the last of them, or the run for all."""
    times = "a planned time" if count == 1 else f"{count} planned times"
    runs = "" if latest.state is State.SKIPPED else f"; the run of {_iso(latest.planned)} stands for it"
    said = f"{name} missed {times}, until {_iso(latest.planned)}{runs}."
    return Alert(name, "missed", f"missed:{name}:{_hour(now)}", said, latest)


def of_silence(declaration: Declaration, since: datetime, has_run: bool, now: datetime) -> Alert | None:
    """What it tells that nothing has succeeded since then: the last success, or the first that is known of it."""
    if declaration.alert_after_s is None:
        return None
    over = now - since - timedelta(seconds=declaration.alert_after_s)
    if over <= timedelta():
        return None
    # Where nothing has ever succeeded, what is known of it begins later each time that old runs are forgotten.
    times = f"{_iso(since)}:{over // _AGAIN}" if has_run else f"never:{now.date()}"
    what = "has not succeeded for" if has_run else "has not succeeded once in"
    said = f"{declaration.name} {what} {in_words(now - since)}."
    return Alert(declaration.name, "silent", f"silent:{declaration.name}:{times}", said)


def in_words(span: timedelta) -> str:
    """`45 s`, `3 min`, `5 h`, `2 d`."""
    seconds = int(span.total_seconds())
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _hour(moment: datetime) -> int:
    return (moment.replace(tzinfo=None) - _EPOCH) // _HOUR


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds").replace("+00:00", "Z")

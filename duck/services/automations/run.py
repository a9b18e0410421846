"""Runs: what becomes of one planned time, of one event, or of one request by hand.

QUEUED ──take──> RUNNING ──finish──> SUCCEEDED, FAILED, TIMED_OUT, CANCELLED
  │  ^             │
  │  └───retry─────┤
  │                └──its node fell silent──> LOST, or QUEUED again (`on_crash`)
  └──cancel──> CANCELLED
SKIPPED is a planned time that was decided on and not run; its row says why.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from datetime import datetime


class State(enum.StrEnum):
    """Of a run; see the drawing above."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    CANCELLED = "cancelled"
    LOST = "lost"
    SKIPPED = "skipped"

    @property
    def is_over(self) -> bool:
        """Whether nothing more becomes of it."""
        return self not in (State.QUEUED, State.RUNNING)


class Cause(enum.StrEnum):
    """Why there is a run."""

    SCHEDULE = "schedule"
    EVENT = "event"
    HAND = "hand"
    BACKFILL = "backfill"


@dataclass(frozen=True, slots=True)
class Run:
    """One run, as the store has it; moments are in UTC, None for what has not been.

    Attributes:
        planned: the time that it is for.
        revision: of the schedule that planned it.
        reason: why it was skipped, or how it ended, in words.
        attempt: how often it was taken, this time included.
        not_before: when it may be taken.
        key: the same for all its attempts.
        missed: how many planned times before this one it stands for.
        event: what an event told, as JSON.
        code: the exit code of a process, where it was one.
        output: the end of what it printed, or has printed until now.
        printed: how many characters it printed in all.
        cancels: whether somebody wants it to end.
        for_node: the one that it is for; empty for any.
    """

    id: int
    name: str
    revision: str
    planned: datetime
    cause: Cause
    state: State
    reason: str = ""
    attempt: int = 0
    not_before: datetime | None = None
    missed: int = 0
    event: str = ""
    node: str = ""
    created: datetime | None = None
    started: datetime | None = None
    beat: datetime | None = None
    ended: datetime | None = None
    code: int | None = None
    output: str = ""
    cancels: bool = False
    for_node: str = ""
    printed: int = 0

    @property
    def key(self) -> str:
        """What services that know idempotency keys are given."""
        moment = self.planned.isoformat().replace("+00:00", "Z")
        is_planned = self.cause in (Cause.SCHEDULE, Cause.BACKFILL)
        key = f"{self.name}:{moment}" if is_planned else f"{self.name}:{moment}:{self.id}"
        return f"{key}:{self.for_node}" if self.for_node else key

    def told_of(self) -> str:
        """For `Context.event` of what waits for its end: with what has led to it, so that signals end there."""
        before = json.loads(self.event).get("by", ()) if self.event else ()
        by = {"by": list(dict.fromkeys([*before, self.name]))} if self.cause is Cause.EVENT else {}
        return json.dumps({"run": self.id, **by})

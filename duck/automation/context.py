"""What a running automation is told."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any


class Context:
    """One run, as the function that is run sees it.

    Attributes:
        name: the automation's.
        scheduled_for: the planned time, in UTC; of a run by hand the moment that it was asked for.
        interval: the planned time before this one and this one, for work on what came between; None for a run by hand
            or by an event.
        missed: how many planned times were missed before this one, which stands for them.
        attempt: 1 for the first try.
        key: the same for all tries of one planned time: what to give to services that take idempotency keys.
        event: what an event told, by name.
        log: lines of it are kept with the run.
    """

    __slots__ = ("attempt", "event", "interval", "key", "log", "missed", "name", "scheduled_for")

    def __init__(
        self,
        name: str,
        scheduled_for: datetime,
        *,
        interval: tuple[datetime, datetime] | None = None,
        missed: int = 0,
        attempt: int = 1,
        key: str = "",
        event: dict[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.scheduled_for = scheduled_for
        self.interval = interval
        self.missed = missed
        self.attempt = attempt
        self.key = key
        self.event = event or {}
        self.log = logging.getLogger(f"duck.automation.{name}")

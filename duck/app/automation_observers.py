"""What a node does with what its dispatcher tells: it logs how runs ended, and one that is there for one run ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from duck.services.automations.run import State
from duck.services.automations.trigger import Plan

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.run import Run

logger = logging.getLogger("duck.automations")


def unplanned(declarations: Iterable[Declaration]) -> list[Declaration]:
    """The same, with nothing left of their triggers but to wait for one another."""
    return [
        replace(
            each,
            plan=Plan(None, tuple(event for event in each.plan.events if event.name == "automation"), each.plan.zone),
        )
        for each in declarations
    ]


class Until:
    """An `Observer` that waits for the end of one run."""

    def __init__(self, run_id: int, over: Callable[[], None]) -> None:
        self._run_id = run_id
        self._over = over

    def started(self, declaration: Declaration, run: Run) -> None:
        """See `Observer`."""

    def ended(self, declaration: Declaration, run: Run) -> None:
        """See `Observer`."""
        if run.id == self._run_id:
            self._over()

    def skipped(self, declaration: Declaration, run: Run) -> None:
        """See `Observer`."""


class Spoken:
    """An `Observer` that logs how runs ended."""

    def started(self, declaration: Declaration, run: Run) -> None:
        """See `Observer`."""

    def ended(self, declaration: Declaration, run: Run) -> None:
        """See `Observer`."""
        level = logging.INFO if run.state is State.SUCCEEDED else logging.WARNING
        took = (run.ended - run.started).total_seconds() if run.ended and run.started else 0.0
        reason = f": {run.reason}" if run.reason else ""
        logger.log(level, "The automation %s (run %d) %s after %.1f s%s", run.name, run.id, run.state, took, reason)

    def skipped(self, declaration: Declaration, run: Run) -> None:
        """See `Observer`."""

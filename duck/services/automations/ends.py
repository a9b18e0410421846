"""Ends: how runs ended here, until the store knows it, what waits for that is queued, and observers have been told.

ended ──finish──> kept ──enqueue──> followed ──> observers are told
  └──────────────── StoreError: it stays where it is, and is gone on with later ────────────────┘
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Protocol

from duck.exceptions import StoreError
from duck.services.automations.line import Line
from duck.services.automations.run import State

if TYPE_CHECKING:
    from datetime import datetime

    from duck.services.automations.audience import Audience
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.engine import Ended, Engine
    from duck.services.automations.run import Run

logger = logging.getLogger("duck.automations")


class Happened(Protocol):
    """`Dispatcher.happened`."""

    def __call__(
        self, event: str, details: dict[str, str], told: str, *, node: str, at: datetime | None, occasion: str
    ) -> None:
        """Queue what waits for that."""


class Ends:
    """For the dispatcher's thread.

    Args:
        happened: queues what waits for an event.
    """

    def __init__(self, engine: Engine, audience: Audience, happened: Happened) -> None:
        self._engine = engine
        self._audience = audience
        self._happened = happened
        self._unsaid: Line[tuple[Run, Declaration | None, Ended]] = Line()  # that the store could not be told yet
        self._untold: Line[tuple[Declaration, int]] = Line()  # of runs that others may wait for

    @property
    def waits(self) -> bool:
        """Whether there is something left to say or to tell."""
        return bool(self._unsaid or self._untold)

    def add(self, run: Run, declaration: Declaration | None, ended: Ended) -> None:
        """`run` ended so here; without a declaration where it is not declared any more."""
        self._unsaid.add((run, declaration, ended))

    def given_up(self, declaration: Declaration, run_id: int) -> None:
        """The store has it that the run of another node is over, or tried again."""
        self._untold.add((declaration, run_id))

    def say(self, most_s: float, *, at_once: bool = False) -> bool:
        """Tell the store; whether nothing is left that could be said now.

        Each is a change that has to be on the disk: where many have ended at once, what is due comes between.

        Args:
            at_once: also those that were put off.

        Raises:
            StoreError: it cannot be told of one of them now.
        """
        until = time.monotonic() + most_s
        while (end := self._unsaid.first(at_once=at_once)) is not None:
            run, declaration, ended = end
            try:
                was_ours = self._engine.finish(run, ended)
            except StoreError:
                self._unsaid.put_off()
                raise
            self._unsaid.done()
            if not was_ours:
                logger.warning("The run %s of %s ended after it had been given up: %s.", run.id, run.name, ended.state)
            elif declaration is not None:
                self._untold.add((declaration, run.id))
            if time.monotonic() > until:
                break
        self.tell(at_once=at_once)
        return self._unsaid.first(at_once=at_once) is None

    def tell(self, *, at_once: bool = False) -> None:
        """Queue what waits for the end of a run, and have observers told.

        Where the store is lost meanwhile it is done again; what was queued for that end is there already then.

        Raises:
            StoreError: see there.
        """
        while (end := self._untold.first(at_once=at_once)) is not None:
            declaration, run_id = end
            try:
                run = self._engine.run(run_id)
                if run is not None and run.state.is_over:
                    self._follow(run)
            except StoreError:
                self._untold.put_off()
                raise
            self._untold.done()
            if run is not None and run.state.is_over:
                self._audience.tell("ended", declaration, run)

    def _follow(self, run: Run) -> None:
        told, whose, occasion = run.told_of(), run.for_node, f"end of {run.id}"
        for outcome in ("succeeded" if run.state is State.SUCCEEDED else "failed", "ended"):
            details = {"name": run.name, "outcome": outcome}
            self._happened("automation", details, told, node=whose, at=run.ended, occasion=occasion)

    def give_up(self) -> None:
        """Nothing more is said: another node, or the next start, gives these runs up, since no heartbeat comes."""
        for run, _, ended in self._unsaid:
            logger.error("How the run %s of %s ended could not be kept: %s.", run.id, run.name, ended.state)
        for declaration, run_id in self._untold:
            logger.error("That the run %s of %s is over could not be told.", run_id, declaration.name)

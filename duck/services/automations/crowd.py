"""Crowd: what comes faster than it is done: events that are refused are counted, and their senders asked to wait."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from duck.http.tally import Tally

if TYPE_CHECKING:
    from duck.exceptions import CrowdedError
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.event_spool import EventSpool

logger = logging.getLogger("duck.automations")


class Crowd:
    """Of one dispatcher, on its thread.

    Args:
        events: through which fronts are told.
    """

    def __init__(self, events: EventSpool | None) -> None:
        self._events = events
        self._refused = Tally(_tell)
        self._hooks: dict[str, set[str]] = {}  # names of the automations that wait for each webhook
        self._is_told = True  # what a node before has told may be there still

    @property
    def refused(self) -> int:
        """How many events have run nothing here."""
        return self._refused.total

    def declare(self, declarations: Iterable[Declaration]) -> None:
        """These, and no others, from now on."""
        self._hooks = {}
        for each in declarations:
            for event in each.plan.events:
                if event.name == "webhook":
                    self._hooks.setdefault(dict(event.details)["path"], set()).add(each.name)

    def refuse(self, error: CrowdedError) -> None:
        """An event has run nothing."""
        self._refused.add(str(error), time.monotonic())

    def look(self, crowded: Callable[[], set[str]]) -> None:
        """Tell what is to be told; every few seconds.

        Args:
            crowded: asks the store which automations are.

        Raises:
            StoreError: it cannot be reached.
        """
        self._refused.look(time.monotonic())
        if self._events is None or not self._hooks:
            return
        names = crowded()
        # A webhook for which something has room still is let in.
        paths = [path for path, waiting in self._hooks.items() if waiting <= names]
        if paths or self._is_told:
            self._events.crowd(paths)
            self._is_told = bool(paths)


def _tell(count: int, what: str) -> None:
    logger.error("Events ran nothing, %d in the last minute: %s", count, what)

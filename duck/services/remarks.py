"""Remarks: what a Django that serves says of its project by itself: its checks, and migrations that are missing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from duck.backend.django.process import Failure

logger = logging.getLogger("duck.django")

_SHOWN: Final = 3


class Remarks:
    """For the inbox's thread. What is as it was is not said again.

    Args:
        show: puts text of Django's on the console.

    Attributes:
        looked: what the checks have said last, as shown.
        unapplied: names of migrations that have not been applied.
        unmade: changes of models that no migration has, each a sentence that begins with its application.
        on_migrations: called with `unapplied` and `unmade` whenever one of them is told; in development.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self.looked = ""
        self.unapplied: Sequence[str] = ()
        self.unmade: Sequence[str] = ()
        self.on_migrations: Callable[[Sequence[str], Sequence[str]], None] = lambda unapplied, unmade: None

    def checks_said(self, event: Mapping[str, Any]) -> None:
        """The checks of a start: `text` and `unapplied`."""
        text = str(event["text"])
        if text != self.looked:
            self.looked = text
            self._show(text)
        self.unapplied = tuple(event["unapplied"])
        self.on_migrations(self.unapplied, self.unmade)

    def models_said(self, event: Mapping[str, Any]) -> None:
        """The models, compared with their migrations: `changes`."""
        unmade = tuple(str(one) for one in event["changes"])
        if unmade and unmade != self.unmade:
            more = f" and {len(unmade) - _SHOWN} more" if len(unmade) > _SHOWN else ""
            logger.warning(
                "Models have changed without a migration (%s%s); run manage.py makemigrations.",
                "; ".join(unmade[:_SHOWN]),
                more,
            )
        self.unmade = unmade
        self.on_migrations(self.unapplied, self.unmade)


def check_failed(failure: Failure) -> None:
    """Say that a check of what serves already has failed."""
    told = failure.traceback.strip()
    text = f"\n{told}" if told and told != failure.message else ""
    logger.error("A check failed: %s%s\nWhat was written serves all the same.", failure.message, text)

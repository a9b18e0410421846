"""Mail of alerts, sent in a process of the project, by its own settings of mail."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from duck.services.automations.declaration import Declaration
from duck.services.automations.run import Cause, Run, State
from duck.services.automations.trigger import Plan

if TYPE_CHECKING:
    from duck.backend.django.jobs import DjangoJobs
    from duck.services.automations.engine import Ended

logger = logging.getLogger("duck.automations")

_MOST: Final = 8
_TIMEOUT_S: Final = 60.0


class JobMail:
    """Sends mail as runs that the store knows nothing of. On the inbox's thread.

    Args:
        jobs: carries them out; their numbers are below zero, where no run of the store has one.
        on_sent: told of each why it was not sent; empty where it was.
    """

    def __init__(self, jobs: DjangoJobs, on_sent: Callable[[str], None] = lambda why: None) -> None:
        self._jobs = jobs
        self._on_sent = on_sent
        self._numbers = itertools.count(-1, -1)
        self._under_way: dict[int, str] = {}

    @property
    def is_busy(self) -> bool:
        """Whether some is on its way."""
        return bool(self._under_way)

    def give_up(self) -> None:
        """What is on its way will not be sent; that is logged."""
        while self._under_way:
            _, subject = self._under_way.popitem()
            logger.error("%r is not mailed: Duck has ended before.", subject)

    def send(self, subject: str, text: str, to: Sequence[str]) -> None:
        """Have it sent; nothing waits. Where too many are under way, a mail server does not answer: that is logged."""
        if len(self._under_way) >= _MOST:
            logger.error("%r is not mailed: %d mails are under way already.", subject, _MOST)
            return
        declaration = Declaration(
            name="alert",
            origin="AUTOMATION_ALERTS",
            plan=Plan(None, (), ZoneInfo("UTC")),
            kind="mail",
            target=" ".join(subject.split()),
            details=json.dumps({"text": text, "to": list(to)}),
            revision="",
            timeout_s=_TIMEOUT_S,
            run_in="thread",
        )
        now = datetime.now(UTC)
        run = Run(next(self._numbers), "alert", "", now, Cause.EVENT, State.RUNNING, attempt=1)
        self._under_way[run.id] = subject
        self._jobs.start(run, declaration, lambda ended: self._sent(run.id, subject, ended))

    def _sent(self, number: int, subject: str, ended: Ended) -> None:
        is_given_up = self._under_way.pop(number, None) is None
        if ended.state is not State.SUCCEEDED and not is_given_up:
            logger.error("%r could not be mailed: %s.", subject, ended.reason or ended.state)
        self._on_sent("" if ended.state is State.SUCCEEDED else ended.reason or str(ended.state))

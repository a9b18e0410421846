"""Migration: `manage.py migrate` beside a Duck that runs, asked for by a key, an error page or a command."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from duck.backend.django.version import Failure
from duck.settings import views

if TYPE_CHECKING:
    from duck.app.lifecycle import Lifecycle
    from duck.backend.django.commands import StartupCommands
    from duck.http.ducksight.config import Reply
    from duck.services.ipc import Request

logger = logging.getLogger("duck.app")

COMMAND: Final = ("migrate", "--noinput")


class Migration:
    """One at a time, in the project's interpreter; what it prints is shown, and Django is loaded again after it.

    For the inbox's thread.
    """

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._commands: StartupCommands | None = None
        self._outcome: Callable[[Failure | None], None] = _nobody

    @property
    def is_running(self) -> bool:
        """Whether one is under way."""
        return self._commands is not None

    def begin(self, outcome: Callable[[Failure | None], None] | None = None) -> None:
        """Migrate. `outcome` is called once: with None when it has ended well, or with why not (of stage `refused` at
        once, where it is not begun), its message one sentence and its traceback what the command has printed.
        """
        hindrance = self._hindrance()
        if hindrance:
            if outcome is None:
                logger.warning("%s", hindrance)
            else:
                outcome(Failure("refused", hindrance))
            return
        django = self._lifecycle.django
        assert django is not None
        self._outcome = outcome or _nobody
        self._commands = django.commands([COMMAND], self._ended, "")
        self._commands.start()

    def asked(self, request: Request) -> None:
        """The command `migrate`: answered when it has ended."""
        began = time.monotonic()

        def outcome(failure: Failure | None) -> None:
            if failure is None:
                request.reply({"migrated": True, "took_s": round(time.monotonic() - began, 2)})
            else:
                request.refuse(f"{failure.message}\n{failure.traceback}".rstrip())

        request.progress("Applying migrations.")
        self.begin(outcome)

    def wanted(self, arguments: Mapping[str, Any], reply: Reply) -> None:
        """A browser wants it: told once it has ended, with what the command has printed where it failed."""

        def outcome(failure: Failure | None) -> None:
            text = "" if failure is None else f"{failure.message}\n{failure.traceback}".rstrip()
            reply({"ok": failure is None, "text": text})

        self.begin(outcome)

    def stop(self) -> None:
        """End what is under way; it could not be shown any more."""
        if self._commands is not None:
            self._commands.kill()
            self._commands = None
            self._tell(Failure("stop", "Duck is about to end."))

    def _hindrance(self) -> str:
        """Why it cannot be begun now, in a sentence; empty where it can."""
        lifecycle = self._lifecycle
        django = lifecycle.django
        if lifecycle.ending.has_begun:
            return "Duck is about to end."
        if django is None or django.root is None:
            return "There is no Django project of Duck's own here; run manage.py migrate where it is."
        if views.production(lifecycle.settings).serves:
            return "`duck serve` leaves migrations to whoever deploys; run manage.py migrate, then `duck reload`."
        if self._commands is not None:
            return "manage.py migrate is under way already."
        if django.is_preparing:
            return "The commands of DJANGO_COMMANDS_ON_STARTUP are under way; migrate after them."
        if django.is_debugging:
            return "Somebody is at a debugger's prompt; leave it, and migrate then."
        return ""

    def _ended(self, failure: Failure | None) -> None:
        self._commands = None
        django = self._lifecycle.django
        if failure is not None:
            logger.error("%s; nothing was loaded again.", failure.message.rstrip("."))
        elif django is not None and not django.is_debugging:
            logger.info("Migrations are applied; loading Django again.")
            django.replace()
        self._tell(failure)

    def _tell(self, failure: Failure | None) -> None:
        outcome, self._outcome = self._outcome, _nobody
        outcome(failure)


def _nobody(failure: Failure | None) -> None:
    """Nobody waits for it; the console has told."""

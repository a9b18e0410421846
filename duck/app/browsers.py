"""Browsers: what the App says to the browsers that look at its pages, and does for them."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from duck.app import editor, fault
from duck.app.front import Front
from duck.app.recorded import gather
from duck.http.ducksight.config import DuckSightConfig, Reply
from duck.settings import views
from duck.settings.ducksight import ducksight

if TYPE_CHECKING:
    from duck.app.front_processes import FrontProcesses
    from duck.app.migrate import Migration
    from duck.app.unloaded import Unloaded
    from duck.backend.django.version import Failure
    from duck.http.ducksight.inspection import Tell
    from duck.services.django import DjangoService
    from duck.services.inbox import Inbox
    from duck.settings.load import Settings

logger = logging.getLogger("duck.app")

Command = Callable[[Mapping[str, Any], Reply], None]

# Given up for another start, or with Duck: nothing is wrong with the project.
_NO_FAULTS: Final = ("replaced", "stop")
# Files that faults have named: they may be opened wherever they lie.
_MAX_NAMED: Final = 2000
_MAX_PAGES: Final = 32


class Browsers:
    """For the inbox's thread.

    Args:
        inbox: gives it once it is there.

    Attributes:
        token: what a browser has to know to be let in; empty before `begin`.
        commands: by name, called with the arguments and with what takes the answer: `ok` and `text`.
        root: the project's directory.
    """

    def __init__(self, settings: Settings, front: Front | FrontProcesses, inbox: Callable[[], Inbox]) -> None:
        self.token = ""
        self.commands: dict[str, Command] = {"open": self._open}
        self.root = settings.project_dir
        self._settings = settings
        self._front = front
        self._inbox = inbox
        self._view = ducksight(settings)
        self._editor = editor.editor_of(self._view.editor, os.environ)
        self._is_faulty = False
        self._missing: tuple[tuple[str, ...], tuple[str, ...]] = (), ()  # migrations: to be applied, to be made
        self._of_database: dict[str, Mapping[str, Any]] = {}  # by page: what failed of a table or a column
        self._named: dict[str, None] = {}

    def begin(self, left: Mapping[str, Any]) -> None:
        """Take the token that the Duck before has `left`, so that open pages stay in touch; else a new one."""
        self.token = left.get("token") or secrets.token_urlsafe(24)

    def hand_over(self) -> dict[str, Any]:
        """For `begin` of the next Duck in this process."""
        return {"token": self.token}

    def attach(self, root: Path, django: DjangoService | None, migration: Migration) -> None:
        """Tell of the project in `root`, and have it migrated where they want that; before it starts."""
        self.root = root
        self._offer(migration)
        if django is not None:
            django.on_failure = self.failed
            django.on_fault = self.request_failed
            django.remarks.on_migrations = self.migrations

    def config(self, *, use_django: bool) -> DuckSightConfig | None:
        """For the sites; None where there is no DuckSight."""
        front = self._front
        if not self._view.enabled or not isinstance(front, Front):
            return None
        if not use_django and not views.sides(self._settings).debug:
            return None
        return DuckSightConfig(
            token=self.token,
            allowed=self._view.allowed,
            editor=editor.link_of(self._editor),
            run=secrets.token_urlsafe(6),
            on_command=self._command,
            requests=self._view.requests,
            on_replay=front.tell_log,
            ask=self.ask,
        )

    @property
    def is_wanted(self) -> bool:
        """Whether there is DuckSight, should DEBUG be on."""
        return self._view.enabled and isinstance(self._front, Front)

    # -- what they are told -------------------------------------------------------------------------------------------

    def tell(self, message: Mapping[str, Any]) -> None:
        """Tell all of them (see `duck.http.ducksight.channel`)."""
        self._front.tell_browsers(message)

    def ask(self, question: Mapping[str, Any], tell: Tell) -> None:
        """Ask all sites for what they have recorded (see `duck.http.ducksight.inspection`). For any thread."""
        front = self._front
        assert isinstance(front, Front)
        self._inbox().post(lambda: gather(self._inbox(), front.sites(), question, tell))

    def failed(self, failure: Failure | None, serves: bool) -> None:
        """Django could not be started or loaded again, and what ran before serves on or not; None: now it could."""
        if failure is None:
            self._of_database.clear()
            self._mended()
        elif failure.stage not in _NO_FAULTS and self.is_wanted:
            self._show(fault.of_failure(failure, self.root, serves=serves))

    def uncompiled(self, error: SyntaxError) -> None:
        """A changed file cannot be compiled; nothing was loaded again."""
        if self.is_wanted:
            self._show(fault.of_syntax_error(error, self.root))

    def unloaded(self, unloaded: Unloaded, *, serves: bool) -> None:
        """Duck's own side cannot be loaded."""
        if self.is_wanted:
            self._show(fault.of_unloaded(unloaded, self.root, serves=serves))

    def request_failed(self, told: Mapping[str, Any]) -> None:
        """A request has failed in Django, as its worker tells; only who looks at that page is told."""
        if self.is_wanted:
            page = str(told.get("page") or "")
            if told.get("database") and len(self._of_database) < _MAX_PAGES:
                self._of_database[page] = told
            self._tell_request(page, told)

    def _tell_request(self, page: str, told: Mapping[str, Any]) -> None:
        made = fault.of_request(told, self.root, self._missing[1])
        self._note(made)
        self.tell({"type": "fault", "fault": made, "page": page})

    def migrations(self, unapplied: Sequence[str], unmade: Sequence[str]) -> None:
        """Migrations are missing, to be applied or to be made; a page that works has a notice of it."""
        missing = tuple(unapplied), tuple(unmade)
        if not self.is_wanted or missing == self._missing:
            return
        is_news = bool(unmade) and missing[1] != self._missing[1]
        self._missing = missing
        self.tell({"type": "notice", "fault": fault.of_migrations(unapplied, unmade) if any(missing) else None})
        for page, told in self._of_database.items() if is_news else ():
            self._tell_request(page, told)  # now it is known why

    def _show(self, made: fault.Fault) -> None:
        self._note(made)
        self._is_faulty = True
        self.tell({"type": "fault", "fault": made})

    def _mended(self) -> None:
        if self._is_faulty:
            self._is_faulty = False
            self.tell({"type": "mended"})

    def _note(self, made: fault.Fault) -> None:
        for frame in made["frames"]:
            self._named.pop(frame["file"], None)
            self._named[frame["file"]] = None
        while len(self._named) > _MAX_NAMED:
            del self._named[next(iter(self._named))]

    # -- what they want -----------------------------------------------------------------------------------------------

    def _offer(self, migration: Migration) -> None:
        def migrate(arguments: Mapping[str, Any], reply: Reply) -> None:
            def outcome(failure: Failure | None) -> None:
                if failure is None:
                    reply({"ok": True, "text": ""})
                else:
                    text = f"{failure.message}\n{failure.traceback}".rstrip()[-fault.MAX_TEXT :]
                    reply({"ok": False, "text": text})

            migration.begin(outcome)

        self.commands["migrate"] = migrate

    def _open(self, arguments: Mapping[str, Any], reply: Reply) -> None:
        """Open a file of the project, or one that a fault has named, in the editor; nothing else."""
        file = arguments["file"]
        path = os.path.realpath(file)
        inside = path.startswith(os.path.realpath(self.root) + os.sep)
        if not os.path.isabs(file) or not (inside or file in self._named) or not Path(path).is_file():
            reply({"ok": False, "text": "That file is none of the project's."})
            return
        try:
            command = editor.command_of(self._editor, path, arguments["line"], os.environ)
            if not command:
                raise ValueError("No editor is known that a command opens; set DUCKSIGHT_EDITOR.")
            editor.run(command)
        except (OSError, ValueError) as error:
            reply({"ok": False, "text": str(error)})
        else:
            reply({"ok": True, "text": ""})

    def _command(self, name: str, arguments: Mapping[str, Any], reply: Reply) -> None:
        """For any thread."""
        self._inbox().post(lambda: self._do(name, arguments, reply))

    def _do(self, name: str, arguments: Mapping[str, Any], reply: Reply) -> None:
        command = self.commands.get(name)
        if command is None:
            reply({"ok": False, "text": f"There is nothing here to {name}."})
            return
        try:
            command(arguments, reply)
        except Exception as error:
            logger.exception("%s, which a browser asked for, failed", name)
            reply({"ok": False, "text": f"{type(error).__name__}: {error}"})

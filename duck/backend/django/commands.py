"""Management commands, one after the other: before Django starts (DJANGO_COMMANDS_ON_STARTUP), or when asked for."""

from __future__ import annotations

import logging
import os
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from duck.backend.django.child import DjangoProcess
from duck.backend.django.handles import Handles, WorkerSpec
from duck.backend.django.version import Failure
from duck.exceptions import ProjectError

if TYPE_CHECKING:
    from duck.backend.django.discover import Interpreter, Project
    from duck.services.inbox import Inbox

logger = logging.getLogger("duck.django")

# How much of what a failed command printed is looked at and shown.
_KEPT_LINES = 60
_NAMED_FILE = re.compile(r'^\s*File "([^"<>]+\.py)", line \d+')


class CommandProcess(DjangoProcess):
    """One management command: a Django process that reports nothing but its exit."""

    def __init__(
        self,
        arguments: Sequence[str],
        project: Project,
        interpreter: Interpreter,
        settings: str | None,
        inbox: Inbox,
        on_output: Callable[[str], None],
        on_exit: Callable[[int], None],
        events: str = "",
    ) -> None:
        spec = WorkerSpec(
            cwd=str(project.root), manage=str(project.manage), address=("", 0), mode="command", settings=settings
        )
        told = {"manage": spec.manage, "cwd": spec.cwd, "settings": settings, "arguments": list(arguments)}
        told["events"] = events
        handles = Handles.spawn(interpreter, spec.cwd, "_DUCK_COMMAND", told)
        super().__init__(spec, handles, inbox, _ignore, on_output, on_exit)


class StartupCommands:
    """Runs its commands in order, and stops at the first that fails. On the inbox's thread.

    `origin` is who wants them, for the sentence on one that has failed; `events` is where signals are told of.

    Callbacks:
        on_output(text): lines that a command prints.
        on_done(failure): all have ended well (None), or one has not.
    """

    def __init__(
        self,
        commands: Sequence[Sequence[str]],
        project: Project,
        interpreter: Interpreter,
        settings: str | None,
        inbox: Inbox,
        on_output: Callable[[str], None],
        on_done: Callable[[Failure | None], None],
        origin: str = "DJANGO_COMMANDS_ON_STARTUP",
        events: str = "",
    ) -> None:
        self._events = events
        self._origin = origin
        self._commands = [list(command) for command in commands]
        self._project = project
        self._interpreter = interpreter
        self._settings = settings
        self._inbox = inbox
        self._on_output = on_output
        self._on_done = on_done
        self._process: CommandProcess | None = None
        self._left: deque[list[str]] = deque()
        self._printed: deque[str] = deque(maxlen=_KEPT_LINES)
        self._killed = False
        self._began = 0.0

    @property
    def is_running(self) -> bool:
        """Whether one of them is under way."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """The process of the one that is under way."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Run all of them, from the first on; not while one is under way."""
        assert self._process is None
        self._left.extend(self._commands)
        self._next()

    def kill(self) -> None:
        """End the one that is under way, and run no further one; `on_done` is not called."""
        self._killed = True
        self._left.clear()
        if self._process is not None:
            self._process.kill()

    def _next(self) -> None:
        if not self._left:
            self._on_done(None)
            return
        arguments = self._left.popleft()
        self._printed.clear()
        self._began = time.monotonic()
        logger.info("Running manage.py %s.", " ".join(arguments))
        try:
            self._process = CommandProcess(
                arguments,
                self._project,
                self._interpreter,
                self._settings,
                self._inbox,
                self._take,
                lambda code: self._exited(arguments, code),
                self._events,
            )
        except ProjectError as error:
            self._fail(str(error).rstrip("."))

    def _take(self, text: str) -> None:
        self._printed.append(text)
        self._on_output(text)

    def _exited(self, arguments: list[str], code: int) -> None:
        self._process = None
        if self._killed:
            return
        if code == 0:
            self._next()
            return
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        origin = f" ({self._origin})" if self._origin else ""
        self._fail(f"manage.py {' '.join(arguments)}{origin} {how}")

    def _fail(self, message: str) -> None:
        self._left.clear()
        named = [match[1] for match in map(_NAMED_FILE.match, self._printed) if match]
        files = dict.fromkeys([str(self._project.manage), *filter(os.path.isfile, named)])
        self._on_done(Failure("command", message, "".join(self._printed), tuple(files)))


def _ignore(event: dict[str, Any]) -> None:
    """A command reports nothing."""

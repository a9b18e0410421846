"""Conditions: the process of the project that asks triggers of the user's own whether their automations are to run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from duck.backend.django.jobs import JobHost
from duck.exceptions import ProjectError

if TYPE_CHECKING:
    from duck.backend.django.discover import Interpreter, Project
    from duck.services.inbox import Inbox

# A process that has ended is replaced after so long.
_AGAIN_S: Final = 5.0


class Conditions:
    """On the inbox's thread. There is a process only while something is to be asked.

    Callbacks:
        on_true(name): one has come true.
        on_failed(message, traceback): the project cannot be loaded.
        on_output(text): what conditions print.
    """

    def __init__(
        self,
        project: Project,
        interpreter: Interpreter,
        settings: str | None,
        inbox: Inbox,
        *,
        on_true: Callable[[str], None],
        on_failed: Callable[[str, str], None],
        on_output: Callable[[str], None],
        events: str = "",
    ) -> None:
        self._project = project
        self._interpreter = interpreter
        self._settings = settings
        self._inbox = inbox
        self._on_true = on_true
        self._on_failed = on_failed
        self._on_output = on_output
        self._events = events
        self._names: tuple[str, ...] = ()
        self._host: JobHost | None = None
        self._is_stopping = False

    def ask(self, names: Sequence[str]) -> None:
        """These, and no others, from now on, of the project as it is now."""
        self._names = tuple(dict.fromkeys(names))
        if self._host is not None:
            self._host.stop(1.0)
            self._host = None
        if self._names:
            self._spawn()

    def stop(self) -> None:
        """Ask no more."""
        self._is_stopping = True
        if self._host is not None:
            self._host.stop(1.0)

    def kill(self) -> None:
        """End its process now."""
        self._is_stopping = True
        if self._host is not None:
            self._host.kill()

    def _spawn(self) -> None:
        try:
            self._host = JobHost(
                "conditions",
                self._project,
                self._interpreter,
                self._settings,
                self._inbox,
                self._event,
                lambda host, text: self._on_output(text),
                self._exited,
                self._events,
            )
        except ProjectError as error:
            self._on_failed(str(error), "")
            self._inbox.call_later(_AGAIN_S, self._again)

    def _event(self, host: JobHost, event: dict[str, Any]) -> None:
        if host is not self._host:
            return
        name = event.get("event")
        if name == "ready":
            host.command("ask", conditions=list(self._names))
        elif name == "condition":
            self._on_true(str(event["name"]))
        elif name == "failed":
            self._on_failed(str(event["message"]), str(event.get("traceback", "")))

    def _exited(self, host: JobHost, code: int) -> None:
        if host is self._host:
            self._host = None
            self._inbox.call_later(_AGAIN_S, self._again)

    def _again(self) -> None:
        if self._host is None and self._names and not self._is_stopping:
            self._spawn()

"""What a project tells of itself without being served: one process of it that looks, reports and ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from duck.backend.django import stack
from duck.backend.django.child import EXITED, DjangoProcess
from duck.backend.django.handles import Handles, WorkerSpec
from duck.services.exit import exit_sentence
from duck.services.inbox import Inbox

if TYPE_CHECKING:
    from traceback import FrameSummary

    from duck.backend.django.discover import Interpreter, Project
    from duck.services.privileges import Account

_KEPT_LINES: Final = 40


@dataclass
class SurveyFailure:
    """Why one part could not be looked at.

    Attributes:
        message: one line, without a full stop.
        place: `path:line` of the project, where known.
        is_hang: it was not done in time.
    """

    part: str
    message: str
    place: str = ""
    traceback: str = ""
    is_hang: bool = False


@dataclass
class Survey:
    """What was found.

    Attributes:
        parts: what each part told, by name; those that failed, or were not come to, are missing.
        output: the last lines that the project printed meanwhile.
    """

    parts: dict[str, Any] = field(default_factory=dict)
    failures: list[SurveyFailure] = field(default_factory=list)
    output: str = ""


def survey(
    project: Project,
    interpreter: Interpreter,
    parts: Sequence[str],
    *,
    deadline_s: float,
    mode: str = "runserver",
    settings: str | None = None,
    wsgi: str | None = None,
    asgi: str | None = None,
    prefix: str | None = None,
    bundle: str | None = None,
    path: str | None = None,
    own: Mapping[str, Any] | None = None,
    account: Account | None = None,
) -> Survey:
    """Bring `project` up as a start would, look at `parts`, and end it; at most for `deadline_s` seconds.

    What is not done by then is a failure that names the line at which the project stands.

    Args:
        parts: of backend/django/worker/survey.py, in the order in which to look.
        mode, settings, wsgi, asgi, prefix, bundle: as of a start.
        path: for the part `path`.
        own: for the part `automations`, as of `DjangoJobs`.
        account: whom the process becomes, where root starts it.
    """
    spec = WorkerSpec(
        cwd=str(project.root),
        manage=str(project.manage),
        address=("127.0.0.1", 0),
        mode=mode,
        settings=settings,
        bundle=bundle,
        wsgi=wsgi,
        asgi=asgi,
        prefix=prefix or "",
    )
    return _Looking(project, deadline_s).run(
        interpreter, {"parts": list(parts), "path": path, "prefix": prefix, "own": dict(own or {})}, account, spec
    )


class _Looking:
    """One survey under way, on an inbox of its own."""

    def __init__(self, project: Project, deadline_s: float) -> None:
        self._project = project
        self._deadline_s = deadline_s
        self._found = Survey()
        self._inbox = Inbox()
        self._output: deque[str] = deque(maxlen=_KEPT_LINES)
        self._part = "settings"
        self._ended = False
        self._process: DjangoProcess | None = None

    def run(self, interpreter: Interpreter, asked: dict[str, Any], account: Account | None, spec: WorkerSpec) -> Survey:
        try:
            told = {**asdict(spec), "survey": asked}
            handles = Handles.spawn(interpreter, spec.cwd, "_DUCK_WORKER", told, account=account)
            self._process = DjangoProcess(spec, handles, self._inbox, self._event, self._output.append, self._exited)
            self._inbox.call_later(self._deadline_s, self._too_late)
            self._inbox.run()
        finally:
            if self._process is not None and self._process.state is not EXITED:
                self._process.kill()
            self._inbox.close()
        self._found.output = "".join(self._output)
        return self._found

    def _event(self, event: dict[str, Any]) -> None:
        name = event["event"]
        if name == "stage":
            self._part = event["part"]
        elif name == "found":
            self._found.parts[event["part"]] = event["facts"]
        elif name == "failed":
            place = next(iter(event.get("files", ())), "") if event.get("traceback") else ""
            self._fail(event["message"], place=_with_line(place, event["traceback"]), traceback=event["traceback"])
        elif name == "end":
            self._ended = True

    def _fail(self, message: str, **more: Any) -> None:
        self._found.failures.append(SurveyFailure(self._part, message.rstrip("."), **more))

    def _too_late(self) -> None:
        assert self._process is not None
        self._process.ask_stack(self._told_late)

    def _told_late(self, frames: list[FrameSummary]) -> None:
        assert self._process is not None
        if not self._ended:
            self._ended = True
            self._fail(
                f"it was not done after {self._deadline_s:g} s",
                place=stack.place_of(frames, self._project.root),
                traceback=stack.shown(frames),
                is_hang=True,
            )
        self._process.kill()

    def _exited(self, code: int) -> None:
        if not self._ended:
            assert self._process is not None
            self._fail(exit_sentence(f"The Django process {self._process.pid}", code))
        self._inbox.stop()


def _with_line(path: str, traceback: str) -> str:
    """`path` with the line that the traceback names last for it."""
    line = ""
    for text in traceback.splitlines():
        named = text.strip()
        if named.startswith(f'File "{path}", line '):
            line = named.removeprefix(f'File "{path}", line ').partition(",")[0]
    return f"{path}:{line}" if path and line else ""

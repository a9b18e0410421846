"""A process that carries runs out, and one run under way in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from duck.backend.django.child import EXITED, DjangoProcess
from duck.backend.django.handles import Handles, WorkerSpec
from duck.services.automations.tail import Tail
from duck.services.process_tree import kill_all, trees

if TYPE_CHECKING:
    from duck.backend.django.job_project import JobProject
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.engine import Ended
    from duck.services.automations.run import Run, State
    from duck.services.inbox import Timer


# A process that has not loaded the project by then hangs.
START_S: Final = 60.0


class JobHost(DjangoProcess):
    """A process that carries runs out.

    Args:
        celery: what it speaks to Celery with (see `CeleryJobs`); None where it does not.

    Attributes:
        has_failed: it was told why the project cannot be loaded in it.
    """

    # It tells all that is declared at once, some hundred bytes for each.
    max_message_bytes: ClassVar[int] = 32 << 20

    def __init__(
        self,
        lane: str,
        of: JobProject,
        on_event: Callable[[JobHost, dict[str, Any]], None],
        on_output: Callable[[JobHost, str], None],
        on_exit: Callable[[JobHost, int], None],
        celery: Mapping[str, Any] | None = None,
    ) -> None:
        self.lane = lane
        self.jobs: dict[int, Job] = {}
        self.begun = 0
        self.has_failed = False
        self.retires = False
        self.held = ""  # an empty line that was not given to the run yet
        self.tells = False  # whether it was started to tell what is declared
        has_django = bool(of.interpreter.django_version)
        manage = str(of.project.manage) if has_django else None
        spec = WorkerSpec(cwd=str(of.project.root), manage=manage, address=("", 0), mode="jobs", settings=of.settings)
        told: dict[str, Any] = {"manage": manage, "cwd": spec.cwd, "settings": of.settings, "lane": lane}
        told |= {"events": of.events, "own": dict(of.own), "plain": not has_django, "celery": dict(celery or {})}
        handles = Handles.spawn(of.interpreter, spec.cwd, "_DUCK_JOBS", told)
        super().__init__(
            spec, handles, of.inbox, partial(on_event, self), partial(on_output, self), partial(on_exit, self)
        )

    def kill(self) -> None:
        """End the process and its group now, and what it has started that has left the group."""
        tree = trees([self.pid])[self.pid] if self.jobs and self.state is not EXITED else []
        super().kill()
        kill_all(tree[1:])


class Job:
    """One run under way.

    Attributes:
        because: why it is to end; the state that it has then.
        facts: how it ended, as its process says.
        is_printed: all that it printed has come.
    """

    def __init__(self, run: Run, declaration: Declaration, ended: Callable[[Ended], None]) -> None:
        self.run = run
        self.declaration = declaration
        self.ended = ended
        self.host: JobHost | None = None
        self.tail = Tail()
        self.because: State | None = None
        self.facts: dict[str, Any] | None = None
        self.is_printed = False
        self.timers: list[Timer] = []

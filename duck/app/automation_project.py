"""The project's side of automations: its processes, and what it declares."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from duck.app.automation_declarations import Found, read_all
from duck.app.automation_own import own_project, own_source
from duck.app.automation_premises import Place
from duck.backend.django.celery_jobs import CeleryJobs
from duck.backend.django.discover import find_interpreter, find_project
from duck.backend.django.job_memory import MemoryBound
from duck.backend.django.job_project import JobProject
from duck.backend.django.jobs import DjangoJobs
from duck.exceptions import ProjectError
from duck.services.automations.places import event_directory
from duck.services.inbox import Inbox
from duck.settings import views

if TYPE_CHECKING:
    from duck.backend.django.discover import Interpreter, Project
    from duck.settings.load import Settings

_DISCOVERY_S: Final = 60.0


class ProjectSide:
    """The project that automations are of, and its Python; None of these where there is none.

    Of a Duck project without Django it is that itself, where it declares some.
    """

    def __init__(self, settings: Settings) -> None:
        self.project: Project | None = None
        self.interpreter: Interpreter | None = None
        self._told: dict[str, Any] | None = None
        self.own = own_source(settings)
        view = views.django(settings)
        self.settings_module = view.settings_module
        if view.use is False:
            self._be_ducks(settings)
            return
        try:
            self.project = find_project(settings.project_dir, view.project)
        except ProjectError:
            if view.use or view.project is not None:
                raise
            self._be_ducks(settings)
            return
        python = str(view.python) if view.python is not None else None
        self.interpreter = find_interpreter(self.project, python, os.environ)

    def _be_ducks(self, settings: Settings) -> None:
        """There is no Django; a Duck project may declare some all the same."""
        found = own_project(settings)
        if found is not None:
            self.project, self.interpreter = found

    def told(self, settings: Settings) -> dict[str, Any]:
        """What the project has told of itself; it is asked where it has not.

        Raises:
            DuckError: it cannot be loaded.
        """
        if self._told is None:
            self._told = ask(settings, self) or {}
        return self._told

    def tell(self, told: dict[str, Any]) -> None:
        """The project has been loaded, and told this."""
        self._told = told

    @property
    def root(self) -> Path | None:
        """Its directory."""
        return self.project.root if self.project is not None else None

    def read(self, settings: Settings, told: dict[str, Any] | None) -> Found:
        """What settings and project declare together; `told` by the project, None where it cannot be loaded."""
        return read_all(settings, told, Place(self.root or settings.base_dir, self.project is not None))

    def for_jobs(
        self,
        settings: Settings,
        inbox: Inbox,
        on_failed: Callable[[str, str], None],
        on_output: Callable[[str], None],
    ) -> JobProject | None:
        """It, for what carries runs out within it, and for what asks its triggers; None where there is none.

        Raises:
            ApplicationError: the state directory cannot be used.
        """
        if self.project is None or self.interpreter is None:
            return None
        return JobProject(
            self.project,
            self.interpreter,
            self.settings_module,
            inbox,
            on_failed,
            on_output,
            events=str(event_directory(settings, self.root)),
            own=self.own,
        )


def django_jobs(settings: Settings, of: JobProject) -> DjangoJobs:
    """What carries out runs within `of`."""
    return DjangoJobs(
        of,
        processes=settings["AUTOMATION_PROCESSES"],
        threads=settings["AUTOMATION_THREADS"],
        recycle=settings["AUTOMATION_RECYCLE"],
        memory=MemoryBound(settings["AUTOMATION_RECYCLE_MEMORY"], settings["AUTOMATION_MEMORY"]),
    )


def celery_jobs(settings: Settings, of: JobProject, base: str | None = None) -> CeleryJobs:
    """What has the Celery of `of` carry out all runs; `base` is what URLs of the project's own are of."""
    return CeleryJobs(of, app=settings["CELERY_APP"] or "", base=base)


def discover(settings: Settings) -> Found:
    """What is declared, asked once.

    Raises:
        DuckError: the project is not found, or cannot be loaded.
    """
    side = ProjectSide(settings)
    return side.read(settings, ask(settings, side))


def ask(settings: Settings, side: ProjectSide) -> dict[str, Any] | None:
    """What the project tells, loaded in a process that ends then; None where there is no project.

    Raises:
        DuckError: it cannot be loaded.
    """
    inbox = Inbox()
    told: list[dict[str, Any]] = []
    failures: list[tuple[str, str]] = []
    of = side.for_jobs(settings, inbox, lambda message, text: failures.append((message, text)), lambda text: None)
    if of is None:
        inbox.close()
        return None
    jobs = django_jobs(settings, replace(of, on_declared=told.append))
    jobs.begin()
    use_until(jobs, inbox, lambda: bool(told or failures), _DISCOVERY_S)
    if not told:
        message, text = failures[0] if failures else (f"it was not loaded within {_DISCOVERY_S:g} s", "")
        raise ProjectError(f"The project cannot be loaded for its automations: {message}{below(text)}")
    return told[0]


def use_until(jobs: DjangoJobs, inbox: Inbox, is_told: Callable[[], bool], within_s: float) -> None:
    """Serve `inbox` until what was asked of `jobs` is told, or has taken so long; then end both."""
    deadline = time.monotonic() + within_s
    while not is_told() and time.monotonic() < deadline:
        inbox.run_once(0.5)
    jobs.kill()
    while jobs.pids:
        inbox.run_once(0.5)
    inbox.close()


def below(text: str) -> str:
    """`text` on lines of its own behind a sentence, or the end of that."""
    return f"\n{text.rstrip()}" if text.strip() else "."

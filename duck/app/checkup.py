"""All that a start would need, looked at before it; nothing is started, and nothing that stays is written."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

from duck.app import https_check, premises, project_check
from duck.app.finding import ERROR, OK, WARNING, Finding
from duck.app.lanes import load_lane
from duck.backend.django.discover import find_interpreter, find_project
from duck.exceptions import DuckError, ProjectError, SettingsError
from duck.settings import views

if TYPE_CHECKING:
    from duck.backend.django.discover import Interpreter, Project
    from duck.services.privileges import Account
    from duck.settings.load import Settings

_T = TypeVar("_T")

_CONNECT_S = 3.0


class Checkup:
    """One look at one project.

    Args:
        deadline_s: for Duck's own side, and again for the project.
        measures: ask the project for a page, too, to see what it costs; views and middleware of the project run.
    """

    def __init__(self, settings: Settings, *, deadline_s: float, measures: bool) -> None:
        self._settings = settings
        self._deadline_s = deadline_s
        self._measures = measures

    def findings(self) -> Iterator[Finding]:
        """What is found, as it is found."""
        settings = self._settings
        for sentence in settings.warnings:
            yield Finding(WARNING, "settings", sentence)
        yield Finding(OK, "settings", _where(settings))
        project, interpreter, found = self._find_project()
        yield from found
        directory = project.root if project is not None and not settings.is_duck_project else settings.base_dir
        account, said = premises.account_of(settings)
        if said is not None:
            yield said
        yield from premises.addresses(settings, premises.running(settings, directory, account))
        yield from https_check.https(settings, account)
        yield from premises.directories(settings, directory, account)
        if settings.is_duck_project:
            yield self._own_side()
        address = views.django(settings).address
        if address is not None and views.django(settings).use is not False:
            yield from _backend(settings, address)
        if project is not None and interpreter is not None:
            yield from self._survey(project, interpreter, account)
        elif project is None:
            yield from self._own_automations()
        # Last: it raises the limit that the project would inherit.
        yield premises.descriptors(settings)

    def _find_project(self) -> tuple[Project | None, Interpreter | None, list[Finding]]:
        settings, view = self._settings, views.django(self._settings)
        if view.use is False:
            return None, None, [Finding(OK, "project", "USE_DJANGO is off: Duck's own views answer everything.")]
        if view.address is not None:
            return None, None, []
        try:
            project = find_project(settings.project_dir, view.project)
        except ProjectError as error:
            if view.use is None:
                return None, None, [Finding(OK, "project", "There is no Django project: Duck's own views answer.")]
            return None, None, [Finding(ERROR, "project", str(error))]
        found = [Finding(OK, "project", f"{project.manage} is the project's.")]
        try:
            interpreter = find_interpreter(project, str(view.python) if view.python is not None else None, os.environ)
        except ProjectError as error:
            first, *more = str(error).splitlines()
            return project, None, [*found, Finding(ERROR, "interpreter", first, tuple(line.strip() for line in more))]
        found += [Finding(WARNING, "interpreter", sentence) for sentence in interpreter.passed_over]
        found.append(
            Finding(
                OK,
                "interpreter",
                f"{interpreter.path} (from {interpreter.origin}) has Python {interpreter.python_version} and Django"
                f" {interpreter.django_version}, which Duck runs.",
            )
        )
        return project, interpreter, found

    def _survey(self, project: Project, interpreter: Interpreter, account: Account | None) -> Iterator[Finding]:
        parts = [*project_check.PARTS, *([project_check.COST] if self._measures else [])]
        try:
            found = premises.look_at(
                self._settings, project, interpreter, parts, deadline_s=self._deadline_s, account=account
            )
        except DuckError as error:
            yield Finding(ERROR, "interpreter", str(error))
            return
        yield from project_check.judge(self._settings, found, account, project.root)

    def _own_automations(self) -> Iterator[Finding]:
        """Of the settings, and of a Duck project without Django, which a process of its own imports."""
        from duck.app.automation_premises import Place
        from duck.app.automation_project import ProjectSide, ask

        try:
            side = ProjectSide(self._settings)
            told = ask(self._settings, side)
        except DuckError as error:
            first, *more = str(error).splitlines()
            yield Finding(ERROR, "automations", first, tuple(more))
            return
        place = Place(side.root or self._settings.base_dir, side.project is not None)
        yield from project_check.automations(self._settings, told, place)

    def _own_side(self) -> Finding:
        """Import what a Duck project's settings name, as a start does."""
        use = views.django(self._settings).use is not False
        try:
            routes = within(self._deadline_s, lambda: len(load_lane(self._settings, use_django=use).resolver))
        except SettingsError as error:
            return Finding(ERROR, "urlpatterns", str(error))
        except TooLate as late:
            sentence = f"URLPATTERNS_MODULE was not imported after {self._deadline_s:g} s and is still at {late.place}"
            return Finding(ERROR, "urlpatterns", f"{sentence}; see to that line, or give it longer with --timeout.")
        return Finding(OK, "urlpatterns", f"Duck's own urlpatterns have {routes} route{'s' if routes != 1 else ''}.")


class TooLate(BaseException):
    """What was waited for stands at `place`, a `path:line`; no `except Exception` on the way keeps it."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.place = place


def within(seconds: float, work: Callable[[], _T]) -> _T:
    """What `work` gives, on this thread, which is the main one; code that never ends is broken off where it stands.

    Raises:
        TooLate: it took longer.
    """
    with _alarm(seconds):
        return work()


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        while frame is not None and frame.f_code.co_filename.startswith("<frozen"):
            frame = frame.f_back
        raise TooLate(f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "an unknown place")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _where(settings: Settings) -> str:
    given = sum(settings.is_given(name) for name in settings)
    where = f" from {settings.file}" if settings.file is not None else ""
    return f"{given} of {len(settings)} settings are given{where}, for `duck {settings['MODE']}`."


def _backend(settings: Settings, address: str | tuple[str, int]) -> Iterator[Finding]:
    """A server that Duck did not start: whether it is there, and what its settings have to say."""
    shown = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
    try:
        if isinstance(address, str):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.settimeout(_CONNECT_S)
                probe.connect(address.removeprefix("unix:"))
        else:
            socket.create_connection(address, _CONNECT_S).close()
    except OSError as error:
        sentence = f"Nobody answers at {shown}, which DJANGO_ADDR names ({error.strerror or error}); start that server,"
        yield Finding(ERROR, "backend", f"{sentence} or correct the address.")
    else:
        yield Finding(OK, "backend", f"A server answers at {shown}; requests are sent there.")
    secure = "SECURE_PROXY_SSL_HEADER = ('HTTP_X_FORWARDED_PROTO', 'https')"
    needed = [
        f"{secure}: Duck writes that field, and drops what clients say in it.",
        "REMOTE_ADDR is Duck's address there: the client's stands last in X-Forwarded-For.",
    ]
    if views.listening(settings).trusted_proxies:
        needed.append(
            "USE_X_FORWARDED_HOST = True where a balancer in TRUSTED_PROXIES changes Host: Duck passes it on as it is."
        )
    needed.append(
        "CSRF_TRUSTED_ORIGINS with the site's https origin, only where SECURE_PROXY_SSL_HEADER cannot be set."
    )
    yield Finding(
        OK,
        "backend",
        "Duck did not start that project, so its settings have to say that Duck stands in front.",
        tuple(needed),
    )

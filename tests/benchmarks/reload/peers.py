"""What is compared: servers that load changed code by themselves, each started as its own documentation says."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from duck import __version__
from duck.services.instance import running_instances
from duck.services.ipc import ControlError, call
from tests.benchmarks.reload.edits import FILES, TARGETS, URLS, VIEW, Editor
from tests.benchmarks.reload.sites import PLAIN, PYTHON
from tests.benchmarks.servers import Failed, Missing, Server, free_port
from tests.benchmarks.stacks import Stack
from tests.environments import Absent, NotInstalled, made
from tests.projects.recipes import Tool

DUCK: Final = "duck"
RUNSERVER: Final = "runserver"
WATCHMAN: Final = "runserver, watchman"
BROWSER_RELOAD: Final = "runserver, django-browser-reload"
UVICORN: Final = "uvicorn --reload"
GRANIAN: Final = "granian --reload"
MARK: Final = "DUCK_BENCH_MARK"  # in the environment of all that a server starts, children's children included
EXISTING: Final = "duckframework"
WATCHMAN_REQUIREMENTS: Final = ("wagtail>=7", "Django>=5.2,<5.3", "pywatchman>=1.4")
EXISTING_REQUIREMENTS: Final = ("duckframework==2.3.2",)

_BROWSER_RELOAD_SETTINGS = """

INSTALLED_APPS = [*INSTALLED_APPS, "django_browser_reload"]
MIDDLEWARE = [*MIDDLEWARE, "django_browser_reload.middleware.BrowserReloadMiddleware"]
"""
_BROWSER_RELOAD_URLS = """

from django.urls import include  # noqa: E402

urlpatterns = [path("__reload__/", include("django_browser_reload.urls")), *urlpatterns]
"""
_EXISTING_VIEWS = """\
from duck.http.response import HttpResponse

TEXT = "view 0 ;"


def answer(request, text):
    response = HttpResponse(text, content_type="text/plain")
    response.set_header("X-Load-Id", request.get_header("X-Load-Id", ""))
    return response


def view(request):
    return answer(request, TEXT)
"""
_EXISTING_URLS = """\
from duck.urls import path
from web import views

TEXT = "urls 0 ;"


def numbered(request):
    return views.answer(request, TEXT)


urlpatterns = [
    path("/probe/view", views.view, "view", ["GET"]),
    path("/probe/urls", numbered, "numbered", ["GET"]),
]
"""


@dataclass(frozen=True)
class Place:
    """Where a server runs.

    Attributes:
        project: a copy of the site, its own.
        python: of the site's environment.
        directory: for logs and state.
    """

    project: Path
    python: str
    directory: Path
    port: int = field(default_factory=free_port)


@dataclass(frozen=True)
class Peer:
    """One server.

    Attributes:
        command: may raise Missing.
        distributions: whose versions are written down.
        prepare: what is done to its copy of the site before.
        environment: what differs from this process's.
        files: what is edited, by the kind of edit; kinds that it does not know are missing.
        python: the interpreter that runs it, by that of the sites' environment; may raise Missing.
        sites: on which it is measured; all where there are none.
        is_prepared: whether it has done what it puts off until after a start; asked again and again.
        measured_often: whether it is in a wanted line, or like one that is.
        sees_renames: False where it never sees a file that a rename has replaced: then it is edited in place alone.
    """

    name: str
    command: Callable[[Place], list[str]]
    distributions: tuple[str, ...]
    prepare: Callable[[Place], None] = lambda place: None
    environment: Callable[[Place], dict[str, str | None]] = lambda place: {}
    files: Mapping[str, str] = field(default_factory=lambda: FILES)
    python: Callable[[str], str] = lambda python: python
    sites: tuple[str, ...] = ()
    is_prepared: Callable[[Place], bool] = lambda place: True
    measured_often: bool = False
    sees_renames: bool = True


class Running(Stack):
    """A server with a site of its own, and all its processes, wherever they went."""

    def __init__(self, peer: Peer, place: Place) -> None:
        self.peer = peer
        self.place = place
        self.editor = Editor(place.project, peer.files, peer.sees_renames)
        self.mark = uuid.uuid4().hex
        self._session = 0
        dropped = ("DUCK_", "DJANGO_", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "RUN_MAIN")
        environment: dict[str, str | None] = {name: None for name in os.environ if name.startswith(dropped)}
        environment |= {MARK: self.mark, "PYTHONUNBUFFERED": "1", **peer.environment(place)}
        peer.prepare(place)
        self.server = Server(
            peer.name.split()[0].strip(","),
            peer.command(place),
            place.project,
            environment=environment,
            log=place.directory / "log",
        )
        address = ("127.0.0.1", place.port)
        version = ", ".join(versions(place.python, peer.distributions))
        super().__init__(peer.name, [(self.server, address)], place.port, version, TARGETS[VIEW])

    def start(self) -> None:
        """Start it; returns when it answers."""
        self.server.start()
        self._session = self.server.pid  # it leads one of its own
        self.server.wait_for(("127.0.0.1", self.port))
        self._wait_for_answer()

    def stop(self) -> None:
        """End it, and what of it has left its family."""
        super().stop()
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(self.processes(), 5)

    def processes(self) -> list[psutil.Process]:
        """All that it has started and that live: orphans, too, which have its mark or its session."""
        found = {process.pid: process for process in self.family()}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if self._has(process):
                    found[process.pid] = process
        return [process for process in found.values() if _is_alive(process)]

    def _has(self, process: psutil.Process) -> bool:
        if os.getsid(process.pid) == self._session:
            return True
        return bool(process.environ().get(MARK) == self.mark)  # lost to a program that writes its title over it

    def census(self) -> Census:
        """Processes and descriptors, now."""
        processes = self.processes()
        descriptors = 0
        for process in processes:
            with contextlib.suppress(psutil.Error):
                descriptors += process.num_fds()
        return Census(len(processes), descriptors)


@dataclass(frozen=True)
class Census:
    """What a server has.

    Attributes:
        descriptors: open ones of all its processes.
    """

    processes: int
    descriptors: int

    def is_within(self, other: Census) -> bool:
        """Whether neither is more than in `other`."""
        return self.processes <= other.processes and self.descriptors <= other.descriptors


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def versions(python: str, distributions: tuple[str, ...]) -> list[str]:
    """Names and versions, as `python` has them installed."""
    program = "import sys; from importlib.metadata import version as v\nfor n in sys.argv[1:]: print(n, v(n))"
    own = [f"duck {__version__}"] if "duck-server" in distributions else []
    asked = [name for name in distributions if name != "duck-server"]
    done = subprocess.run([python, "-c", program, *asked], capture_output=True, text=True, check=False)
    return own + done.stdout.splitlines()


# -- the servers ------------------------------------------------------------------------------------------------------


def _duck(place: Place) -> list[str]:
    return [sys.executable, "-m", "duck", "runserver", "--address", "127.0.0.1", "--port", str(place.port)]


def _duck_environment(place: Place) -> dict[str, str | None]:
    state = place.directory / "state"
    state.mkdir(mode=0o700, exist_ok=True)
    return {"XDG_RUNTIME_DIR": str(state), "XDG_STATE_HOME": str(state), "DUCK_PYTHON": place.python}


def _duck_is_prepared(place: Place) -> bool:
    """Whether each spare is there, or will not be; the last is made ten seconds after a start."""
    for instance in running_instances(place.directory / "state" / "duck"):
        with contextlib.suppress(ControlError):
            stages = call(instance.control, "status", deadline_s=10.0)["django"]["spares"].get("stages", {})
            return all("pid" in stage or stage["why"] != "no start has come by yet" for stage in stages.values())
    return False


def _runserver(place: Place) -> list[str]:
    return [place.python, "manage.py", "runserver", f"127.0.0.1:{place.port}"]


def _environment(requirements: tuple[str, ...]) -> str:
    try:
        return made(PYTHON, requirements)
    except (Absent, NotInstalled) as why:
        raise Missing(str(why).splitlines()[0]) from None


def _watchman(python: str) -> str:
    if not shutil.which("watchman"):
        raise Missing("watchman is not installed")
    return _environment(WATCHMAN_REQUIREMENTS)


def _with_browser_reload(place: Place) -> None:
    site = Tool(place.python, place.project, {})
    split = (place.project / "mysite" / "settings").is_dir()
    site.append("mysite/settings/base.py" if split else "mysite/settings.py", _BROWSER_RELOAD_SETTINGS)
    site.append("mysite/urls.py", _BROWSER_RELOAD_URLS)


def _uvicorn(place: Place) -> list[str]:
    command = [place.python, "-m", "uvicorn", "mysite.asgi:application", "--port", str(place.port)]
    return [*command, "--reload", "--reload-include", "*.html"]


def _granian(place: Place) -> list[str]:
    command = [place.python, "-m", "granian", "--interface", "wsgi", "mysite.wsgi:application"]
    return [*command, "--host", "127.0.0.1", "--port", str(place.port), "--reload"]


def _existing(place: Place) -> list[str]:
    # By its script: its reload starts `sys.argv` again, which `-m duck` makes a file among the modules of the package.
    script = str(Path(place.python).with_name("duck"))
    return [script, "runserver", "--address", "127.0.0.1", "--port", str(place.port)]


def _existing_project(place: Place) -> None:
    """Its own smallest project in the place of the site, with a view of its own: no Django stands behind."""
    shutil.rmtree(place.project)
    command = [place.python, "-m", "duck", "makeproject", place.project.name, "--mini", "-d", str(place.project.parent)]
    done = subprocess.run(command, cwd=place.directory, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode or not (place.project / "web").is_dir():
        raise Failed(f"{EXISTING} made no project: {done.stdout}{done.stderr}")
    settings = place.project / "web" / "settings.py"
    # Its limit of 600 requests a minute would refuse the client that asks.
    settings.write_text(f'{settings.read_text()}\nMIDDLEWARES = [m for m in middlewares if "Limit" not in m]\n')
    (place.project / "web" / "views.py").write_text(_EXISTING_VIEWS)
    (place.project / "web" / "urls.py").write_text(_EXISTING_URLS)


PEERS: Final = {
    peer.name: peer
    for peer in (
        Peer(
            DUCK,
            _duck,
            ("duck-server", "django"),
            environment=_duck_environment,
            is_prepared=_duck_is_prepared,
            measured_often=True,
        ),
        Peer(GRANIAN, _granian, ("granian", "watchfiles"), measured_often=True),
        Peer(UVICORN, _uvicorn, ("uvicorn", "watchfiles"), measured_often=True),
        Peer(RUNSERVER, _runserver, ("django",), measured_often=True),
        Peer(WATCHMAN, _runserver, ("django", "pywatchman"), python=_watchman),
        Peer(BROWSER_RELOAD, _runserver, ("django-browser-reload",), prepare=_with_browser_reload),
        Peer(
            EXISTING,
            _existing,
            ("duckframework",),
            prepare=_existing_project,
            files={VIEW: "web/views.py", URLS: "web/urls.py"},
            python=lambda python: _environment(EXISTING_REQUIREMENTS),
            sites=(PLAIN,),
            sees_renames=False,
        ),
    )
}

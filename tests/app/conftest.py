"""Ducks as processes of their own, in front of projects made by startproject."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests import reports
from tests.cli.here import run_here
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
DEADLINE_S = 60.0
# Made once: reading the authorities takes longer than a request, and httpx does it for each client.
TRUST = ssl.create_default_context()
# What `duck serve` runs where a test does not ask for more: a processor has to bring each of them up.
ONE_OF_EACH = {"DUCK_WORKERS": "1", "DUCK_DJANGO_WORKERS": "1"}

URLS = """
import os, time
from django.http import HttpResponse
from django.urls import path
from site1.version import VERSION

def slow(request):
    open(request.GET["began"], "w").close()
    time.sleep(float(request.GET.get("s", "0.5")))
    return HttpResponse("slow")

urlpatterns = [
    path("", lambda request: HttpResponse(VERSION)),
    path("pid", lambda request: HttpResponse(str(os.getpid()))),
    path("slow", slow),
]
"""


class Duck:
    """A `duck` command that runs, and what it has written so far."""

    def __init__(self, command: list[str], cwd: Path, environ: dict[str, str], *, close_fds: bool = True) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            close_fds=close_fds,
        )
        self.pid = self.process.pid
        self.cwd = cwd
        self.environ = environ
        self._written: list[str] = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        with self._more:
            return "".join(self._written)

    @property
    def url(self) -> str:
        line = self.wait_for("listens at ")
        return line.partition("listens at ")[2].split()[0].rstrip("/")

    def wait_for(self, text: str, *, times: int = 1) -> str:
        """The line with `text`, once it has been written `times` times."""
        end = time.monotonic() + DEADLINE_S
        with self._more:
            while True:
                lines = [line for line in self._written if text in line]
                if len(lines) >= times:
                    return lines[times - 1]
                assert self._more.wait(end - time.monotonic()), f"{text!r} is not in:\n{''.join(self._written)}"
                assert lines or self._reader.is_alive() or any(text in line for line in self._written), (
                    f"it ended without {text!r}:\n{''.join(self._written)}"
                )

    def get(self, path: str = "/", **more: Any) -> httpx.Response:
        return httpx.get(self.url + path, **{"verify": TRUST, "timeout": DEADLINE_S, "trust_env": False, **more})

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit status."""
        status = self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        return status

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.pid).children(recursive=True)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._more:
                self._written.append(line.decode("utf-8", "replace"))
                self._more.notify_all()
        with self._more:
            self._more.notify_all()


# Of what `startproject` writes: applications that most tests do not look at, and each Django process has to import.
LEFT_OUT = tuple(f"'django.contrib.{app}" for app in ("admin", "auth", "contenttypes", "messages", "sessions"))


@pytest.fixture(scope="session")
def whole_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `startproject` makes it, with pages of its own."""
    where = tmp_path_factory.mktemp("whole")
    subprocess.run([sys.executable, "-m", "django", "startproject", "site1", str(where)], check=True)
    (where / "site1" / "urls.py").write_text(URLS)
    (where / "site1" / "version.py").write_text('VERSION = "one"\n')
    return where


@pytest.fixture(scope="session")
def made_project(whole_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without the applications of Django's that have models (LEFT_OUT)."""
    where = Path(shutil.copytree(whole_project, tmp_path_factory.mktemp("made") / "project"))
    settings = where / "site1" / "settings.py"
    lines = settings.read_text().splitlines(keepends=True)
    settings.write_text("".join(line for line in lines if not line.lstrip().startswith(LEFT_OUT)))
    return where


@pytest.fixture
def project(made_project: Path, tmp_path: Path) -> Path:
    """A Django project of its own for the test."""
    return Path(shutil.copytree(made_project, tmp_path / "project"))


@pytest.fixture
def own_whole_project(whole_project: Path, tmp_path: Path) -> Path:
    """The same with all that `startproject` writes."""
    return Path(shutil.copytree(whole_project, tmp_path / "project"))


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A run directory with a path as short as a real one."""
    with tempfile.TemporaryDirectory(prefix="duck-", dir="/tmp") as path:
        yield Path(path)


def variables(run_dir: Path, state: Path) -> dict[str, str]:
    """What a Duck of a test has in its environment."""
    dropped = ("DUCK_", "DJANGO_", "RUNTIME_DIRECTORY", "STATE_DIRECTORY")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "XDG_RUNTIME_DIR": str(run_dir),
        "XDG_STATE_HOME": str(state),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@contextmanager
def shared_duck(
    project: Path, where: Path, *arguments: str, command: str = "runserver", **given: str
) -> Iterator[Duck]:
    """A Duck for several tests; what it leaves lies in `where`."""
    with tempfile.TemporaryDirectory(prefix="duck-", dir="/tmp") as run_dir:
        environ = variables(Path(run_dir), where / "state") | (ONE_OF_EACH if command == "serve" else {}) | given
        port = () if "--listen" in arguments else ("--port", "0")
        duck = Duck([sys.executable, "-m", "duck", command, *port, *arguments], project, environ)
        try:
            yield duck
        finally:
            duck.close()


@pytest.fixture
def environ(run_dir: Path, tmp_path: Path) -> dict[str, str]:
    return variables(run_dir, tmp_path / "state")


@pytest.fixture
def start(environ: dict[str, str]) -> Iterator[Callable[..., Duck]]:
    """Start `duck runserver` (or another command) in a directory; ended with the test."""
    running: list[Duck] = []

    def begin(cwd: Path, *arguments: str, command: str = "runserver", **variables: str) -> Duck:
        serves = command in ("runserver", "serve")
        extra = ["--port", "0"] if serves and not {"--port", "--listen"} & set(arguments) else []
        given = environ | (ONE_OF_EACH if command == "serve" else {}) | variables
        duck = Duck([sys.executable, "-m", "duck", command, *extra, *arguments], cwd, given)
        running.append(duck)
        return duck

    yield begin
    for duck in running:
        duck.close()


@pytest.fixture
def ask(environ: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a short `duck` command to its end."""

    def run(cwd: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "duck", *arguments],
            cwd=cwd,
            env=environ | variables,
            capture_output=True,
            text=True,
            timeout=3 * DEADLINE_S,  # a reload of Duck itself starts several processes
            check=False,
        )

    return run


@pytest.fixture
def ask_here(environ: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """As `ask`, without a process for it."""

    def run(cwd: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return run_here(cwd, arguments, environ | variables)

    return run


@pytest.fixture
def report(run_dir: Path) -> Callable[[Path], dict[str, Any]]:
    """What the Duck of a directory says of itself, as `duck status --json` has it; empty where none says anything."""
    return lambda cwd: reports.report(run_dir, cwd)


@pytest.fixture
def until_watched(report: Callable[[Path], dict[str, Any]]) -> Callable[[Path, int], None]:
    """Wait until the Duck of a directory watches so many directories."""

    def wait(cwd: Path, directories: int) -> None:
        wait_until(lambda: report(cwd).get("reload", {}).get("directories", 0) >= directories)

    return wait

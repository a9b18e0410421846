"""Management commands that go before the start, on a real Django project."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from duck.backend.django.commands import StartupCommands
from duck.backend.django.discover import find_interpreter, find_project
from duck.cli.makeproject import make_project
from duck.services.inbox import Inbox
from tests.alive import still_alive
from tests.waiting import serve_until

if TYPE_CHECKING:
    from duck.backend.django.version import Failure

ASK = """
from django.core.management.base import BaseCommand

class Command(BaseCommand):
    def handle(self, *args, **options):
        import os, sys
        print("stdin", repr(sys.stdin.read()), "argv", sys.argv, "duck", "duck" in sys.modules)
        print("leads", os.getpgrp() == os.getpid())
        print({name for name in os.environ if name.startswith("_DUCK")})
"""
FAIL = """
from django.core.management.base import BaseCommand

class Command(BaseCommand):
    def handle(self, *args, **options):
        raise KeyError("quack")
"""
WAIT = """
from django.core.management.base import BaseCommand

class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("--family", action="store_true")

    def handle(self, *args, **options):
        import subprocess, sys, time
        if options["family"]:
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print("waiting", flush=True)
        time.sleep(60)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Django project of a new project, with commands of its own."""
    backend = make_project("pond", tmp_path_factory.mktemp("projects")) / "backend"
    commands = backend / "website" / "management" / "commands"
    commands.mkdir(parents=True)
    for name, source in (("ask", ASK), ("fail", FAIL), ("wait", WAIT)):
        (commands / f"{name}.py").write_text(source)
    settings = backend / "website" / "settings.py"
    settings.write_text(settings.read_text().replace("INSTALLED_APPS = [", 'INSTALLED_APPS = [\n    "website",'))
    return backend


class Run:
    """Commands under way on an inbox of their own."""

    def __init__(self, root: Path, *commands: list[str], events: str = "") -> None:
        self.inbox = Inbox()
        self.output = ""
        self.done: list[Failure | None] = []
        project = find_project(root)
        self.commands = StartupCommands(
            commands,
            project,
            find_interpreter(project, sys.executable, {}),
            None,
            self.inbox,
            self._print,
            self.done.append,
            events=events,
        )

    def _print(self, text: str) -> None:
        self.output += text

    def until(self, what: Callable[[], object]) -> None:
        serve_until(self.inbox, what, told=lambda: self.output)


@contextmanager
def running(root: Path, *commands: list[str]) -> Iterator[Run]:
    run = Run(root, *commands)
    try:
        run.commands.start()
        yield run
    finally:
        run.commands.kill()
        run.until(lambda: not run.commands.is_running)
        run.inbox.close()


def test_they_run_in_order_as_manage_py_would_and_ask_nobody(root: Path) -> None:
    with running(root, ["migrate", "-v0"], ["ask", "--skip-checks"]) as run:
        assert run.commands.is_running
        run.until(lambda: run.done)
        assert run.done == [None]
        assert not run.commands.is_running
        assert (root / "db.sqlite3").stat().st_size > 0
        assert "stdin '' argv ['manage.py', 'ask', '--skip-checks'] duck False\nleads True\nset()\n" in run.output


def test_the_first_that_fails_ends_it_and_names_its_files(root: Path) -> None:
    with running(root, ["fail"], ["ask"]) as run:
        run.until(lambda: run.done)
        (failure,) = run.done
        assert failure is not None
        assert failure.message == "manage.py fail (DJANGO_COMMANDS_ON_STARTUP) ended with exit code 1"
        assert "KeyError: 'quack'" in failure.traceback
        assert failure.files[0] == str(root / "manage.py")
        assert str(root / "website" / "management" / "commands" / "fail.py") in failure.files
        assert "stdin" not in run.output
        run.commands.start()
        run.until(lambda: len(run.done) == 2)


def test_what_is_killed_ends_with_all_that_it_started_and_nobody_is_told(root: Path) -> None:
    with running(root, ["wait", "--family"], ["ask"]) as run:
        run.until(lambda: "waiting" in run.output)
        assert run.commands.pid is not None
        process = psutil.Process(run.commands.pid)
        family = [process, *process.children(recursive=True)]
        assert len(family) == 2
        run.commands.kill()
        run.until(lambda: not run.commands.is_running)
        assert still_alive(family, 5) == []
        assert run.done == []


def test_with_the_app_killed_a_command_ends(root: Path) -> None:
    source = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from tests.backend.test_startup_commands import Run
run = Run(Path({str(root)!r}), ["wait"])
run.commands.start()
run.until(lambda: "waiting" in run.output)
print(run.commands.pid, flush=True)
while True:
    run.inbox.run_once(1)
"""
    app = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    assert app.stdout is not None
    with app.stdout:
        process = psutil.Process(int(app.stdout.readline()))
        os.kill(app.pid, signal.SIGKILL)
        app.wait()
    assert still_alive([process], 5) == []

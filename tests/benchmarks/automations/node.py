"""One node of Duck, with a Django project of its own."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.automations.marks import MARKS, Mark, read_marks
from tests.benchmarks.servers import Failed, Server

BEGUN: Final = "Automations: "
_START_S: Final = 60.0
_POLL_S: Final = 0.005

_MANAGE: Final = """\
import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
"""
_SETTINGS: Final = """\
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent
SECRET_KEY = "bench"
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
"""
_JOBS: Final = (
    MARKS
    + '''

def started(ctx):
    """A job that ends at once."""
    mark(ctx.name, ctx.scheduled_for.timestamp())


async def started_on_loop(ctx):
    """The same on a loop."""
    mark(ctx.name, ctx.scheduled_for.timestamp())
'''
)
CALLS: Final = {"thread": "jobs:started", "loop": "jobs:started_on_loop", "process": "jobs:started"}


class Node:
    """`duck automations run` in a directory of its own.

    Args:
        automations: tables as in duck.toml, by name.
        settings: more of duck.toml.
    """

    def __init__(
        self, directory: Path, automations: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any] | None = None
    ) -> None:
        self.directory = directory / "site"
        self.directory.mkdir(parents=True)
        self.state = directory / "state"
        self.state.mkdir(mode=0o700)
        self._marks = directory / "marks"
        for name, text in (("manage.py", _MANAGE), ("settings.py", _SETTINGS), ("jobs.py", _JOBS)):
            (self.directory / name).write_text(text)
        (self.directory / "duck.toml").write_text(_toml(automations, settings or {}))
        self.server = Server(
            "duck",
            self._command("run"),
            self.directory,
            environment={"BENCH_MARKS": str(self._marks), "DJANGO_SETTINGS_MODULE": None, "PYTHONUNBUFFERED": "1"},
            log=directory / "log",
        )

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "duck", "automations", *arguments, "--state-dir", str(self.state)]

    def start(self) -> float:
        """Start it; how long it took until it dispatches, in seconds.

        Raises:
            Failed: it does not.
        """
        began = time.monotonic()
        self.server.start()
        while BEGUN not in self.server.output():
            self.server.check()
            if time.monotonic() > began + _START_S:
                raise Failed(f"no automation is dispatched after {_START_S:.0f} s\n{self.server.output()}")
            time.sleep(_POLL_S)
        return time.monotonic() - began

    def marks(self) -> list[Mark]:
        """The starts until now."""
        return read_marks(self._marks)

    def wait_for(self, count: int, within_s: float) -> list[Mark]:
        """The starts for the first planned time, when there are so many.

        Raises:
            Failed: there are not, within that time.
        """
        deadline = time.monotonic() + within_s
        while len(found := _first(self.marks())) < count:
            self.server.check()
            if time.monotonic() > deadline:
                raise Failed(f"{len(found)} of {count} jobs started within {within_s:.0f} s\n{self.server.output()}")
            time.sleep(0.05)
        return found

    def claims(self) -> list[Mark]:
        """The rows of planned times in its store; `at` is when each was claimed."""
        (path,) = (self.state / "automations").glob("*.sqlite3")
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
            rows = store.execute("SELECT name, planned, created FROM run WHERE cause = 'schedule'").fetchall()
        return [Mark(name, planned / 1e6, created / 1e6) for name, planned, created in rows]


def _first(marks: list[Mark]) -> list[Mark]:
    planned = min((mark.planned for mark in marks), default=0.0)
    return [mark for mark in marks if mark.planned == planned]


def _toml(automations: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any]) -> str:
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    for name, table in automations.items():
        lines.append(f"[automations.{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"

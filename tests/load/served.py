"""A Duck that serves the project of the load: started, asked, told to reload, counted, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from duck.services.ipc import ControlError
from tests.benchmarks.servers import Failed, Server, can_connect, changed, free_port
from tests.load.attribution import Role
from tests.reports import report

ROOT = Path(__file__).resolve().parent.parent.parent
START_S = 30.0


@dataclass(frozen=True)
class Done:
    """A short `duck` command that has ended."""

    status: int
    text: str
    taken_s: float


@dataclass(frozen=True)
class Census:
    """What a Duck has.

    Attributes:
        processes: by role, as Duck says.
        family: how many the system knows, those included that nobody has waited for.
        descriptors: of the App.
    """

    processes: dict[str, int]
    family: int
    descriptors: int

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {role}" for role, count in sorted(self.processes.items()))
        return f"{kinds}; {self.family} processes in all; {self.descriptors} descriptors of the App"


class Served:
    """`duck serve` of a project, with run and state directories of its own.

    Args:
        variables: settings by environment (`DUCK_...`).
    """

    def __init__(
        self,
        project: Path,
        *,
        workers: int = 2,
        django_workers: int = 2,
        threads: int = 8,
        arguments: tuple[str, ...] = (),
        variables: dict[str, str] | None = None,
    ) -> None:
        self.project = project
        self.port = free_port()
        # A short path, as a run directory has: a longer one leaves no room for the names of sockets.
        self._directory = tempfile.TemporaryDirectory(prefix="duck-load-", dir="/tmp")
        private = Path(self._directory.name)
        dropped = ("DUCK_", "DJANGO_", "RUNTIME_DIRECTORY", "STATE_DIRECTORY", "WEB_CONCURRENCY", "PORT")
        unset = {name: None for name in os.environ if name.startswith(dropped)}
        self.environment: dict[str, str | None] = unset | {
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "XDG_RUNTIME_DIR": str(private),
            "XDG_STATE_HOME": str(private / "state"),
            "DUCK_PYTHON": sys.executable,
            **(variables or {}),
        }
        command = [sys.executable, "-m", "duck", "serve", "--address", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", str(workers), "--django-workers", str(django_workers)]
        command += ["--django-threads", str(threads), "--access-log", "off", "--admin-listen", "off", *arguments]
        if getattr(os, "geteuid", lambda: 1)() == 0:
            command += ["--user", "root"]  # who serves has to be named then
        self._private = private
        self._server = Server("duck", command, project, environment=self.environment, log=private / "duck.log")

    # -- start and end ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it; returns when Django answers.

        Raises:
            Failed: it did not come up.
        """
        self._server.start()
        self._server.wait_for(("127.0.0.1", self.port))
        self.wait_until(lambda: self.state() == "running", "running")

    def certificate(self) -> str:
        """What it serves HTTPS with, as PEM."""
        return ssl.get_server_certificate(("127.0.0.1", self.port))

    def wait_until(self, true: Any, what: str, deadline_s: float = START_S) -> None:
        """Until `true()`.

        Raises:
            Failed: not in time, or Duck has ended.
        """
        end = time.monotonic() + deadline_s
        while not true():
            self._server.check()
            if time.monotonic() > end:
                raise Failed(f"not {what} within {deadline_s:g} s\n{self.log}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it and all that is left of it."""
        self._server.stop()
        with contextlib.suppress(OSError):
            self._directory.cleanup()

    def kill(self) -> None:
        """SIGKILL for the App alone."""
        self._server.kill()

    @property
    def log(self) -> str:
        """What it wrote."""
        return self._server.log.read_text("utf-8", "replace")

    @property
    def pid(self) -> int:
        """The App's."""
        return self._server.pid

    def family(self) -> list[psutil.Process]:
        """The App and all that it started."""
        return self._server.family()

    @property
    def is_listening(self) -> bool:
        """Whether somebody accepts."""
        return can_connect(("127.0.0.1", self.port))

    # -- what it says -------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """The answer of its control socket; empty while nobody is there."""
        with contextlib.suppress(ControlError):
            return report(self._private, self.project)
        return {}

    def state(self) -> str:
        """`running` and so on; empty while nobody is there."""
        return str(self.status().get("state", ""))

    def processes(self) -> list[dict[str, Any]]:
        """All that run, as `duck status` shows them."""
        return [each for each in self.status().get("processes", ()) if each.get("state") not in ("gone", "ended")]

    def pids(self, role: Role) -> list[int]:
        """Those of one role, in the order in which they are shown."""
        return [each["pid"] for each in self.processes() if _role(each) is role]

    def census(self) -> Census:
        """Processes by role, and the App's descriptors."""
        kinds: dict[str, int] = {}
        for each in self.processes():
            kinds[each["role"]] = kinds.get(each["role"], 0) + 1
        return Census(kinds, len(self.family()), psutil.Process(self.pid).num_fds())

    # -- what it is told ----------------------------------------------------------------------------------------------

    async def command(self, *arguments: str, deadline_s: float = 60.0) -> Done:
        """Run `duck ARGUMENTS` in the project, to its end."""
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "duck",
            *arguments,
            cwd=self.project,
            env=changed(self.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(deadline_s):
                output, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise AssertionError(
                f"`duck {' '.join(arguments)}` did not end within {deadline_s:g} s\n{self.log}"
            ) from None
        assert process.returncode is not None
        return Done(process.returncode, output.decode(), time.monotonic() - began)


def _role(process: dict[str, Any]) -> Role | None:
    role = str(process.get("role", ""))
    if role.startswith("django"):
        return Role.DJANGO
    return Role.FRONT if "front" in role else None

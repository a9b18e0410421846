"""One copy of a project and the server in front of it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.programs import free_port

DEADLINE_S = 30.0
# The database, and what Python, pytest and Django's file caches leave.
NOT_THE_PROJECT = re.compile(r"(^|/)(__pycache__|[^/]*\.sqlite3(-journal|-wal|-shm)?|[^/]*\.pyc)(/|$)")


def contents(directory: Path) -> dict[str, str]:
    """Every file below `directory` with a hash of its content and mode, without database and caches."""
    found: dict[str, str] = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if not NOT_THE_PROJECT.search(name):
            content = path.read_bytes() if path.is_file() else b""
            found[name] = f"{path.lstat().st_mode:o} {hashlib.sha256(content).hexdigest()}"
    return found


def bare_environ(python: str) -> dict[str, str]:
    """The variables of a shell in which the environment of `python` was activated, and nothing of this one's."""
    home = Path(python).parent.parent
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "LC_ALL", "TMPDIR", "TZ") if name in os.environ}
    kept["PYTHONHASHSEED"] = "0"  # sets that a template prints in their order
    return kept | {"PATH": f"{home / 'bin'}{os.pathsep}/usr/local/bin:/usr/bin:/bin", "VIRTUAL_ENV": str(home)}


class Site:
    """A server of the project in `directory`, started `below` it; what it writes goes to a file beside."""

    def __init__(
        self, command: list[str], directory: Path, below: str, environ: dict[str, str], port: int | None = None
    ) -> None:
        self.directory = directory
        self.log = directory.parent / f"{directory.name}.log"
        self._command = command
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=directory / below,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.port = port if port is not None else int(self.written(r"listens at http://[^ ]*:(\d+)"))

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def written(self, pattern: str) -> str:
        """The first group of `pattern` in what the server wrote, once it is there."""
        end = time.monotonic() + DEADLINE_S
        while True:
            ended = self.process.poll() is not None
            found = re.search(pattern, self.text)
            if found:
                return found.group(1)
            assert not ended, f"{self._command} ended:\n{self.text}"
            assert time.monotonic() < end, f"{pattern!r} is not in:\n{self.text}"
            time.sleep(0.02)

    def wait_answering(self) -> None:
        """Until a connection is taken."""
        end = time.monotonic() + DEADLINE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self.process.poll() is None, f"{self._command} ended:\n{self.text}"
                assert time.monotonic() < end, self.text
                time.sleep(0.02)

    def close(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)


def serve_straight(
    command: list[str], made: Path, where: Path, python: str, variables: dict[str, str], below: str
) -> Site:
    """A copy of the project, served in its directory `below` as without Duck; `{port}` in `command` is replaced."""
    directory = where / "straight" / made.name
    shutil.copytree(made, directory, symlinks=True)
    port = free_port()
    environ = bare_environ(python) | {"PYTHONUNBUFFERED": "1"} | variables
    site = Site([part.format(port=port) for part in command], directory, below, environ, port)
    site.wait_answering()
    return site


def serve_by_duck(made: Path, where: Path, python: str, variables: dict[str, str], *arguments: str, below: str) -> Site:
    """A copy of the project, served by `duck runserver` in its directory `below`."""
    directory = where / "duck" / made.name
    shutil.copytree(made, directory, symlinks=True)
    environ = bare_environ(python) | {"XDG_RUNTIME_DIR": str(where / "run"), "XDG_STATE_HOME": str(where / "state")}
    environ["DUCK_DUCKSIGHT"] = "false"  # what it puts into pages is not the project's
    (where / "run").mkdir(mode=0o700)
    command = [sys.executable, "-m", "duck", "runserver", "--port", "0", *arguments]
    site = Site(command, directory, below, environ | variables)
    site.written(r"(is ready after)")
    return site

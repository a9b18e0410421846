"""A PostgreSQL of the tests' own: on a free port of loopback, in a directory that goes when it is stopped.

PostgreSQL refuses to run as root: there it runs as the user `postgres`, which its package makes. It ends with the
process that has started it, in whatever way that ends.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
from psycopg import sql

from tests.programs import free_port, need_program

DEADLINE_S = 60.0
PACKAGE = "postgresql"


class Postgres:
    """One server.

    Args:
        durable: a commit is on the disk before it is answered, as of a server whose faults are looked at.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self.port = free_port()
        self.base = Path(tempfile.mkdtemp(prefix="duck-postgres-"))
        self._programs = Path(os.path.realpath(need_program("postgres", PACKAGE))).parent
        self._options = ["-c", f"fsync={'on' if durable else 'off'}", "-c", "max_connections=200"]
        self._process: subprocess.Popen[bytes] | None = None
        self._count = itertools.count(1)

    @classmethod
    def start(cls, *, durable: bool = False) -> Postgres:
        """A new one that answers; skips the test where there is no PostgreSQL."""
        need_program("initdb", PACKAGE)
        made = cls(durable=durable)
        if os.geteuid() == 0:
            shutil.chown(made.base, "postgres", "postgres")
        command = [*made._as_user(), str(made._programs / "initdb"), "-D", str(made.data), "-U", "duck"]
        command += ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(command, cwd=made.base, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        made.resume()
        return made

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.base / "data"

    @property
    def log(self) -> str:
        """What it has said."""
        return (self.base / "log").read_text()

    def url(self, database: str = "postgres", *, port: int | None = None) -> str:
        """Of a database, also where something else on loopback stands before it."""
        return f"postgresql://duck@127.0.0.1:{port or self.port}/{database}"

    def make_database(self) -> str:
        """The name of a new, empty one."""
        name = f"test{next(self._count)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return name

    def resume(self) -> None:
        """Start it, or start it again, and wait until it answers."""
        command = [*self._as_user(), str(self._programs / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.base}", *self._options]
        with (self.base / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.base, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=10).close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None and time.monotonic() < deadline, self.log
                time.sleep(0.05)

    def suspend(self, number: int = signal.SIGINT) -> None:
        """Take it away: SIGINT cuts all connections, SIGQUIT is as a crash; `resume` has it back with all it kept."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop(self) -> None:
        """End it, and remove what it kept."""
        self.suspend(signal.SIGQUIT)
        shutil.rmtree(self.base, ignore_errors=True)

    @staticmethod
    def _as_user() -> list[str]:
        command = [need_program("setpriv", "util-linux"), "--pdeathsig=KILL"]
        if os.geteuid() == 0:
            command += ["--reuid=postgres", "--regid=postgres", "--init-groups"]
        return command

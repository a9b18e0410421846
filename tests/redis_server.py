"""A Redis of the tests' own: on a free port of loopback, keeping nothing, and ending with who has started it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.programs import free_port, need_program

DEADLINE_S = 30.0


class RedisServer:
    """One server."""

    def __init__(self) -> None:
        self.port = free_port()
        self.base = Path(tempfile.mkdtemp(prefix="duck-redis-"))
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(cls) -> RedisServer:
        """A new one that answers; skips the test where there is no Redis."""
        need_program("redis-server", "redis-server")
        made = cls()
        made.resume()
        return made

    @property
    def url(self) -> str:
        """Of its first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def log(self) -> str:
        """What it has said."""
        return (self.base / "log").read_text()

    def resume(self) -> None:
        """Start it, or start it again, and wait until it answers."""
        command = [need_program("setpriv", "util-linux"), "--pdeathsig=KILL"]
        command += [need_program("redis-server", "redis-server"), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self.base)]
        with (self.base / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + DEADLINE_S
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def suspend(self) -> None:
        """Take it away; what it had is forgotten."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def stop(self) -> None:
        """End it."""
        self.suspend()
        shutil.rmtree(self.base, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5.0) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

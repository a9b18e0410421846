"""A process whose controlling terminal is ours."""

from __future__ import annotations

import os
import select
import termios
import time
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", reason="a pseudo-terminal is needed, and this system has none")

DEADLINE_S = 60.0


class Console:
    """A program in a session of its own, whose controlling terminal is ours."""

    def __init__(self, command: list[str], cwd: Path, environ: dict[str, str]) -> None:
        self._read = ""
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execve(command[0], command, environ)

    @property
    def terminal(self) -> int:
        """Our end of the terminal."""
        return self._terminal

    @property
    def is_cooked(self) -> bool:
        """Whether lines are typed and shown, as programs expect that are started at a terminal."""
        modes = termios.tcgetattr(self._terminal)[3]
        return modes & (termios.ICANON | termios.ECHO) == termios.ICANON | termios.ECHO

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def wait_for(self, text: str) -> str:
        """What was written up to and with `text`; the next wait looks behind it."""
        end = time.monotonic() + DEADLINE_S
        while text not in self._read:
            ready, _, _ = select.select([self._terminal], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{text!r} is not in:\n{self._read}"
            try:
                self._read += os.read(self._terminal, 65536).decode("utf-8", "replace")
            except OSError:
                raise AssertionError(f"it ended without {text!r}:\n{self._read}") from None
        before, _, self._read = self._read.partition(text)
        return before + text

    def wait(self) -> int:
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            if select.select([self._terminal], [], [], 0.02)[0]:
                try:
                    os.read(self._terminal, 65536)
                except OSError:
                    time.sleep(0.02)
        raise AssertionError("it did not end")

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
        os.close(self._terminal)

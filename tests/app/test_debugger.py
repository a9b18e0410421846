"""`breakpoint()` under `duck runserver`, at a real terminal."""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

pty = pytest.importorskip("pty", reason="a pseudo-terminal is needed, and this system has none")

DEADLINE_S = 20.0


class Console:
    """A Duck whose controlling terminal is ours."""

    def __init__(self, command: list[str], cwd: Path, environ: dict[str, str]) -> None:
        self._read = ""
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execve(command[0], command, environ)

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


@pytest.fixture
def console(project: Path, environ: dict[str, str]) -> Iterator[Console]:
    (project / "site1" / "urls.py").write_text(
        "from django.http import HttpResponse\n"
        "from django.urls import path\n"
        "def stop_here(request):\n"
        "    answer = 41\n"
        "    breakpoint()\n"
        "    return HttpResponse(str(answer))\n"
        "urlpatterns = [path('', stop_here)]\n"
    )
    command = [sys.executable, "-m", "duck", "runserver", "--port", "0"]
    console = Console(command, project, environ | {"NO_COLOR": "1", "TERM": "dumb"})
    yield console
    console.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_prompt_has_the_terminal_changes_wait_and_ctrl_c_stops_duck_afterwards(
    console: Console, project: Path
) -> None:
    url = console.wait_for("\n").partition("listens at ")[2].strip()
    console.wait_for("is ready after")
    answers: list[str] = []

    def ask() -> None:
        answers.append(httpx.get(url, timeout=DEADLINE_S, trust_env=False).text)

    client = threading.Thread(target=ask)
    client.start()
    console.wait_for("(Pdb)")
    (project / "site1" / "other.py").write_text("x = 1\n")
    console.type("answer = answer + 1\n")
    console.wait_for("(Pdb)")
    console.type("p 'it is', answer\n")
    console.wait_for("('it is', 42)")
    console.wait_for("(Pdb)")
    console.type("c\n")
    client.join(DEADLINE_S)
    assert answers == ["42"]
    console.wait_for("other.py; loading Django again")
    console.wait_for("is ready after")
    console.type("\x03")
    console.wait_for("Stopping; finishing what runs.")
    assert console.wait() == 130


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_ctrl_c_at_a_prompt_ends_duck_without_waiting_for_who_is_debugged(console: Console) -> None:
    url = console.wait_for("\n").partition("listens at ")[2].strip()
    console.wait_for("is ready after")
    cut: list[type[Exception]] = []

    def ask() -> None:
        try:
            httpx.get(url, timeout=DEADLINE_S, trust_env=False)
        except httpx.TransportError as error:
            cut.append(type(error))

    client = threading.Thread(target=ask)
    client.start()
    console.wait_for("(Pdb)")
    began = time.monotonic()
    console.type("\x03")
    assert console.wait() == 130
    assert time.monotonic() - began < 5.0
    client.join(DEADLINE_S)
    assert cut == [httpx.RemoteProtocolError]

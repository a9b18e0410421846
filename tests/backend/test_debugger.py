"""breakpoint() in a view, with a real terminal: the test is the user at its other end."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.backend.link_client import TIMEOUT_S, LinkClient

if TYPE_CHECKING:
    from tests.backend.conftest import MakeProject

ROOT = Path(__file__).parent.parent.parent
URLS = """
from django.http import HttpResponse
from django.urls import path
def stop(request):
    value = 41
    breakpoint()
    return HttpResponse(f"value {value}")
def plain(request):
    return HttpResponse("plain")
urlpatterns = [path("stop", stop), path("plain", plain)]
"""
# What the App does, as far as the terminal is concerned.
APP = """
import signal, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from duck.backend.django.discover import Interpreter, find_project
from duck.backend.django.process import BackendOptions, DjangoBackend
from duck.services.inbox import Inbox
inbox = Inbox()
def say(*words):
    # In one piece: the debugger of the other process writes to the same terminal.
    sys.stdout.write(" ".join(map(str, words)) + "\\n")
    sys.stdout.flush()
backend = DjangoBackend(
    find_project(Path({project!r})), Interpreter(sys.executable, "", "", ""),
    BackendOptions(run_directory={directory!r}, threads=2), inbox,
    on_generation=lambda generation: say("ready", generation.pages[0].address),
    on_failed=lambda failure: say("failed", failure),
    on_output=lambda text, title: say("output", repr(text)),
    on_debugger=lambda active: say("debugger", active),
)
def interrupted(*args):
    say("interrupted")
    inbox.post(lambda: backend.stop(5, inbox.stop))
signal.signal(signal.SIGINT, interrupted)
backend.start()
inbox.run()
say("over")
"""


class User:
    """Sits at a terminal in which the App runs."""

    def __init__(self, project: Path, directory: Path) -> None:
        self.master, slave = pty.openpty()
        source = APP.format(root=str(ROOT), project=str(project), directory=str(directory))
        # A session of its own, with the terminal as its controlling one: what a login shell would have made.
        take = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        self.process = subprocess.Popen(
            [sys.executable, "-c", take + source], stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self.seen = ""

    def wait(self, text: str) -> str:
        """What was shown since the last wait, up to and with `text`."""
        deadline = time.monotonic() + TIMEOUT_S
        while text not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} was not shown: {self.seen!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.master, 4096).decode()
                    # The App's own line may come within a prompt, which is written in two pieces.
                    self.seen = self.seen.replace("debugger True\r\n", "")
                except OSError:  # the terminal is hung up: its last user has ended
                    assert text in self.seen, self.seen
        shown, _, self.seen = self.seen.partition(text)
        return shown + text

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(TIMEOUT_S)
        os.close(self.master)


@pytest.fixture
def user(make_project: MakeProject, run_directory: Path) -> Iterator[User]:
    user = User(make_project(urls=URLS), run_directory)
    yield user
    user.close()


def test_breakpoint_gets_the_terminal_and_gives_it_back(user: User) -> None:
    address = user.wait("sock").split("ready ")[1]
    with LinkClient(address) as client, LinkClient(address) as other:
        client.wait_hello()
        client.send("GET", "/stop")
        user.wait("(Pdb) ")
        user.type("value\n")
        assert "41" in user.wait("(Pdb) ")
        user.type("value = 42\n")
        user.wait("(Pdb) ")
        assert other.get("/plain").body == b"plain"
        user.type("continue\n")
        assert client.read_answer().body == b"value 42"
        user.wait("debugger False")
        # The App has the terminal again: its own group is what Ctrl-C reaches.
        assert os.tcgetpgrp(user.master) == user.process.pid
        user.type("\x03")
        user.wait("interrupted")
        user.wait("over")
    assert user.process.wait(TIMEOUT_S) == 0


def test_stepping_keeps_working_and_every_step_shows_its_line(user: User) -> None:
    address = user.wait("sock").split("ready ")[1]
    with LinkClient(address) as client:
        client.wait_hello()
        client.send("GET", "/stop")
        user.wait("(Pdb) ")
        user.type("next\n")
        assert "return HttpResponse" in user.wait("(Pdb) ") or sys.version_info >= (3, 13)
        user.type("continue\n")
        assert client.read_answer().body == b"value 41"


def test_ctrl_c_at_a_prompt_ends_all_of_duck(user: User) -> None:
    address = user.wait("sock").split("ready ")[1]
    with LinkClient(address) as client:
        client.wait_hello()
        client.send("GET", "/stop")
        user.wait("(Pdb) ")
        user.type("\x03")
        user.wait("interrupted")
        user.wait("over")
    assert user.process.wait(TIMEOUT_S) == 0


def test_a_process_killed_at_a_prompt_gives_the_terminal_back(user: User) -> None:
    address = user.wait("sock").split("ready ")[1]
    with LinkClient(address) as client:
        client.wait_hello()
        client.send("GET", "/stop")
        user.wait("(Pdb) ")
        os.killpg(os.tcgetpgrp(user.master), signal.SIGKILL)
        user.wait("debugger False")
        user.wait("ready ")
        assert os.tcgetpgrp(user.master) == user.process.pid

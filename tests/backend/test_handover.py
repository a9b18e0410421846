"""Duck becomes another program by an exec, and its Django processes go on: adopted, supervised, ended with it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from duck.backend.django.carried import version_from_values, version_to_values
from duck.backend.django.child import DjangoProcess
from duck.backend.django.handles import Ends, WorkerSpec
from duck.backend.django.version import PAGES, SERVING, Version
from duck.proxy.upstream import Upstream
from duck.services.inbox import Inbox
from duck.services.json_lines import JsonLines
from tests.alive import is_alive, still_alive
from tests.backend.conftest import VIEWS
from tests.backend.link_client import TIMEOUT_S, LinkClient
from tests.backend.test_supervision import MORE_VIEWS
from tests.waiting import serve_until

if TYPE_CHECKING:
    from tests.backend.conftest import MakeProject

# Says what happens in lines of JSON, and does what it is told in lines of words.
APP = """
import json, os, sys, threading
sys.path.insert(0, {root!r})
from dataclasses import asdict
from duck.backend.django.discover import Interpreter, find_project
from duck.backend.django.process import BackendOptions, DjangoBackend
from duck.services.inbox import Inbox
from pathlib import Path

def say(**facts):
    sys.stdout.write(json.dumps(facts) + chr(10))
    sys.stdout.flush()

def came(generation):
    say(generation=generation.number, pages=[asdict(page) for page in generation.pages])

inbox = Inbox()
backend = DjangoBackend(
    find_project(Path({project!r})),
    Interpreter(sys.executable, "the tests", "3.11", "5.2"),
    BackendOptions({directory!r}, mode="serve", workers=2, threads=2, heartbeat_s=0.1, stop_deadline_s=5.0),
    inbox,
    on_generation=came,
    on_failed=lambda failure: say(failure=failure.message),
    on_output=lambda text, title: say(output=text),
)

def do(word):
    if word == "exec":
        values = backend.hand_over()
        assert all(os.get_inheritable(descriptor) for descriptor in values["descriptors"])
        os.environ["HANDED"] = json.dumps(values)
        os.execv(sys.executable, [sys.executable, *sys.argv])
    elif word == "status":
        say(status=backend.snapshot(), own=len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0)
    elif word == "stop":
        backend.stop(5, lambda: (say(stopped=True), inbox.stop()))
    elif word.startswith("acknowledged"):
        backend.acknowledged(int(word.split()[1]))

def listen():
    # Unbuffered: nothing that was read is lost over the exec.
    word = b""
    while byte := os.read(0, 1):
        if byte == b"\\n":
            inbox.post(lambda word=word.decode(): do(word))
            word = b""
        else:
            word += byte

handed = os.environ.pop("HANDED", "")
if handed:
    say(taken=backend.take_over(json.loads(handed)), pid=os.getpid())
else:
    backend.start()
threading.Thread(target=listen, daemon=True).start()
inbox.run()
"""


class App:
    """The program above."""

    def __init__(self, project: Path, directory: Path, script: Path) -> None:
        root = str(Path(__file__).parents[2])
        script.write_text(APP.format(root=root, project=str(project), directory=str(directory)))
        self.errors = open(script.with_suffix(".log"), "w+b")
        self.process = subprocess.Popen(
            [sys.executable, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def say(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def hear(self, name: str) -> dict[str, Any]:
        """The next message that has `name`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message: dict[str, Any] = json.loads(line)
            if name in message:
                return message
        self.errors.seek(0)
        raise AssertionError(self.errors.read().decode())

    def status(self) -> dict[str, Any]:
        self.say("status")
        return self.hear("status")

    def pids(self) -> list[int]:
        return [entry["pid"] for entry in self.status()["status"]["processes"]]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(TIMEOUT_S)
        for file in (self.process.stdin, self.process.stdout, self.errors):
            assert file is not None
            file.close()


@pytest.fixture
def app(make_project: MakeProject, run_directory: Path, tmp_path: Path) -> Iterator[App]:
    project = make_project(urls=VIEWS + MORE_VIEWS, settings="ALLOWED_HOSTS = ['*']")
    app = App(project, run_directory, tmp_path / "app.py")
    yield app
    app.close()


def gone(pids: list[int]) -> Callable[[], bool]:
    return lambda: not any(is_alive(pid) for pid in pids)


def test_django_goes_on_over_an_exec_and_is_supervised_after_it(app: App) -> None:
    first = app.hear("generation")
    before = app.status()
    pids = [entry["pid"] for entry in before["status"]["processes"]]
    assert len(pids) == 2
    slow = LinkClient(first["pages"][0]["address"])
    slow.wait_hello()
    slow.send("GET", "/nap?s=1")
    app.say("exec")
    second = app.hear("generation")
    assert second == first
    assert app.hear("taken") == {"taken": True, "pid": app.process.pid}
    after = app.status()
    assert app.pids() == pids
    assert after["own"] == before["own"]
    assert slow.read_answer().body == b"rested"
    slow.socket.close()
    # It hears of a death, reaps, and puts another in the place.
    os.kill(pids[1], signal.SIGKILL)
    assert app.hear("generation")["pages"] == first["pages"][:1]
    third = app.hear("generation")
    assert third["generation"] == first["generation"] + 2
    assert third["pages"][0] == first["pages"][0]
    assert not is_alive(pids[1])
    # What is heard of a process that was taken over: its output, and how it is.
    with LinkClient(first["pages"][0]["address"]) as client:
        assert client.get("/boom").status == 500
    assert "Internal Server Error: /boom" in app.hear("output")["output"]
    while True:
        entry = next(entry for entry in app.status()["status"]["processes"] if entry["pid"] == pids[0])
        if entry.get("requests") == 2:
            break
        time.sleep(0.02)
    # And once more.
    app.say("exec")
    assert app.hear("generation") == third
    pids = app.pids()
    app.say("stop")
    assert app.hear("stopped")
    assert app.process.wait(TIMEOUT_S) == 0
    assert gone(pids)()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends the groups on Linux alone")
def test_with_a_duck_killed_that_has_taken_over_its_processes_end(app: App) -> None:
    first = app.hear("generation")
    app.say("exec")
    app.hear("taken")
    family = [psutil.Process(pid) for pid in app.pids()]
    assert len(family) == 2
    with LinkClient(first["pages"][0]["address"]) as client:
        client.wait_hello()
        client.send("GET", "/lock")  # the process cannot act by itself
        app.process.kill()
        app.process.wait(TIMEOUT_S)
        assert still_alive(family, 5) == []


def test_what_dies_around_the_exec_is_reaped_and_replaced(app: App) -> None:
    first = app.hear("generation")
    pids = app.pids()
    app.process.send_signal(signal.SIGSTOP)
    app.say("exec")
    os.kill(pids[0], signal.SIGKILL)
    app.process.send_signal(signal.SIGCONT)
    app.hear("taken")
    while len(told := app.hear("generation")["pages"]) < 2:
        pass
    assert told[1] == first["pages"][1]
    assert not is_alive(pids[0])


def test_a_version_is_carried_as_it_is() -> None:
    version = Version(7, state=SERVING, facts={"debug": False})
    version.place(PAGES, 0).upstream = Upstream("link", ("127.0.0.1", 1), 2, "one", secret="s")
    version.place(PAGES, 1).upstream = Upstream("link", "/two", 2, "two")
    version.place(PAGES, 0).finder = Upstream("link", "/f", 1, "finder")
    carried = version_from_values(json.loads(json.dumps(version_to_values(version))))
    assert carried.generation() == version.generation()
    assert carried.state == SERVING


def test_a_command_that_was_sent_in_part_is_sent_to_its_end_by_the_next_duck() -> None:
    inbox = Inbox()
    with subprocess.Popen(["sleep", "60"], process_group=0) as program:
        ends = Ends()
        codes: list[int] = []
        callbacks = (lambda event: None, lambda text: None, codes.append)
        before = DjangoProcess(WorkerSpec("/", None, ""), ends.handles(program.pid), inbox, *callbacks)
        count = 0
        while not before.hand_over()["unsent"]:
            before.command("refresh", number=count, what=["x" * 10_000])
            count += 1
        values = json.loads(json.dumps(before.hand_over()))
        # As an exec does.
        before._outgoing.close()
        before._control.detach()
        if before._exit._descriptor is not None:
            os.close(before._exit._descriptor)
        inbox.close()
        inbox = Inbox()
        after = DjangoProcess.take_over(values, inbox, *callbacks)
        after.command("stop")
        said: list[dict[str, Any]] = []
        lines = JsonLines(1 << 20, lambda: pytest.fail("half of a command was sent"))
        with socket.socket(fileno=ends.theirs["control_fd"]) as theirs:
            theirs.setblocking(False)
            while len(said) <= count:
                try:
                    said += lines.feed(theirs.recv(65_536))
                except BlockingIOError:
                    inbox.run_once(5.0)
            assert [one.get("number") for one in said] == [*range(count), None]
            program.kill()
            serve_until(inbox, lambda: codes)
    inbox.close()
    for name in ("output_fd", "lifeline_fd", "stack_fd"):
        os.close(ends.theirs[name])

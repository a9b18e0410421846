"""Children of Duck's own: what they say, how they end, and that they outlive an exec of their parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from duck.exceptions import ApplicationError
from duck.services.child import Child
from duck.services.inbox import Inbox
from tests.waiting import serve_until

VARIABLE = "_TEST_CHILD"

# Says back what it is told, until it is told to end or its parent is gone.
ECHO = f"""
import json, os, socket, sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})
from duck.backend.django.worker.control import die_with_parent, end_group, tie_group
told = json.loads(os.environ[{VARIABLE!r}])
die_with_parent(told["parent"], is_tied=tie_group(told["lifeline_fd"]))
control = socket.socket(fileno=told["control_fd"])
def say(**facts):
    control.sendall(json.dumps(facts).encode() + b"\\n")
say(event="began", value=told["value"])
for line in control.makefile("rb"):
    message = json.loads(line)
    if message["do"] == "end":
        say(event="ending")
        os._exit(message["code"])
    say(event="heard", **message)
end_group()
"""


class Heard:
    """What a child has said, and how it ended."""

    def __init__(self, inbox: Inbox, child: Child) -> None:
        self.inbox = inbox
        self.child = child
        self.messages: list[dict[str, Any]] = []
        self.code: int | None = None
        child.on_message = self.messages.append
        child.on_exit = self.exited

    def exited(self, code: int) -> None:
        self.code = code

    def until(self, true: Callable[[], bool]) -> None:
        serve_until(self.inbox, true, told=lambda: self.messages)


@pytest.fixture
def heard(inbox: Inbox) -> Iterator[Heard]:
    made = Heard(inbox, Child.spawn(inbox, [sys.executable, "-c", ECHO], VARIABLE, {"value": 7}, []))
    yield made
    made.child.kill()
    made.until(lambda: made.code is not None)


def test_it_is_told_how_to_begin_and_spoken_to_in_both_directions(heard: Heard) -> None:
    heard.child.send("this", text="é" * 100_000)
    heard.until(lambda: len(heard.messages) == 2)
    assert heard.messages[0] == {"event": "began", "value": 7}
    assert heard.messages[1] == {"event": "heard", "do": "this", "text": "é" * 100_000}


def test_what_it_said_last_comes_before_its_exit(heard: Heard) -> None:
    heard.child.send("end", code=5)
    heard.until(lambda: heard.code is not None)
    assert heard.code == 5
    assert heard.messages[-1] == {"event": "ending"}
    heard.child.send("nothing")
    heard.child.kill()


def test_a_signal_that_ended_it_is_told(heard: Heard) -> None:
    heard.until(lambda: bool(heard.messages))
    heard.child.signal(signal.SIGKILL)
    heard.until(lambda: heard.code is not None)
    assert heard.code == -signal.SIGKILL


def test_one_that_reads_nothing_is_ended_and_does_not_hold_up_who_speaks_to_it(heard: Heard) -> None:
    heard.until(lambda: bool(heard.messages))
    heard.child.signal(signal.SIGSTOP)
    began = time.monotonic()
    for _ in range(40):
        heard.child.send("much", text="x" * 1_000_000)
    assert time.monotonic() - began < 5
    heard.until(lambda: heard.code is not None)
    assert heard.code == -signal.SIGKILL


# Spawns a child, becomes another program by an exec, and takes it over there.
PARENT = f"""
import json, os, sys, tempfile, time
sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})
from duck.services.child import Child
from duck.services.inbox import Inbox
inbox = Inbox()
said = []
def until(true):
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        inbox.run_once(0.1)
if "HANDED" in os.environ:
    with open(int(os.environ["HANDED"])) as file:
        values = json.load(file)
    child = Child.take_over(inbox, values)
    codes = []
    child.on_message, child.on_exit = said.append, codes.append
    child.send("again")
    until(lambda: len(said) == 3)
    print(json.dumps({{"pid": child.pid, "said": [[one["do"], len(one.get("text", ""))] for one in said]}}), flush=True)
    if sys.stdin.readline().strip() == "end":
        child.send("end", code=9)
        until(lambda: codes)
        print(json.dumps({{"codes": codes}}), flush=True)
    else:
        time.sleep(60)
else:
    child = Child.spawn(inbox, [sys.executable, "-c", os.environ["ECHO"]], {VARIABLE!r}, {{"value": 1}}, [])
    child.on_message = said.append
    until(lambda: said)
    # Half an answer was read, and half a message sent.
    child.send("much", text="x" * 1_000_000)
    until(lambda: child.hand_over()["unread"])
    child.send("more", text="x" * 1_000_000)
    assert child.hand_over()["unread"] and child.hand_over()["unsent"]
    with tempfile.TemporaryFile("w") as file:
        json.dump(child.hand_over(), file)
        file.seek(0)
        os.environ["HANDED"] = str(os.dup(file.fileno()))
    os.set_inheritable(int(os.environ["HANDED"]), True)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
"""


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        env={**os.environ, "ECHO": ECHO},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.wait()
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()
    process.stdout.close()


def test_it_outlives_an_exec_of_its_parent_which_goes_on_with_it(parent: subprocess.Popen[str]) -> None:
    assert parent.stdin is not None and parent.stdout is not None
    told = json.loads(parent.stdout.readline())
    assert told["said"] == [["much", 1_000_000], ["more", 1_000_000], ["again", 0]]
    assert psutil.Process(told["pid"]).ppid() == parent.pid
    parent.stdin.write("end\n")
    parent.stdin.flush()
    assert json.loads(parent.stdout.readline()) == {"codes": [9]}


def test_it_ends_with_its_parent_after_an_exec_too(parent: subprocess.Popen[str]) -> None:
    assert parent.stdout is not None
    pid = json.loads(parent.stdout.readline())["pid"]
    child = psutil.Process(pid)
    parent.kill()
    end = time.monotonic() + 2
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("what", ["os.pipe", "socket.socketpair"])
def test_where_there_are_no_descriptors_left_that_is_said_and_none_is_kept(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Who starts it tries again."""

    def refuse() -> None:
        raise OSError(24, "Too many open files")

    inbox = Inbox()
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(what, refuse)
    with pytest.raises(ApplicationError, match="A process cannot be started: Too many open files"):
        Child.spawn(inbox, ["true"], "_DUCK_TEST", {}, ())
    assert len(os.listdir("/proc/self/fd")) == before
    monkeypatch.undo()
    inbox.close()

"""Orphans are reaped, and children of Duck's own keep their exit status for whoever waits for them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from duck.services.reaper import Dead, dead_children, is_foreign

if sys.platform != "linux":
    pytest.skip("subreapers and process namespaces are Linux's", allow_module_level=True)

# A process of its own: what reaps all children must not be the one that runs the tests.
BEGIN = """
import os, signal, subprocess, sys, time
from duck.services.inbox import Inbox
from duck.services.reaper import Reaper, dead_children

inbox = Inbox()

def until(is_so, what, limit_s=20.0):
    deadline = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < deadline, what
        inbox.run_once(0.2)

def state(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "gone"

def spawn(script, **more):
    return subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE, text=True, **more)

def orphan(script):
    "The number of a process whose parent, a child of this one with a group of its own, has ended before it."
    held, end = os.pipe()
    with spawn(f"(read line <&{held}; {script}) >/dev/null & echo $!", process_group=0, pass_fds=[held]) as parent:
        pid = int(parent.stdout.readline())
    assert parent.returncode == 0
    os.close(held)
    os.close(end)
    return pid
"""

ORPHANS = """
ours = {}
reaper = Reaper(inbox, ours.__contains__)
reaper.start(as_subreaper=os.getpid() != 1)
assert signal.getsignal(signal.SIGCHLD) not in (signal.SIG_DFL, signal.SIG_IGN)

# One of ours has ended, and nobody has asked yet.
child = spawn("exit 7", process_group=0)
ours[child.pid] = child
# One that only its starter knows, as in a thread or in the code of a Duck project.
unknown = spawn("exit 8")
leader = spawn("exit 9", process_group=0)
until(lambda: [state(one.pid) for one in (child, unknown, leader)] == ["Z"] * 3, "children that end")

orphans = [orphan(f"exit {number}") for number in range(20)]
orphans.append(orphan("exec setsid sh -c '(exit 0) & wait; exit 3'"))
until(lambda: all(state(pid) == "gone" for pid in orphans[:20]), "orphans that are reaped")
assert [state(one.pid) for one in (child, unknown, leader)] == ["Z"] * 3
assert reaper.reaped >= 20

assert (child.wait(), unknown.wait(), leader.wait()) == (7, 8, 9)
reaper.stop()
assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
print("done", os.getpid())
"""

PATIENCE = """
now = [100.0]
reaper = Reaper(inbox, lambda pid: pid == child.pid, patience_s=30.0, clock=lambda: now[0])
child = spawn("exit 7", process_group=0)
leader = spawn("exit 9", process_group=0)
until(lambda: state(child.pid) == state(leader.pid) == "Z", "children that end")
assert reaper.reap() == []
now[0] += 29
assert reaper.reap() == []
now[0] += 1
assert reaper.reap() == [leader.pid]
now[0] += 1000
assert reaper.reap() == []
assert child.wait() == 7
assert dead_children() == []
print("done", os.getpid())
"""

TIMED = """
import duck.services.reaper
duck.services.reaper._LOOK_S = 0.05
reaper = Reaper(inbox, lambda pid: False)
reaper.start(as_subreaper=True)
signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # somebody else's now
pid = orphan("exit 0")
until(lambda: state(pid) == "gone", "an orphan that is reaped")
print("done", os.getpid())
"""

IGNORED = """
reaper = Reaper(inbox, lambda pid: False)
reaper.start()
assert spawn("exit 7").wait() == 7
print("done", os.getpid())
"""


def run(script: str, *before: str) -> str:
    done = subprocess.run(
        [*before, sys.executable, "-c", BEGIN + script], capture_output=True, text=True, cwd=Path.cwd(), timeout=50
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def namespace() -> list[str]:
    """The command that runs another as process 1."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("there is no unshare here")
    command = [unshare, "--pid", "--fork", "--mount-proc", "--kill-child"]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"no process namespace can be made here: {tried.stderr.strip()}")
    return command


def test_process_1_reaps_orphans_and_leaves_its_children_their_status() -> None:
    assert run(ORPHANS, *namespace()) == "done 1\n"


def test_a_subreaper_does_the_same() -> None:
    assert run(ORPHANS).startswith("done ")


def test_what_could_be_somebodys_child_is_reaped_after_a_while_alone() -> None:
    assert run(PATIENCE).startswith("done ")


def test_orphans_are_reaped_where_no_signal_tells_of_them() -> None:
    assert run(TIMED).startswith("done ")


@pytest.mark.skipif(shutil.which("env") is None, reason="there is no env here to ignore a signal with")
def test_a_start_with_the_signal_ignored_loses_no_status() -> None:
    assert run(IGNORED, "env", "--ignore-signal=CHLD").startswith("done ")


@pytest.mark.parametrize(
    ("group", "expected"),
    [(0, False), (4711, False), (os.getpgrp(), False), (4712 if os.getpgrp() != 4712 else 4713, True)],
)
def test_a_group_between_shows_who_came_from_elsewhere(group: int, expected: bool) -> None:
    assert is_foreign(Dead(4711, group)) is expected


def test_nothing_is_reaped_by_looking(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert process.pid in {child.pid for child in dead_children()}
        # Without /proc one is known at a time, and nothing of its group.
        assert [child.group for child in dead_children(tmp_path)] == [0]
        assert process.wait() == 0

"""Trees of processes, and what they hold."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil
import pytest

from duck.services.process_tree import kill_all, proportional_bytes, resident_bytes, trees
from tests.alive import is_alive

# Three copies of a process that holds 80 MB, one of them in a session of its own.
COPIES = """
import os, time
kept = b"x" * 80_000_000
for number in range(3):
    if os.fork() == 0:
        if number == 0:
            os.setsid()
        print(os.getpid(), flush=True)
        time.sleep(60)
time.sleep(60)
"""


def test_a_tree_has_what_was_started_whatever_its_session_and_shared_memory_counts_once() -> None:
    with subprocess.Popen([sys.executable, "-c", COPIES], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        copies = {int(process.stdout.readline()) for _ in range(3)}
        tree = trees([process.pid, 2**22 + 1])
        try:
            assert tree[process.pid][0].pid == process.pid
            assert {each.pid for each in tree[process.pid][1:]} == copies
            assert tree[2**22 + 1] == []
            assert resident_bytes(tree[process.pid]) > 300_000_000
            if os.path.exists("/proc/self/smaps_rollup"):
                assert 80_000_000 < proportional_bytes(tree[process.pid]) < 160_000_000
        finally:
            kill_all(tree[process.pid])
        process.wait()
    deadline = time.monotonic() + 20.0
    while any(map(is_alive, copies)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert resident_bytes(tree[process.pid]) == proportional_bytes(tree[process.pid]) == 0
    kill_all(tree[process.pid])


def test_a_process_whose_number_was_another_s_is_seen_at_once() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        try:
            (seen,) = (each for each in psutil.process_iter() if each.pid == process.pid)
            seen._create_time = 1.0  # as of one that has ended: numbers cannot be given out at will
            seen._ident = (process.pid, 1.0)
            assert [each.pid for each in trees([process.pid])[process.pid]] == [process.pid]
        finally:
            process.kill()


def test_no_roots_are_no_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.process_iter", lambda *asked: pytest.fail("all were looked at"))
    assert trees([]) == {}

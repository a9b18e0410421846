"""What a run leaves behind: processes that it has started, and that go on when it has ended.

They end with it, as with a service of systemd. One that has begun a session of its own (setsid(2)) was meant to be
left, and is.
"""

from __future__ import annotations

import glob
import os
import signal
import sys
from typing import Iterator, List, Set, Tuple


def end_left() -> int:
    """Ask those of this process to end; how many there are.

    They are in its group, which ends by force with this process.
    """
    left = _left() if _has_children() else []
    for pid in left:
        try:
            os.kill(pid, signal.SIGTERM)
        except OSError:
            pass
    return len(left)


def _has_children() -> bool:
    """Whether there could be any: nearly always there is none, and the system knows it at once."""
    if not hasattr(os, "waitid"):
        return False
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _left() -> List[int]:
    group, helpers = os.getpgrp(), _helpers()
    found = []
    for pid, parent, its_group, state in _processes():
        is_below = parent == os.getpid() or parent in helpers
        if is_below and its_group == group and state not in "ZX" and pid not in helpers:
            found.append(pid)
    return found


def _helpers() -> Set[int]:
    """Processes that multiprocessing keeps for later runs, and that hold nothing of a run's."""
    found = set()
    for module, name, attribute in (
        ("multiprocessing.resource_tracker", "_resource_tracker", "_pid"),
        ("multiprocessing.forkserver", "_forkserver", "_forkserver_pid"),
    ):
        pid = getattr(getattr(sys.modules.get(module), name, None), attribute, None)
        if isinstance(pid, int):
            found.add(pid)
    return found


def _processes() -> Iterator[Tuple[int, int, int, str]]:
    """Process id, parent, group and state of each (proc(5)); none where the system does not tell so."""
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path, "rb") as file:
                # The name stands in parentheses, and may hold some.
                fields = file.read().rpartition(b")")[2].split()
            yield int(path.split("/")[2]), int(fields[1]), int(fields[2]), fields[0].decode()
        except (OSError, ValueError, IndexError):
            continue

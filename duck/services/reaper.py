"""Reaper: what Duck did not start, and is the parent of all the same, is reaped when it has ended.

As process 1 of a container, or as a subreaper, Duck becomes the parent of every process whose own has died. Unreaped
they would pile up until no process could be started any more. A child that Duck has started must not be reaped here:
whoever waits for it would never learn its exit status. No call of the system says which is which; this does:

    is_ours(pid)                    never: its owner waits for it
    a group that is neither its     at once: what this process starts is in the group of its starter, or leads one
      own nor this process's        of its own, so that a process between the two came from elsewhere
    all else                        once it has been dead for `patience_s`: it could be of a `Popen` in the code of a
                                    Duck project, in this process, which asks for its status a little later
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from duck.services.inbox import Inbox, Timer

logger = logging.getLogger("duck.services")

_PR_SET_CHILD_SUBREAPER: Final = 36
_LOOK_S: Final = 5.0  # should a signal be missed: another handler may have taken SIGCHLD
_PROC: Final = Path("/proc")


@dataclass(frozen=True)
class Dead:
    """A child of this process that has ended and is not reaped.

    Attributes:
        group: 0 where it is not known.
    """

    pid: int
    group: int


class Reaper:
    """Reaps on the inbox's thread, told by SIGCHLD and by a timer.

    Attributes:
        reaped: how many, since the start.
    """

    def __init__(
        self,
        inbox: Inbox,
        is_ours: Callable[[int], bool],
        *,
        patience_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.reaped = 0
        self._inbox = inbox
        self._is_ours = is_ours
        self._patience_s = patience_s
        self._clock = clock
        self._seen: dict[int, float] = {}
        self._timer: Timer | None = None
        self._handler_before: Any = None
        self._has_handler = False

    @staticmethod
    def is_needed() -> bool:
        """Whether orphans come to this process without its asking: process 1 of a container."""
        return os.getpid() == 1

    def start(self, *, as_subreaper: bool = False) -> None:
        """Reap from now on; `as_subreaper` asks the kernel for the orphans below this process, too."""
        if not hasattr(os, "waitid"):
            return
        if as_subreaper and not become_subreaper():
            logger.warning(
                "What processes of the project leave behind is not reaped: the kernel has no subreapers here."
            )
        if threading.current_thread() is threading.main_thread():
            # That there is a handler also undoes an inherited "ignore", with which the kernel would drop the status of
            # each child before anybody has asked for it.
            self._handler_before = signal.signal(signal.SIGCHLD, lambda number, frame: self._inbox.post(self._told))
            self._has_handler = True
        self._look()

    def stop(self) -> None:
        """Reap no more; may be said again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._has_handler:
            self._has_handler = False
            signal.signal(signal.SIGCHLD, self._handler_before or signal.SIG_DFL)

    def reap(self) -> list[int]:
        """Reap what is to be reaped now; returns the process ids."""
        now = self._clock()
        done: list[int] = []
        dead = dead_children()
        for child in dead:
            since = self._seen.setdefault(child.pid, now)
            if self._is_ours(child.pid) or not (is_foreign(child) or now - since >= self._patience_s):
                continue
            with contextlib.suppress(ChildProcessError):
                if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG) is not None:
                    done.append(child.pid)
        gone = {child.pid for child in dead}.difference(done)
        # A number that was reaped may be another's soon.
        self._seen = {pid: since for pid, since in self._seen.items() if pid in gone}
        if done:
            self.reaped += len(done)
            logger.debug("Reaped %d processes that others had left: %s.", len(done), ", ".join(map(str, done)))
        return done

    def _told(self) -> None:
        self.reap()

    def _look(self) -> None:
        self._timer = self._inbox.call_later(_LOOK_S, self._look)
        self.reap()


def dead_children(proc: Path = _PROC) -> list[Dead]:
    """The children of this process, of all its threads, that have ended and are not reaped; nothing is reaped."""
    # One call tells whether there are any. It tells of one alone, the same again and again until that is reaped.
    try:
        first = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return []
    if first is None:
        return []
    found = []
    for pid in {first.si_pid, *_children(proc)}:
        state, group = _state(proc, pid)
        if state == "Z" or pid == first.si_pid:
            found.append(Dead(pid, group))
    return found


def is_foreign(child: Dead) -> bool:
    """Whether its group shows that this process cannot have started it."""
    return child.group not in (0, child.pid, os.getpgrp())


def _children(proc: Path) -> list[int]:
    """Those of every thread; none where the kernel does not list them (CONFIG_PROC_CHILDREN), or is another's."""
    found: list[int] = []
    for listed in proc.glob("self/task/*/children"):
        with contextlib.suppress(OSError):
            found += map(int, listed.read_text().split())
    return found


def _state(proc: Path, pid: int) -> tuple[str, int]:
    try:
        text = (proc / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return "", 0
    # The name stands in parentheses, and may hold some.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[2])


def become_subreaper() -> bool:
    """Ask the kernel for the orphans below this process, for good, over an exec too; whether it gives them."""
    try:
        import ctypes

        return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (ImportError, OSError, AttributeError):
        return False

"""The end of a child: noticed on the inbox's thread, reaped once, and put into words."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duck.services.inbox import Inbox


class ExitWatch:
    """Calls `on_exited` on the inbox's thread when the child `pid` has ended; its owner says `reap` then.

    Until it is reaped its number, which is its group's, cannot be another's.

    Args:
        process: None for a child that outlived an exec of this process.
    """

    def __init__(
        self, inbox: Inbox, pid: int, process: subprocess.Popen[bytes] | None, on_exited: Callable[[], None]
    ) -> None:
        self._inbox = inbox
        self._pid = pid
        self._process = process
        self._on_exited = on_exited
        self._descriptor: int | None = None
        if hasattr(os, "pidfd_open"):
            try:
                self._descriptor = os.pidfd_open(pid)
            except OSError:
                pass  # an old kernel, or one that filters the call
            else:
                inbox.watch(self._descriptor, on_exited)
                return
        threading.Thread(target=self._wait, name=f"duck-wait-{pid}", daemon=True).start()

    def reap(self) -> int:
        """The exit code; negative: the signal. Watches no more."""
        code = self._reap()
        if self._descriptor is not None:
            self._inbox.unwatch(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None
        return code

    def _wait(self) -> None:
        try:
            os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            pass
        self._inbox.post(self._on_exited)

    def _reap(self) -> int:
        if self._process is not None:
            return self._process.wait()
        try:
            return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        except ChildProcessError:
            return 0


def exit_sentence(who: str, code: int) -> str:
    """How `who` ended, for people."""
    if code >= 0:
        return f"{who} ended by itself with exit code {code}."
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"{who} was ended by {name}."

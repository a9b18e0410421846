"""Trial: whether changed files of Duck's own side can be loaded, asked of a process that loads them and ends.

A restart by exec cannot be taken back: what is exec'd has to come up. So the same command runs first as a process of
its own, up to the point where it would take the lock, and only when that succeeds the restart follows.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from duck.app.unloaded import Unloaded

# Set for the process on trial: it loads settings, main.py, urlpatterns and gateway, and ends with 0.
VARIABLE: Final = "_DUCK_TRIAL"
_DEADLINE_S: Final = 60.0
_MAX_SHOWN: Final = 4000


def end_if_on_trial() -> None:
    """End this process, with 0, where it was started to see whether it comes so far."""
    if os.environ.pop(VARIABLE, ""):
        raise SystemExit(0)


def fail_if_on_trial(unloaded: Unloaded) -> None:
    """End this process, with 1 and all that is known, where it was started to see whether it comes so far."""
    if os.environ.pop(VARIABLE, ""):
        sys.stderr.write(f"{unloaded.message}\n{unloaded.traceback}")
        raise SystemExit(1)


class Trial:
    """One trial at a time; what changes meanwhile is tried afterwards.

    Args:
        post: of the inbox.
        passed: called on the inbox after a trial that succeeded, unless something has changed since.
        failed: called with the last of what it wrote.
    """

    def __init__(
        self, post: Callable[[Callable[[], None]], None], passed: Callable[[], None], failed: Callable[[str], None]
    ) -> None:
        self._post = post
        self._passed = passed
        self._failed = failed
        self._process: subprocess.Popen[bytes] | None = None
        self._again = False

    def begin(self) -> None:
        """Try; on the inbox's thread."""
        if self._process is not None:
            self._again = True
            return
        self._process = subprocess.Popen(
            [sys.executable, *sys.orig_argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, VARIABLE: "1"},
        )
        threading.Thread(target=self._wait, args=(self._process,), name="duck-trial", daemon=True).start()

    def stop(self) -> None:
        """End what is under way; nothing is called any more."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        try:
            output, _ = process.communicate(timeout=_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
        text = output.decode("utf-8", "replace").strip()[-_MAX_SHOWN:]
        self._post(lambda: self._ended(process, text))

    def _ended(self, process: subprocess.Popen[bytes], text: str) -> None:
        if self._process is not process:
            return
        self._process = None
        if self._again:
            self._again = False
            self.begin()
        elif process.returncode == 0:
            self._passed()
        else:
            self._failed(text or f"the trial ended with {process.returncode}")

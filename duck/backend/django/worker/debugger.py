"""Prompts of pdb and its kin: the App is told, lends its terminal, and waits meanwhile."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any, Callable, List, Optional

from .hook import when_imported

if TYPE_CHECKING:
    from .control import Control

_GRANT_TIMEOUT_S = 5.0


class Debugger:
    """Whether a prompt is shown, and on what."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._lock = threading.RLock()  # one prompt at a time; a prompt may open another in its own thread
        self._depth = 0
        self._granted = threading.Event()
        self._saved: List[int] = []
        control.on_terminal = self._granted.set

    def is_active(self) -> bool:
        """Whether somebody is at a prompt now."""
        return self._depth > 0

    def wrap(self, interaction: Callable[..., Any]) -> Callable[..., Any]:
        """`pdb.Pdb.interaction`, with the terminal borrowed around it."""

        def interact(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                if self._depth == 0:
                    self._begin()
                self._depth += 1
                try:
                    return interaction(*args, **kwargs)
                finally:
                    self._depth -= 1
                    if self._depth == 0:
                        self._end()

        return interact

    def interrupted(self, signum: int, frame: Optional[FrameType]) -> None:
        """Ctrl-C at a prompt reaches this process, which has the terminal: it is meant for all of Duck."""
        if self.is_active():
            self._control.send("interrupted")

    def _begin(self) -> None:
        self._granted.clear()
        self._control.listen()
        self._control.send("debugger", active=True)
        # Without an answer the prompt is shown on the pipes, where it can at least be read.
        self._granted.wait(_GRANT_TIMEOUT_S)
        _flush()
        self._saved = _borrow_terminal()

    def _end(self) -> None:
        _flush()
        saved, self._saved = self._saved, []
        for number, copy in zip((1, 2), saved, strict=False):
            os.dup2(copy, number)
            os.close(copy)
        self._control.send("debugger", active=False)


def install(control: Control, *, is_terminal_wanted: bool) -> Debugger:
    """Watch for pdb, without importing it; ipdb and pdb++ are subclasses of its class. Takes SIGINT, too."""
    debugger = Debugger(control)
    signal.signal(signal.SIGINT, debugger.interrupted)
    if is_terminal_wanted:

        def patch(module: Any) -> None:
            module.Pdb.interaction = debugger.wrap(module.Pdb.interaction)

        when_imported("pdb", patch)
    return debugger


def _borrow_terminal() -> List[int]:
    """Put the terminal where stdout and stderr are, when stdin is one and they are not; copies of what they were."""
    if not os.isatty(0) or (os.isatty(1) and os.isatty(2)):
        return []
    terminal = os.open(os.ttyname(0), os.O_RDWR | os.O_NOCTTY)
    saved = [os.dup(1), os.dup(2)]
    os.dup2(terminal, 1)
    os.dup2(terminal, 2)
    os.close(terminal)
    return saved


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass

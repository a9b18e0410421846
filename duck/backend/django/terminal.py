"""Lending the terminal to a process group: what makes `breakpoint()` work in a process that is not the App's."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

if sys.platform != "win32":
    import termios


class Terminal:
    """The App's controlling terminal, lent to one process group at a time; where there is none, lending does nothing.

    Background groups that read are stopped by the kernel, so the debugged process has to be in the foreground; while it
    is, Ctrl-C goes to it alone.

    Callbacks:
        on_lent(): it is about to be lent: its modes are to be as a program expects that is started at it.
        on_returned(): it is ours again.
    """

    def __init__(
        self,
        descriptor: int = 0,
        *,
        on_lent: Callable[[], None] = lambda: None,
        on_returned: Callable[[], None] = lambda: None,
    ) -> None:
        self._descriptor = descriptor
        self._on_lent = on_lent
        self._on_returned = on_returned
        self._borrower: int | None = None
        self._settings: list[Any] | None = None

    @property
    def borrower(self) -> int | None:
        """The process group that has it now."""
        return self._borrower

    def lend(self, group: int) -> bool:
        """Bring `group` to the foreground; whether it has the terminal now."""
        if self._borrower is not None or not is_in_foreground(self._descriptor):
            return False
        self._on_lent()
        self._settings = termios.tcgetattr(self._descriptor)
        if not self._bring_forward(group):
            self._on_returned()
            return False
        self._borrower = group
        return True

    def take_back(self, group: int) -> None:
        """Be in the foreground again, with the terminal's modes as they were; ignored for another than the borrower."""
        if self._borrower != group:
            return
        self._borrower = None
        self._bring_forward(os.getpgrp())
        if self._settings is not None:
            with untroubled():
                try:
                    termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._settings)
                except termios.error:
                    pass
        self._on_returned()

    def _bring_forward(self, group: int) -> bool:
        with untroubled():
            try:
                os.tcsetpgrp(self._descriptor, group)
            except OSError:
                return False  # the group has ended, or the terminal was hung up
        return True


def is_in_foreground(descriptor: int) -> bool:
    """Whether `descriptor` is our controlling terminal, and we are the group that may read it."""
    try:
        return os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp()
    except (AttributeError, OSError):
        return False


@contextmanager
def untroubled() -> Iterator[None]:
    """SIGTTOU and SIGTTIN would stop a background process that changes its terminal, or reads it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU, signal.SIGTTIN})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

"""Lending the terminal to a process group: what makes `breakpoint()` work in a process that is not the App's."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

if sys.platform != "win32":
    import termios


class Terminal:
    """The App's controlling terminal, lent to one process group at a time; where there is none, lending does nothing.

    Background groups that read are stopped by the kernel, so the debugged process has to be in the foreground; while it
    is, Ctrl-C goes to it alone.
    """

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor
        self._borrower: int | None = None
        self._settings: list[Any] | None = None

    @property
    def borrower(self) -> int | None:
        """The process group that has it now."""
        return self._borrower

    def lend(self, group: int) -> bool:
        """Bring `group` to the foreground; whether it has the terminal now."""
        if self._borrower is not None or not self._is_ours():
            return False
        self._settings = termios.tcgetattr(self._descriptor)
        if not self._bring_forward(group):
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
            with _untroubled():
                try:
                    termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._settings)
                except termios.error:
                    pass

    def _is_ours(self) -> bool:
        try:
            return os.isatty(self._descriptor) and os.tcgetpgrp(self._descriptor) == os.getpgrp()
        except (AttributeError, OSError):
            return False

    def _bring_forward(self, group: int) -> bool:
        with _untroubled():
            try:
                os.tcsetpgrp(self._descriptor, group)
            except OSError:
                return False  # the group has ended, or the terminal was hung up
        return True


@contextmanager
def _untroubled() -> Iterator[None]:
    """SIGTTOU would stop a background process that changes its terminal."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

"""Who has the terminal for the prompt of its debugger: one process at a time, the others wait in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duck.backend.django.child import DjangoProcess
    from duck.backend.django.terminal import Terminal


class Prompts:
    """Lends `terminal`; on the inbox's thread."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._waiting: list[DjangoProcess] = []

    def begin(self, process: DjangoProcess) -> None:
        """`process` has come to a prompt: it gets the terminal, now or after those before it."""
        if self._terminal.borrower is not None:
            self._waiting.append(process)
        else:
            self._lend(process)

    def end(self, process: DjangoProcess) -> None:
        """Take back what `process` may have, and lend it to the next that waits."""
        if process in self._waiting:
            self._waiting.remove(process)
        self._terminal.take_back(process.pid)
        if self._waiting and self._terminal.borrower is None:
            self._lend(self._waiting.pop(0))

    def _lend(self, process: DjangoProcess) -> None:
        self._terminal.lend(process.pid)
        process.command("terminal", granted=True)

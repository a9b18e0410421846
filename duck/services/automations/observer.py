"""Observers: who is told of what becomes of runs. Alerts and figures are made from what they are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.run import Run


class Observer(Protocol):
    """Is told on the inbox's thread, of what this node does, each once; it must not wait, and what it raises is logged.

    Who raises a `StoreError` has done nothing of it, and is told the same again later (`Audience`).
    """

    def started(self, declaration: Declaration, run: Run) -> None:
        """`run` has been taken here, and begins: its first attempt, or another."""

    def ended(self, declaration: Declaration, run: Run) -> None:
        """`run` is over: it ended here, or this node has given it up. What is tried again is not over."""

    def skipped(self, declaration: Declaration, run: Run) -> None:
        """A planned time was decided on here, and does not run; `run.reason` says why."""

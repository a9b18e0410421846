"""Executors: how a run is carried out. The dispatcher knows this much of them, and nothing of processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.engine import Ended, Printed
    from duck.services.automations.run import Run


class Executor(Protocol):
    """Carries runs out. Everything is called, and calls back, on the inbox's thread, and nothing waits."""

    def room(self) -> Mapping[str, int]:
        """How many more runs could start now, by lane."""

    def start(self, run: Run, declaration: Declaration, ended: Callable[[Ended], None]) -> None:
        """Begin; `ended` is called once, `retry_at` left to the dispatcher."""

    def printed(self) -> Mapping[int, Printed]:
        """Of runs that have printed something since this was last asked, the end of all that they have."""

    def cancel(self, run_id: int) -> None:
        """Ask it to end, and end it by force after the declaration's `grace_s`; nothing where it is over."""

    def stop(self, deadline_s: float, done: Callable[[], None]) -> None:
        """Let what runs end within so many seconds, by force after that; `done` is called once."""

    def kill(self) -> None:
        """End everything now."""

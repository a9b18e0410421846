"""Member: a process of Duck's own that serves beside the App, and says so every second."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging

    from duck.services.child import Child

LOOK_S = 1.0


class Member:
    """A child, and what it has said.

    Attributes:
        heard: when it said something last (monotonic seconds).
        snapshot: what it told of its counts last.
    """

    def __init__(self, child: Child, state: str) -> None:
        self.child = child
        self.state = state
        self.snapshot: dict[str, Any] = {}
        self.heard = time.monotonic()
        self._asked_for_stacks = False

    @property
    def name(self) -> str:
        """No other one has or had it."""
        return f"{self.child.pid} {self.child.started}"

    def is_there(self) -> None:
        """It has said something."""
        self.heard = time.monotonic()
        self._asked_for_stacks = False

    def end_if_silent(self, allowed_s: float, what: str, logger: logging.Logger) -> None:
        """End it where it has said nothing for longer than `allowed_s`; first it writes where its threads stand.

        `what` it is begins the sentences of the log. To be called every LOOK_S.
        """
        silent_s = time.monotonic() - self.heard
        if silent_s < allowed_s:
            return
        if not self._asked_for_stacks and hasattr(signal, "SIGUSR2"):
            self._asked_for_stacks = True
            self.heard = time.monotonic() - allowed_s + LOOK_S  # so long it has for these
            logger.error("%s has said nothing for %d s; its stacks:", what, silent_s)
            self.child.signal(signal.SIGUSR2)
        else:
            logger.error("%s hangs; it is ended.", what)
            self.child.kill()

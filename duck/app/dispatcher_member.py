"""One dispatcher process, as the App sees it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from duck.services.child import Child

STARTING: Final = "starting"
RUNNING: Final = "running"
LEAVING: Final = "leaving"  # it begins nothing more, and ends with its runs


class DispatcherMember:
    """A child, and what it has said.

    Attributes:
        heard: when it said something last (monotonic seconds).
        status, snapshot: what `NodeReport.figures` told last.
    """

    def __init__(self, child: Child, state: str = STARTING) -> None:
        self.child = child
        self.state = state
        self.heard = time.monotonic()
        self.asked_for_stacks = False
        self.status: dict[str, Any] = {}
        self.snapshot: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """No other one has or had it."""
        return f"{self.child.pid} {self.child.started}"

    def process(self) -> dict[str, Any]:
        """What `duck status` shows of it."""
        return {
            "role": "automations",
            "pid": self.child.pid,
            "state": self.state,
            "uptime_s": round(self.child.uptime_s, 1),
        }

"""One dispatcher process, as the App sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from duck.app.member import Member

if TYPE_CHECKING:
    from duck.services.child import Child

STARTING: Final = "starting"
RUNNING: Final = "running"
LEAVING: Final = "leaving"  # it begins nothing more, and ends with its runs


class DispatcherMember(Member):
    """A child, and what it has said.

    Attributes:
        status, snapshot: what `NodeReport.figures` told last.
    """

    def __init__(self, child: Child, state: str = STARTING) -> None:
        super().__init__(child, state)
        self.status: dict[str, Any] = {}

    def process(self) -> dict[str, Any]:
        """What `duck status` shows of it."""
        return {
            "role": "automations",
            "pid": self.child.pid,
            "state": self.state,
            "uptime_s": round(self.child.uptime_s, 1),
        }

"""The processes of one version of the project, from their start to their end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from duck.proxy.upstream import Generation, Upstream

if TYPE_CHECKING:
    from duck.backend.django.child import DjangoProcess
    from duck.services.inbox import Timer

COMING: Final = "starting"
SERVING: Final = "serving"
RETIRING: Final = "retiring"
GONE: Final = "gone"


@dataclass(frozen=True)
class Failure:
    """Why a version did not come up, or went down.

    Attributes:
        stage: what was being done: `settings`, `import`, `checks`, `urls`, `address` ... as the worker says, or
            `spawn`, `crash` (it ended without a word) or `deadline` (it was not ready in time).
        message: one line.
        traceback: of the project, or empty.
        files: project files named in it: a change of one of them may mend it.
        is_transient: it may pass by itself (a database that is not up yet), so the start is tried again.
    """

    stage: str
    message: str
    traceback: str = ""
    files: tuple[str, ...] = ()
    is_transient: bool = False


@dataclass
class Version:
    """One generation being started, serving, or being retired.

    Attributes:
        processes: those that live, by role: `pages`, `sockets`.
        facts: what the process for pages told.
        is_late: whether its deadline has passed while it was coming.
        on_outcome: who is told once whether it serves; None where nobody waits any more.
        upstreams: what the processes serve, by role; `finder` is a second address of the one for pages.
    """

    number: int
    state: str = COMING
    processes: dict[str, DjangoProcess] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    upstreams: dict[str, Upstream] = field(default_factory=dict)
    deadline: Timer | None = None
    serving_since: float = 0.0
    is_late: bool = False
    on_outcome: Callable[[Failure | None], None] | None = None

    def generation(self) -> Generation:
        """The value that is posted to the front's workers."""
        pages = self.upstreams["pages"]
        sockets = self.upstreams.get("sockets")
        if sockets is None and pages.protocol == "http" and self.facts.get("sockets_wanted"):
            sockets = pages
        return Generation(
            self.number, (pages,), () if sockets is None else (sockets,), self.facts, self.upstreams.get("finder")
        )

    def hand_over(self) -> dict[str, Any]:
        """What the Duck that this process becomes needs to go on with it; plain values."""
        return {
            "number": self.number,
            "state": self.state,
            "facts": self.facts,
            "upstreams": {role: asdict(upstream) for role, upstream in self.upstreams.items()},
            "processes": {role: process.hand_over() for role, process in self.processes.items()},
        }

    @property
    def is_debugging(self) -> bool:
        """Whether somebody is at a prompt in one of its processes."""
        return any(process.is_debugging for process in self.processes.values())

    def cancel_deadline(self) -> None:
        """The start is over, one way or another."""
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    def snapshot(self) -> list[dict[str, Any]]:
        """One entry for each living process, for `duck status`."""
        return [
            {
                "pid": process.pid,
                "role": role,
                "generation": self.number,
                "state": self.state,
                "uptime_s": round(process.uptime_s, 3),
                "debugging": process.is_debugging,
            }
            for role, process in self.processes.items()
        ]

    def serving_s(self) -> float:
        """How long it has served, in seconds."""
        return time.monotonic() - self.serving_since if self.serving_since else 0.0

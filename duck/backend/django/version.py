"""The processes of one version of the project, from their start to their end.

A version has places: a role and an index each. At most one process serves a place; beside it another may come, to take
the place, and others may retire, which were asked to end when what they do is done.

    coming ──ready──> serving ──another took the place──> retiring ──> gone
       └──failed, too late──> gone <──died──┘
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from duck.proxy.upstream import Generation, Upstream
from duck.services.backoff import Backoff

if TYPE_CHECKING:
    from duck.backend.django.child import DjangoProcess
    from duck.services.inbox import Timer

COMING: Final = "starting"
SERVING: Final = "serving"
RETIRING: Final = "retiring"
GONE: Final = "gone"

PAGES: Final = "pages"
SOCKETS: Final = "sockets"

FIRST_BACKOFF_S: Final = 0.25

Outcome = Callable[["Failure | None"], None]


@dataclass(frozen=True)
class Failure:
    """Why a version did not come up, or went down.

    Attributes:
        stage: what was being done: `settings`, `import`, `checks`, `urls`, `address` ... as the worker says, or
            `spawn`, `crash` (it ended without a word), `deadline` (it was not ready in time), `health` (its health
            path did not answer well), `refused` (it may not be served so), `replaced` or `stop` (it was given up).
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

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Failure:
        """What a process has told of itself."""
        files = tuple(event.get("files", ()))
        return cls(event["stage"], event["message"], event.get("traceback", ""), files, bool(event.get("transient")))


@dataclass(eq=False)
class Place:
    """One place of a version.

    Attributes:
        upstream, finder: what the process there serves, or None. Of a process for sockets that has died its upstream
            stays until there is another one, for without it upgrades would be plain requests.
        restart: a start to come.
        renew_after: not before this moment (monotonic seconds) is its process replaced while it serves.
    """

    role: str
    index: int
    upstream: Upstream | None = None
    finder: Upstream | None = None
    backoff: Backoff = field(default_factory=lambda: Backoff(FIRST_BACKOFF_S))
    restart: Timer | None = None
    renew_after: float = 0.0

    @property
    def key(self) -> tuple[str, int]:
        """Where it stands among the others."""
        return self.role, self.index

    @property
    def title(self) -> str:
        """What tells its process from that which answers pages alone, or first; empty for that one."""
        if self.role == PAGES:
            return str(self.index + 1) if self.index else ""
        return self.role

    def cancel_restart(self) -> None:
        """No start is to come."""
        if self.restart is not None:
            self.restart.cancel()
            self.restart = None


@dataclass(eq=False)
class Member:
    """One process of a version.

    Attributes:
        since: when it began to serve (monotonic seconds); 0 before.
        until: number of the generation that does without it; it ends when every front uses that one.
        max_requests: after so many it is replaced; 0 for never.
        vitals: what it told of itself last: `requests`, `busy`, `oldest_view_s`, `threads`.
        pinged_at: when it was asked for them, while it has not answered; 0 otherwise.
        is_stuck: whether one of its views has not answered for too long.
        is_hung: whether it is being ended because it does not answer.
    """

    process: DjangoProcess
    place: Place
    state: str = COMING
    since: float = 0.0
    until: int = 0
    max_requests: int = 0
    deadline: Timer | None = None
    is_late: bool = False
    vitals: Mapping[str, Any] = field(default_factory=dict)
    pinged_at: float = 0.0
    is_stuck: bool = False
    is_hung: bool = False

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"The Django process {self.process.pid} ({self.place.role})"

    def cancel_deadline(self) -> None:
        """Its start is over, one way or another."""
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    def served_s(self) -> float:
        """How long it has served, in seconds."""
        return time.monotonic() - self.since if self.since else 0.0


@dataclass(eq=False)
class Version:
    """One version being started, serving, or being retired.

    Attributes:
        number: of its last generation, or of the one that it will be.
        members: its living processes.
        places: those that are to be filled.
        facts: what the first process for pages told.
        is_late: whether its deadline has passed while it was coming.
        on_outcome: who is told once whether it serves; None where nobody waits any more.
        is_fresh: whether its processes are spawned, and not copied from spares.
    """

    number: int
    state: str = COMING
    members: list[Member] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    deadline: Timer | None = None
    is_late: bool = False
    on_outcome: Outcome | None = None
    is_fresh: bool = True

    def generation(self) -> Generation:
        """The value that is posted to the front's workers."""
        pages = tuple(self._upstreams(PAGES))
        sockets = tuple(self._upstreams(SOCKETS))
        if not sockets and self.facts.get("sockets_wanted"):
            sockets = tuple(page for page in pages if page.protocol == "http")
        finder = next((place.finder for place in self.places if place.finder is not None), None)
        return Generation(self.number, pages, sockets, self.facts, finder)

    def place(self, role: str, index: int) -> Place:
        """The place of that name, made where it is not there yet."""
        for place in self.places:
            if place.key == (role, index):
                return place
        self.places.append(Place(role, index))
        return self.places[-1]

    def at(self, place: Place, state: str) -> Member | None:
        """The process at `place` that is in `state`."""
        return next((one for one in self.members if one.place is place and one.state == state), None)

    @property
    def is_complete(self) -> bool:
        """Whether every place is served."""
        return all(self.at(place, SERVING) is not None for place in self.places)

    @property
    def answers(self) -> bool:
        """Whether a process for pages serves."""
        return any(place.upstream is not None for place in self.places if place.role == PAGES)

    @property
    def is_debugging(self) -> bool:
        """Whether somebody is at a prompt in one of its processes."""
        return any(member.process.is_debugging for member in self.members)

    def cancel_timers(self) -> None:
        """Nothing of it starts any more."""
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None
        for place in self.places:
            place.cancel_restart()
        for member in self.members:
            member.cancel_deadline()

    def tell_outcome(self, failure: Failure | None) -> None:
        """Tell who waits whether it serves."""
        tell, self.on_outcome = self.on_outcome, None
        if tell is not None:
            tell(failure)

    def snapshot(self) -> list[dict[str, Any]]:
        """One entry for each living process, for `duck status`."""
        entries = []
        for member in self.members:
            upstream = member.place.upstream if member.state == SERVING else None
            vitals = {name: value for name, value in member.vitals.items() if name in _SHOWN}
            entries.append(
                {
                    "pid": member.process.pid,
                    "role": member.place.role,
                    "generation": self.number,
                    "state": member.state if self.state != RETIRING else RETIRING,
                    "uptime_s": round(member.process.uptime_s, 3),
                    "debugging": member.process.is_debugging,
                    **vitals,
                    **({"slots": upstream.slots} if upstream is not None else {}),
                }
            )
        return entries

    def _upstreams(self, role: str) -> list[Upstream]:
        places = sorted((place for place in self.places if place.role == role), key=lambda place: place.index)
        return [place.upstream for place in places if place.upstream is not None]


# Of what a process tells of itself.
_SHOWN: Final = ("requests", "busy", "oldest_view_s", "threads")

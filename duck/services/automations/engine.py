"""Engine: the contract of what keeps runs. Every machine plans the same times, and the store lets one of them win.

A planned time is a unique row: whoever inserts it has claimed it, all others have lost it. So there is no leader, and
no lock that could be lost. Engines differ in the store that they share: a file of this machine, a database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.due import Due
    from duck.services.automations.run import Cause, Run, State
    from duck.services.inbox import Inbox


@dataclass(frozen=True, slots=True)
class Standing:
    """How an automation stands in the store.

    Attributes:
        since: planned times up to then have been decided on.
        paused_until: nothing is planned before; `datetime.max` until it is resumed, None where it is not paused.
    """

    name: str
    revision: str
    since: datetime
    paused_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A node, as it last said that it is there.

    Attributes:
        ahead_s: how far its clock was ahead of the store's then; negative for behind.
        takes_each: whether what runs on each node runs there.
    """

    name: str
    beat: datetime
    ahead_s: float = 0.0
    takes_each: bool = True


@dataclass(frozen=True, slots=True)
class Printed:
    """What a run has printed until now.

    Attributes:
        text: the end of it.
        count: how many characters it was in all.
    """

    text: str
    count: int


NOTHING_PRINTED: Final[Mapping[int, Printed]] = MappingProxyType({})
# How long the store remembers what was said `once`, and a node that is silent.
KEPT_TOLD: Final = timedelta(days=90)
KEPT_NODE: Final = timedelta(days=1)
# So many runs of each automation it remembers, however young they are.
KEPT_MOST: Final = 100_000


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended.

    Attributes:
        printed: how many characters it printed in all, of which `output` is the end.
        retry_at: when it is tried again; None where it is over.
        counts: whether it was tried at all; one that was not is tried again as the same attempt.
    """

    state: State
    reason: str = ""
    code: int | None = None
    output: str = ""
    retry_at: datetime | None = None
    printed: int = 0
    counts: bool = True


class Engine(Protocol):
    """Keeps runs in a store. Not safe for threads: one thread owns an engine.

    Raises, all of its methods:
        StoreError: the store cannot be reached, or refuses. Where its answer was lost, it may have done what it was
            asked. Asked again, it does none of it twice, but for `enqueue` without an occasion, and says the same, but
            for `once`, and for runs that `claim` has passed over or `give_up` given up.
    """

    def attend(self, inbox: Inbox, on_change: Callable[[], None]) -> None:
        """Call `on_change` on the inbox's thread soon after another node has queued something, if the store can tell.

        It is looked for now and then in any case. For the inbox's thread, which is the engine's as well.
        """

    def now(self) -> datetime:
        """What the store's clock shows; one that is not asked each time is within 30 seconds."""

    def close(self) -> None:
        """Give everything back."""

    def register(self, declarations: Sequence[Declaration]) -> dict[str, Standing]:
        """Know these automations from now on; how each stands, by name.

        One that was not known, or has another revision, plans from now on: what came before is nobody's.
        """

    def claim(self, dues: Sequence[tuple[Declaration, Due]], node: str = "") -> list[Run]:
        """Insert the rows of planned times; the runs that this call has won, skipped ones included.

        What has a row already was claimed by another, and so was what belongs to a revision that a newer one replaced.
        What was planned for a pause is left, whether or not this node has seen it.
        Of a declaration that `is_for_each` node the rows are those of `node`: unique by it too, and `Standing.since`
        neither counts for them nor is changed.
        """

    def enqueue(
        self,
        declaration: Declaration,
        planned: datetime,
        cause: Cause,
        event: str = "",
        missed: int = 0,
        node: str = "",
        occasion: str = "",
    ) -> Run:
        """A run that no schedule planned; for `node` alone, where one is named.

        Args:
            occasion: what it is for, as no other happening is called. A run of this automation that was queued for it
                (for this node) is returned, and no second one queued, whatever else is said of it now.

        Raises:
            CrowdedError: too much of this automation waits; nothing is kept of this one.
        """

    def crowded(self) -> set[str]:
        """Automations of which so much waits that no more events should come; asked every few seconds."""

    def join(self, node: str, ahead_s: float = 0.0, *, takes_each: bool = True) -> None:
        """Say that `node` is there; said every few seconds.

        Args:
            ahead_s: how far its clock is ahead of the store's.
            takes_each: whether what `is_for_each` node is for this one, too.
        """

    def leave(self, node: str) -> None:
        """Say that `node` ends; it has no runs any more."""

    def nodes(self, silent_s: float) -> list[Node]:
        """Those that have said so within so many seconds, sorted by name; others are forgotten after a day."""

    def backfill(self, declaration: Declaration, times: Sequence[datetime]) -> list[Run]:
        """Queue runs for planned times, with `Cause.BACKFILL`; those that this call has queued.

        A time is left that was backfilled under this revision, or whose run of the schedule waits, runs, or has
        succeeded; a claim that comes later skips one that was backfilled. Such runs are taken after all others, one
        after the other where the automation's do not overlap, and count for no overlap while they wait.
        """

    def take(self, node: str, declarations: Mapping[str, Declaration], room: Mapping[str, int]) -> list[Run]:
        """Start queued runs of these automations: they are RUNNING, at `node`, when they are returned.

        Those among them that are `due.stale` by now are SKIPPED, and returned as well. What is for another node is left
        to that; what runs there, or waits for it, is in the way of nothing here.

        Args:
            declarations: by their names; a mapping that is handed in again is as it was.
            room: how many may start in each lane.
        """

    def beat(self, node: str, runs: Sequence[int], printed: Mapping[int, Printed] = NOTHING_PRINTED) -> set[int]:
        """Say that these runs go on at `node`; those of them that are to end.

        A run that is no longer this node's, since it was given up, is to end as well.

        Args:
            printed: what runs of these have printed, where that is more than was said before.
        """

    def once(self, key: str) -> bool:
        """Whether nobody has asked this with `key` before, in the last 90 days; what all nodes see one of them says."""

    def finish(self, run: Run, ended: Ended) -> bool:
        """Say how `run` ended; whether it was still its node's to say."""

    def give_up(self, silent_s: float, declarations: Mapping[str, Declaration]) -> list[Run]:
        """Runs of nodes that have been silent for so long, which are LOST, or QUEUED again; as they are now.

        What is for one node alone is LOST with it, and what still waits for one that is none of `nodes` as well.
        """

    def cancel(self, run_id: int) -> bool:
        """Have a run end, or not start; whether it was under way or queued."""

    def pause(self, name: str, until: datetime | None) -> None:
        """Plan nothing until then; None for until it is resumed."""

    def resume(self, name: str) -> None:
        """Plan again; what was planned meanwhile is passed over."""

    def paused(self) -> dict[str, datetime]:
        """Until when automations are paused, by name; cheap to ask, a few times a minute."""

    def standings(self) -> dict[str, Standing]:
        """How every known automation stands."""

    def runs(
        self, name: str | None = None, *, limit: int = 50, state: State | None = None, before: int | None = None
    ) -> list[Run]:
        """The latest runs, the newest first; `before` an id, for the next page."""

    def run(self, run_id: int) -> Run | None:
        """One run."""

    def prune(self, keep: int, keep_s: float, most: int = KEPT_MOST) -> int:
        """Forget runs that are over, beyond the latest `keep` of each automation, and older than so many seconds or
        beyond the latest `most`; how many.

        Planned times that may come again keep their rows: what was backfilled and is not decided on, and all of an
        automation that was decided on by a clock that was ahead.
        """

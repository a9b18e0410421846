"""The engine in the project's database: what is asked of it goes to a process of the project, which has its ORM.

    dispatcher -> DjangoEngine -> StoreLink -> `duck.automation.django.store.Store` -> the database

The database's clock decides. Each answer brings what it shows, and between answers this machine counts on from there,
so that a turn of the dispatcher in which nothing is due is one question.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from duck.exceptions import StoreError
from duck.services.automations.coming import Coming
from duck.services.automations.due import PUNCTUAL
from duck.services.automations.engine import KEPT_MOST, NOTHING_PRINTED, Ended, Node, Printed, Standing
from duck.services.automations.engines.local_rows import maybe, moment, node_of, number, run_of
from duck.services.automations.run import State
from duck.services.automations.silence import Silent, after_silence

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.due import Due
    from duck.services.automations.run import Cause, Run
    from duck.services.inbox import Inbox

# So old may be what the clock showed, to be counted on from.
_READING_S: Final = 5.0
# What this machine's clock may be off from its own steady one before it is believed to have slept.
_SLEPT_S: Final = 0.5
_PAGE: Final = 200
_FOREVER: Final = datetime.max.replace(tzinfo=UTC)
# What two clocks that are counted on from one moment may part by meanwhile.
_MARGIN: Final = timedelta(milliseconds=100)


class StoreLink(Protocol):
    """Asks the store."""

    def call(self, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """`result`, what the store's clock showed (`now`, microseconds), and what this machine's two showed then
        (`read`, seconds: its steady one, and the other).

        Raises:
            StoreError: there is no answer, or a refusal.
        """

    def attend(self, inbox: Inbox, on_change: Callable[[], None]) -> None:
        """Wait for seconds only from now on; `on_change` is called on the inbox's thread when to ask is worth it."""

    def close(self) -> None:
        """Nothing more is asked."""


class DjangoEngine:
    """An `Engine`."""

    def __init__(self, link: StoreLink) -> None:
        self._link = link
        self._coming = Coming()
        self._clock: _Reading | None = None
        self._paused: dict[str, int] | None = None  # as the last answer had it
        self._told: Mapping[str, Declaration] | None = None  # what the store was told to take runs of
        self._held: set[int] = set()  # runs that were given to this node
        self._unheard: datetime | None = None  # since when such may have been given without its knowing
        self._unsure: set[int] = set()  # runs of which it does not know whether the store knows their end

    def _ask(self, method: str, **arguments: Any) -> Any:
        self._paused = None
        answer = self._link.call(method, arguments)
        self._clock = _Reading(answer["now"], *answer["read"])
        return answer["result"]

    # -- an Engine ------------------------------------------------------------------------------------------------

    def attend(self, inbox: Inbox, on_change: Callable[[], None]) -> None:
        """See `Engine`: no database of the ORM's tells anybody, but what it answers late is told of."""
        self._link.attend(inbox, on_change)

    def now(self) -> datetime:
        """See `Engine`: the database's clock."""
        if self._clock is None or not self._clock.is_good:
            self._ask("now")
            if self._clock is None or not self._clock.is_good:
                self._ask("now")  # the first answer was old when it came
            assert self._clock is not None
        return self._clock.now()

    def close(self) -> None:
        """See `Engine`."""
        self._link.close()

    def register(self, declarations: Sequence[Declaration]) -> dict[str, Standing]:
        """See `Engine`."""
        found = self._ask("register", declared=[(each.name, each.revision) for each in declarations])
        self._coming.declare(declarations, self.now())
        return _standings(found)

    def claim(self, dues: Sequence[tuple[Declaration, Due]], node: str = "") -> list[Run]:
        """See `Engine`."""
        told = [
            {
                "name": declaration.name,
                "revision": declaration.revision,
                "overlap": declaration.overlap,
                "planned": number(due.planned),
                "runs": due.runs,
                "reason": due.reason,
                "missed": due.missed,
                "each": declaration.is_for_each,
            }
            for declaration, due in dues
        ]
        return [run_of(row) for row in self._ask("claim", dues=told, node=node)]

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
        """See `Engine`."""
        row = self._ask(
            "enqueue",
            name=declaration.name,
            revision=declaration.revision,
            overlap=declaration.overlap,
            planned=number(planned),
            cause=cause,
            event=event,
            missed=missed,
            node=node,
            occasion=occasion,
        )
        return run_of(row)

    def backfill(self, declaration: Declaration, times: Sequence[datetime]) -> list[Run]:
        """See `Engine`."""
        named = {"name": declaration.name, "revision": declaration.revision}
        return [run_of(row) for row in self._ask("backfill", **named, times=[number(each) for each in times])]

    def join(self, node: str, ahead_s: float = 0.0, *, takes_each: bool = True) -> None:
        """See `Engine`."""
        self._ask("join", node=node, ahead_s=ahead_s, takes_each=takes_each)

    def leave(self, node: str) -> None:
        """See `Engine`."""
        self._ask("leave", node=node)

    def nodes(self, silent_s: float) -> list[Node]:
        """See `Engine`."""
        return [node_of(row) for row in self._ask("nodes", silent_s=silent_s)]

    def once(self, key: str) -> bool:
        """See `Engine`."""
        return bool(self._ask("once", key=key))

    def take(self, node: str, declarations: Mapping[str, Declaration], room: Mapping[str, int]) -> list[Run]:
        """See `Engine`."""
        arguments: dict[str, Any] = {"node": node, "room": dict(room)}
        began = self.now()
        if self._unheard is not None:
            arguments |= {"held": sorted(self._held), "since": number(self._unheard)}
        try:
            # Nearly always it is the same one, of which nobody compares thousands each second.
            is_told = self._told is declarations or self._told == declarations
            rows = self._ask("take", **arguments) if is_told else None
            if rows is None:  # it has not been told of them, or has forgotten
                told = {name: _taken_as(each) for name, each in declarations.items()}
                rows = self._ask("take", declared=told, **arguments)
                self._told = declarations
        except StoreError:
            if self._unheard is None:
                self._unheard = began - _MARGIN
            raise
        self._unheard = None
        self._held.update(row["id"] for row in rows if row["state"] == State.RUNNING)
        return [run_of(row) for row in rows]

    def beat(self, node: str, runs: Sequence[int], printed: Mapping[int, Printed] = NOTHING_PRINTED) -> set[int]:
        """See `Engine`. What people are told goes with it."""
        now = self.now()
        told = self._coming.take(now)
        if not runs and not told:
            return set()
        try:
            news = [(run_id, each.text, each.count) for run_id, each in printed.items()]
            return set(self._ask("beat", node=node, runs=list(runs), told=told, printed=news))
        except StoreError:
            self._coming.forget(told, now)
            raise

    def finish(self, run: Run, ended: Ended) -> bool:
        """See `Engine`."""
        try:
            was_ours = self._ask(
                "finish",
                run=run.id,
                node=run.node,
                attempt=run.attempt,
                state=ended.state,
                reason=ended.reason,
                code=ended.code,
                output=ended.output,
                retry_at=number(ended.retry_at) if ended.retry_at is not None else None,
                again=run.id in self._unsure,
                printed=ended.printed,
                counts=ended.counts,
            )
        except StoreError:
            self._unsure.add(run.id)
            raise
        self._unsure.discard(run.id)
        self._held.discard(run.id)
        return bool(was_ours)

    def give_up(self, silent_s: float, declarations: Mapping[str, Declaration]) -> list[Run]:
        """See `Engine`."""
        decided = []
        silent, paused = self._ask("look", silent_s=silent_s)
        for run_id, *values in silent:
            one = Silent(*values)
            wait_s, reason, counts = self._after_silence(one, declarations)
            decided.append((run_id, one.attempt, reason, wait_s, counts))
        if not decided:
            self._paused = paused  # which is asked next
            return []
        return [run_of(row) for row in self._ask("give_up", silent_s=silent_s, decided=decided)]

    def _after_silence(self, silent: Silent, declarations: Mapping[str, Declaration]) -> tuple[float | None, str, bool]:
        """See `after_silence`; and whether its attempt counts."""
        return *after_silence(silent, declarations), True

    def cancel(self, run_id: int) -> bool:
        """See `Engine`."""
        return bool(self._ask("cancel", run=run_id))

    def pause(self, name: str, until: datetime | None) -> None:
        """See `Engine`."""
        self._ask("pause", name=name, until=number(until or _FOREVER))

    def resume(self, name: str) -> None:
        """See `Engine`."""
        self._ask("resume", name=name)

    def paused(self) -> dict[str, datetime]:
        """See `Engine`; where `give_up` was asked just before, it is known already."""
        paused = self._paused if self._paused is not None else self._ask("paused")
        self._paused = None
        return {name: moment(until) for name, until in paused.items()}

    def standings(self) -> dict[str, Standing]:
        """See `Engine`."""
        return _standings(self._ask("standings"))

    def runs(
        self, name: str | None = None, *, limit: int = 50, state: State | None = None, before: int | None = None
    ) -> list[Run]:
        """See `Engine`."""
        found: list[Run] = []
        while len(found) < limit:
            size = min(limit - len(found), _PAGE)
            rows = self._ask("runs", name=name, limit=size, state=state, before=before)
            found += map(run_of, rows)
            if len(rows) < size:
                break
            before = rows[-1]["id"]
        return found

    def run(self, run_id: int) -> Run | None:
        """See `Engine`."""
        row = self._ask("run", run=run_id)
        return run_of(row) if row is not None else None

    def crowded(self) -> set[str]:
        """See `Engine`."""
        return set(self._ask("crowded"))

    def prune(self, keep: int, keep_s: float, most: int = KEPT_MOST) -> int:
        """See `Engine`."""
        return int(self._ask("prune", keep=keep, keep_s=keep_s, most=most))


class _Reading:
    """What the store's clock showed when this machine's showed `steady` and `wall`, and what it shows by that since.

    It is never ahead of the store's: what a question takes on its way is left out.
    """

    def __init__(self, shown: int, steady: float, wall: float) -> None:
        self._shown = moment(shown)
        self._steady = steady
        self._wall = wall

    @property
    def is_good(self) -> bool:
        """Whether it may be counted on from: it is fresh, and this machine has not slept since."""
        passed_s = time.monotonic() - self._steady
        return passed_s < _READING_S and abs(time.time() - self._wall - passed_s) < _SLEPT_S

    def now(self) -> datetime:
        return self._shown + timedelta(seconds=time.monotonic() - self._steady)


def _taken_as(declaration: Declaration) -> tuple[str, str, int, int]:
    """What decides on a queued run of it: `due.stale`, in microseconds, and the rest."""
    most_s = max(declaration.within_s, PUNCTUAL.total_seconds())
    return declaration.lane, declaration.overlap, round(most_s * 1e6), round(declaration.delay_s * 1e6)


def _standings(found: Mapping[str, Sequence[Any]]) -> dict[str, Standing]:
    return {
        name: Standing(name, revision, moment(since), maybe(paused_until))
        for name, (revision, since, paused_until) in found.items()
    }

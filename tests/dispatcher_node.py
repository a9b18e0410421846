"""A node of automations for tests: a dispatcher whose clock can be set, and whose runs end when the test says so."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from duck.exceptions import StoreError
from duck.services.automations.clock import MachineClock
from duck.services.automations.declaration import LANES, Declaration, read_declaration
from duck.services.automations.dispatcher import Dispatcher
from duck.services.automations.engine import NOTHING_PRINTED, Ended, Printed
from duck.services.automations.engines.local import LocalEngine
from duck.services.inbox import Inbox
from tests.waiting import DEADLINE_S, serve_until

if TYPE_CHECKING:
    from duck.services.automations.event_spool import EventSpool
    from duck.services.automations.observer import Observer
    from duck.services.automations.run import Run


class ClockedEngine(LocalEngine):
    """Its clock can be set; and it can be out of reach."""

    ahead = timedelta()
    is_away = False

    def now(self) -> datetime:
        if self.is_away:
            raise StoreError("The store is away.")
        return datetime.now(UTC) + self.ahead


class SetClock(MachineClock):
    """The machine's clock, set as the engine's is unless it is `off_s`; it can have slept, and passes as it is told."""

    def __init__(self, engine: ClockedEngine) -> None:
        self.engine = engine
        self.off_s = 0.0
        self.passed = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.engine.ahead + timedelta(seconds=self.off_s)

    def monotonic(self) -> float:
        return time.monotonic() + self.passed.total_seconds()


class Watching:
    """An `Observer` that keeps what it is told."""

    def __init__(self) -> None:
        self.started_: list[Run] = []
        self.over: list[Run] = []
        self.skipped_: list[Run] = []

    def started(self, declaration: Declaration, run: Run) -> None:
        self.started_.append(run)

    def ended(self, declaration: Declaration, run: Run) -> None:
        self.over.append(run)

    def skipped(self, declaration: Declaration, run: Run) -> None:
        self.skipped_.append(run)


class Hands:
    """Carries runs out when the test says so."""

    def __init__(self, room: int = 10) -> None:
        self.most = room
        self.runs: dict[int, tuple[Run, Callable[[Ended], None]]] = {}
        self.started: list[Run] = []
        self.cancelled: list[int] = []
        self.at: list[float] = []
        self.news: Mapping[int, Printed] = NOTHING_PRINTED
        self.stopped: Callable[[], None] | None = None

    def room(self) -> Mapping[str, int]:
        return dict.fromkeys(LANES, self.most - len(self.runs))

    def start(self, run: Run, declaration: Declaration, ended: Callable[[Ended], None]) -> None:
        self.at.append(time.time())
        self.started.append(run)
        self.runs[run.id] = (run, ended)

    def end(self, run: Run, ended: Ended) -> None:
        self.runs.pop(run.id)[1](ended)
        if self.stopped is not None and not self.runs:
            self.stopped()

    def printed(self) -> Mapping[int, Printed]:
        return self.news

    def cancel(self, run_id: int) -> None:
        self.cancelled.append(run_id)

    def stop(self, deadline_s: float, done: Callable[[], None]) -> None:
        self.stopped = done
        if not self.runs:
            done()

    def kill(self) -> None:
        self.runs.clear()


class Node:
    """One whose store is a file.

    Args:
        observers: beside the one that keeps what it is told.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        room: int = 10,
        events: EventSpool | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.inbox = Inbox()
        self.engine = ClockedEngine(path)
        self.hands = Hands(room)
        self.clock = SetClock(self.engine)
        self.watching = Watching()
        self.over = self.watching.over
        self.dispatcher = Dispatcher(
            self.inbox,
            self.engine,
            self.hands,
            name,
            events=events,
            observers=[*observers, self.watching],
            clock=self.clock,
        )

    def wait(self, **span: float) -> None:
        """So much time passes, here and at the store."""
        self.engine.ahead += timedelta(**span)
        self.clock.passed += timedelta(**span)
        self.turns()

    def set_clock(self, **span: float) -> None:
        """Somebody sets the clock of machine and store by so much, or the machine has slept so long."""
        self.engine.ahead += timedelta(**span)
        self.turns()

    def begin(self, *declarations: Declaration) -> None:
        self.dispatcher.declare(declarations)
        self.dispatcher.start()

    def serve(self, until: Callable[[], object], within_s: float = DEADLINE_S) -> None:
        serve_until(self.inbox, until, within_s)

    def turns(self, count: int = 3) -> None:
        for _ in range(count):
            self.dispatcher.wake()
            self.inbox.run_once(0.0)


def declared(name: str = "job", /, **table: Any) -> Declaration:
    return read_declaration(name, {"command": "x", **table}, "duck.toml", ZoneInfo("UTC"))

"""What `duck automations doctor` looks at: everything that scheduled work needs, and how it has gone."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from duck.app.finding import ERROR, OK, WARNING, Finding
from duck.exceptions import DuckError, StoreError
from duck.services.automations.alerts.alert import in_words
from duck.services.automations.clock import EXCLUDED_S, TOLD_S, ClockWatch, MachineClock
from duck.services.automations.dispatcher import SILENT_S
from duck.services.automations.due import PUNCTUAL, was_missed
from duck.services.automations.run import Cause, State

if TYPE_CHECKING:
    from duck.app.automation_declarations import Found
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.engine import Engine, Node
    from duck.services.automations.run import Run
    from duck.settings.load import Settings

# How far back runs are looked at, and how many.
_BACK: Final = timedelta(days=1)
_RUNS: Final = 2000
# A run that is queued for so long finds no room, or nobody who may take it.
_WAITS_LONG: Final = timedelta(minutes=5)
# How far ahead planned times are counted, and how many in all.
_AHEAD: Final = timedelta(days=1)
_PLANNED: Final = 200_000
_LISTED: Final = 10
# What bounds each lane; on a loop there is room for all.
_BOUNDS: Final = {
    "process": "AUTOMATION_PROCESSES",
    "shell": "AUTOMATION_PROCESSES",
    "thread": "AUTOMATION_THREADS",
    "url": "AUTOMATION_THREADS",
}


class AutomationsCheckup:
    """One look.

    Args:
        find: gives what is declared; raises DuckError where the project cannot be loaded.
        open_engine: gives the store; raises DuckError where it cannot be used.
        clock: this machine's.
    """

    def __init__(
        self,
        settings: Settings,
        find: Callable[[], Found],
        open_engine: Callable[[], Engine],
        clock: MachineClock | None = None,
    ) -> None:
        self._settings = settings
        self._find = find
        self._open_engine = open_engine
        self._clock = clock or MachineClock()

    def findings(self) -> Iterator[Finding]:
        """What is found, as it is found."""
        yield from _zone()
        declarations: Sequence[Declaration] = ()
        try:
            found = self._find()
        except DuckError as error:
            first, *more = str(error).splitlines()
            yield Finding(ERROR, "declarations", first, tuple(more))
        else:
            declarations = [each for each in found.declarations if each.enabled]
            for problem in found.problems:
                yield Finding(ERROR, "declarations", problem)
            for warning in found.warnings:
                yield Finding(WARNING, "declarations", warning)
            yield Finding(OK, "declarations", f"{_number(len(declarations), 'automation')} can be used.")
        engine = None
        try:
            engine = self._open_engine()
            # It changes nothing, and needs all that a change does.
            engine.leave("doctor")
        except DuckError as error:
            yield Finding(ERROR, "store", str(error))
            if engine is not None:
                engine.close()
                engine = None
        else:
            yield Finding(OK, "store", "The store can be read and written.")
        now = engine.now() if engine is not None else self._clock.now()
        yield from _never(declarations, now)
        yield from self._room(declarations, now)
        if engine is not None:
            try:
                yield from self._lives(engine, declarations, now)
                yield from _history(engine, {each.name: each for each in declarations}, now)
            except StoreError as error:
                yield Finding(ERROR, "store", str(error))
            engine.close()

    def _lives(self, engine: Engine, declarations: Sequence[Declaration], now: datetime) -> Iterator[Finding]:
        watch = ClockWatch(engine.now, self._clock)
        watch.measure()
        yield _clock("this machine", watch.ahead_s)
        living = engine.nodes(SILENT_S)
        for node in living:
            if abs(node.ahead_s) > TOLD_S:
                yield _clock(f"the node {node.name}", node.ahead_s)
        if living:
            yield Finding(
                OK, "nodes", f"{_number(len(living), 'node')} run: {', '.join(node.name for node in living)}."
            )
        elif declarations:
            yield _nobody(engine.nodes(_BACK.total_seconds()), now)

    def _room(self, declarations: Sequence[Declaration], now: datetime) -> Iterator[Finding]:
        """Whether there is room for all that is due in the same second."""
        due: Counter[tuple[datetime, str]] = Counter()
        counted = 0
        for declaration in declarations:
            schedule = declaration.plan.schedule
            at = schedule.after(now) if schedule is not None else None
            while schedule is not None and at is not None and at < now + _AHEAD and counted < _PLANNED:
                second = (at + timedelta(seconds=declaration.delay_s)).replace(microsecond=0)
                due[second, declaration.lane] += 1
                counted += 1
                at = schedule.after(at)
        for lane, name in _BOUNDS.items():
            most = max(((count, at) for (at, each), count in due.items() if each == lane), default=None)
            if most is not None and most[0] > self._settings[name]:
                yield Finding(
                    WARNING,
                    "room",
                    f"{most[0]} runs are due in the same second, {_iso(most[1])}, and {name} is {self._settings[name]},"
                    f" so some wait for others; raise it, start more nodes, or give them jitter.",
                )


def _zone() -> Iterator[Finding]:
    said = os.environ.get("TZ", "").lstrip(":")
    if not said:
        return
    try:
        ZoneInfo(said)
    except (KeyError, ValueError, OSError):
        sentence = f'TZ is "{said}", which is no time zone, so UTC may count; give a name such as "Europe/Berlin".'
        yield Finding(WARNING, "zone", sentence)


def _clock(whose: str, ahead_s: float) -> Finding:
    if abs(ahead_s) <= TOLD_S:
        return Finding(OK, "clock", f"The clock of {whose} is that of the store, within {TOLD_S:g} s.")
    level = ERROR if abs(ahead_s) > EXCLUDED_S else WARNING
    effect = ", so it starts nothing" if level == ERROR else ""
    side = "ahead of" if ahead_s > 0 else "behind"
    sentence = f"The clock of {whose} is {abs(ahead_s):.1f} s {side} the store's{effect}; set it, by NTP for example."
    return Finding(level, "clock", sentence)


def _nobody(nodes: Sequence[Node], now: datetime) -> Finding:
    latest = max((node.beat for node in nodes), default=None)
    since = f", the last for {in_words(now - latest)}" if latest is not None else ""
    return Finding(
        ERROR,
        "nodes",
        f"No node has been heard of{since}, so nothing runs; start `duck automations run` or `duck serve`.",
    )


def _never(declarations: Sequence[Declaration], now: datetime) -> Iterator[Finding]:
    for each in declarations:
        if each.plan.schedule is not None and not each.plan.events and each.plan.schedule.after(now) is None:
            yield Finding(
                WARNING,
                "schedule",
                f"{each.origin}: the automation {each.name!r} ({each.when}) has no time to come; give it another, or"
                " take it out.",
            )


def _history(engine: Engine, declared: dict[str, Declaration], now: datetime) -> Iterator[Finding]:
    runs = [run for run in engine.runs(limit=_RUNS) if (run.created or run.planned) >= now - _BACK]
    open_ = [*engine.runs(limit=_RUNS, state=State.RUNNING), *engine.runs(limit=_RUNS, state=State.QUEUED)]
    yield from _listed("stuck", [said for run in open_ if (said := _stuck(run, declared, now))])
    missed = Counter(run.name for run in runs if was_missed(run))
    yield from _listed(
        "missed",
        [
            f"{name} missed {_number(count, 'planned time')} in the last day; see to it that a node runs then, or widen"
            " `within`."
            for name, count in missed.items()
        ],
    )
    late: dict[str, timedelta] = {}
    for run in runs:
        if run.cause is Cause.SCHEDULE and run.started is not None and run.attempt == 1:
            delay = timedelta(seconds=declared[run.name].delay_s) if run.name in declared else timedelta()
            by = run.started - run.planned - delay
            if by > PUNCTUAL:
                late[run.name] = max(by, late.get(run.name, by))
    yield from _listed(
        "late",
        [
            f"{name} started up to {in_words(by)} late in the last day; more AUTOMATION_PROCESSES, or nodes, may help."
            for name, by in late.items()
        ],
    )


def _stuck(run: Run, declared: dict[str, Declaration], now: datetime) -> str:
    if run.state is State.RUNNING and run.beat is not None and (now - run.beat).total_seconds() > SILENT_S:
        silent = in_words(now - run.beat)
        return (
            f"Run {run.id} of {run.name} is running on {run.node}, which has been silent for {silent}; a node that runs"
            " gives it up."
        )
    ready = run.not_before or run.created or run.planned
    if run.state is not State.QUEUED or now - ready <= _WAITS_LONG:
        return ""
    waits = f"Run {run.id} of {run.name} has waited for {in_words(now - ready)}"
    declaration = declared.get(run.name)
    if declaration is None:
        return f"{waits}, and {run.name} is not declared any more; `duck automations cancel {run.id}` ends it."
    if declaration.run_on != "any":
        return f"{waits} for a node with {declaration.run_on!r} in AUTOMATION_TAGS; start one, or change `run_on`."
    return f"{waits} for room, or for the run before it; see `duck automations history {run.name}`."


def _listed(topic: str, sentences: Sequence[str]) -> Iterator[Finding]:
    for sentence in sentences[:_LISTED]:
        yield Finding(WARNING, topic, sentence)
    if len(sentences) > _LISTED:
        yield Finding(WARNING, topic, f"And {len(sentences) - _LISTED} more; `duck automations history` shows all.")


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")

"""Declarations: what settings, `duck.toml` or a decorator say of an automation, read into one value."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from duck.exceptions import SettingsError
from duck.services.automations.event import DETAILS, SECRETS, TELLING, Event, without_secrets
from duck.services.automations.run import Cause, Run
from duck.services.automations.schedule import previous
from duck.services.automations.target import TARGETS, check_target
from duck.services.automations.trigger import KEYS, TIMES, Plan, plain_duration, read_trigger
from duck.settings import kinds
from duck.settings.duration import parse_duration, write_duration

MISSED: Final = ("once", "all", "skip")
OVERLAPS: Final = ("skip", "queue_one", "queue_all", "replace", "allow")
ON_CRASH: Final = ("fail", "retry")
PLACES: Final = ("process", "thread", "loop")
# What is counted together, since one executor carries it out: those of PLACES are the project's job processes.
LANES: Final = (*PLACES, "shell", "url")
EACH: Final = "each"
_BESIDE_TRIGGERS: Final = ("tz", "start", "except", *DETAILS)
_MOST_WORDS: Final = 3
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_BACKOFF: Final = re.compile(r"exp:(.+?)\.\.(.+)")
# What other schedulers call it.
_ELSEWHERE: Final = {
    "schedule": "cron",
    "crontab": "cron",
    "interval": "every",
    "period": "every",
    "timezone": "tz",
    "time_zone": "tz",
    "zone": "tz",
    "cmd": "shell",
    "script": "shell",
    "run": "shell",
    "func": "call",
    "function": "call",
    "retries": "retry",
    "max_retries": "retry",
    "concurrency": "overlap",
    "max_instances": "overlap",
    "misfire_grace_time": "within",
    "tag": "run_on",
    "tags": "run_on",
    "exclude": "except",
    "directory": "cwd",
    "environment": "env",
}
_NOWHERE: Final = Path()
_DAY_S: Final = 86_400.0
# How often a run whose node was lost is tried again at least, where `on_crash` says so and `retry` nothing more.
CRASH_RETRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before a run is tried again, in seconds."""

    first_s: float = 30.0
    most_s: float = 30.0

    def wait_s(self, attempt: int) -> float:
        """Before the try after `attempt`, which counts from 1."""
        return min(self.first_s * 2.0 ** min(attempt - 1, 60), self.most_s)


@dataclass(frozen=True, slots=True)
class Declaration:
    """One automation; times in seconds, None for no bound.

    Attributes:
        origin: the file that declares it, and where in it.
        plan: when it runs; a plan of nothing for one that is run by hand alone.
        kind: what `target` is: one of TARGETS.
        details: what goes with the target, as JSON.
        revision: of what decides on its planned times: another one plans anew.
        within_s: how long after its time a missed one still runs.
        jitter_s: at most so much later, the same for every time.
        run_on: `any`, `each`, or a tag.
        alert: the channels of AUTOMATION_ALERTS that are told when something goes wrong.
        alert_late_s: a start so long after its time is told.
        alert_after_s: that it has not succeeded for so long is told.
        sentence: what it is for.
        when: its trigger in a few words.
        trigger: the table of that without secrets, as JSON.
    """

    name: str
    origin: str
    plan: Plan
    kind: str
    target: str
    details: str
    revision: str
    missed: str = "once"
    within_s: float = _DAY_S
    overlap: str = "skip"
    timeout_s: float | None = None
    grace_s: float = 10.0
    retry: int = 0
    backoff: Backoff = Backoff()
    jitter_s: float = 0.0
    on_crash: str = "fail"
    run_in: str = "process"
    run_on: str = "any"
    enabled: bool = True
    alert: tuple[str, ...] = ()
    alert_late_s: float = 300.0
    alert_after_s: float | None = None
    sentence: str = ""
    when: str = ""
    trigger: str = "{}"

    @property
    def is_for_each(self) -> bool:
        """Whether each node has runs of its own: one for each planned time."""
        return self.run_on == EACH

    @property
    def lane(self) -> str:
        """Which of LANES carries it out."""
        return {"shell": "shell", "url": "url", "task": "thread"}.get(self.kind, self.run_in)

    @property
    def place(self) -> str:
        """Which of PLACES that is: a shell has a process of its own, and to ask others waits in a thread."""
        return {"shell": "process", "url": "thread"}.get(self.lane, self.lane)

    @property
    def details_table(self) -> dict[str, Any]:
        """`details`, read."""
        table: dict[str, Any] = json.loads(self.details)
        return table

    def context(self, run: Run) -> dict[str, Any]:
        """What a run is told of itself; plain values, moments in ISO 8601."""
        interval = None
        if run.cause in (Cause.SCHEDULE, Cause.BACKFILL) and self.plan.schedule is not None:
            # What came between two runs is for the second; those that it stands for are part of it.
            before = previous(self.plan.schedule, run.planned, run.missed + 1)
            interval = [_iso(before), _iso(run.planned)] if before is not None else None
        return {
            "scheduled_for": _iso(run.planned),
            "interval": interval,
            "missed": run.missed,
            "attempt": run.attempt,
            "key": run.key,
            "event": json.loads(run.event) if run.event else {},
        }

    def after_crash(self, attempt: int, reason: str) -> tuple[float | None, str]:
        """After how many seconds a run whose `attempt` was lost is tried again, None for never; and why it was lost.

        One that ends its node each time would end all nodes, one after the other, for ever: so there is a bound.
        """
        if self.on_crash != "retry":
            return None, reason
        if attempt > max(self.retry, CRASH_RETRIES):
            return None, f"{reason}; this was attempt {attempt}, and the last one"
        return self.backoff.wait_s(attempt), reason

    @property
    def delay_s(self) -> float:
        """Its part of the jitter: spread over automations by their names, and the same on every machine and day."""
        spread = int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:4], "big") / 2**32
        return self.jitter_s * spread


def read_declaration(name: str, table: Any, origin: str, zone: ZoneInfo) -> Declaration:
    """The automation that `table` declares; `zone` counts where its trigger names none.

    Args:
        origin: file and place, for what is wrong with it.

    Raises:
        SettingsError: it cannot be used; one sentence with origin, name, key, value and what is right.
    """
    try:
        return _read(name, table, origin, zone)
    except ValueError as error:
        raise SettingsError(f"{origin}: the automation {name!r} cannot be used: {error}.") from None


def events_of(table: Any) -> tuple[Event, ...]:
    """The events that the automation of `table` waits for; none where it cannot be read, which others say."""
    if isinstance(table, Mapping) and sum(key in table for key in KEYS) == 1 and any(key in table for key in TIMES):
        return ()  # of thousands most are so, and are read once more for what they plan
    try:
        return read_trigger(_trigger_of(table), ZoneInfo("UTC")).events
    except (ValueError, TypeError, AttributeError):
        return ()


def _read(name: str, table: Any, origin: str, zone: ZoneInfo) -> Declaration:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError("give it a name of letters, digits, `_`, `-` and `.`")
    if not isinstance(table, Mapping):
        raise ValueError(f'it is {table!r}: give a table such as {{command = "clearsessions", every = "1d"}}')
    kind = _one_of("targets", TARGETS, table)
    if kind is None:
        raise ValueError(f"it has nothing to run: give one of {', '.join(TARGETS)}")
    known = (*TARGETS, *TARGETS[kind], *KEYS, *_BESIDE_TRIGGERS, *_OPTIONS, "description")
    for key in table:
        if key not in known:
            owners = [f"`{each}`" for each, beside in TARGETS.items() if key in beside]
            if owners:
                raise ValueError(f"{key} does not go with `{kind}`: it is of {' and '.join(owners)}; leave it out")
            elsewhere = _ELSEWHERE.get(str(key))
            near = [elsewhere] if elsewhere else difflib.get_close_matches(str(key), known, 1, 0.7)
            near = [word for word in near if word in known]
            raise ValueError(f"{key} is not known: {f'give {near[0]}, if you mean that' if near else 'leave it out'}")
    trigger = _trigger_of(table)
    if trigger and not any(key in KEYS for key in trigger):
        raise ValueError(f"{' and '.join(trigger)} goes with a trigger, and there is none: give {', '.join(KEYS[:6])}")
    plan = read_trigger(trigger, zone) if trigger else Plan(None, (), zone)
    options = {_OPTIONS[key][0]: _option(key, table[key]) for key in _OPTIONS if key in table}
    if options.get("missed") == "all" or any(event.name in TELLING for event in plan.events):
        # Each of them counts: they come at once, so that with `skip` the first would stand for all.
        options.setdefault("overlap", "queue_all")
    details = {key: table[key] for key in TARGETS[kind] if key in table}
    check_target(kind, table[kind], details)
    return Declaration(
        name=name,
        origin=origin,
        plan=plan,
        kind=kind,
        target=table[kind],
        details=json.dumps(details, sort_keys=True, default=str),
        trigger=(told := json.dumps(without_secrets(trigger), sort_keys=True, default=_as_json)),
        revision=_revision(told, plan.zone),
        sentence=str(table.get("description", "")),
        when=_in_words(trigger),
        **options,
    )


def _trigger_of(table: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a declaration's table that says when; `except` may stand beside a trigger, or around one."""
    trigger = {key: value for key, value in table.items() if key in KEYS or key in _BESIDE_TRIGGERS}
    if "except" in trigger and "trigger" not in trigger:
        exclusions = trigger.pop("except")
        trigger = {"trigger": trigger, "except": exclusions}
    return trigger


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _in_words(trigger: Mapping[str, Any]) -> str:
    """`cron 30 2 * * *`, `every 1h`, `on file in/*.csv`; for lists and nested ones their first words."""
    key = next((key for key in KEYS if key in trigger), None)
    if key is None:
        return "by hand"
    said = trigger[key]
    if key == "trigger":
        return f"{_in_words(said)}, with exceptions"
    if key in ("any_of", "all_of"):
        joined = (" or " if key == "any_of" else " and ").join(_in_words(each) for each in said)
        return joined
    if key == "calendar":
        unit = next(unit for unit in ("years", "months", "weeks", "days") if unit in said)
        span = f"{said[unit]} {unit}" if said[unit] > 1 else unit.removesuffix("s")
        return f"each {span} at {said.get('at', '00:00')}"
    if key == "every":
        return f"every {_with_unit(said)}"
    if isinstance(said, list | tuple):
        more = [f"and {len(said) - _MOST_WORDS} more"] if len(said) > _MOST_WORDS + 1 else []
        shown = said[:_MOST_WORDS] if more else said
        said = " ".join([", ".join(str(each) for each in shown), *more])
    details = " ".join(str(trigger[each]) for each in DETAILS if each in trigger and each not in SECRETS)
    return " ".join(f"{key.replace('_', ' ')} {said} {details}".split())


def _with_unit(period: Any) -> str:
    """A duration as it was written, or with its unit where it was seconds without one."""
    period = plain_duration(period)
    seconds = parse_duration(str(period))
    bare = not isinstance(period, str) or period.strip()[-1:].isdigit()
    return write_duration(seconds) if bare and seconds is not None else str(period).strip()


def _as_json(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else str(value)


def _revision(trigger: str, zone: ZoneInfo) -> str:
    told = f"[{trigger}, {json.dumps(zone.key)}]"
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def _one_of(what: str, known: Mapping[str, Any], table: Mapping[str, Any]) -> str | None:
    found = [key for key in known if key in table]
    if len(found) > 1:
        raise ValueError(f"{' and '.join(found)} are {len(found)} {what}: give one")
    return found[0] if found else None


def _option(key: str, said: Any) -> Any:
    try:
        return _OPTIONS[key][1](said)
    except ValueError as error:
        raise ValueError(f"{key} is {said!r}: {error}") from None


def _choice(*words: str) -> Callable[[Any], Any]:
    kind = kinds.choice(*words)
    return lambda said: kind.read(said, _NOWHERE)


def _duration(said: Any, *, zero: bool = False) -> float:
    value: float = kinds.duration(zero_is_off=zero).read(plain_duration(said), _NOWHERE)
    return value


def _duration_or_none(said: Any) -> float:
    return _duration(said, zero=True)


def _backoff(said: Any) -> Backoff:
    if isinstance(said, str) and (match := _BACKOFF.fullmatch(said.strip())):
        first, most = _duration(match[1]), _duration(match[2])
        if most < first:
            raise ValueError("the second time has to be the longer one")
        return Backoff(first, most)
    try:
        wait = _duration(said, zero=True)
    except ValueError:
        raise ValueError('give a time such as "30s", or "exp:30s..10m" for twice as long each time') from None
    return Backoff(wait, wait)


def _tag(said: Any) -> str:
    if not isinstance(said, str) or not _NAME.fullmatch(said):
        raise ValueError('give "any", "each", or a tag of nodes')
    return said


def _boolean(said: Any) -> bool:
    value: bool = kinds.BOOLEAN.read(said, _NOWHERE)
    return value


def _channels(said: Any) -> tuple[str, ...]:
    names = [said] if isinstance(said, str) else said
    if not isinstance(names, list | tuple) or not names or not all(isinstance(each, str) and each for each in names):
        raise ValueError('give the name of a channel of AUTOMATION_ALERTS, such as "ops", or a list of them')
    return tuple(dict.fromkeys(names))


def _retry(said: Any) -> int:
    value: int = kinds.integer(0, 1000).read(said, _NOWHERE)
    return value


# Of each option: the attribute of `Declaration`, and how it is read.
_OPTIONS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "missed": ("missed", _choice(*MISSED)),
    "within": ("within_s", _duration),
    "overlap": ("overlap", _choice(*OVERLAPS)),
    "timeout": ("timeout_s", _duration),
    "grace": ("grace_s", _duration_or_none),
    "retry": ("retry", _retry),
    "backoff": ("backoff", _backoff),
    "jitter": ("jitter_s", _duration_or_none),
    "on_crash": ("on_crash", _choice(*ON_CRASH)),
    "run_in": ("run_in", _choice(*PLACES)),
    "run_on": ("run_on", _tag),
    "enabled": ("enabled", _boolean),
    "alert": ("alert", _channels),
    "alert_late": ("alert_late_s", _duration),
    "alert_after": ("alert_after_s", _duration),
}

"""When an automation runs, as it is written: each trigger holds the table that settings and `duck.toml` would hold.

Nothing is computed here, and nothing but the standard library is needed: this module is imported in the project's
interpreter, where Duck is not installed. Duck reads the tables, and says what is wrong with one, in
`duck.services.automations.trigger`.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any


class Trigger:
    """When something runs.

    Attributes:
        table: as a table of `duck.toml` says it, such as `{"cron": "30 2 * * *", "tz": "Europe/Berlin"}`.
    """

    __slots__ = ("table",)

    def __init__(self, table: dict[str, Any]) -> None:
        self.table = table

    def excluding(self, *, dates: Any = (), weekdays: Any = (), between: Any = ()) -> Trigger:
        """The same but for some times, as clocks in the trigger's zone show them.

        Args:
            dates: `"2026-12-25"`, `"12-25"` for each year, or `datetime.date`.
            weekdays: `"sat"`, `"sunday"`.
            between: a pair of times of day, `("22:00", "06:00")`, the first in it and the last not; or several pairs.
        """
        pairs = [between] if between and isinstance(between[0], str) else list(between)
        exclusions = {
            "dates": [_text(each) for each in ([dates] if isinstance(dates, (str, date)) else dates)],
            "weekdays": [weekdays] if isinstance(weekdays, str) else list(weekdays),
            "between": [list(pair) for pair in pairs],
        }
        return Trigger({"trigger": self.table, "except": {key: value for key, value in exclusions.items() if value}})

    def __repr__(self) -> str:
        return f"Trigger({self.table!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trigger) and other.table == self.table

    def __hash__(self) -> int:
        return hash(repr(self.table))


class AutomationTrigger:
    """A trigger of the user's own: asked once a second whether its automation is to run now.

    That is when the answer turns from False to True; see `condition`.

    Args:
        name, description: for people.
    """

    def __init__(self, name: str | None = None, description: str | None = None) -> None:
        self.name = name
        self.description = description

    def check_trigger(self) -> bool:
        """Whether it is; override it. On a thread of its own, with fresh database connections."""
        raise NotImplementedError(f"{type(self).__name__} has no check_trigger()")


class NoTrigger(AutomationTrigger):
    """No condition: an automation runs by its own schedule alone."""

    def check_trigger(self) -> bool:
        """Always."""
        return True


def cron(expression: str, *, tz: str | None = None) -> Trigger:
    """At the minutes that a line of crontab names: five fields (`"30 2 * * mon-fri"`), or `"@daily"` and its like.

    Args:
        tz: name of the zone whose clocks count; by default Django's TIME_ZONE.
    """
    return _zoned({"cron": expression}, tz)


def every(period: str | float | timedelta, *, start: str | datetime | None = None) -> Trigger:
    """Each so many seconds, or `"30s"`, `"15m"`, `"1h30m"`, `"1d"`, `"1w"`, whatever clocks do.

    Args:
        start: the moment that all others lie whole periods from; by default 1970-01-01 at 00:00 UTC, so that each hour
            is a full one. With a start, nothing runs before it.
    """
    table: dict[str, Any] = {"every": period.total_seconds() if isinstance(period, timedelta) else period}
    if start is not None:
        table["start"] = _text(start)
    return Trigger(table)


def calendar(
    *,
    years: int = 0,
    months: int = 0,
    weeks: int = 0,
    days: int = 0,
    at: str = "00:00",
    start: str | date,
    tz: str | None = None,
) -> Trigger:
    """Each so many years, months, weeks or days (one of them) after the date `start`, at a time of day.

    A month that has no such day (the 31st) runs on its last one.
    """
    spans = {"years": years, "months": months, "weeks": weeks, "days": days}
    interval = {key: value for key, value in spans.items() if value}
    return _zoned({"calendar": {**interval, "at": at, "start": _text(start)}}, tz)


def daily_at(*times: str, tz: str | None = None) -> Trigger:
    """Each day at these times of day: `daily_at("02:30", "14:00")`."""
    return _zoned({"daily_at": list(times)}, tz)


def at(*moments: str | datetime, tz: str | None = None) -> Trigger:
    """At these moments, once each: ISO 8601, in `tz` where they name no offset."""
    return _zoned({"at": [_text(moment) for moment in moments]}, tz)


def on(event: str, **details: Any) -> Trigger:
    """When something happens.

    Args:
        event: `"start"`, when a node has started; `"automation"`, when another one ended; `"deploy"`, when new code
            serves; `"signal"`, one of Django's or the project's; `"file"`, when one has come or was changed;
            `"webhook"`, when somebody who knows a secret asks for a URL.
        details: for `"automation"` its `name`, and the `outcome` that is waited for: `"succeeded"` by default,
            `"failed"`, or `"ended"` for both. For `"signal"` its `name`, such as
            `"django.db.models.signals.post_save"`, and the `sender`, such as `"shop.Order"`, for one alone. For
            `"file"` a `path` with wildcards, such as `"in/*.csv"`. For `"webhook"` a `path`, such as `"/hooks/build"`,
            and `secret_env`, `secret_file` or `secret`: the variable or the file that holds it, or itself.
    """
    return Trigger({"on": event, **details})


def condition(trigger: str | type) -> Trigger:
    """When a trigger of the user's own says so: an `AutomationTrigger`, asked once a second.

    It runs when the answer turns from False to True, and not again until it was False in between.

    Args:
        trigger: the class, which is made without arguments; or the dotted name of a class or an object.
    """
    if isinstance(trigger, type):
        return on("condition", name=f"{trigger.__module__}:{trigger.__qualname__}")
    said: Any = trigger
    if not isinstance(said, str):
        raise TypeError(f"{said!r} is no class: give {type(said).__name__} itself, or the dotted name of this object")
    return on("condition", name=said)


def any_of(*triggers: Trigger) -> Trigger:
    """At each time that one of `triggers` plans; once where several plan the same."""
    return Trigger({"any_of": [trigger.table for trigger in triggers]})


def all_of(*triggers: Trigger) -> Trigger:
    """At each time that all of `triggers` plan."""
    return Trigger({"all_of": [trigger.table for trigger in triggers]})


def _zoned(table: dict[str, Any], tz: str | None) -> Trigger:
    if tz is not None:
        table["tz"] = tz
    return Trigger(table)


def _text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, (date, datetime)) else value

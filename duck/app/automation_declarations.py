"""What is declared of automations, by the settings and by the project, and what is wrong with it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from duck.app.automation_own import is_by_names, origins
from duck.app.automation_premises import Place, look_around
from duck.exceptions import SettingsError
from duck.services.automations.alerts.channel import Channel, read_channel
from duck.services.automations.declaration import Declaration, read_declaration

if TYPE_CHECKING:
    from duck.settings.load import Settings


@dataclass(frozen=True)
class Found:
    """What is declared.

    Attributes:
        problems: sentences on what cannot be used.
        warnings: on what could not be used here, and may be elsewhere.
        zone: whose clocks count where nothing else is said.
    """

    declarations: tuple[Declaration, ...]
    problems: tuple[str, ...]
    zone: ZoneInfo
    tracebacks: tuple[str, ...] = field(default=())
    warnings: tuple[str, ...] = field(default=())


def read_all(settings: Settings, told: Mapping[str, Any] | None, place: Place | None = None) -> Found:
    """What settings and project declare together.

    Args:
        told: by the project; None where there is none, or it cannot be loaded.
        place: where they would run; the directory of the settings, where it is not said.
    """
    told = told or {}
    zone = ZoneInfo(told["zone"]) if told.get("zone") else system_zone()
    places = origins(settings)
    tables = settings["AUTOMATIONS"].items()
    named = [(name, table, places(name)) for name, table in tables if not is_by_names(name, table)]
    named += [(each["name"], each["table"], each["origin"]) for each in told.get("declared", ())]
    found: dict[str, Declaration] = {}
    problems = [
        f"{each['origin']} {each.get('what', 'cannot be imported')}: {each['message'].rstrip('.')}."
        for each in told.get("failed", ())
    ]
    problems += [str(each) for each in told.get("problems", ())]
    for name, table, where in named:
        try:
            declaration = read_declaration(name, table, where, zone)
        except SettingsError as error:
            problems.append(str(error))
            continue
        if name in found:
            problems.append(
                f"{where}: the automation {name!r} is declared in {found[name].origin} already; give one another name."
            )
            continue
        found[name] = declaration
    for declaration in found.values():
        for event in declaration.plan.events:
            after = dict(event.details).get("name")
            if event.name == "automation" and after not in found:
                who = f"{declaration.origin}: the automation {declaration.name!r}"
                others = [name for name in found if name != declaration.name]
                near = difflib.get_close_matches(str(after), others, 1)
                right = f"give one of {_some(others)}." if others else "declare it."
                right = f"did you mean {near[0]}?" if near else right
                problems.append(f"{who} waits for {after!r}, which is not there; {right}")
    problems += _hooks_that_differ(found.values())
    problems += _alert_problems(settings, found.values())
    missing, warnings = look_around(settings, found.values(), place or Place(settings.base_dir))
    problems += missing
    # A module that cannot be imported fails for each that names something in it.
    tracebacks = tuple(dict.fromkeys(str(each["traceback"]) for each in told.get("failed", ())))
    return Found(tuple(found.values()), tuple(problems), zone, tracebacks, (*warnings, *_circles(found)))


def _some(names: Iterable[str]) -> str:
    first = list(names)
    return ", ".join(first[:5]) + (f" and {len(first) - 5} more" if len(first) > 5 else "")


def _circles(found: Mapping[str, Declaration]) -> Iterator[str]:
    """Sentences on those that wait for one another in a circle, each told once; one may be wanted."""
    before = {
        name: [str(dict(each.details)["name"]) for each in declaration.plan.events if each.name == "automation"]
        for name, declaration in found.items()
    }
    told: set[str] = set()
    for name in before:
        trail, after = [name], before[name]
        while len(after) == 1 and after[0] not in trail and after[0] in before:
            trail.append(after[0])
            after = before[after[0]]
        if name in after and told.isdisjoint(trail):
            told.update(trail)
            chain = " -> ".join([name, *reversed(trail)])
            yield f"{found[name].origin}: {chain} start one another without end, once one of them has begun."


def _hooks_that_differ(declarations: Iterable[Declaration]) -> list[str]:
    """Sentences on webhooks of one path with two secrets: who knows the one would start what is for the other."""
    first: dict[str, tuple[Declaration, tuple[str, str] | None]] = {}
    problems = []
    for declaration in declarations:
        for event in declaration.plan.events:
            if event.name == "webhook":
                path = dict(event.details)["path"]
                other, secret = first.setdefault(path, (declaration, event.secret))
                if secret != event.secret:
                    problems.append(
                        f"{declaration.origin}: the automation {declaration.name!r} has another secret for {path} than"
                        f" {other.name!r}; give each a path of its own, or both the same secret."
                    )
    return problems


def read_channels(settings: Settings) -> tuple[dict[str, Channel], list[str]]:
    """The channels of AUTOMATION_ALERTS by their names, and sentences on those that cannot be used."""
    channels: dict[str, Channel] = {}
    problems: list[str] = []
    origin = settings.origin("AUTOMATION_ALERTS")
    for name, table in settings["AUTOMATION_ALERTS"].items():
        try:
            channels[name] = read_channel(name, table)
        except ValueError as error:
            problems.append(f"{origin}: the channel {name!r} of AUTOMATION_ALERTS cannot be used: {error}.")
    return channels, problems


def _alert_problems(settings: Settings, declarations: Iterable[Declaration]) -> Iterator[str]:
    channels, problems = read_channels(settings)
    yield from problems
    known = f"give one of {', '.join(channels)}" if channels else "declare it there"
    for declaration in declarations:
        for name in declaration.alert:
            if name not in settings["AUTOMATION_ALERTS"]:
                who = f"{declaration.origin}: the automation {declaration.name!r}"
                yield f"{who} alerts {name!r}, which is no channel of AUTOMATION_ALERTS; {known}."


def system_zone() -> ZoneInfo:
    """That of this machine, by its name; UTC where it has none."""
    for told in (os.environ.get("TZ", "").lstrip(":"), os.path.realpath("/etc/localtime").partition("zoneinfo/")[2]):
        try:
            if told:
                return ZoneInfo(told)
        except (KeyError, ValueError, OSError):
            continue
    return ZoneInfo("UTC")

"""Automations as lines of crontab(5)."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from duck.services.automations.exports.export import BESIDE, Command, Export
from duck.services.automations.exports.times import NotSaid, refuse_each, tag_notes, times_of

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration


def crontab(declarations: Sequence[Declaration], command: Command, zone: str) -> Export:
    """One file, `crontab`.

    Args:
        zone: the machine's, in which lines are read that say no other.
    """
    lines = [f"# {line}" for line in BESIDE]
    lines += [
        "# Cron runs nothing that was missed while the machine was off.",
        f"# Lines below CRON_TZ are in that zone under cronie; Debian's cron knows none, and reads all in {zone}.",
        "",
    ]
    left: list[str] = []
    by_zone: dict[str, list[str]] = {zone: []}
    for declaration in declarations:
        if not declaration.enabled:
            continue
        call = _call(declaration.name, command)
        events = [event.name for event in declaration.plan.events]
        try:
            refuse_each(declaration)
            for note in tag_notes(declaration):
                left.append(f"{declaration.name}: {note}")
                by_zone[zone].append(f"# {left[-1]}")
            if events == ["start"] and declaration.plan.schedule is None:
                by_zone[zone].append(f"@reboot {call}")
                continue
            found = times_of(declaration)
            if declaration.jitter_s:
                left.append(f"{declaration.name}: jitter cannot be said in crontab, it is started at its time.")
                by_zone[zone].append(f"# {left[-1]}")
            for times in found:
                by_zone.setdefault(times.zone, []).append(f"{times.expression} {call}")
        except NotSaid as why:
            left.append(f"{declaration.name} ({declaration.when}) cannot be said in crontab: {why}.")
            by_zone[zone].append(f"# {left[-1]}")
    lines += by_zone.pop(zone)
    for other, theirs in by_zone.items():
        lines += ["", f"CRON_TZ={other}", *theirs]
    return Export({"crontab": "\n".join(lines) + "\n"}, tuple(left))


def _call(name: str, command: Command) -> str:
    text = f"cd {shlex.quote(str(command.directory))} && {shlex.join(command.of(name))}"
    return text.replace("%", "\\%")  # which would end the command: crontab(5)

"""How automations and runs are shown: rows, JSON values and moments."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from duck.logs import escape, escape_output
from duck.services.automations.target import SECRET_DETAILS, shown_target
from duck.settings.duration import write_duration

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from duck.app.automation_declarations import Found
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.engine import Engine, Standing
    from duck.services.automations.run import Run

# What is said of those that are not given.
_NONE_SAYS: Final = {"timeout_s": "none", "alert_after_s": "never"}
_COLOURS: Final = {"succeeded": "green", "running": "cyan", "queued": "cyan", "skipped": "yellow"}


def described(
    declaration: Declaration, standing: Standing | None, engine: Engine | None, now: datetime
) -> dict[str, Any]:
    """All that is known of an automation, each of its options among it; plain values, and no secrets."""
    schedule = declaration.plan.schedule
    paused = standing.paused_until if standing is not None else None
    is_paused = paused is not None and paused > now
    state = "planned" if schedule is not None else "by events" if declaration.plan.events else "by hand"
    if not declaration.enabled:
        state = "off"
    elif is_paused:
        state = "paused"
    planned = schedule.after(now) if schedule is not None and state == "planned" else None
    if state == "planned" and planned is None:
        state = "over"
    runs = engine.runs(declaration.name, limit=1) if engine is not None else []
    return {
        "name": declaration.name,
        "description": declaration.sentence,
        "when": declaration.when,
        "zone": declaration.plan.zone.key,
        "trigger": json.loads(declaration.trigger),
        "runs": f"{declaration.kind} {shown_target(declaration.kind, declaration.target)}",
        "details": shown_details(declaration.details_table),
        "declared_in": declaration.origin,
        "state": state,
        "paused_until": iso(paused) if paused is not None and is_paused and paused.year < 9999 else None,
        "next": iso(planned) if planned is not None else None,
        "last": run_values(runs[0]) if runs else None,
        "missed": declaration.missed,
        "within_s": declaration.within_s,
        "overlap": declaration.overlap,
        "timeout_s": declaration.timeout_s,
        "grace_s": declaration.grace_s,
        "retry": declaration.retry,
        "backoff": {"first_s": declaration.backoff.first_s, "most_s": declaration.backoff.most_s},
        "on_crash": declaration.on_crash,
        "run_in": declaration.place,
        "run_on": declaration.run_on,
        "enabled": declaration.enabled,
        "jitter_s": declaration.jitter_s,
        "delay_s": round(declaration.delay_s, 3),
        "alert": list(declaration.alert),
        "alert_late_s": declaration.alert_late_s,
        "alert_after_s": declaration.alert_after_s,
    }


def in_words(row: dict[str, Any], found: Found) -> list[tuple[str, str]]:
    """A row that `described` made, for people: durations with their units, moments on the clocks of the project."""
    words: list[tuple[str, str]] = []
    for key, value in row.items():
        name = key.removesuffix("_s")
        if key == "last":
            text = last(value, found)
        elif key == "backoff":
            first, most = (write_duration(each) for each in value.values())
            text = first if first == most else f"exp:{first}..{most}"
        elif key in ("next", "paused_until"):
            text = local(value, found.zone) if value else ""
        elif key in _NONE_SAYS:
            text = write_duration(value) if value is not None else _NONE_SAYS[key]
        elif key == "alert":
            text = ", ".join(value) or "nobody"
        elif key == "trigger":  # its words say the rest
            words += [(each, json.dumps(value[each])) for each in ("start", "except") if each in value]
            text = ""
        elif key.endswith("_s"):
            text = write_duration(value) if value else "none"
        elif isinstance(value, bool):
            text = "yes" if value else "no"
        else:
            text = json.dumps(value) if value and isinstance(value, dict) else str(value or ("0" if value == 0 else ""))
        if text:
            words.append((name, text))
    return words


def shown_details(details: dict[str, Any]) -> dict[str, Any]:
    """What goes with a target, as everybody may read it: of what may hold secrets the names, or the length."""
    shown = {**details}
    for key in SECRET_DETAILS:
        if isinstance(shown.get(key), dict):
            shown[key] = sorted(shown[key])
        elif key in shown:
            shown[key] = f"{len(str(shown[key]))} characters"
    return shown


def run_values(run: Run) -> dict[str, Any]:
    """A run, as JSON has it."""
    moments = {"created": run.created, "started": run.started, "ended": run.ended}
    return {
        "id": run.id,
        "name": run.name,
        "planned": iso(run.planned),
        "cause": run.cause.value,
        "state": run.state.value,
        "reason": run.reason,
        "attempt": run.attempt,
        "missed": run.missed,
        "node": run.node,
        "key": run.key,
        **{key: iso(moment) if moment is not None else None for key, moment in moments.items()},
        "code": run.code,
        "output": run.output,
        "printed": run.printed,
    }


def print_output(run: Run) -> None:
    """Print what a run printed, to the end of a line."""
    say_output(run.output)
    if run.output and not run.output.endswith("\n"):
        click.echo()


def say_run(run: Run) -> None:
    """Say on standard error how a run ended."""
    reason = f": {reason_of(run)}" if run.reason else ""
    text = f"Run {run.id} of {run.name} {run.state} after {took(run) or 'no time'}{reason}."
    click.echo(click.style(text, fg=_COLOURS.get(run.state.value, "red")), err=True)


def reason_of(run: Run) -> str:
    """Why a run ended so, on one line: what a job raised, which may be anything."""
    return escape(" ".join(run.reason.split()))


def say_output(text: str) -> None:
    """Print what a run printed, but for what would do something to the terminal."""
    click.echo(escape_output(text.replace("\r\n", "\n")), nl=False)


def took(run: Run) -> str:
    """How long a run took, or takes; nothing of one that waits for another try."""
    if run.started is None or (run.ended is None and run.state.value != "running"):
        return ""
    seconds = ((run.ended or datetime.now(UTC)) - run.started).total_seconds()
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def last(run: dict[str, Any] | None, found: Found) -> str:
    """The last run of a row that `described` made, in words."""
    if run is None:
        return ""
    return click.style(f"{run['state']} {local(run['planned'], found.zone)}", fg=_COLOURS.get(run["state"], "red"))


def local(text: str, zone: ZoneInfo) -> str:
    """A moment that `iso` wrote, on the clocks of a zone."""
    return f"{datetime.fromisoformat(text).astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def iso(moment: datetime) -> str:
    """A moment in ISO 8601, in UTC."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def problem_values(found: Found) -> dict[str, list[str]]:
    """What is wrong with declarations, as JSON has it."""
    return {"problems": list(found.problems), "warnings": list(found.warnings)}


def print_problems(found: Found) -> None:
    """Say what is wrong with declarations."""
    for problem in found.problems:
        click.echo(click.style(problem, fg="red"), err=True)


def print_table(rows: list[dict[str, str]]) -> None:
    """Print rows of the same keys, which are their headings."""
    if not rows:
        return
    lines = [{key: key for key in rows[0]}, *rows]
    widths = {key: max(len(click.unstyle(line[key])) for line in lines) for key in rows[0]}
    for line in lines:
        cells = (text + " " * (widths[key] - len(click.unstyle(text))) for key, text in line.items())
        click.echo("  ".join(cells).rstrip())

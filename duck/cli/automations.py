"""`duck automations`: scheduled work, shown, run and steered."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from duck.cli.automation_event import event
from duck.cli.main import FAILED, OK
from duck.cli.options import load_settings, options_of
from duck.exceptions import ApplicationError

if TYPE_CHECKING:
    from duck.app.automations import Found
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.engine import Engine, Standing
    from duck.services.automations.run import Run
    from duck.settings.load import Settings

_F = TypeVar("_F", bound=Callable[..., Any])

_PLACES: Final = ("DJANGO_PROJECT", "PYTHON", "DJANGO_SETTINGS_MODULE", "STATE_DIR")
_WAIT_S: Final = 3600.0
_COLOURS: Final = {"succeeded": "green", "running": "cyan", "queued": "cyan", "skipped": "yellow"}


@click.group()
def automations() -> None:
    """Show, run and steer scheduled work.

    Automations are declared in duck.toml or the settings, or in code by `duck.automation`.

    For example: duck automations next
    """


def _options(function: _F) -> _F:
    function = click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)
    return options_of(*_PLACES)(function)


@automations.command("list")
@_options
def list_(as_json: bool, **given: Any) -> int:
    """Show every automation: when it runs next, how it ran last, and what is wrong with a declaration.

    Returns 1 where a declaration cannot be used.

    For example: duck automations list --json
    """
    settings = load_settings(given)
    found, engine = _found(settings), _engine(settings)
    standings = engine.standings()
    now = datetime.now(UTC)
    rows = [_described(each, standings.get(each.name), engine, now) for each in found.declarations]
    if as_json:
        click.echo(json.dumps({"automations": rows, "problems": list(found.problems)}, indent=2))
    else:
        _print_table(
            [
                {
                    "name": row["name"],
                    "when": row["when"],
                    "next": _local(row["next"], found) if row["next"] else row["state"],
                    "last": _last(row["last"], found),
                }
                for row in rows
            ]
        )
        if not rows:
            click.echo("No automations are declared here.", err=True)
        _print_problems(found)
    return FAILED if found.problems else OK


@automations.command()
@click.argument("name")
@_options
def show(name: str, as_json: bool, **given: Any) -> int:
    """Show all of one automation.

    For example: duck automations show nightly
    """
    settings = load_settings(given)
    found, engine = _found(settings), _engine(settings)
    declaration = _one(found, name)
    row = _described(declaration, engine.standings().get(name), engine, datetime.now(UTC))
    if as_json:
        click.echo(json.dumps(row, indent=2))
        return OK
    width = max(len(key) for key in row)
    for key, value in row.items():
        if value not in (None, "", [], {}):
            text = json.dumps(value) if isinstance(value, dict | list) else str(value)
            click.echo(f"{key:<{width}}  {text}")
    return OK


@automations.command("next")
@click.argument("names", nargs=-1)
@click.option("--count", "-n", default=5, show_default=True, type=click.IntRange(1, 1000), help="How many of each.")
@_options
def next_(names: tuple[str, ...], count: int, as_json: bool, **given: Any) -> int:
    """Show the coming runs; days on which clocks are changed are marked.

    For example: duck automations next nightly --count 10
    """
    from duck.services.automations.schedule import oddity, upcoming

    found = _found(load_settings(given))
    chosen = [_one(found, name) for name in names] or list(found.declarations)
    now = datetime.now(UTC)
    coming = [
        (planned, declaration.name, oddity(planned, declaration.plan.zone))
        for declaration in chosen
        if declaration.plan.schedule is not None
        for planned in upcoming(declaration.plan.schedule, now, count)
    ]
    coming.sort()
    if as_json:
        told = [{"at": _iso(at), "name": name, "note": note} for at, name, note in coming]
        click.echo(json.dumps({"next": told}, indent=2))
        return OK
    if not coming:
        click.echo("Nothing is planned.", err=True)
    _print_table([{"at": _local(_iso(at), found), "name": name, "note": note} for at, name, note in coming])
    _print_problems(found)
    return OK


@automations.command()
@click.argument("name", required=False)
@click.option("--wait", is_flag=True, help="With NAME: wait for the run to end, and return 1 where it did not succeed.")
@click.option("--node", metavar="NAME", help="What this node is called; by default its host and process id.")
@_options
def run(name: str | None, wait: bool, node: str | None, as_json: bool, **given: Any) -> int:
    """Run what is scheduled until Ctrl-C, or with NAME that one now.

    Any number of nodes may run on one machine: each planned time is run by one of them. SIGHUP loads the project again.
    A run by hand is carried out by a node that runs, or by the next that does.

    For example: duck automations run nightly --wait
    """
    settings = load_settings(given)
    if name is None:
        from duck import logs
        from duck.app.automations import Automations
        from duck.settings import views

        view = views.logs(settings)
        logs.configure(view.level, view.format)
        return Automations(settings, name=node).run()
    return _run_now(settings, name, wait=wait, as_json=as_json)


def _run_now(settings: Settings, name: str, *, wait: bool, as_json: bool) -> int:
    from duck.services.automations.run import Cause, State

    found, engine = _found(settings), _engine(settings)
    declaration = _one(found, name)
    if name not in engine.standings():
        engine.register([declaration])
    run = engine.enqueue(declaration, engine.now(), Cause.HAND)
    deadline = time.monotonic() + _WAIT_S
    while wait and not run.state.is_over and time.monotonic() < deadline:
        time.sleep(0.1)
        run = engine.run(run.id) or run
    if as_json:
        click.echo(json.dumps(_run(run), indent=2))
    elif wait:
        click.echo(run.output, nl=False)
        _say_run(run, found)
    else:
        click.echo(f"Run {run.id} of {name} is {run.state}{f': {run.reason}' if run.reason else ''}.")
    return OK if run.state in (State.SUCCEEDED, State.QUEUED, State.RUNNING) else FAILED


@automations.command()
@click.argument("name")
@click.option("--for", "duration", metavar="DURATION", help="So long, such as 2h; by default until it is resumed.")
@_options
def pause(name: str, duration: str | None, as_json: bool, **given: Any) -> int:
    """Plan nothing of an automation for a while; what runs goes on.

    For example: duck automations pause nightly --for 2d
    """
    from duck.settings import kinds

    settings = load_settings(given)
    engine = _engine(settings)
    _known(engine, name)
    until = None
    if duration is not None:
        try:
            until = engine.now() + timedelta(seconds=kinds.duration().read(duration, Path()))
        except ValueError as error:
            raise click.BadParameter(f"{duration}: {error}.", param_hint="--for") from error
    engine.pause(name, until)
    told = _iso(until) if until is not None else None
    click.echo(
        json.dumps({"name": name, "paused_until": told})
        if as_json
        else f"{name} is paused {f'until {told}' if told else 'until `duck automations resume`'}."
    )
    return OK


@automations.command()
@click.argument("name")
@_options
def resume(name: str, as_json: bool, **given: Any) -> int:
    """Plan an automation again; what was planned meanwhile is passed over.

    For example: duck automations resume nightly
    """
    engine = _engine(load_settings(given))
    _known(engine, name)
    engine.resume(name)
    click.echo(json.dumps({"name": name, "paused_until": None}) if as_json else f"{name} is planned again.")
    return OK


@automations.command()
@click.argument("name", required=False)
@click.option("--count", "-n", default=20, show_default=True, type=click.IntRange(1, 10_000), help="How many runs.")
@_options
def history(name: str | None, count: int, as_json: bool, **given: Any) -> int:
    """Show the latest runs, the newest first.

    For example: duck automations history nightly --count 5
    """
    settings = load_settings(given)
    runs = _engine(settings).runs(name, limit=count)
    if as_json:
        click.echo(json.dumps({"runs": [_run(each) for each in runs]}, indent=2))
        return OK
    if not runs:
        click.echo(f"There are no runs{f' of {name}' if name else ''}.", err=True)
    _print_table(
        [
            {
                "run": str(each.id),
                "name": each.name,
                "planned": _iso(each.planned),
                "state": each.state.value,
                "took": _took(each),
                "reason": each.reason,
            }
            for each in runs
        ]
    )
    return OK


@automations.command()
@click.argument("run_id", metavar="RUN", type=int)
@_options
def logs(run_id: int, as_json: bool, **given: Any) -> int:
    """Print the end of what a run printed.

    For example: duck automations logs 17
    """
    found = _engine(load_settings(given)).run(run_id)
    if found is None:
        raise ApplicationError(f"There is no run {run_id}; `duck automations history` shows those that are kept.")
    click.echo(json.dumps(_run(found), indent=2) if as_json else found.output, nl=as_json)
    return OK


@automations.command()
@click.argument("run_id", metavar="RUN", type=int)
@_options
def cancel(run_id: int, as_json: bool, **given: Any) -> int:
    """Have a run end, or not start.

    For example: duck automations cancel 17
    """
    if not _engine(load_settings(given)).cancel(run_id):
        raise ApplicationError(f"There is no run {run_id} that is under way or waits.")
    click.echo(json.dumps({"id": run_id}) if as_json else f"Run {run_id} is to end.")
    return OK


# -- below ------------------------------------------------------------------------------------------------------------


def _found(settings: Settings) -> Found:
    from duck.app.automations import discover

    return discover(settings)


def _engine(settings: Settings) -> Engine:
    from duck.app.automation_engine import open_engine
    from duck.app.automations import ProjectSide

    return open_engine(settings, ProjectSide(settings))


def _one(found: Found, name: str) -> Declaration:
    for declaration in found.declarations:
        if declaration.name == name:
            return declaration
    names = [each.name for each in found.declarations]
    raise _unknown(name, names, "`duck automations list` shows those that are.")


def _known(engine: Engine, name: str) -> None:
    known = engine.standings()
    if name not in known:
        raise _unknown(name, known, "it is known once it was dispatched.")


def _unknown(name: str, known: Iterable[str], otherwise: str) -> ApplicationError:
    """What to say of a name that is none of `known`: a near one, else `otherwise`."""
    import difflib

    near = difflib.get_close_matches(name, list(known), 1)
    return ApplicationError(f"There is no automation {name!r}; {f'did you mean {near[0]}?' if near else otherwise}")


def _described(declaration: Declaration, standing: Standing | None, engine: Engine, now: datetime) -> dict[str, Any]:
    schedule = declaration.plan.schedule
    paused = standing.paused_until if standing is not None else None
    is_paused = paused is not None and paused > now
    state = "planned" if schedule is not None else "by events" if declaration.plan.events else "by hand"
    if not declaration.enabled:
        state = "off"
    elif is_paused:
        state = "paused"
    planned = schedule.after(now) if schedule is not None and state == "planned" else None
    runs = engine.runs(declaration.name, limit=1)
    return {
        "name": declaration.name,
        "description": declaration.sentence,
        "when": declaration.when,
        "zone": declaration.plan.zone.key,
        "runs": f"{declaration.kind} {declaration.target}",
        "declared_in": declaration.origin,
        "state": state,
        "paused_until": _iso(paused) if paused is not None and is_paused and paused.year < 9999 else None,
        "next": _iso(planned) if planned is not None else None,
        "last": _run(runs[0]) if runs else None,
        "missed": declaration.missed,
        "within_s": declaration.within_s,
        "overlap": declaration.overlap,
        "timeout_s": declaration.timeout_s,
        "retry": declaration.retry,
        "on_crash": declaration.on_crash,
        "run_in": declaration.lane,
        "run_on": declaration.run_on,
        "jitter_s": round(declaration.delay_s, 3),
    }


def _run(run: Run) -> dict[str, Any]:
    moments = {"created": run.created, "started": run.started, "ended": run.ended}
    return {
        "id": run.id,
        "name": run.name,
        "planned": _iso(run.planned),
        "cause": run.cause.value,
        "state": run.state.value,
        "reason": run.reason,
        "attempt": run.attempt,
        "missed": run.missed,
        "node": run.node,
        "key": run.key,
        **{key: _iso(moment) if moment is not None else None for key, moment in moments.items()},
        "code": run.code,
        "output": run.output,
    }


def _say_run(run: Run, found: Found) -> None:
    reason = f": {run.reason}" if run.reason else ""
    text = f"Run {run.id} of {run.name} {run.state} after {_took(run) or 'no time'}{reason}."
    click.echo(click.style(text, fg=_COLOURS.get(run.state.value, "red")), err=True)


def _took(run: Run) -> str:
    if run.started is None:
        return ""
    seconds = ((run.ended or datetime.now(UTC)) - run.started).total_seconds()
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _last(run: dict[str, Any] | None, found: Found) -> str:
    if run is None:
        return ""
    return click.style(f"{run['state']} {_local(run['planned'], found)}", fg=_COLOURS.get(run["state"], "red"))


def _local(text: str, found: Found) -> str:
    return f"{datetime.fromisoformat(text).astimezone(found.zone):%Y-%m-%d %H:%M:%S %Z}"


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _print_problems(found: Found) -> None:
    for problem in found.problems:
        click.echo(click.style(problem, fg="red"), err=True)


def _print_table(rows: list[dict[str, str]]) -> None:
    if not rows:
        return
    lines = [{key: key for key in rows[0]}, *rows]
    widths = {key: max(len(click.unstyle(line[key])) for line in lines) for key in rows[0]}
    for line in lines:
        cells = (text + " " * (widths[key] - len(click.unstyle(text))) for key, text in line.items())
        click.echo("  ".join(cells).rstrip())


automations.add_command(event)
logging.getLogger("duck.automations").addHandler(logging.NullHandler())

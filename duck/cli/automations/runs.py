"""`duck automations history|logs|cancel`: runs that were, and that are."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

import click

from duck.cli.automations.place import (
    engine_if_any,
    nothing_kept,
    offer_automations,
    offer_runs,
    options,
    refuse_mistyped,
    somebody_lives,
)
from duck.cli.automations.shown import iso, print_table, reason_of, run_values, say_output, say_run, took
from duck.cli.main import FAILED, OK
from duck.cli.options import load_settings
from duck.exceptions import ApplicationError

if TYPE_CHECKING:
    from duck.services.automations.engine import Engine
    from duck.services.automations.run import Run

_LOOK_S: Final = 0.5


@click.command()
@click.argument("name", required=False, shell_complete=offer_automations)
@click.option("--count", "-n", default=20, show_default=True, type=click.IntRange(1, 10_000), help="How many runs.")
@options
def history(name: str | None, count: int, as_json: bool, **given: Any) -> int:
    """Show the latest runs, the newest first.

    For example: duck automations history nightly --count 5
    """
    settings = load_settings(given)
    engine = engine_if_any(settings)
    runs = engine.runs(name, limit=count) if engine is not None else []
    if name is not None and engine is not None and not runs:
        refuse_mistyped(engine, name)
    if as_json:
        click.echo(json.dumps({"runs": [run_values(each) for each in runs]}, indent=2))
        return OK
    if not runs:
        why = f": {nothing_kept(settings)}" if engine is None else ""
        click.echo(f"There are no runs{f' of {name}' if name else ''}{why}.", err=True)
    print_table(
        [
            {
                "run": str(each.id),
                "name": each.name,
                "planned": iso(each.planned),
                "state": each.state.value,
                "took": took(each),
                "cause": each.cause.value,
                "node": each.node,
                "reason": reason_of(each),
            }
            for each in runs
        ]
    )
    return OK


@click.command()
@click.argument("run_id", metavar="RUN", type=int, shell_complete=offer_runs)
@click.option("--follow", "-f", is_flag=True, help="Print what comes, until the run is over.")
@options
def logs(run_id: int, follow: bool, as_json: bool, **given: Any) -> int:
    """Print the end of what a run printed, or has printed until now.

    With --follow it returns 1 where the run does not succeed; with --json each part is a line of JSON.

    For example: duck automations logs 17 -f
    """
    settings = load_settings(given)
    engine = engine_if_any(settings)
    if engine is None:
        raise ApplicationError(f"There is no run {run_id}: {nothing_kept(settings)}.")
    found = engine.run(run_id)
    if found is None:
        raise ApplicationError(f"There is no run {run_id}; `duck automations history` shows those that are kept.")
    if follow:
        return _follow(engine, found, as_json=as_json)
    if as_json:
        click.echo(json.dumps(run_values(found), indent=2))
    else:
        say_output(found.output)
    return OK


def _follow(engine: Engine, run: Run, *, as_json: bool) -> int:
    from duck.services.automations.run import State

    if run.state is State.QUEUED and not somebody_lives(engine):
        click.echo(f"Run {run.id} waits, and no node runs that could carry it out.", err=True)
    heard, found = Heard(run.attempt), run
    while True:
        text = heard.news(found)
        if as_json:
            told = {"state": found.state.value, "reason": found.reason, "text": text}
            if text or found.state.is_over:
                click.echo(json.dumps(told))
        else:
            say_output(text)
        if found.state.is_over:
            break
        time.sleep(_LOOK_S)
        found = engine.run(run.id) or found
    if not as_json:
        say_run(found)
    return OK if found.state is State.SUCCEEDED else FAILED


class Heard:
    """What of a run's output was printed here already."""

    def __init__(self, attempt: int) -> None:
        self._attempt = attempt
        self._printed = 0
        self._output = ""

    def news(self, run: Run) -> str:
        """What it has printed since. Of another try the output begins anew, and until then is that of the one before.

        It begins anew as well where less was printed than before: what was there was of an earlier try.
        """
        is_other = run.attempt != self._attempt
        if is_other and (run.printed, run.output) == (self._printed, self._output):
            return ""
        text = _news(run, 0 if is_other or run.printed < self._printed else self._printed)
        self._attempt, self._printed, self._output = run.attempt, run.printed, run.output
        return text


def _news(run: Run, printed: int) -> str:
    """What `run` has printed after so many characters; where more came than is kept, how much is left out."""
    from duck.services.automations.tail import CUT

    new = run.printed - printed
    if new <= 0:
        return ""
    if new <= len(run.output) and not (run.output.startswith(CUT) and new > len(run.output) - len(CUT)):
        return run.output[-new:]
    kept = run.output.removeprefix(CUT)
    return f"[{new - len(kept)} characters are left out]\n{kept}"


@click.command()
@click.argument("run_id", metavar="RUN", type=int, shell_complete=offer_runs)
@options
def cancel(run_id: int, as_json: bool, **given: Any) -> int:
    """Have a run end, or not start.

    For example: duck automations cancel 17
    """
    settings = load_settings(given)
    engine = engine_if_any(settings)
    if engine is None:
        raise ApplicationError(f"There is no run {run_id}: {nothing_kept(settings)}.")
    if not engine.cancel(run_id):
        raise ApplicationError(f"There is no run {run_id} that is under way or waits.")
    click.echo(json.dumps({"id": run_id}) if as_json else f"Run {run_id} is to end.")
    return OK

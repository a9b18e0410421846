"""`duck automations run`: a node, or a run by hand."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

import click

from duck.cli.automations.place import (
    engine_of,
    found_in,
    offer_automations,
    options,
    refuse_off,
    somebody_lives,
    the_one,
)
from duck.cli.automations.shown import print_output, reason_of, run_values, say_run
from duck.cli.main import FAILED, OK
from duck.cli.options import load_settings
from duck.exceptions import ApplicationError
from duck.services.automations.run import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duck.services.automations.declaration import Declaration
    from duck.services.automations.engine import Engine
    from duck.services.automations.run import Run
    from duck.settings.load import Settings

_WAIT_S: Final = 3600.0
# What a run has to be for who waits for its end, and for who does not.
_DONE: Final = (State.SUCCEEDED,)
_BEGUN: Final = (State.SUCCEEDED, State.QUEUED, State.RUNNING)


@click.command()
@click.argument("name", required=False, shell_complete=offer_automations)
@click.option("--wait", is_flag=True, help="With NAME: wait for the run to end, and return 1 where it did not succeed.")
@click.option(
    "--node", "--name", "node", metavar="NAME", help="What this node is called; by default its host and process id."
)
@options
def run(name: str | None, wait: bool, node: str | None, as_json: bool, **given: Any) -> int:
    """Run what is scheduled until Ctrl-C, or with NAME that one now.

    Any number of nodes may run on one machine: each planned time is run by one of them. SIGHUP loads the project again.
    A run by hand is carried out by a node that runs, or by the next that does; with --wait by this command itself where
    none runs, so that cron and systemd can start it.

    For example: duck automations run nightly --wait
    """
    if name is None and (wait or as_json):
        raise click.UsageError(
            f"{'--wait' if wait else '--json'} goes with NAME: give the automation that is to be run."
        )
    if name is not None and node is not None:
        raise click.UsageError("--node goes without NAME: it is what a node is called that runs until Ctrl-C.")
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
    from duck.services.automations.run import Cause

    found, engine = found_in(settings), engine_of(settings)
    declaration = the_one(found, name)
    refuse_off(declaration)
    is_elsewhere = not declaration.is_for_each and declaration.run_on not in ("any", *settings["AUTOMATION_TAGS"])
    if wait and is_elsewhere and not somebody_lives(engine):
        raise ApplicationError(
            f"{name} runs on nodes with the tag {declaration.run_on!r} alone, and no node is there; start one, or give"
            f" this command AUTOMATION_TAGS with it (DUCK_AUTOMATION_TAGS={declaration.run_on})."
        )
    if name not in engine.standings():
        engine.register([declaration])
    if declaration.is_for_each:
        return _run_on_each(engine, declaration, wait=wait, as_json=as_json)
    run = engine.enqueue(declaration, engine.now(), Cause.HAND)
    if wait and not run.state.is_over:
        run = _see_through(settings, engine, run)
    if as_json:
        _print_json([run])
    elif wait:
        print_output(run)
        say_run(run)
    else:
        click.echo(f"Run {run.id} of {name} is {run.state}{f': {reason_of(run)}' if run.reason else ''}.")
        if not run.state.is_over and not somebody_lives(engine):
            click.echo("No node runs that could carry it out; start `duck automations run`, or give --wait.", err=True)
    return OK if run.state in (_DONE if wait else _BEGUN) else FAILED


def _run_on_each(engine: Engine, declaration: Declaration, *, wait: bool, as_json: bool) -> int:
    """A run for every node that is there."""
    from duck.services.automations.dispatcher import SILENT_S
    from duck.services.automations.run import Cause

    nodes = [node for node in engine.nodes(SILENT_S) if node.takes_each]
    if not nodes:
        raise ApplicationError(
            f"{declaration.name} runs on each node, and no node is there; start one by `duck automations run`."
        )
    moment = engine.now()
    runs = [engine.enqueue(declaration, moment, Cause.HAND, node=node.name) for node in nodes]
    deadline = time.monotonic() + _WAIT_S
    while wait and any(not run.state.is_over for run in runs) and time.monotonic() < deadline:
        time.sleep(0.1)
        runs = [engine.run(run.id) or run for run in runs]
    if as_json:
        _print_json(runs)
    for run in runs:
        if not as_json and wait:
            print_output(run)
            say_run(run)
        elif not as_json:
            click.echo(f"Run {run.id} of {run.name} is {run.state} for {run.for_node}.")
    return OK if all(run.state in (_DONE if wait else _BEGUN) for run in runs) else FAILED


def _print_json(runs: Sequence[Run]) -> None:
    """The same, whether there is one run or one for each node."""
    click.echo(json.dumps({"runs": [run_values(run) for run in runs]}, indent=2))


def _see_through(settings: Settings, engine: Engine, run: Run) -> Run:
    """Wait for the end of `run`; where no node lives it is carried out here."""
    deadline = time.monotonic() + _WAIT_S
    while not run.state.is_over and time.monotonic() < deadline:
        if run.state is State.QUEUED and not somebody_lives(engine):
            from duck.app.automations import Automations

            Automations(settings, run_id=run.id).run()
            run = engine.run(run.id) or run
            if not run.state.is_over:
                raise ApplicationError(f"Run {run.id} of {run.name} was not carried out here; it waits for a node.")
        else:
            time.sleep(0.1)
            run = engine.run(run.id) or run
    return run

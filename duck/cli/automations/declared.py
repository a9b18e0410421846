"""`duck automations list|show|next`: what is declared, and when it runs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from duck.cli.automations.place import engine_if_any, found_in, offer_automations, options, pauses_of, the_one
from duck.cli.automations.shown import (
    described,
    in_words,
    iso,
    last,
    local,
    print_problems,
    print_table,
    problem_values,
)
from duck.cli.main import FAILED, OK
from duck.cli.options import load_settings

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration


@click.command("list")
@options
def list_(as_json: bool, **given: Any) -> int:
    """Show every automation: when it runs next, how it ran last, and what is wrong.

    Returns 1 where a declaration cannot be used.

    For example: duck automations list --json
    """
    settings = load_settings(given)
    found, engine = found_in(settings), engine_if_any(settings)
    standings = engine.standings() if engine is not None else {}
    now = datetime.now(UTC)
    rows = [described(each, standings.get(each.name), engine, now) for each in found.declarations]
    if as_json:
        click.echo(json.dumps({"automations": rows, **problem_values(found)}, indent=2))
    else:
        print_table(
            [
                {
                    "name": row["name"],
                    "when": f"{row['when']}, {row['zone']}" if "tz" in row["trigger"] else row["when"],
                    "next": local(row["next"], found.zone) if row["next"] else row["state"],
                    "last": last(row["last"], found),
                }
                for row in rows
            ]
        )
        if not rows and not found.problems:
            click.echo("No automations are declared here.", err=True)
        print_problems(found)
    return FAILED if found.problems else OK


@click.command()
@click.argument("name", shell_complete=offer_automations)
@options
def show(name: str, as_json: bool, **given: Any) -> int:
    """Show all of one automation: each option with its value, given or not.

    Of variables, headers and bodies, which may hold secrets, it shows that they are there.

    For example: duck automations show nightly
    """
    settings = load_settings(given)
    found, engine = found_in(settings), engine_if_any(settings)
    declaration = the_one(found, name)
    standing = engine.standings().get(name) if engine is not None else None
    row = described(declaration, standing, engine, datetime.now(UTC))
    if as_json:
        click.echo(json.dumps(row, indent=2))
        return OK
    words = in_words(row, found)
    width = max(len(name) for name, _ in words)
    for name, text in words:
        click.echo(f"{name:<{width}}  {text}")
    return OK


@click.command("next")
@click.argument("names", nargs=-1, shell_complete=offer_automations)
@click.option("--count", "-n", default=5, show_default=True, type=click.IntRange(1, 1000), help="How many of each.")
@options
def next_(names: tuple[str, ...], count: int, as_json: bool, **given: Any) -> int:
    """Show the coming runs; days on which clocks are changed are marked, and what a pause will pass over.

    For example: duck automations next nightly --count 10
    """
    from duck.services.automations.schedule import oddity, upcoming

    settings = load_settings(given)
    found = found_in(settings)
    chosen = [the_one(found, name) for name in names] or [each for each in found.declarations if each.enabled]
    now = datetime.now(UTC)
    paused = pauses_of(settings)

    def note_of(declaration: Declaration, planned: datetime) -> str:
        if not declaration.enabled:
            return "passed over: off"
        if planned < paused.get(declaration.name, now):
            return "passed over: paused"
        return oddity(planned, declaration.plan.zone)

    coming = [
        (planned, declaration.name, note_of(declaration, planned))
        for declaration in chosen
        if declaration.plan.schedule is not None
        for planned in upcoming(declaration.plan.schedule, now, count)
    ]
    coming.sort()
    if as_json:
        told = [{"at": iso(at), "name": name, "note": note} for at, name, note in coming]
        click.echo(json.dumps({"next": told, **problem_values(found)}, indent=2))
        return OK
    if not coming:
        click.echo("Nothing is planned.", err=True)
    print_table([{"at": local(iso(at), found.zone), "name": name, "note": note} for at, name, note in coming])
    print_problems(found)
    return OK

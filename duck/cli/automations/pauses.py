"""`duck automations pause|resume`: what is not planned for a while."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from duck.cli.automations.place import engine_that_knows, offer_automations, options
from duck.cli.automations.shown import iso
from duck.cli.main import OK
from duck.cli.options import load_settings


@click.command()
@click.argument("name", shell_complete=offer_automations)
@click.option("--for", "duration", metavar="DURATION", help="So long, such as 2h; by default until it is resumed.")
@options
def pause(name: str, duration: str | None, as_json: bool, **given: Any) -> int:
    """Plan nothing of an automation for a while; what runs goes on.

    For example: duck automations pause nightly --for 2d
    """
    from duck.settings import kinds

    settings = load_settings(given)
    seconds = None
    if duration is not None:
        try:
            seconds = kinds.duration().read(duration, Path())
        except ValueError as error:
            raise click.BadParameter(f"{duration}: {error}.", param_hint="--for") from error
    engine = engine_that_knows(settings, name)
    until = engine.now() + timedelta(seconds=seconds) if seconds is not None else None
    engine.pause(name, until)
    told = iso(until) if until is not None else None
    click.echo(
        json.dumps({"name": name, "paused": True, "paused_until": told})
        if as_json
        else f"{name} is paused {f'until {told}' if told else 'until `duck automations resume`'}."
    )
    return OK


@click.command()
@click.argument("name", shell_complete=offer_automations)
@options
def resume(name: str, as_json: bool, **given: Any) -> int:
    """Plan an automation again; what was planned meanwhile is passed over.

    For example: duck automations resume nightly
    """
    engine = engine_that_knows(load_settings(given), name)
    engine.resume(name)
    click.echo(
        json.dumps({"name": name, "paused": False, "paused_until": None}) if as_json else f"{name} is planned again."
    )
    return OK

"""`duck automations event`: telling automations of what Duck does not see by itself."""

from __future__ import annotations

import json
from typing import Any, Final

import click

from duck.cli.automations.place import options
from duck.cli.main import OK
from duck.cli.options import load_settings

_EVENTS: Final = ("deploy",)


@click.command("event")
@click.argument("event", type=click.Choice(_EVENTS))
@click.option("--tell", multiple=True, metavar="KEY=VALUE", help="What runs find in ctx.event; may be said again.")
@options
def event(event: str, tell: tuple[str, ...], as_json: bool, **given: Any) -> int:
    """Tell automations that something has happened: what waits for it is run.

    `deploy` is for those who put new code into place by other means than `duck reload`. A node of this machine takes
    it, or the next that is started.

    For example: duck automations event deploy --tell version=1.4.2
    """
    from duck.services.automations.event_spool import EventSpool
    from duck.services.automations.places import event_directory, project_root

    told: dict[str, str] = {}
    for each in tell:
        key, separator, value = each.partition("=")
        if not separator or not key:
            raise click.BadParameter(f"{each!r}: give KEY=VALUE.", param_hint="--tell")
        told[key] = value
    settings = load_settings(given)
    spool = EventSpool(event_directory(settings, project_root(settings)))
    found = spool.put(event, {}, {"reason": "told", **told})
    click.echo(json.dumps({"id": found}) if as_json else f"The event {event} is kept as {found}.")
    return OK

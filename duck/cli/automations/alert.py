"""`duck automations alert-test`: whether those who are to be told can be."""

from __future__ import annotations

import json
from typing import Any

import click
from click.shell_completion import CompletionItem

from duck.cli.automations.place import options
from duck.cli.main import FAILED, OK
from duck.cli.options import load_settings
from duck.exceptions import ApplicationError


def _offer(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from duck.cli.automations.place import quiet_settings

    settings = quiet_settings(context)
    names = settings["AUTOMATION_ALERTS"] if settings is not None else ()
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


@click.command("alert-test")
@click.argument("channel", shell_complete=_offer)
@options
def alert_test(channel: str, as_json: bool, **given: Any) -> int:
    """Send a test alert to a channel of AUTOMATION_ALERTS.

    Returns 1 where a receiver does not take it.

    For example: duck automations alert-test ops
    """
    from duck.app.alert_test import send_test
    from duck.app.automation_declarations import read_channels

    settings = load_settings(given)
    channels, problems = read_channels(settings)
    for problem in problems:
        click.echo(problem, err=True)
    if channel not in channels:
        known = f"give one of {', '.join(channels)}" if channels else "there is none; declare it there"
        raise ApplicationError(f"{channel!r} is no channel of AUTOMATION_ALERTS; {known}.")
    results = send_test(settings, channels[channel])
    if as_json:
        click.echo(json.dumps({"channel": channel, "ok": not any(results.values()), "receivers": results}))
    else:
        for kind, why in results.items():
            click.echo(f"{kind}: {why or 'taken'}", err=bool(why))
    return FAILED if any(results.values()) else OK

"""`duck automations doctor`: why something does not run."""

from __future__ import annotations

import json
from typing import Any

import click

from duck.cli.automations.place import engine_of, found_in, options
from duck.cli.check import count_of, show_finding
from duck.cli.main import FAILED, OK
from duck.cli.options import load_settings


@click.command()
@options
def doctor(as_json: bool, **given: Any) -> int:
    """Look at everything that scheduled work needs, each finding with its remedy.

    The store, the clocks, the declarations, who runs, and what of the last day was late, missed or is stuck. Returns 1
    where something is wrong, warnings apart.

    For example: duck automations doctor --json
    """
    from duck.app.automations_checkup import AutomationsCheckup

    settings = load_settings(given)
    found = []
    for finding in AutomationsCheckup(settings, lambda: found_in(settings), lambda: engine_of(settings)).findings():
        found.append(finding)
        if not as_json:
            show_finding(finding)
    counts = {level: sum(finding.level == level for finding in found) for level in ("ok", "warning", "error")}
    if as_json:
        values = [finding.as_values() for finding in found]
        click.echo(json.dumps({"ok": not counts["error"], "counts": counts, "findings": values}, indent=2))
    else:
        click.echo(f"\n{count_of(counts['error'], 'error')}, {count_of(counts['warning'], 'warning')}.")
    return FAILED if counts["error"] else OK

"""`duck check`: what would keep a start from working, before it."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from duck.cli.main import FAILED, OK
from duck.cli.options import load_settings, project_timeout, setting_options
from duck.cli.serve import refuse_own_code_as_root
from duck.exceptions import ApplicationError, SettingsError

if TYPE_CHECKING:
    from duck.app.finding import Finding

_COLOURS: Final = {"ok": "green", "warning": "yellow", "error": "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--measure", is_flag=True, help="Ask the project for a page, through WSGI and ASGI, and say what it costs."
)
@project_timeout
@setting_options("settings")
def check(as_json: bool, measure: bool, timeout: float, **given: Any) -> int:
    """Look at everything that a start needs, and start nothing.

    The options are those of `duck runserver` and `duck serve`; --mode serve says what the second would meet. Returns 0
    where nothing is wrong, warnings apart, and 1 where something is.

    For example: duck check --mode serve --listen http://0.0.0.0:80
    """
    from duck import logs
    from duck import settings as installed
    from duck.app.checkup import Checkup, TooLate, within
    from duck.app.finding import ERROR, Finding

    logs.configure("error", "text")
    problems: list[SettingsError] = []
    found: list[Finding] = []

    def tell(finding: Finding) -> None:
        found.append(finding)
        if not as_json:
            show_finding(finding)

    settings = None
    try:
        if (given["mode"] or os.environ.get("DUCK_MODE")) == "serve":
            refuse_own_code_as_root(given["user"])
        settings = within(timeout, lambda: load_settings(given, problems=problems))
    except SettingsError as error:
        problems.append(error)
    except ApplicationError as error:
        tell(Finding(ERROR, "user", str(error)))
    except TooLate as late:
        problems.append(SettingsError(f"The settings were not read in {timeout:g} s; see to {late.place}."))
    for problem in problems:
        tell(Finding(ERROR, "settings", str(problem)))
    if settings is not None:
        installed.install(settings)
        for finding in Checkup(settings, deadline_s=timeout, measures=measure).findings():
            tell(finding)
    counts = {level: sum(finding.level == level for finding in found) for level in _COLOURS}
    if as_json:
        values = [finding.as_values() for finding in found]
        click.echo(json.dumps({"ok": not counts["error"], "counts": counts, "findings": values}, indent=2))
    else:
        click.echo(f"\n{count_of(counts['error'], 'error')}, {count_of(counts['warning'], 'warning')}.")
    return FAILED if counts["error"] else OK


def show_finding(finding: Finding) -> None:
    """Print one finding."""
    level = click.style(f"{finding.level:<8}", fg=_COLOURS[finding.level], bold=finding.level != "ok")
    click.echo(f"{level if sys.stdout.isatty() else f'{finding.level:<8}'}{finding.topic}: {finding.sentence}")
    for line in finding.details:
        click.echo(f"          {line}")


def count_of(count: int, noun: str) -> str:
    """`no errors`, `1 error`."""
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"

"""`duck routes`: who answers what."""

from __future__ import annotations

import json
from typing import Any, Final

import click

from duck.cli.main import OK
from duck.cli.options import load_settings, project_timeout, setting_options
from duck.exceptions import ApplicationError

_TITLES: Final = {"side": "answered by", "pattern": "pattern", "name": "name", "view": "view"}


@click.command()
@click.argument("path", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@project_timeout
@setting_options("settings")
def routes(path: str | None, as_json: bool, timeout: float, **given: Any) -> int:
    """Show who answers what: static and media files, Duck's own views, Django's.

    With PATH, a path or URL, who would answer that and why. Nothing is served for it; the project is brought up in its
    own Python, its URLconf is read, and it is ended. The options are those of `duck runserver` and `duck serve`.

    For example: duck routes /static/css/site.css
    """
    from duck import logs
    from duck import settings as installed
    from duck.app.answers import Answers
    from duck.app.checkup import TooLate, within

    logs.configure("error", "text")
    try:
        settings = within(timeout, lambda: load_settings(given))
        installed.install(settings)
        answers = within(timeout, lambda: Answers(settings, timeout))
    except TooLate as late:
        sentence = f"Duck's own side was not imported after {timeout:g} s and is still at {late.place}"
        raise ApplicationError(f"{sentence}; see to that line, or give it longer with --timeout.") from None
    if path is None:
        rows = answers.table()
        click.echo(json.dumps({"routes": rows}, indent=2) if as_json else "\n".join(_table(rows)))
        return OK
    decision = answers.of(path)
    if as_json:
        click.echo(json.dumps(decision, indent=2))
    else:
        click.echo("\n".join(_told(decision)))
    return OK


def _table(rows: list[dict[str, Any]]) -> list[str]:
    cells = [list(_TITLES.values())]
    for row in rows:
        methods = f" ({', '.join(row['methods'])})" if row["methods"] else ""
        cells.append([row["side"], row["pattern"] + methods, row["name"] or "-", row["view"]])
    widths = [max(len(line[index]) for line in cells) for index in range(len(_TITLES))]
    return ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _told(decision: dict[str, Any]) -> list[str]:
    given = f" with {', '.join(decision['arguments'])}" if decision["arguments"] else ""
    view = f": {decision['view']}{given}" if decision["view"] else ""
    return [f"{decision['path']} is answered by {decision['side']}{view}", *decision["passed"], decision["reason"]]

"""`duck settings`: what is set, and where."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from duck.cli.options import load_settings, offer_names, setting_options
from duck.exceptions import SettingsError

if TYPE_CHECKING:
    from duck.settings.load import Settings

_HIDDEN = "********"


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=offer_names)
@click.option("--given", "only_given", is_flag=True, help="Only those that are not left at their default.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: value, origin and unit of each.")
@setting_options("settings")
def settings(names: tuple[str, ...], only_given: bool, as_json: bool, **given: Any) -> int:
    """Show each setting, its value and where it was given.

    The options are those of `duck runserver` and `duck serve`, so that it can be seen what they would do; --mode serve
    shows the defaults of `duck serve`.

    For example: duck settings port listen --port 8001
    """
    from duck.settings.schema import NAMES

    loaded = load_settings(given)
    wanted = []
    for name in names:
        key = name.replace("-", "_").upper()
        if key not in NAMES:
            import difflib

            near = difflib.get_close_matches(key, NAMES, 1)
            hint = (
                f"did you mean {near[0].lower() if name.islower() else near[0]}?"
                if near
                else "`duck settings` lists them all."
            )
            raise SettingsError(f"{name} is no setting of Duck; {hint}")
        wanted.append(NAMES[key].name)
    shown = [name for name in wanted or loaded if not only_given or loaded.is_given(name)]
    if as_json:
        click.echo(json.dumps({name: _as_json(loaded, name) for name in shown}, indent=2))
    else:
        _print_table(loaded, shown)
        for warning in loaded.warnings:
            click.echo(f"duck: {warning}", err=True)
    return 0


def _as_json(loaded: Settings, name: str) -> dict[str, Any]:
    from duck.settings.schema import SETTINGS

    origin = loaded.origin(name)
    return {
        "value": _plain(loaded, name),
        "origin": {"source": origin.source, "where": origin.where},
        "unit": SETTINGS[name].unit,
    }


def _plain(loaded: Settings, name: str) -> Any:
    from duck.settings.schema import SETTINGS

    value = loaded[name]
    if SETTINGS[name].secret and value is not None:
        return _HIDDEN
    if isinstance(value, list):
        return [str(item) if isinstance(item, Path) else item for item in value]
    return str(value) if isinstance(value, Path) else value


def _print_table(loaded: Settings, names: list[str]) -> None:
    rows = []
    for name in names:
        value = _plain(loaded, name)
        text = value if isinstance(value, str) else "-" if value is None else json.dumps(value)
        rows.append((name, text, str(loaded.origin(name))))
    width = max((len(name) for name, _, _ in rows), default=0)
    value_width = min(max((len(text) for _, text, _ in rows), default=0), 44)
    bold = sys.stdout.isatty()
    for name, text, origin in rows:
        line = f"{name:<{width}}  {text:<{value_width}}  {origin}"
        click.echo(click.style(line, bold=True) if bold and origin != "default" else line)

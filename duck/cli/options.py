"""The options that give settings, made from their declaration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from duck.settings.load import Settings, load
from duck.settings.schema import SAME, SETTINGS, Setting

if TYPE_CHECKING:
    from duck.exceptions import SettingsError

_F = TypeVar("_F", bound=Callable[..., Any])

_PARAMETERS = {setting.name.lower(): setting.name for setting in SETTINGS.values() if setting.flags}


def setting_options(command: str) -> Callable[[_F], _F]:
    """Give `command` its options that set settings, `settings` all; their arguments go to `load_settings`."""

    def add(function: _F) -> _F:
        for setting in reversed(list(SETTINGS.values())):
            if setting.flags and (command in setting.of or command == "settings"):
                function = _option(setting, command)(function)
        return function

    return add


def options_of(*names: str) -> Callable[[_F], _F]:
    """Give a command the options of these settings alone; their arguments go to `load_settings`."""

    def add(function: _F) -> _F:
        for name in reversed(names):
            function = _option(SETTINGS[name], "settings")(function)
        return function

    return add


# Of a command that asks the project something.
project_timeout = click.option(
    "--timeout",
    type=click.FloatRange(1, 3600),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the project may take.",
)


def load_settings(given: dict[str, Any], *, problems: list[SettingsError] | None = None, **more: Any) -> Settings:
    """The settings of a start in the working directory.

    Args:
        given: the arguments that `setting_options` made.
        problems: gets all that is wrong with names and values, instead of the first being raised.
        more: further values by setting name; None for none, anything else wins over the option.

    Raises:
        SettingsError: a value or name, anywhere, is wrong.
    """
    import os

    values = {_PARAMETERS[parameter]: value for parameter, value in given.items()}
    values.update({name: value for name, value in more.items() if value is not None})
    return load(values, os.environ, Path.cwd(), problems)


def offer_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of settings that begin with `incomplete`, written as it is."""
    written = [name if incomplete.isupper() else name.lower() for name in SETTINGS]
    return [CompletionItem(name) for name in written if name.startswith(incomplete)]


def _option(setting: Setting, command: str) -> Callable[[_F], _F]:
    # A parameter is named by its setting, whatever its option is called.
    names = (setting.name.lower(), *setting.flags)
    sentence = setting.sentence
    default = setting.default if command != "serve" or setting.in_production is SAME else setting.in_production
    if "default" not in sentence and not any("/" in flag for flag in setting.flags):
        sentence += f"  [default: {default}]" if default not in ([], None) else ""
    if any("/" in flag for flag in setting.flags):
        return click.option(*names, default=None, help=sentence)
    return click.option(
        *names,
        default=None,
        multiple=isinstance(setting.default, list),
        metavar=setting.metavar or "|".join(setting.kind.words) or setting.name,
        shell_complete=_completer(setting),
        help=sentence + (" May be given several times." if isinstance(setting.default, list) else ""),
    )


def _completer(setting: Setting) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """What a shell offers for the option's value: the words of a choice, files and directories, or nothing."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        if setting.metavar == "PATH":
            return [CompletionItem(incomplete, type="dir" if setting.name.endswith("_DIR") else "file")]
        return [CompletionItem(word) for word in setting.kind.words if word.startswith(incomplete.lower())]

    return complete

"""Where a command's automations are: its options, what is declared there, and the store."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from duck.cli.options import load_settings, options_of
from duck.exceptions import ApplicationError, DuckError

if TYPE_CHECKING:
    from datetime import datetime

    from duck.app.automation_declarations import Found
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.engine import Engine
    from duck.services.automations.run import Run
    from duck.settings.load import Settings

_F = TypeVar("_F", bound=Callable[..., Any])

_PLACES: Final = ("DJANGO_PROJECT", "PYTHON", "DJANGO_SETTINGS_MODULE", "STATE_DIR")


def options(function: _F) -> _F:
    """Give a command the options that all of them have."""
    function = click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)
    return options_of(*_PLACES)(function)


def found_in(settings: Settings) -> Found:
    """What is declared.

    Raises:
        DuckError: the project is not found, or cannot be loaded.
    """
    from duck.app.automation_project import discover

    return discover(settings)


def engine_of(settings: Settings) -> Engine:
    """What keeps the runs.

    Raises:
        DuckError: it cannot be reached.
    """
    from duck.app.automation_engine import open_engine
    from duck.app.automation_project import ProjectSide

    return open_engine(settings, ProjectSide(settings))


def engine_if_any(settings: Settings) -> Engine | None:
    """What keeps the runs, for who only looks: None where nothing has been kept yet, and nothing is made for it.

    Raises:
        DuckError: it cannot be reached.
    """
    from duck.app.automation_engine import has_store, open_engine
    from duck.app.automation_project import ProjectSide

    side = ProjectSide(settings)
    return open_engine(settings, side) if has_store(settings, side) else None


def nothing_kept(settings: Settings) -> str:
    """What to say where `engine_if_any` gives None."""
    from duck.app.automation_engine import store_path
    from duck.app.automation_project import ProjectSide

    path = store_path(settings, ProjectSide(settings).root, make=False)
    return f"nothing has run here yet, and {path} is not there"


def the_one(found: Found, name: str) -> Declaration:
    """The automation of that name.

    Raises:
        ApplicationError: there is none.
    """
    for declaration in found.declarations:
        if declaration.name == name:
            return declaration
    for problem in found.problems:
        if f": the automation {name!r} cannot be used: " in problem:
            raise ApplicationError(problem)
    names = [each.name for each in found.declarations]
    raise _unknown(name, names, "`duck automations list` shows those that are.")


def refuse_off(declaration: Declaration) -> None:
    """Refuse one that is declared to never run: what was queued for it would wait for ever.

    Raises:
        ApplicationError: see above.
    """
    if not declaration.enabled:
        raise ApplicationError(
            f"{declaration.name} is off (`enabled` is false in {declaration.origin}); take that out to have it run."
        )


def engine_that_knows(settings: Settings, name: str) -> Engine:
    """What keeps the runs, told of the automation of that name where it has not been.

    Raises:
        ApplicationError: none is declared that is called so, and the store knows none.
        DuckError: the store cannot be reached.
    """
    engine = engine_of(settings)
    if name not in engine.standings():
        engine.register([the_one(found_in(settings), name)])
    return engine


def refuse_mistyped(engine: Engine, name: str) -> None:
    """Refuse a name that the store does not know where it knows one that is near.

    Raises:
        ApplicationError: see above.
    """
    known = engine.standings()
    if name not in known and difflib.get_close_matches(name, known, 1):
        raise _unknown(name, known, "")


def pauses_of(settings: Settings) -> dict[str, datetime]:
    """Until when automations are paused, by name; of those that are, and where the store can be asked."""
    try:
        engine = engine_if_any(settings)
        standings = engine.standings() if engine is not None else {}
    except DuckError:
        return {}  # what comes can be told without it
    return {name: each.paused_until for name, each in standings.items() if each.paused_until is not None}


def somebody_lives(engine: Engine) -> bool:
    """Whether a node says that it is there."""
    from duck.services.automations.dispatcher import SILENT_S

    return bool(engine.nodes(SILENT_S))


def given_options(given: dict[str, Any]) -> tuple[str, ...]:
    """The options of a command line that say the same place from anywhere."""
    from duck.settings.schema import SETTINGS

    found: list[str] = []
    for name in _PLACES:
        value = given.get(name.lower())
        if value is not None:
            setting = SETTINGS[name]
            found += [setting.flags[0], os.path.abspath(value) if setting.metavar == "PATH" else str(value)]
    return tuple(found)


def _unknown(name: str, known: Iterable[str], otherwise: str) -> ApplicationError:
    """What to say of a name that is none of `known`: a near one, else `otherwise`."""
    near = difflib.get_close_matches(name, list(known), 1)
    return ApplicationError(f"There is no automation {name!r}; {f'did you mean {near[0]}?' if near else otherwise}")


def offer_automations(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names that the settings and the store know; the project is not loaded for them."""
    settings = quiet_settings(context)
    if settings is None:
        return []
    names = set(settings["AUTOMATIONS"])
    with contextlib.suppress(DuckError):
        engine = engine_if_any(settings)
        names |= engine.standings().keys() if engine is not None else set()
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


def offer_runs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The latest runs, with what they are of."""
    settings = quiet_settings(context)
    runs: list[Run] = []
    if settings is not None:
        with contextlib.suppress(DuckError):
            engine = engine_if_any(settings)
            runs = engine.runs(limit=50) if engine is not None else []
    return [
        CompletionItem(str(run.id), help=f"{run.name}, {run.state}")
        for run in runs
        if str(run.id).startswith(incomplete)
    ]


def quiet_settings(context: click.Context) -> Settings | None:
    """The settings, for a shell that completes, which has no use for an error."""
    try:
        return load_settings({name.lower(): context.params.get(name.lower()) for name in _PLACES})
    except DuckError:
        return None

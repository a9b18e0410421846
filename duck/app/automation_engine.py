"""Which engine keeps the runs of a project: the one place where nodes and commands open it."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from duck.exceptions import ProjectError, SettingsError
from duck.services.automations.places import digest_of
from duck.services.state import state_directory

if TYPE_CHECKING:
    from duck.app.automation_project import ProjectSide
    from duck.services.automations.engine import Engine
    from duck.settings.load import Settings

logger = logging.getLogger("duck.automations")


def open_engine(settings: Settings, side: ProjectSide) -> Engine:
    """The engine that AUTOMATION_ENGINE names, for the project of `side`.

    Raises:
        ApplicationError: the state directory cannot be used.
        ProjectError: the engine is the project's, and there is none, or it cannot be asked.
        SettingsError: what the engine needs is not installed.
        StoreError: the store cannot be opened.
    """
    if settings["AUTOMATION_ENGINE"] == "postgres":
        return _open_postgres(settings, side)
    if settings["AUTOMATION_ENGINE"] in ("django", "celery"):
        return _open_in_project(settings, side)
    from duck.services.automations.engines.local import LocalEngine

    return LocalEngine(store_path(settings, side.root))


def _open_postgres(settings: Settings, side: ProjectSide) -> Engine:
    try:
        from duck.services.automations.engines.postgres import PostgresEngine
    except ImportError as error:
        raise SettingsError(
            'AUTOMATION_ENGINE is "postgres", which needs what is not installed where Duck is'
            f' ({error}): run pip install "duck-server[postgres]" there.'
        ) from error
    return PostgresEngine(lambda: database_address(settings, side))


def database_address(settings: Settings, side: ProjectSide) -> str:
    """Where the runs are kept, as libpq reads it: AUTOMATION_DATABASE, or the default database of the project.

    Raises:
        ProjectError: the project cannot be asked.
        SettingsError: there is no PostgreSQL.
    """
    from psycopg.conninfo import make_conninfo
    from psycopg.pq import Conninfo

    given: str | None = settings["AUTOMATION_DATABASE"]
    if given is not None:
        return given
    told = side.told(settings).get("database") or {}
    if told.get("vendor") != "postgresql":
        kept = told.get("vendor") or "none"
        raise SettingsError(
            f'AUTOMATION_ENGINE is "postgres", and the default database of the project is {kept}:'
            ' give AUTOMATION_DATABASE a URL such as "postgresql://user@host/name".'
        )
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    return make_conninfo(**{key: value for key, value in told["parameters"].items() if key in known})


def _open_in_project(settings: Settings, side: ProjectSide) -> Engine:
    from duck.backend.django.store import StoreProcess
    from duck.services.automations.engines.celery import CeleryEngine
    from duck.services.automations.engines.django import DjangoEngine

    if side.project is None or side.interpreter is None:
        name, origin = settings["AUTOMATION_ENGINE"], settings.origin("AUTOMATION_ENGINE")
        raise ProjectError(
            f'AUTOMATION_ENGINE is "{name}" ({origin}), and there is no Django project here whose database it could be:'
            ' set it to "local", or start Duck in the project.'
        )
    link = StoreProcess(side.project, side.interpreter, side.settings_module, on_output=_printed)
    return CeleryEngine(link) if settings["AUTOMATION_ENGINE"] == "celery" else DjangoEngine(link)


def _printed(text: str) -> None:
    for line in text.splitlines():
        logger.info("%s", line)


def has_store(settings: Settings, side: ProjectSide) -> bool:
    """Whether there is one to be opened, so that who only looks need not make it: a file may not be there yet.

    Raises:
        ApplicationError: the state directory cannot be used.
    """
    return settings["AUTOMATION_ENGINE"] != "local" or store_path(settings, side.root, make=False).exists()


def store_path(settings: Settings, root: Path | None, *, make: bool = True) -> Path:
    """Where the runs of the project at `root` are kept on this machine; without `make` no directory is made for it.

    Raises:
        ApplicationError: the state directory cannot be used.
    """
    place = Path(os.path.realpath(root or settings.base_dir))
    directory = state_directory(settings["STATE_DIR"], project=place, make=make) / "automations"
    if make:
        directory.mkdir(mode=0o700, exist_ok=True)
    return directory / f"{place.name}-{digest_of(place)}.sqlite3"

"""Which engine keeps the runs of a project: the one place where nodes and commands open it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from duck.services.automations.places import digest_of
from duck.services.state import state_directory

if TYPE_CHECKING:
    from duck.app.automations import ProjectSide
    from duck.services.automations.engine import Engine
    from duck.settings.load import Settings


def open_engine(settings: Settings, side: ProjectSide) -> Engine:
    """The engine that AUTOMATION_ENGINE names, for the project of `side`.

    Raises:
        ApplicationError: the state directory cannot be used.
        StoreError: the store cannot be opened.
    """
    from duck.services.automations.engines.local import LocalEngine

    return LocalEngine(store_path(settings, side.root))


def store_path(settings: Settings, root: Path | None) -> Path:
    """Where the runs of the project at `root` are kept on this machine.

    Raises:
        ApplicationError: the state directory cannot be used.
    """
    place = Path(os.path.realpath(root or settings.base_dir))
    directory = state_directory(settings["STATE_DIR"], project=place) / "automations"
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory / f"{place.name}-{digest_of(place)}.sqlite3"

"""Where a project's automations have their files on this machine."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from duck.backend.django.discover import find_project
from duck.exceptions import ProjectError
from duck.services.state import state_directory
from duck.settings import views

if TYPE_CHECKING:
    from duck.settings.load import Settings


def project_root(settings: Settings) -> Path | None:
    """The directory of the Django project that `settings` mean; None where there is none."""
    view = views.django(settings)
    if view.use is False:
        return None
    try:
        return find_project(settings.project_dir, view.project).root
    except ProjectError:
        return None


def event_directory(settings: Settings, root: Path | None) -> Path:
    """Where events for the nodes of the project at `root` wait; nothing is made.

    Raises:
        ApplicationError: the state directory cannot be used.
    """
    place = Path(os.path.realpath(root or settings.base_dir))
    directory = state_directory(settings["STATE_DIR"], project=place, make=False)
    return directory / "automations" / f"events-{digest_of(place)}"


def digest_of(place: Path) -> str:
    """No other project's."""
    return hashlib.sha256(str(place).encode()).hexdigest()[:10]

"""What the front-end server receives of the settings."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from duck.settings.load import Settings


@dataclass(frozen=True)
class FrontendView:
    """The front-end server as the settings name it.

    Attributes:
        wanted: None where it is to be found out; never under `duck serve`.
        command: taken apart; None for Vite's own, or for a server that runs already.
        url: where it listens; None where it says so itself.
        paths: expressions for whole paths.
    """

    wanted: bool | None
    command: tuple[str, ...] | None
    directory: Path | None
    url: str | None
    paths: tuple[str, ...]


def frontend(settings: Settings) -> FrontendView:
    """The settings of the front-end server."""
    command = settings["FRONTEND_COMMAND"]
    return FrontendView(
        wanted=False if settings["MODE"] == "serve" else settings["FRONTEND"],
        command=None if command is None else tuple(shlex.split(command)),
        directory=settings["FRONTEND_DIR"],
        url=settings["FRONTEND_URL"],
        paths=tuple(settings["FRONTEND_PATHS"]),
    )

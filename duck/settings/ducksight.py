"""What DuckSight receives of the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duck.settings.load import Settings


@dataclass(frozen=True)
class DuckSightView:
    """Whether browsers are told of changes, and who may ask.

    Attributes:
        enabled: never under `duck serve`.
        allowed: addresses and networks besides loopback, and host names besides `localhost`.
        editor: as DUCKSIGHT_EDITOR names it, `auto` and `off` included.
        requests: how many of the last are kept.
    """

    enabled: bool
    allowed: tuple[str, ...]
    editor: str
    requests: int


def ducksight(settings: Settings) -> DuckSightView:
    """The settings of DuckSight."""
    return DuckSightView(
        enabled=settings["DUCKSIGHT"] and settings["MODE"] != "serve",
        allowed=tuple(settings["DUCKSIGHT_ALLOWED"]),
        editor=settings["DUCKSIGHT_EDITOR"],
        requests=settings["DUCKSIGHT_REQUESTS"],
    )

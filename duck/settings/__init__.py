"""What can be set, where it was set, and how running code receives it.

`schema` declares, `load` gathers, `views` hands out. `SETTINGS` is what the running App was started with, for the
views and middlewares of a Duck project.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from duck.exceptions import SettingsError

if TYPE_CHECKING:
    from duck.settings.load import Settings


class _Installed(Mapping[str, Any]):
    """The settings of this process's App: `SETTINGS["DEBUG"]`."""

    def __init__(self) -> None:
        self._settings: Settings | None = None

    def install(self, settings: Settings | None) -> None:
        self._settings = settings

    def _get(self) -> Settings:
        if self._settings is None:
            raise SettingsError("There are no settings yet: make an App, or start with `duck runserver`.")
        return self._settings

    def __getitem__(self, name: str) -> Any:
        return self._get()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._get())

    def __len__(self) -> int:
        return len(self._get())


SETTINGS = _Installed()


def install(settings: Settings | None) -> None:
    """Make `settings` those of this process; the App does it once, before it imports a Duck project's modules."""
    SETTINGS.install(settings)


def current() -> Settings | None:
    """The settings of this process's App, None where none was made."""
    return SETTINGS._settings


__all__ = ["SETTINGS", "current", "install"]

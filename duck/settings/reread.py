"""What duck.toml says by now of a setting that may be changed while Duck runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from duck.settings.load import read_toml, read_value, toml_of
from duck.settings.schema import SETTINGS

if TYPE_CHECKING:
    from duck.settings.load import Settings


def reread(settings: Settings, name: str) -> Settings:
    """`settings`, with the value that duck.toml gives `name` by now.

    What the command line or the environment gave stays; a Duck project's settings are code, which is not run again.

    Raises:
        SettingsError: the file cannot be read, or the value is wrong.
    """
    if settings.is_duck_project or settings.origin(name).source not in ("file", "default"):
        return settings
    setting = SETTINGS[name]
    file = settings.file or toml_of(settings.project_dir, settings["DJANGO_PROJECT"])
    given = read_toml(file).get(setting.name) if file.is_file() else None
    if given is None:
        return settings.with_value(name, setting.kind.read(setting.default, settings.base_dir), None)
    raw, origin = given
    return settings.with_value(name, read_value(setting, raw, origin, file.parent), origin)

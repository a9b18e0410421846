"""Every setting: parsing, checks, command line options and the reference page all come from here.

Each is declared once, with the others of its group, in `duck.settings.declared`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from duck.settings.declared.automations import AUTOMATIONS
from duck.settings.declared.bounds import DEADLINES, LIMITS
from duck.settings.declared.certificates import CERTIFICATES
from duck.settings.declared.django import DJANGO
from duck.settings.declared.ducksight import DUCKSIGHT
from duck.settings.declared.frontend import FRONTEND
from duck.settings.declared.https import HTTPS
from duck.settings.declared.listening import LISTENING
from duck.settings.declared.production import MODES, PRODUCTION
from duck.settings.declared.project import PROJECT, SIDES
from duck.settings.declared.working import FILES, LOGS, RELOAD, STATE
from duck.settings.setting import GIB, KIB, MIB, SAME, Setting

__all__ = ["GIB", "KIB", "MIB", "NAMES", "RUNTIME_VARIABLES", "SAME", "SECTIONS", "SETTINGS", "Setting"]

_DECLARED: Final = (
    *MODES,  # first: other defaults go by it
    *PROJECT,
    *DJANGO,
    *SIDES,
    *LISTENING,
    *HTTPS,
    *CERTIFICATES,
    *LIMITS,
    *DEADLINES,
    *FILES,
    *RELOAD,
    *DUCKSIGHT,
    *FRONTEND,
    *PRODUCTION,
    *AUTOMATIONS,
    *LOGS,
    *STATE,
)

SECTIONS: Final = tuple(dict.fromkeys(setting.section for setting in _DECLARED[len(MODES) :]))
"""The headings of the reference page, in order."""

SETTINGS: Final = MappingProxyType({setting.name: setting for setting in _DECLARED})
"""Every setting by its name, in the order of the reference page."""

NAMES: Final = MappingProxyType(
    {name: setting for setting in _DECLARED for name in (setting.name, *setting.aliases)},
)
"""Every accepted name, aliases too."""

RUNTIME_VARIABLES: Final = frozenset(
    {
        "DUCK_DJANGO_ADDR",
        "DUCK_SECRETS_DIR",
        "DUCK_SERVER_BUFFER",
        "DUCK_SERVER_DOMAIN",
        "DUCK_SERVER_NAME",
        "DUCK_SERVER_PORT",
        "DUCK_SERVER_PROTOCOL",
        "DUCK_SERVER_URL",
        "DUCK_USES_IPV6",
        "DUCK_WORKERS",
    }
) - {setting.variable for setting in _DECLARED}
"""Variables that duckframework sets for itself: no settings, and not worth a warning."""

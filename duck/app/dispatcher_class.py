"""The dispatcher class that AUTOMATION_DISPATCHER names: Duck's own, or one derived from it."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from duck.exceptions import SettingsError
from duck.services.automations.dispatcher import Dispatcher
from duck.settings.declared.automations import DISPATCHER

if TYPE_CHECKING:
    from duck.settings.load import Settings

# The name that projects write who know it from before.
_SYNONYMS: Final = (DISPATCHER, "duck.automation.dispatcher.DispatcherV1")


def dispatcher_class(settings: Settings) -> type[Dispatcher]:
    """The class, imported from the directory of Duck's settings as well.

    Raises:
        SettingsError: it cannot be imported, or is no dispatcher.
    """
    name: str = settings["AUTOMATION_DISPATCHER"]
    if name in _SYNONYMS:
        return Dispatcher
    where = f"{settings.origin('AUTOMATION_DISPATCHER')}: AUTOMATION_DISPATCHER is {name}, which"
    if str(settings.base_dir) not in sys.path:
        sys.path.append(str(settings.base_dir))
    module, _, attribute = name.rpartition(".")
    try:
        found: Any = getattr(import_module(module), attribute)
    except Exception as error:
        raise SettingsError(f"{where} cannot be imported: {type(error).__name__}: {error}.") from error
    if not (isinstance(found, type) and issubclass(found, Dispatcher)):
        raise SettingsError(f"{where} is no class derived from {DISPATCHER}.")
    return found

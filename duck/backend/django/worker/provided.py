"""`duck.automation`, that name and no other, for projects in whose environment Duck is not installed."""

from __future__ import annotations

import os
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from typing import Any, Optional

_AUTOMATION = os.path.join(
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))), "automation"
)


class _Provided(MetaPathFinder, Loader):
    """Asked last of all: where the name is there by itself, that counts."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Optional[ModuleSpec]:
        """See `MetaPathFinder`."""
        if fullname == "duck":
            return ModuleSpec("duck", self, is_package=True)
        if fullname == "duck.automation":
            place = os.path.join(_AUTOMATION, "__init__.py")
            return spec_from_file_location(fullname, place, submodule_search_locations=[_AUTOMATION])
        return None

    def create_module(self, spec: ModuleSpec) -> None:
        """See `Loader`: a plain one."""

    def exec_module(self, module: Any) -> None:
        """See `Loader`."""
        module.__doc__ = "Of Duck, what a project may use where Duck is not installed: duck.automation."


def provide_automation() -> None:
    """Have it found from now on; may be said again."""
    if not any(type(finder) is _Provided for finder in sys.meta_path):
        sys.meta_path.append(_Provided())

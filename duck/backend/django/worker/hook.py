"""Changing a module when it is first imported, so that nothing is imported earlier than the project would."""

from __future__ import annotations

import importlib.util
import sys
import types
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any, Callable, Dict, Optional, Sequence


class _Patching(Loader):
    def __init__(self, loader: Any, patch: Callable[[Any], None]) -> None:
        self._loader = loader
        self._patch = patch

    def create_module(self, spec: ModuleSpec) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        spec = module.__spec__
        if spec is not None:
            spec.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._patch(module)


class _Finder(MetaPathFinder):
    def __init__(self) -> None:
        self.patches: Dict[str, Callable[[Any], None]] = {}

    def find_spec(self, name: str, path: Optional[Sequence[str]], target: Any = None) -> Optional[ModuleSpec]:
        patch = self.patches.pop(name, None)
        if patch is None:
            return None
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            self.patches[name] = patch
            return None
        spec.loader = _Patching(spec.loader, patch)
        return spec


_finder = _Finder()


def when_imported(name: str, patch: Callable[[Any], None]) -> None:
    """Call `patch(module)` once, right after module `name` has run; now, if it has been imported already."""
    module = sys.modules.get(name)
    if module is not None:
        patch(module)
        return
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    _finder.patches[name] = patch

"""Which static files never change: those that carry a hash of their content in their name."""

from __future__ import annotations

import json
import os
import re
from typing import Final

# What Django's ManifestStaticFilesStorage makes of `name.ext`.
_HASHED: Final = re.compile(r"(?:.*/)?[^/]+\.[0-9a-f]{12}(?:\.[^/.]*)?")

MANIFEST: Final = "staticfiles.json"


class Manifest:
    """The hashed names below a root, as its `staticfiles.json` lists them; by their form where there is none.

    A file of that form that the manifest does not list is a left-over or chance, and not taken for unchanging.
    """

    __slots__ = ("_names", "_path", "_state")

    def __init__(self, root: str) -> None:
        self._path = os.path.join(root, MANIFEST)
        self._state: tuple[int, int, int] | None = None
        self._names: frozenset[str] | None = None
        self.refresh()

    def refresh(self) -> bool:
        """Read the manifest again if its file has changed; whether it has."""
        try:
            facts = os.stat(self._path)
            state: tuple[int, int, int] | None = (facts.st_ino, facts.st_size, facts.st_mtime_ns)
        except OSError:
            state = None
        if state == self._state:
            return False
        self._state = state
        self._names = None if state is None else _read_names(self._path)
        return True

    def is_immutable(self, name: str) -> bool:
        """Whether what lies under `name` will never be anything else."""
        return name in self._names if self._names is not None else _HASHED.fullmatch(name) is not None


def _read_names(path: str) -> frozenset[str] | None:
    """The hashed names in a manifest, or None where it cannot be read or is something else."""
    try:
        with open(path, encoding="utf-8") as file:
            paths = json.load(file)["paths"]
        # An unhashed name is listed as itself where a storage leaves it so.
        return frozenset(hashed for name, hashed in paths.items() if hashed != name)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None

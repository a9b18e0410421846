"""What a start has read of the project, and whether all of that is still as it was: else a copy of it would be stale.

Nothing is asked of who tells of changes: the files themselves are looked at, so that a change which nobody has seen, or
which was passed over, counts as well. What is looked at:

    files      that were opened for reading, by an import or by anything else (`.env`, JSON), there or not
    modules    that were looked for in the project and not found (`try: from .local import *`)
    listings   of directories that the project listed (templatetags, `settings.d/*.py`)
    neighbours of manage.py and of the settings, which are asked for by `exists()`, of which nobody hears

What a library in C opens by itself is not seen; it is told of by the names of what changed (see backend.django.spares).
"""

from __future__ import annotations

import os
import sys
import sysconfig
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import source_from_cache
from typing import Any, Dict, FrozenSet, Iterator, List, Optional, Sequence, Set, Tuple

_MOST_FILES = 20_000
_MOST_LISTINGS = 500
# Of neighbours: what settings ask for before they read it.
_CONFIGURATION = (".py", ".json", ".toml", ".yaml", ".yml", ".ini", ".cfg", ".conf")
# Of listings: what comes and goes by itself, or by an editor.
_PASSING = ("~", ".pyc", ".swp", ".swx", ".tmp", ".log", "-journal", "-wal", "-shm")
_DUCK = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

Signature = Optional[Tuple[int, int, int]]


class Seen:
    """What this process reads from `watch` to `end`, without what is installed: Python's own and packages.

    Attributes:
        excess: why not all of it is known, in a sentence's end; empty where it is.
    """

    def __init__(self) -> None:
        self.excess = ""
        self._is_watching = False
        self._files: Dict[str, Signature] = {}
        self._modules: Set[Tuple[str, str]] = set()  # directory and last name
        self._listings: Dict[str, FrozenSet[str]] = {}
        self._neighbours: Dict[str, FrozenSet[str]] = {}
        self._installed = installed_places()
        self._missing = _Missing(self)

    def watch(self) -> None:
        """Begin; before anything of the project is imported, and once in a process."""
        self._is_watching = True
        sys.addaudithook(self._heard)
        sys.meta_path.append(self._missing)

    def end(self) -> None:
        """Watch no more; the hook stays, as all do, and does nothing."""
        self._is_watching = False
        if self._missing in sys.meta_path:
            sys.meta_path.remove(self._missing)

    def settle(self, manage: Optional[str]) -> None:
        """The settings are loaded: note what lies beside them and beside `manage`."""
        places = [os.getcwd()]
        if manage is not None:
            places.append(os.path.dirname(os.path.abspath(manage)))
        package = os.environ.get("DJANGO_SETTINGS_MODULE", "")
        while package:
            path = getattr(sys.modules.get(package), "__file__", None)
            if path:
                places.append(os.path.dirname(os.path.abspath(path)))
            package = package.rpartition(".")[0]
        with self._unheard():
            for place in places:
                if place not in self._neighbours and not self.is_installed(place):
                    self._neighbours[place] = _configuration_in(place)

    def files(self) -> List[str]:
        """What was opened for reading, and was there."""
        return [path for path, before in self._files.items() if before is not None]

    def is_installed(self, path: str) -> bool:
        """Whether `path` is of Python, of an installed package or of Duck, and nobody works on it."""
        return path.startswith(self._installed) or "/site-packages/" in path or "/dist-packages/" in path

    def what_changed(self) -> str:
        """What is no longer as it was read, as a sentence; empty where a copy of this process would not be stale."""
        with self._unheard():
            return self.excess or self._what_changed()

    def _what_changed(self) -> str:
        for path, before in self._files.items():
            if signature(path) != before:
                return f"{path} has changed"
        for directory, name in self._modules:
            path = os.path.join(directory, name)
            if os.path.isdir(path) or os.path.isfile(path + ".py"):
                return f"{path} can be imported now"
        for directory, names in self._listings.items():
            if _names_in(directory) != names:
                return f"what is in {directory} has changed"
        for directory, names in self._neighbours.items():
            if _configuration_in(directory) != names:
                return f"files in {directory} have come or gone"
        return ""

    def look_for(self, name: str, path: Optional[Sequence[str]]) -> None:
        """Module `name` was not found in the directories of `path`, which are those of its package."""
        if self._is_watching:
            for entry in sys.path if path is None else path:
                directory = os.path.abspath(entry)
                if not self.is_installed(directory + os.sep):
                    self._modules.add((directory, name.rpartition(".")[2]))

    def _heard(self, event: str, args: Tuple[Any, ...]) -> None:
        if not self._is_watching:
            return
        if event == "open":
            if (args[2] or 0) & os.O_ACCMODE == os.O_RDONLY and not isinstance(args[0], int):
                self._opened(os.path.abspath(os.fsdecode(args[0])))
        elif event in ("os.listdir", "os.scandir") and not isinstance(args[0], int):
            # The import system lists every directory where it looks, and `importlib.metadata` those of sys.path.
            caller = sys._getframe(1).f_code.co_filename
            if not caller.startswith("<frozen importlib") and os.path.join("importlib", "metadata") not in caller:
                self._listed(os.path.abspath(os.fsdecode(args[0] if args[0] is not None else os.curdir)))

    def _opened(self, path: str) -> None:
        if self.is_installed(path):
            return
        if path.endswith(".pyc"):
            try:
                path = source_from_cache(path)
            except (NotImplementedError, ValueError):
                pass
        if path not in self._files:
            # Before it is read: what is written from now on makes a difference.
            self._files[path] = signature(path)
            if len(self._files) > _MOST_FILES:
                self._too_many()

    def _listed(self, path: str) -> None:
        if not self.is_installed(path + os.sep) and path not in self._listings:
            with self._unheard():
                self._listings[path] = _names_in(path)
            if len(self._listings) > _MOST_LISTINGS:
                self._too_many()

    @contextmanager
    def _unheard(self) -> Iterator[None]:
        """What is read meanwhile is read by this object."""
        before, self._is_watching = self._is_watching, False
        try:
            yield
        finally:
            self._is_watching = before

    def _too_many(self) -> None:
        self.excess = "the project reads more files than are kept in mind"
        self.end()


class _Missing(MetaPathFinder):
    """Asked last, for what nobody else has found."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def find_spec(self, name: str, path: Optional[Sequence[str]], target: Any = None) -> Optional[ModuleSpec]:
        self._seen.look_for(name, path)
        return None


def installed_places() -> Tuple[str, ...]:
    """The beginnings of paths where nobody works on files, each with its separator."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    found: List[str] = [_DUCK, *(sysconfig.get_paths()[name] for name in names)]
    places = {os.path.join(place, "") for path in found for place in (path, os.path.realpath(path))}
    return (*sorted(places), "/proc/", "/sys/", "/dev/")


def signature(path: str) -> Signature:
    """What differs once the file at `path` has been written; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _names_in(directory: str) -> FrozenSet[str]:
    try:
        names = os.listdir(directory)
    except OSError:
        return frozenset()
    return frozenset(name for name in names if name != "__pycache__" and not name.endswith(_PASSING))


def _configuration_in(directory: str) -> FrozenSet[str]:
    return frozenset(
        name
        for name in _names_in(directory)
        if name.startswith(".env") or (name.endswith(_CONFIGURATION) and not name.startswith("."))
    )

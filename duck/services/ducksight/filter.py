"""ChangeFilter: which directories are looked into and which files matter, decided by names; and a walk by that."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from duck.services.ducksight.gitignore import GitIgnore
from duck.services.ducksight.kinds import Area, Kind, area_of, kind_of
from duck.services.ducksight.places import Places, is_at_or_below

IGNORED_DIRECTORIES: Final = frozenset(
    {
        "__pycache__",
        "__pypackages__",
        "node_modules",
        "bower_components",
        "site-packages",
        "dist-packages",
        "htmlcov",
        "CVS",
        "_darcs",
    }
)
# A directory that holds one of these is an environment (virtualenv, conda) or a cache (bford.info/cachedir).
_MARKS: Final = frozenset({"pyvenv.cfg", "conda-meta", "CACHEDIR.TAG"})
_MAX_AREAS: Final = 50_000


class ChangeFilter:
    """Decides by names alone, but for the `.gitignore` files that `enters` reads.

    Args:
        patterns: of names of files whose change needs a restart (`AUTO_RELOAD_WATCH_FILES`).
        ignored: directories (absolute paths) whose content never matters, beside those that `places` tells.
        places: where the project keeps what.
    """

    def __init__(
        self,
        patterns: Sequence[str] = ("*.py",),
        ignored: Iterable[str | os.PathLike[str]] = (),
        places: Places | None = None,
    ) -> None:
        self.patterns = tuple(patterns)
        self.places = places if places is not None else Places()
        self.ignored = frozenset(os.path.normpath(path) for path in ignored)
        self._ignored = self.ignored.union(self.places.unwatched)
        self._named = self.places.named
        self._git = GitIgnore(self.places.roots())
        self._configuration = frozenset(self.places.configuration)
        self._linked = frozenset(self.places.linked)
        self.alone = self.places.alone  # directories that are watched without what lies below
        self._areas: dict[str, Area] = {}

    def anew(self) -> ChangeFilter:
        """The same, by `.gitignore` files as they are now."""
        return ChangeFilter(self.patterns, self.ignored, self.places)

    def kind(self, path: str) -> Kind | None:
        """What the file at `path` (absolute, links resolved) is; None where its change does not matter."""
        directory, name = os.path.split(path)
        area = self._areas.get(directory)
        if area is None:
            if len(self._areas) >= _MAX_AREAS:
                self._areas.clear()
            area = self._areas[directory] = area_of(directory, self.places, self.alone)
        if path == self.places.settings_file:
            return Kind.DUCK
        kind = kind_of(name, area, self.patterns)
        if kind is None and path in self._linked:
            return Kind.PYTHON
        return Kind.ENVIRONMENT if kind is None and path in self._configuration else kind

    def wants(self, path: str) -> bool:
        """Whether a change of the file at `path` matters."""
        return self.kind(path) is not None

    def enters(self, path: str, entries: Iterable[str]) -> bool:
        """Whether the directory at `path`, which holds `entries`, is watched."""
        if path in self._ignored:
            return False
        if path in self._named:
            return True
        name = os.path.basename(path)
        # `.github` and the like hold no sources; what the project names (`.templates`) was let in above.
        if name.startswith(".") or name in IGNORED_DIRECTORIES or not _MARKS.isdisjoint(entries):
            return False
        # Git leaves out what is built (`static/dist`), and that is what is served.
        return any(is_at_or_below(path, one) for one in self._named) or not self._git.ignores(path)


def walk(root: str, chosen: ChangeFilter) -> Iterator[tuple[str, list[str]]]:
    """`root` and the directories below it that are watched, each with the files in it that matter.

    Symbolic links are not followed. What cannot be read is left out.
    """
    waiting = [root]
    while waiting:
        directory = waiting.pop()
        found = look_into(directory, chosen, is_root=directory == root)
        if found is not None:
            names, below = found
            yield directory, names
            waiting.extend(below)


def look_into(directory: str, chosen: ChangeFilter, *, is_root: bool = False) -> tuple[list[str], list[str]] | None:
    """The names of the files in `directory` that matter, and the directories in it; None where it is not watched."""
    try:
        with os.scandir(directory) as scan:
            entries = list(scan)
    except OSError:
        return None
    if not is_root and not chosen.enters(directory, [entry.name for entry in entries]):
        return None
    names, below = [], []
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            below.append(entry.path)
        elif chosen.wants(entry.path):
            names.append(entry.name)
    return names, below


def reaches(path: str, root: str, chosen: ChangeFilter) -> bool:
    """Whether a walk from `root` comes to the directory at `path`, which lies at or below it."""
    while path != root:
        try:
            entries = os.listdir(path)
        except OSError:
            entries = []  # gone: its name decides
        if not chosen.enters(path, entries):
            return False
        path = os.path.dirname(path)
    return True

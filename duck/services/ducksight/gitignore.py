"""GitIgnore: which directories Git leaves out (gitignore(5)), by the `.gitignore` files of the repository.

Patterns are matched by pathspec, which keeps to what Git does with `**`, `!` and trailing slashes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from pathspec import PathSpec

NAME: Final = ".gitignore"
_MAX_BYTES: Final = 1 << 20

# Its GitIgnoreSpec answers for files, and there a directory that is let in again counts less than a name that is not.
_Spec: TypeAlias = "PathSpec[Any]"


class GitIgnore:
    """Reads each `.gitignore` once. For any thread: what two find out at the same time is the same.

    A directory whose parent is left out is never asked for, so that parents are not looked at again.

    Args:
        roots: where what lies in no repository begins: files above these say nothing of it.
    """

    def __init__(self, roots: Iterable[str] = ()) -> None:
        self._roots = frozenset(roots)
        self._specs: dict[str, tuple[_Spec, ...]] = {}  # by directory: what its files say
        self._chains: dict[str, tuple[str, ...]] = {}  # by directory: itself and those above that have such files

    def ignores(self, directory: str) -> bool:
        """Whether Git leaves out the directory at `directory`, an absolute path."""
        return self._ignores(directory, self._chain(os.path.dirname(directory)))

    def _ignores(self, directory: str, chain: tuple[str, ...]) -> bool:
        for base in chain:  # the nearest first: what it says outweighs those above
            name = os.path.relpath(directory, base).replace(os.sep, "/") + "/"
            for spec in self._specs[base]:
                said = spec.check_file(name).include
                if said is not None:
                    return said
        return False

    def _chain(self, directory: str) -> tuple[str, ...]:
        known = self._chains.get(directory)
        if known is not None:
            return known
        parent = os.path.dirname(directory)
        is_top = parent == directory or os.path.exists(os.path.join(directory, ".git"))
        if directory in self._roots and repository_of(directory) is None:
            is_top = True
        above = () if is_top else self._chain(parent)
        # A project within what is left out as a whole (a home directory that is a repository) is looked into all the
        # same, by its own files alone.
        if above and self._ignores(directory, above):
            above = ()
        specs = self._read(directory, has_excludes=is_top)
        if specs:
            self._specs[directory] = specs
            above = (directory, *above)
        self._chains[directory] = above
        return above

    def _read(self, directory: str, *, has_excludes: bool) -> tuple[_Spec, ...]:
        paths = [os.path.join(directory, NAME)]
        if has_excludes:
            paths.append(os.path.join(directory, ".git", "info", "exclude"))
        specs = []
        for path in paths:
            try:
                with open(path, encoding="utf-8", errors="surrogateescape") as file:
                    lines = file.read(_MAX_BYTES).splitlines()
                from pathspec import PathSpec  # slow to be imported, and needed where there are such files

                specs.append(PathSpec.from_lines("gitignore", lines))
            except (OSError, ValueError):
                continue  # none, or one that Git would not read either
        return tuple(specs)


def repository_of(directory: str) -> str | None:
    """The directory at or above `directory` that Git's repository begins with."""
    while not os.path.exists(os.path.join(directory, ".git")):
        directory, before = os.path.dirname(directory), directory
        if directory == before:
            return None
    return directory


def above(directory: str) -> tuple[str, ...]:
    """The directories above `directory` in its repository, the nearest first; none where there is no repository."""
    top = repository_of(directory)
    found: list[str] = []
    while top is not None and directory != top:
        directory = os.path.dirname(directory)
        found.append(directory)
    return tuple(found)


def lock_of(directory: str) -> str | None:
    """The file that is there while Git changes the files of the repository that holds `directory`."""
    top = repository_of(directory)
    if top is None:
        return None
    git = os.path.join(top, ".git")
    try:
        with open(git, encoding="utf-8") as file:  # of a worktree and a submodule it says where the rest is
            text = file.read(4096)
    except OSError:
        return os.path.join(git, "index.lock")
    return os.path.join(top, text.partition("gitdir:")[2].strip(), "index.lock")

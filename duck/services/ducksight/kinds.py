"""Kinds: what a changed file is, by its path alone; that says how little has to be done."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from duck.services.ducksight.places import is_at_or_below

if TYPE_CHECKING:
    from duck.services.ducksight.places import Places


class Kind(Enum):
    """From what costs least to what costs most."""

    STYLE = "style sheet"  # swapped in the page
    STATIC = "static file"  # fetched again by the page
    TEMPLATE = "template"  # the page is fetched again
    TRANSLATION = "translation"  # catalogues are read again, then the page
    PYTHON = "Django's code"  # the Django process is replaced
    ENVIRONMENT = "environment file"  # or another that settings are made of: the same
    DUCK = "Duck's code"  # Duck starts again in its process

    @property
    def needs_code_loaded(self) -> bool:
        """Whether a process has to load code again for it."""
        return self in (Kind.PYTHON, Kind.ENVIRONMENT, Kind.DUCK)


_TEMPLATES: Final = (".html", ".htm", ".txt", ".xml", ".svg", ".md", ".mjml", ".jinja", ".jinja2", ".j2", ".djhtml")
# What programs write as they run, at each request perhaps.
_BY_PROGRAMS: Final = (".sqlite3", ".db", "-journal", "-wal", "-shm", ".log", ".pid", ".lock", ".pyc")
# What shows others which variables there are is read by nobody else.
_EXAMPLES: Final = frozenset({"example", "sample", "template", "dist"})


@dataclass(frozen=True, slots=True)
class Area:
    """What a directory makes of the files that lie right in it."""

    code: Kind
    environment: Kind | None
    is_alone: bool
    is_static: bool
    is_template: bool
    is_loosely_template: bool  # a directory of templates, in which the whole project lies
    is_locale: bool


def area_of(directory: str, places: Places, alone: Collection[str]) -> Area:
    """What the directory at `directory` (absolute, links resolved) is; `alone` are those of `places`."""
    is_front_end = places.frontend is not None and is_at_or_below(directory, places.frontend)
    return Area(
        Kind.DUCK if places.is_of_duck(directory) else Kind.PYTHON,
        _environment(places) if not is_front_end else None,
        directory in alone,
        not is_front_end and any(is_at_or_below(directory, one) for one, _ in places.static),
        any(is_at_or_below(directory, one) for one in places.templates if not places.holds_project(one)),
        any(is_at_or_below(directory, one) for one in places.templates if places.holds_project(one)),
        any(is_at_or_below(directory, one) for one in places.locale),
    )


def _environment(places: Places) -> Kind:
    return Kind.DUCK if places.duck is not None or places.django is None else Kind.ENVIRONMENT


def kind_of(name: str, area: Area, patterns: Sequence[str]) -> Kind | None:
    """What the file `name` in `area` is; None where its change does not matter.

    Args:
        patterns: of the names of files whose change needs a restart (AUTO_RELOAD_WATCH_FILES).
    """
    if area.is_alone:
        return area.environment if is_environment_file(name) else None
    if name.endswith(".py"):  # Django itself takes none for a template, and nobody serves one
        # No module's name begins with a dot: Emacs locks `views.py` by a link `.#views.py` while somebody types.
        return area.code if matches(name, patterns) and not name.startswith((".", "flycheck_")) else None
    if is_environment_file(name):
        return area.environment
    if area.is_static or area.is_template:
        if _is_unfinished(name) or name.endswith(_BY_PROGRAMS):
            return None
        if area.is_static:
            return Kind.STYLE if name.lower().endswith(".css") else Kind.STATIC
        return Kind.TEMPLATE
    if area.is_loosely_template and name.lower().endswith(_TEMPLATES) and not _is_unfinished(name):
        return Kind.TEMPLATE
    if area.is_locale and name.endswith(".mo"):
        return Kind.TRANSLATION
    return area.code if matches(name, patterns) else None


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether the file name matches one of `patterns`."""
    for pattern in patterns:
        # The usual one, asked for every file of a tree: five times as fast as fnmatch.
        if pattern == "*.py":
            if name.endswith(".py"):
                return True
        elif fnmatch.fnmatchcase(name, pattern):
            return True
    return False


def is_environment_file(name: str) -> bool:
    """`.env`, `.env.local` and the like, but no examples of one."""
    return name == ".env" or (name.startswith(".env.") and name.rpartition(".")[2] not in _EXAMPLES)


def _is_unfinished(name: str) -> bool:
    """Whether an editor, a copy or a system keeps it for itself; it is renamed once it is whole, or removed."""
    return (
        name.startswith((".", "#"))
        or name.endswith(("~", ".swp", ".swx", ".tmp", ".temp", ".bak", ".orig", ".part", ".crdownload"))
        or name.endswith(("___jb_tmp___", "___jb_old___"))
        or name == "4913"  # Vim's, to see whether it may write
    )

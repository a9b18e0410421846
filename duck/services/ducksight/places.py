"""Places: where a project keeps what, as its own interpreter has told when it was ready."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Places:
    """Directories and files, as absolute paths.

    Attributes:
        django: the directory of manage.py; None where no Django stands behind.
        duck: the directory of a Duck project's own side; None where there is none.
        settings_file: what Duck's settings were read from.
        above: directories above these, of the same repository; of them only environment files matter.
        templates, locale: the project's own; those of installed packages are not among them.
        static: directories and what stands before the names of their files in URLs.
        static_url: below which static files are served; None where that is another server's.
        extra: what else the project imports and somebody works on: installed editable, or on PYTHONPATH.
        frontend: the directory whose style sheets, scripts and environment files a front-end server watches itself.
        configuration: files beside the code that the project has read as it started.
        linked: files elsewhere that modules of the project are links to.
        unwatched: directories of what is collected and uploaded: STATIC_ROOT, MEDIA_ROOT.
    """

    django: str | None = None
    duck: str | None = None
    settings_file: str | None = None
    above: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()
    static: tuple[tuple[str, str], ...] = ()
    static_url: str | None = None
    locale: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    unwatched: tuple[str, ...] = ()
    frontend: str | None = None
    configuration: tuple[str, ...] = ()
    linked: tuple[str, ...] = ()

    def told(self, facts: Mapping[str, Any]) -> Places:
        """The same with what the worker tells when it is ready; where it tells nothing, as it was."""
        if "template_dirs" not in facts:
            return self
        static, media = facts.get("static") or {}, facts.get("media") or {}
        served = [(_real(path), str(prefix)) for prefix, path in facts.get("static_dirs", ())]
        named = [*facts["template_dirs"], *(path for path, _ in served), *facts.get("locale_dirs", ())]
        return Places(
            self.django,
            self.duck,
            self.settings_file,
            self.above,
            _real_all(facts["template_dirs"]),
            tuple(dict.fromkeys(served)),
            static.get("url"),
            _real_all(facts.get("locale_dirs", ())),
            _real_all(facts.get("extra_roots", ())),
            # A project may keep what it writes and what it uploads in one place; then that is looked into.
            tuple(
                path
                for path in _real_all(path for path in (static.get("root"), media.get("root")) if path)
                if not any(is_at_or_below(_real(one), path) for one in (*named, self.django, self.duck) if one)
            ),
            self.frontend,
            _real_all(facts.get("configuration", ())),
            _real_all(facts.get("linked_files", ())),
        )

    @property
    def named(self) -> tuple[str, ...]:
        """What the project itself names, and is watched wherever it lies and whatever leaves it out."""
        found = dict.fromkeys((*self.templates, *(path for path, _ in self.static), *self.locale))
        # One that holds the whole project, and more, says nothing of what in it is meant.
        return tuple(path for path in found if not self.holds_project(path))

    def roots(self) -> list[str]:
        """What is watched with all that lies below it; none lies in another."""
        found = [path for path in (self.duck, self.django, *self.extra, *self.named) if path is not None]
        return outermost(dict.fromkeys(_real(path) for path in found))

    @property
    def alone(self) -> tuple[str, ...]:
        """Directories that are watched without what lies below: those above, and of files that are linked to."""
        roots = self.roots()
        beside = dict.fromkeys(os.path.dirname(path) for path in self.linked)
        return (*self.above, *(path for path in beside if not any(is_at_or_below(path, root) for root in roots)))

    def holds_project(self, directory: str) -> bool:
        """Whether the project lies in `directory`."""
        return any(one is not None and is_at_or_below(one, directory) for one in (self.django, self.duck))

    def is_of_duck(self, path: str) -> bool:
        """Whether Duck's own side may have read the file at `path`, and not the Django project alone."""
        if path == self.settings_file or self.django is None:
            return True
        if self.duck is None:
            return False
        return is_at_or_below(self.duck, self.django) or not is_at_or_below(path, self.django)

    def url_of(self, path: str) -> str | None:
        """Where the static file at `path` is served; None where that is not known."""
        if self.static_url is None:
            return None
        holding = [(root, prefix) for root, prefix in self.static if is_at_or_below(path, root)]
        if not holding:
            return None
        root, prefix = max(holding, key=lambda one: len(one[0]))
        name = "/".join(part for part in (prefix, os.path.relpath(path, root).replace(os.sep, "/")) if part)
        return self.static_url + quote(os.fsencode(name))


def is_at_or_below(path: str, directory: str) -> bool:
    """Whether `path` is `directory`, or lies in it; both absolute, by their names alone."""
    return path == directory or path.startswith(directory.rstrip(os.sep) + os.sep)


def outermost(paths: Iterable[str]) -> list[str]:
    """`paths` without those that lie in another of them."""
    listed = list(dict.fromkeys(paths))
    return [path for path in listed if not any(path != other and is_at_or_below(path, other) for other in listed)]


def _real(path: str | os.PathLike[str]) -> str:
    return os.path.realpath(path)


def _real_all(paths: Iterable[str] | Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_real(path) for path in paths))

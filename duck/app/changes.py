"""Changes: what a changed file leads to, which is as little as it can be.

style sheet, static file     the browsers fetch it again
template, translation        Django reads it again, then the browsers fetch the page
Django's code, .env          the Django process is replaced, while requests wait; then the browsers
Duck's code and settings     Duck starts again in its process, once it is known that it can
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from duck.app.trial import Trial
from duck.services.ducksight import ChangeFilter, DuckSight, Kind, Places, RecoveryWatch
from duck.services.ducksight.gitignore import above
from duck.services.ducksight.places import is_at_or_below
from duck.settings.load import TOML_NAME

if TYPE_CHECKING:
    from duck.services.django import DjangoService
    from duck.services.inbox import Inbox
    from duck.settings.load import Settings
    from duck.settings.views import ReloadView

logger = logging.getLogger("duck.app")

_SHOWN: Final = 3
_MOST_URLS: Final = 50


class Changes:
    """Watches the project's files and acts. For the inbox's thread.

    Args:
        root: what paths are shown relative to.
        restart: have Duck start again in this process.
        untried: told of what a Duck wrote that could not be loaded.
        tell_browsers: of the front.

    Attributes:
        on_syntax_error: told of what keeps changed files from being loaded; what ran keeps running.
    """

    def __init__(
        self,
        inbox: Inbox,
        root: Path,
        django: DjangoService | None,
        restart: Callable[[], None],
        untried: Callable[[str], None],
        tell_browsers: Callable[[Mapping[str, Any]], None] = lambda message: None,
    ) -> None:
        self.on_syntax_error: Callable[[SyntaxError], None] = lambda error: None
        self._inbox = inbox
        self._root = os.path.realpath(root)  # as the paths that are seen
        self._django = django
        self._tell_browsers = tell_browsers
        self._trial = Trial(inbox.post, restart, untried)
        self._filter = ChangeFilter()
        self._sight: DuckSight | None = None
        self._recovery: RecoveryWatch | None = None
        self._undone: set[str] = set()  # changed while somebody debugged
        self._unloaded: set[str] = set()  # changed, and not loaded, since one that changed with them cannot be
        self._attempt = 0  # to load changed files
        self._is_stopped = False

    def watch(self, settings: Settings, view: ReloadView, frontend: str = "") -> None:
        """Watch the project; nothing happens where that is done already, or there is nothing.

        Args:
            frontend: the directory that a front-end server watches itself; empty for none.
        """
        if self._sight is not None or self._is_stopped:
            return
        root = self._django.root if self._django is not None else None
        django = os.path.realpath(root) if root is not None else None
        duck = os.path.realpath(settings.base_dir) if settings.is_duck_project else None
        places = Places(
            django,
            duck,
            # One that is made later counts from then on.
            os.path.realpath(settings.file or (root or settings.project_dir) / TOML_NAME),
            tuple(dict.fromkeys(path for one in (django, duck) if one is not None for path in above(one))),
            frontend=_part(frontend, django, duck),
        )
        self._filter = ChangeFilter(view.patterns, places=places)
        if places.roots():
            self._sight = DuckSight(self._inbox, places.roots(), self._filter, self._changed, poll_s=view.poll_s)
            self._sight.start()

    def came(self, facts: Mapping[str, Any]) -> None:
        """A new Django serves, and tells where its project keeps what; that is watched from now on."""
        self._tell_browsers({"type": "reload"})
        places = self._filter.places.told(facts)
        if self._sight is not None and places != self._filter.places:
            self._filter = ChangeFilter(self._filter.patterns, places=places)
            self._sight.look_for(self._filter, places.roots())

    def watch_for_recovery(self, files: tuple[str, ...]) -> None:
        """Try to start again when one of `files`, wherever they lie, changes; said again, the next time."""
        if self._recovery is None:
            self._recovery = RecoveryWatch(self._inbox, (), self._recovered)
        self._recovery.stop()
        self._recovery.add(files)
        self._recovery.start()

    def stop(self, *, watching: bool = True) -> None:
        """Act on nothing more; without `watching` the watcher is left to the end of the process."""
        self._is_stopped = True
        self._trial.stop()
        if self._recovery is not None:
            self._recovery.stop()
        if self._sight is not None and watching:
            self._sight.stop()
            self._sight = None

    def undebugged(self) -> None:
        """A debugger's prompt has been left: act on what has changed meanwhile."""
        undone, self._undone = sorted(self._undone), set()
        if undone:
            self._changed(undone)

    @property
    def directories(self) -> int | None:
        """How many directories are watched; None while nothing is."""
        return self._sight.directories if self._sight is not None else None

    # -- what is done -------------------------------------------------------------------------------------------------

    def _changed(self, paths: list[str]) -> None:
        """Files have changed, and all of them have been written."""
        if self._is_stopped:
            return
        if self._django is not None and self._django.is_debugging:
            self._undone.update(paths)
            return
        found = ((path, self._filter.kind(path)) for path in paths)
        kinds = {path: kind for path, kind in found if kind is not None}
        code = [path for path, kind in kinds.items() if kind.needs_code_loaded]
        if code:
            self._load(code, is_ducks=Kind.DUCK in kinds.values())
        elif kinds:
            self._freshen(kinds)

    def _load(self, paths: list[str], *, is_ducks: bool) -> None:
        django = self._django
        self._unloaded.update(paths)
        self._attempt += 1
        attempt = self._attempt

        def checked(error: SyntaxError | None) -> None:
            if self._is_stopped or attempt != self._attempt:
                return  # more has changed meanwhile, and is looked at with this
            if error is not None:
                self.on_syntax_error(error)
                return
            unloaded, self._unloaded = sorted(self._unloaded), set()
            # Where Duck's own side is broken Django was not started, and any file may be what mends it.
            if django is None or self._recovery is not None or is_ducks:
                logger.info("Changed: %s; restarting Duck if it can be loaded.", self._shown(paths))
                self._trial.begin()
            elif not django.has_seen(paths):
                logger.info("Changed: %s; loading Django again.", self._shown(paths))
                django.replace(unloaded)

        if django is not None:
            django.check(paths, checked)
        else:
            checked(None)

    def _freshen(self, kinds: Mapping[str, Kind]) -> None:
        """What the running Django and the browsers read again is all there is to do."""
        messages = self._messages(kinds)
        found = set(kinds.values())
        names = {Kind.TEMPLATE: "templates", Kind.TRANSLATION: "translations"}
        what = [name for kind, name in names.items() if kind in found]
        logger.info("Changed: %s.", self._shown(list(kinds)))

        def tell() -> None:
            for message in messages:
                self._tell_browsers(message)

        if what and self._django is not None:
            self._django.refresh(what, tell)
        else:
            tell()

    def _messages(self, kinds: Mapping[str, Kind]) -> list[dict[str, Any]]:
        """What the browsers are told."""
        if Kind.TRANSLATION in kinds.values():
            return [{"type": "reload"}]
        messages: list[dict[str, Any]] = [{"type": "template"}] if Kind.TEMPLATE in kinds.values() else []
        for kind, name in ((Kind.STYLE, "style"), (Kind.STATIC, "static")):
            paths = [path for path, one in kinds.items() if one is kind]
            urls = [self._filter.places.url_of(path) for path in paths if os.path.exists(path)]
            if None in urls or len(urls) != len(paths) or len(urls) > _MOST_URLS:
                # Another server's has a URL that is not known, what is gone none, and a build is a new site.
                return [{"type": "reload"}]
            if urls:
                messages.append({"type": name, "urls": urls})
        return messages

    def _shown(self, paths: Sequence[str]) -> str:
        shown = ", ".join(os.path.relpath(path, self._root) for path in paths[:_SHOWN])
        return shown + (f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else "")

    def _recovered(self, paths: list[str]) -> None:
        if self._sight is None:
            self._load(paths, is_ducks=True)
        else:
            self._trial.begin()  # seen twice, said once


def _part(frontend: str, *projects: str | None) -> str | None:
    """The directory of a front end as it is watched; None where it holds a project, whose own files are in it, too."""
    path = os.path.realpath(frontend) if frontend else None
    if path is None or any(one is not None and is_at_or_below(one, path) for one in projects):
        return None
    return path

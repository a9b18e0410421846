"""Changes: what a changed file leads to. Django is loaded again, or Duck starts again once it is known that it can."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from duck.app.trial import Trial
from duck.services.ducksight import ChangeFilter, DuckSight, RecoveryWatch

if TYPE_CHECKING:
    from duck.services.django import DjangoService
    from duck.services.inbox import Inbox
    from duck.settings.views import ReloadView

logger = logging.getLogger("duck.app")


class Changes:
    """Watches the project's files and acts. For the inbox's thread.

    Args:
        root: what paths are shown relative to.
        restart: have Duck start again in this process.
        untried: told of what a Duck wrote that could not be loaded.
    """

    def __init__(
        self,
        inbox: Inbox,
        root: Path,
        django: DjangoService | None,
        restart: Callable[[], None],
        untried: Callable[[str], None],
    ) -> None:
        self._inbox = inbox
        self._root = root
        self._django = django
        self._trial = Trial(inbox.post, restart, untried)
        self._sight: DuckSight | None = None
        self._recovery: RecoveryWatch | None = None
        self._undone: set[str] = set()  # changed while somebody debugged
        self._is_stopped = False

    def watch(self, roots: list[Path], view: ReloadView) -> None:
        """Watch what lies below `roots`; nothing happens where that is done already."""
        if self._sight is None and roots and not self._is_stopped:
            self._sight = DuckSight(
                self._inbox,
                _outermost(roots),
                ChangeFilter(view.patterns),
                self._changed,
                poll_s=view.poll_s or 0.0,
            )
            self._sight.start()

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

    def _changed(self, paths: list[str]) -> None:
        """Files have changed, and all of them have been written."""
        django = self._django
        if self._is_stopped:
            return
        if django is not None and django.is_debugging:
            self._undone.update(paths)
            return
        shown = ", ".join(os.path.relpath(path, self._root) for path in paths[:3])
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        if django is not None and not django.compiles(paths):
            return
        # Where Duck's own side is broken Django was not started, and any file may be what mends it.
        if django is None or self._recovery is not None or not all(django.owns(path) for path in paths):
            logger.info("Changed: %s%s; restarting Duck if it can be loaded.", shown, more)
            self._trial.begin()
        elif not django.has_seen(paths):
            logger.info("Changed: %s%s; loading Django again.", shown, more)
            django.replace()

    def _recovered(self, paths: list[str]) -> None:
        if self._sight is None:
            self._changed(paths)
        else:
            self._trial.begin()  # seen twice, said once


def _outermost(roots: list[Path]) -> list[Path]:
    """`roots` without those that lie in another of them."""
    return [root for root in dict.fromkeys(roots) if not any(other in root.parents for other in roots)]

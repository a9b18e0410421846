"""Deployed: automations that wait for new code are told that it serves.

    reload   Django was loaded again, by `duck reload` or SIGHUP, and the new generation serves
    duck     `duck reload --self`: a new Duck has taken over
    start    a start with other code than the one before had: the Python files of the project say so

What cannot be told is not: the first start has none before it, nor has one whose state directory is new, as in a
container; `duck automations event deploy` is for those.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from duck.backend.django.worker.event_file import Wanted
from duck.exceptions import ApplicationError, DuckError
from duck.services.automations.event_spool import EventSpool
from duck.services.automations.places import event_directory
from duck.settings import views

if TYPE_CHECKING:
    from duck.app.lifecycle import Lifecycle

logger = logging.getLogger("duck.automations")

_CODE: Final = "code"
_MOST_FILES: Final = 20_000
_MOST_BYTES: Final = 200 << 20
_NO_CODE: Final = ("node_modules", "__pycache__", "site-packages")


class Deployed:
    """Of one run, in production. For the inbox's thread; files are read and written on others."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._has_started = False

    def started(self) -> None:
        """Django serves; counts the first time, and where no Duck of this process was there before."""
        if not self._has_started and not self._lifecycle.succession.has_children:
            self._tell("start", {})
        self._has_started = True

    def reloaded(self, generation: int) -> None:
        """A new generation serves that somebody has asked for."""
        self._tell("reload", {"generation": generation})

    def replaced(self) -> None:
        """This Duck has taken over."""
        self._tell("duck", {})

    def _tell(self, reason: str, told: dict[str, Any]) -> None:
        lifecycle = self._lifecycle
        root = lifecycle.django.root if lifecycle.django is not None else None
        if not views.production(lifecycle.settings).serves or root is None:
            return
        try:
            directory = event_directory(lifecycle.settings, root)
        except ApplicationError:
            return
        work: Callable[[], None] = lambda: tell(directory, root, reason, told)  # noqa: E731
        threading.Thread(target=work, name="duck-deployed", daemon=True).start()


def tell(directory: Path, root: Path, reason: str, told: dict[str, Any]) -> None:
    """Keep the event where one waits for it; of a start only where the code at `root` is known to be other code."""
    wanted = Wanted(str(directory))
    wanted.look()
    if not any(each.get("event") == "deploy" for each in wanted.events):
        return
    spool, path = EventSpool(directory), directory / _CODE
    try:
        digest = code_digest(root)
        before = path.read_text() if path.exists() else ""
        if reason != "start" or (before and digest and digest != before):
            spool.put("deploy", {}, {"reason": reason, **told})
        if digest and digest != before:
            spool.make()
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w") as file:
                file.write(digest)
    except (OSError, DuckError) as error:
        logger.error("Automations are not told that new code serves: %s", error)


def code_digest(root: Path) -> str:
    """Of names and contents of the Python files below `root`, environments apart; empty where there are too many."""
    digest = hashlib.sha256()
    size = 0
    for number, path in enumerate(_files(root)):
        data = path.read_bytes()
        size += len(data)
        if number >= _MOST_FILES or size > _MOST_BYTES:
            return ""
        digest.update(b"%d %d\0%b\0%b" % (len(os.fsencode(path)), len(data), os.fsencode(path.relative_to(root)), data))
    return digest.hexdigest()


def _files(root: Path) -> Iterator[Path]:
    for directory, directories, files in os.walk(root):
        if "pyvenv.cfg" in files:
            directories[:] = []
            continue
        directories[:] = sorted(name for name in directories if not name.startswith(".") and name not in _NO_CODE)
        yield from (Path(directory, name) for name in sorted(files) if name.endswith(".py"))

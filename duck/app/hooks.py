"""Hooks: the webhooks that a front answers, and their secrets: of the settings, and of what nodes have found in code.

Code of the project is never imported here. What it declares nodes write down (`EventSpool.want`); so a webhook of
`automations.py` is answered once a node has loaded the project, and one of `duck.toml` from the start. When nodes write
down something else, `duck.toml` is read again: a secret that was taken out of it is right no longer than they have it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from duck.backend.django.worker.event_file import Wanted
from duck.exceptions import ApplicationError, DuckError, SettingsError
from duck.http.webhooks import Webhooks
from duck.services.automations.event_spool import EventSpool
from duck.services.automations.places import event_directory, project_root
from duck.settings.reread import reread

if TYPE_CHECKING:
    import asyncio

    from duck.net.clock import Clock
    from duck.settings.load import Settings

logger = logging.getLogger("duck.automations")


def webhooks(settings: Settings) -> Callable[[asyncio.AbstractEventLoop, Clock], Webhooks] | None:
    """What makes a worker's; None where nothing can be kept."""
    root = project_root(settings)
    try:
        directory = event_directory(settings, root)
    except ApplicationError:
        return None
    declared = _declared(settings)
    again: Callable[[], list[dict[str, Any]]] = lambda: _declared(reread(settings, "AUTOMATIONS"))  # noqa: E731
    return lambda loop, clock: Webhooks(loop, clock, Hooks(directory, declared, root or settings.base_dir, again))


def _declared(settings: Settings) -> list[dict[str, Any]]:
    """Webhooks of the settings, as `Event.wanted` makes them."""
    if not settings["AUTOMATIONS"]:
        return []
    # Nobody else pays for it.
    from duck.services.automations.declaration import events_of

    tables = [table for table in settings["AUTOMATIONS"].values() if table.get("enabled", True) is not False]
    events = [event for table in tables for event in events_of(table)]
    return [event.wanted() for event in events if event.name == "webhook"]


class Hooks:
    """A `HookSource`.

    Args:
        declared: tables of the settings, as `Event.wanted` makes them.
        base: of relative paths of secret files.
        again: gives `declared` as it is by now; raises SettingsError.
    """

    def __init__(
        self,
        directory: Path,
        declared: Iterable[Mapping[str, Any]],
        base: Path,
        again: Callable[[], Iterable[Mapping[str, Any]]] | None = None,
    ) -> None:
        self._spool = EventSpool(directory)
        self._wanted = Wanted(str(directory))
        self._declared = list(declared)
        self._base = base
        self._again = again
        self._seen: dict[Path, tuple[int, int, int] | None] = {}
        self._is_new = True
        self._said: set[str] = set()

    def look(self) -> Mapping[bytes, tuple[bytes, ...]] | None:
        """See `HookSource`."""
        is_other = self._wanted.look()
        files = any(_stamp(path) != stamp for path, stamp in self._seen.items())
        if not (is_other or files or self._is_new):
            return None
        if is_other and not self._is_new and self._again is not None:
            try:
                self._declared = list(self._again())
            except SettingsError as error:
                logger.error("%s Its webhooks stay as they were.", error)
        self._is_new = False
        self._seen = {}
        found: dict[bytes, tuple[bytes, ...]] = {}
        for each in (*self._declared, *self._wanted.events):
            if each.get("event") == "webhook" and isinstance(each.get("path"), str):
                path = each["path"].encode()
                secret = self._secret(each)
                known = found.get(path, ())
                found[path] = (*known, secret) if secret and secret not in known else known
        return found

    def crowded(self) -> frozenset[bytes]:
        """See `HookSource`."""
        return frozenset(path.encode() for path in self._spool.crowded())

    def keep(self, path: str, told: Mapping[str, Any]) -> str:
        """See `HookSource`."""
        try:
            return self._spool.put("webhook", {"path": path}, told)
        except DuckError as error:
            raise OSError(str(error)) from error

    def _secret(self, table: Mapping[str, Any]) -> bytes:
        """Empty where it cannot be had, which is said once."""
        if "secret" in table:
            return str(table["secret"]).encode()
        if "secret_env" in table:
            name = str(table["secret_env"])
            secret = os.environ.get(name, "").encode()
            why = f"the variable {name} is not set in this process"
        else:
            place = self._base / str(table.get("secret_file", ""))
            self._seen[place] = _stamp(place)
            try:
                secret, why = place.read_bytes().strip(), f"{place} is empty"
            except OSError as error:
                secret, why = b"", f"{place} cannot be read: {error.strerror}"
        if not secret and why not in self._said:
            self._said.add(why)
            logger.error("The webhook %s refuses everybody: %s.", table.get("path"), why)
        return secret


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size

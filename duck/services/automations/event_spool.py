"""EventSpool: what has happened, kept in files of this machine until a node has had its runs queued.

    Django workers, fronts, the App, commands ──put──> a file each ──take──> node: enqueue, then remove

An event is taken at least once: where a node dies in between, the next one takes it again, and the store knows by its
id what was queued for it. Nodes of one machine share a spool, and take turns by a lock that no death leaves behind.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from duck.backend.django.worker.event_file import MAX_EVENT_BYTES, SUFFIX, UNFINISHED, WANTED, put
from duck.exceptions import StoreError
from duck.services.automations.line import ASIDE_S, TRIES
from duck.services.file_lock import try_lock
from duck.services.state import private_directory

logger = logging.getLogger("duck.automations")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LOCK: Final = "lock"
# Of a writer that was killed.
_STALE_S: Final = 3600.0
# Which webhooks are to send nothing more; for so long after a node has said so.
_CROWDED: Final = "crowded"
_CROWDED_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Happened:
    """One event.

    Attributes:
        id: of its file; no other event has it.
        details: what a declaration's own have to be among.
        told: for `Context.event`.
    """

    id: str
    event: str
    details: Mapping[str, str] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def at(self) -> datetime | None:
        """When it was kept, by this machine's clock; None where its name does not say."""
        count = self.id.partition("-")[0]
        return _EPOCH + timedelta(microseconds=int(count) // 1000) if count.isdecimal() and len(count) == 20 else None


class EventSpool:
    """The spool in `directory`, which is made when something is first kept in it, for its owner alone."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._said = ""
        self._stuck: set[str] = set()  # taken, and not to be removed: taken no second time here
        self._failed: dict[str, tuple[int, float]] = {}  # how often, and when it is to be taken again

    def make(self) -> None:
        """Have the directory.

        Raises:
            ApplicationError: it cannot be made, is somebody else's, or open to others.
        """
        # Whoever comes first makes the state directory, which has to be private as well.
        missing = [each for each in self.directory.parents if not each.exists()]
        with contextlib.suppress(OSError):  # of which the next line says more
            for each in reversed(missing):
                each.mkdir(mode=0o700, exist_ok=True)
        private_directory(self.directory)

    def put(
        self, event: str, details: Mapping[str, str], told: Mapping[str, Any] | None = None, *, is_durable: bool = True
    ) -> str:
        """Keep an event; its id.

        Raises:
            StoreError: it cannot be kept.
            ApplicationError: the directory is somebody else's, or open to others.
        """
        self.make()
        try:
            return put(str(self.directory), event, dict(details), dict(told or {}), is_durable=is_durable)
        except OSError as error:
            raise StoreError(f"The event {event} cannot be kept in {self.directory}: {error}.") from error

    def want(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Have those who could tell of them know which events are waited for; see `event_file.Wanted`.

        Raises:
            OSError, ApplicationError: they cannot be told.
        """
        if not events and not self.directory.exists():
            return
        self.make()
        path, data = self.directory / WANTED, json.dumps([dict(each) for each in events]).encode()
        with contextlib.suppress(OSError):
            if path.read_bytes() == data:
                return
        self._write(WANTED, data)

    def _write(self, name: str, data: bytes) -> None:
        beside = self.directory / f"{name}-{os.getpid()}{UNFINISHED}"
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(data)
        beside.replace(self.directory / name)

    def crowd(self, paths: Collection[str]) -> None:
        """Have fronts refuse webhooks at these paths, and no others; said again every few seconds."""
        try:
            if paths:
                self._write(_CROWDED, json.dumps(sorted(paths)).encode())
            elif (self.directory / _CROWDED).exists():
                (self.directory / _CROWDED).unlink(missing_ok=True)
        except OSError as error:
            self._say(f"Fronts cannot be told which webhooks wait already: {error}.")

    def crowded(self) -> frozenset[str]:
        """The paths that a node has said so of lately."""
        path = self.directory / _CROWDED
        try:
            if time.time() - path.stat().st_mtime > _CROWDED_S:
                return frozenset()
            return frozenset(map(str, json.loads(path.read_bytes())))
        except (OSError, ValueError, TypeError):
            return frozenset()

    @contextlib.contextmanager
    def taken(self, most: int) -> Iterator[list[Happened]]:
        """The oldest events that wait, at most so many; none while another node takes them.

        They are removed at the end, unless an exception leaves the block; what is `done` by then is removed anyway.
        """
        if not self._names():
            yield []
            return
        lock = self.lock()
        if lock is None:
            yield []
            return
        try:
            # Another has taken some of them since.
            names = [name for name in self._names() if name not in self._stuck]
            self._failed = {name: self._failed[name] for name in names if name in self._failed}
            now = time.monotonic()
            names = [name for name in names if self._failed.get(name, (0, 0.0))[1] <= now][:most]
            found = [happened for name in names if (happened := self._read(name)) is not None]
            yield found
            for happened in found:
                if happened.id + SUFFIX not in self._stuck:
                    self._remove(happened.id + SUFFIX)
        finally:
            os.close(lock)

    def done(self, happened: Happened) -> None:
        """Nothing is left to do for that one, whatever becomes of the others that were taken with it."""
        self._remove(happened.id + SUFFIX)

    def put_off(self, happened: Happened) -> None:
        """It has failed; where it does so again and again, it lets the others by."""
        tries = self._failed.get(happened.id + SUFFIX, (0, 0.0))[0] + 1
        self._failed[happened.id + SUFFIX] = (tries, time.monotonic() + ASIDE_S if tries >= TRIES else 0.0)

    def lock(self, name: str = _LOCK) -> int | None:
        """A descriptor that holds the lock of that name until it is closed; None where another node of the machine
        does.
        """
        try:
            descriptor = os.open(self.directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            self._say(f"The lock {self.directory / name} cannot be had: {error.strerror}.")
            return None
        try:
            if try_lock(descriptor):
                return descriptor
        except OSError as error:
            self._say(f"The lock {self.directory / name} cannot be had: {error.strerror}.")
        os.close(descriptor)
        return None

    def waiting(self) -> int:
        """How many wait."""
        return len(self._names())

    def _names(self) -> list[str]:
        try:
            names = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        except OSError as error:
            self._say(f"The events in {self.directory} cannot be read: {error.strerror}.")
            return []
        for name in names:
            if name.endswith(UNFINISHED):
                self._remove_stale(name)
        return sorted(name for name in names if name.endswith(SUFFIX))

    def _read(self, name: str) -> Happened | None:
        """The event in a file; what is none is told of once, and removed."""
        path = self.directory / name
        try:
            with open(path, "rb") as file:
                data = file.read(MAX_EVENT_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._say(f"The event in {path} cannot be read: {error.strerror}.")
            return None
        try:
            if len(data) > MAX_EVENT_BYTES:
                raise ValueError("it is too long")
            said = json.loads(data)
            event, details, told = said["event"], said["details"], said["told"]
            if not (isinstance(event, str) and isinstance(details, dict) and isinstance(told, dict)):
                raise ValueError("it has other parts than an event")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            logger.error("The file %s holds no event (%s), and is removed.", path, error or type(error).__name__)
            self._remove(name)
            return None
        return Happened(name.removesuffix(SUFFIX), event, details, told)

    def _remove(self, name: str) -> None:
        try:
            os.unlink(self.directory / name)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._stuck.add(name)
            logger.error(
                "The event in %s cannot be removed: %s; another node may take it again.",
                self.directory / name,
                error.strerror,
            )

    def _remove_stale(self, name: str) -> None:
        with contextlib.suppress(OSError):
            if time.time() - os.stat(self.directory / name).st_mtime > _STALE_S:
                os.unlink(self.directory / name)

    def _say(self, sentence: str) -> None:
        """Not twice in a row."""
        if sentence != self._said:
            self._said = sentence
            logger.error("%s", sentence)

"""What is known of the files below one root: kept in memory, looked at again at most once a second."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from duck.http.content_types import content_type
from duck.http.file_representation import SIDECARS, Dress, Entry, Representation
from duck.http.file_roots import signature, tell

if TYPE_CHECKING:
    from duck.http.file_roots import Root, Signature

SMALL_BYTES: Final = 65_536
LIMIT_BYTES: Final = 32 * 1024 * 1024
FRESH_S: Final = 1.0

# File systems and archives keep times to two seconds at worst; a sidecar is not older than its file by that alone.
_SLACK_NS: Final = 2_000_000_000


class FileCache:
    """Entries by the canonical path of their URL, those least recently looked at again dropped first.

    Since a path is its key only in its canonical encoding, other spellings neither hit a wrong file nor fill the
    memory with copies.
    """

    __slots__ = ("_dress", "_limit", "_now", "_root", "_sidecars", "_weight", "dress_age", "entries")

    def __init__(
        self,
        root: Root,
        dress: Dress,
        *,
        sidecars: bool,
        now: Callable[[], float] = time.monotonic,
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        self._root = root
        self._dress = dress
        self._sidecars = sidecars
        self._now = now
        self._limit = limit_bytes
        self._weight = 0
        self.dress_age = 0
        self.entries: dict[bytes, Entry] = {}

    def get(self, key: bytes, name: str) -> Entry | None:
        """The entry of `name`, known to be right a second ago at most; None where there is no such file."""
        now = self._now()
        entry = self.entries.get(key)
        if entry is not None:
            if now < entry.fresh_until:
                return entry
            self.forget(key)
            if not self._is_current(entry):
                entry = None
        if entry is None:
            entry = self.load(name)
            if entry is None:
                return None
        entry.fresh_until = now + FRESH_S
        self._keep(key, entry)
        return entry

    def forget(self, key: bytes) -> None:
        """Drop an entry that turned out wrong."""
        entry = self.entries.pop(key, None)
        if entry is not None:
            self._weight -= entry.weight

    def load(self, name: str) -> Entry | None:
        """Look at the file and its sidecars now; keeps nothing."""
        plain = self._read(name)
        if plain is None:
            return None
        state, body = plain
        coded: dict[bytes, tuple[Signature, bytes | None]] = {}
        if self._sidecars:
            for coding, end in SIDECARS:
                found = self._read(name + end)
                # One that is older holds what the file was before; one that is no smaller is of no use.
                if found and found[0].mtime_ns >= state.mtime_ns - _SLACK_NS and found[0].size < state.size:
                    coded[coding] = found
        varies = bool(coded)
        return Entry(
            name,
            self.represent(name, b"", state, body, varies=varies),
            {coding: self.represent(name, coding, state, body, varies=True) for coding, (state, body) in coded.items()},
            self.dress_age,
        )

    def represent(
        self, name: str, coding: bytes, state: Signature, body: bytes | None, *, varies: bool
    ) -> Representation:
        """The representation of `name` in `coding`, from facts just found."""
        lasting, content = self._dress(name)
        return Representation(
            name + dict(SIDECARS).get(coding, ""),
            coding,
            state,
            body,
            content_type=content_type(name),
            lasting_fields=lasting,
            content_fields=content,
            varies=varies,
            now=time.time(),
        )

    def open(self, representation: Representation) -> tuple[int, Signature] | None:
        """A descriptor of what `representation` was made from, and its present state."""
        return self._root.open(representation.name)

    def _is_current(self, entry: Entry) -> bool:
        """Whether a load would find the same again."""
        if entry.dress_age != self.dress_age or self._state(entry.plain.name) != entry.plain.signature:
            return False
        if not self._sidecars:
            return True
        for coding, end in SIDECARS:
            state = self._state(entry.name + end)
            known = entry.coded.get(coding)
            if known is None:
                # One that was refused may be there still; only a load can tell whether it would be refused again.
                if state is not None and state.size < entry.plain.size:
                    if state.mtime_ns >= entry.plain.signature.mtime_ns - _SLACK_NS:
                        return False
            elif state != known.signature:
                return False
        return True

    def _state(self, name: str) -> Signature | None:
        found = self._root.open(name)
        if found is None:
            return None
        os.close(found[0])
        return found[1]

    def _read(self, name: str) -> tuple[Signature, bytes | None] | None:
        """The state of a file, and its bytes when it is small and holds still while it is read."""
        found = self._root.open(name)
        if found is None:
            return None
        descriptor, state = found
        try:
            if state.size > SMALL_BYTES:
                return state, None
            body = os.read(descriptor, state.size + 1) if state.size else b""
            if len(body) != state.size or signature(descriptor) != state:
                return state, None
            return state, body
        except OSError as error:
            tell(name, error)
            return None
        finally:
            os.close(descriptor)

    def _keep(self, key: bytes, entry: Entry) -> None:
        self.entries[key] = entry
        self._weight += entry.weight
        while self._weight > self._limit and self.entries:
            self.forget(next(iter(self.entries)))

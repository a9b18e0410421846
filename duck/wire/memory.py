"""A bounded memory for what is a pure function of some bytes."""

from __future__ import annotations

from typing import Generic, TypeVar

V = TypeVar("V")


class Memory(Generic[V]):
    """Remembers what was asked for last, in two generations: what nobody asks for while one fills goes with the next.

    Look into `young` first, it is an ordinary dictionary; `recall` and `keep` are for what is not there.

    Args:
        size: entries of one generation.
        max_key_bytes: longer keys are not kept.
    """

    __slots__ = ("_max_key_bytes", "_size", "old", "young")

    def __init__(self, size: int, max_key_bytes: int) -> None:
        self._size = size
        self._max_key_bytes = max_key_bytes
        self.young: dict[bytes, V] = {}
        self.old: dict[bytes, V] = {}

    def recall(self, key: bytes) -> V | None:
        """What the older generation has for `key`; it is young again then."""
        value = self.old.get(key)
        if value is not None:
            self.keep(key, value)
        return value

    def keep(self, key: bytes, value: V) -> None:
        """Remember `value`."""
        if len(key) > self._max_key_bytes:
            return
        if len(self.young) >= self._size:
            self.old = self.young
            self.young = {}
        self.young[key] = value

"""A line of what the store is told, one after the other; what it refuses again and again lets the others by."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

Each = TypeVar("Each")

# So often it is the store that is out of reach, and all wait; after that it may be this one alone.
TRIES: Final = 3
# As long as the longest wait for a store that cannot be reached.
ASIDE_S: Final = 15.0


class Line(Generic[Each]):
    """In order, but for those that were put off."""

    def __init__(self) -> None:
        self._waiting: deque[Each] = deque()
        self._aside: deque[tuple[float, Each]] = deque()  # each is tried again from that moment on, of a steady clock
        self._tries = 0  # of the first that waits

    def __bool__(self) -> bool:
        return bool(self._waiting or self._aside)

    def __iter__(self) -> Iterator[Each]:
        yield from (each for _, each in self._aside)
        yield from self._waiting

    def add(self, each: Each) -> None:
        """It comes last."""
        self._waiting.append(each)

    def first(self, *, at_once: bool = False) -> Each | None:
        """Whose turn it is; None where nobody waits, or all were put off, which `at_once` overlooks."""
        if self._aside and (self._aside[0][0] <= time.monotonic() or (at_once and not self._waiting)):
            self._waiting.appendleft(self._aside.popleft()[1])
            self._tries = TRIES  # put off again where it fails once more
        return self._waiting[0] if self._waiting else None

    def done(self) -> None:
        """The first is done with."""
        self._waiting.popleft()
        self._tries = 0

    def put_off(self) -> None:
        """The first has failed."""
        self._tries += 1
        if self._tries >= TRIES:
            self._aside.append((time.monotonic() + ASIDE_S, self._waiting.popleft()))
            self._tries = 0

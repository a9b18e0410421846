"""Unspliced: a `Stream` of this layer, through which every byte of an answer passes."""

from __future__ import annotations

from collections.abc import Callable


class Unspliced:
    """The part of a `Stream` that looks at answers, or takes them, by itself: no socket carries them past it."""

    __slots__ = ()

    def send_from(
        self,
        divert: Callable[[], int],
        count: int,
        moved: Callable[[], None],
        done: Callable[[Exception | None], None],
    ) -> bool:
        """See `Stream.send_from`: it cannot."""
        return False

"""What a store process is asked, and what becomes of an answer that comes late."""

from __future__ import annotations

import struct
from typing import Any, Final

from duck.exceptions import CrowdedError, StoreError

# Of these a late answer is kept for who asks the same again: it must not be done twice, or says what is told once.
_KEPT: Final = frozenset(("backfill", "cancel", "claim", "enqueue", "give_up", "once", "register"))
_KEPT_S: Final = 60.0
_MOST: Final = 8


class Question:
    """One that was asked.

    Attributes:
        asked: as it is sent.
        left: what is still to be sent of it.
        since, deadline: when it was asked, and by when it is answered, by a steady clock.
    """

    def __init__(self, name: str, asked: bytes, since: float, deadline: float) -> None:
        self.name = name
        self.asked = asked
        self.left = memoryview(struct.pack("!I", len(asked)) + asked)
        self.since = since
        self.deadline = deadline


class TimedOut(Exception):
    """Nothing has come in time."""


class LateAnswers:
    """Answers that nobody waited for any more. Moments are of a steady clock."""

    def __init__(self) -> None:
        self._kept: dict[bytes, tuple[float, dict[str, Any]]] = {}

    def keep(self, question: Question, answer: dict[str, Any], now: float) -> None:
        """Have it for who asks the same, if that makes a difference."""
        if question.name in _KEPT:
            while len(self._kept) >= _MOST:
                del self._kept[next(iter(self._kept))]
            self._kept[question.asked] = (now, answer)

    def take(self, asked: bytes, now: float) -> dict[str, Any] | None:
        """The answer to that, once, for a minute."""
        at, answer = self._kept.pop(asked, (0.0, None))
        return answer if now - at < _KEPT_S else None


def understood(answer: dict[str, Any]) -> dict[str, Any]:
    """The same.

    Raises:
        StoreError: it is a refusal.
    """
    if "refused" in answer:
        raise (CrowdedError if answer.get("crowded") else StoreError)(str(answer["refused"]))
    return answer

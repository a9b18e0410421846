"""What `duck check` says of one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

OK: Final = "ok"
WARNING: Final = "warning"
ERROR: Final = "error"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: `ok`, `warning` (it starts, and something may be wrong) or `error` (it would fail, or serve wrongly).
        topic: what was looked at, in a word.
        sentence: what is, and where it is wrong the remedy.
        details: lines below it.
    """

    level: str
    topic: str
    sentence: str
    details: tuple[str, ...] = ()

    def as_values(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"level": self.level, "topic": self.topic, "sentence": self.sentence, "details": list(self.details)}

"""Spans of time as people write them, `90`, `30s`, `1h30m`, `2 weeks`: read into seconds, and written. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

_NUMBER: Final = r"\d{1,18}(?:\.\d{1,9})?"
_SECONDS: Final = re.compile(_NUMBER)
_PART: Final = re.compile(rf"\s*({_NUMBER})\s*([A-Za-z]+)")
# A capital M alone is a month to some (systemd.time(7)), and a minute to others.
_MONTH: Final = "M"


def _units(sizes: Mapping[float, Iterable[str]]) -> dict[str, float]:
    return {word: size for size, words in sizes.items() for word in words}


_UNITS: Final = _units(
    {
        604_800.0: ("w", "week", "weeks"),
        86_400.0: ("d", "day", "days"),
        3600.0: ("h", "hr", "hrs", "hour", "hours"),
        60.0: ("m", "min", "mins", "minute", "minutes"),
        1.0: ("s", "sec", "secs", "second", "seconds"),
        0.001: ("ms",),
    }
)
_WRITTEN: Final = ((86_400, "d"), (3600, "h"), (60, "m"))


def parse_duration(text: str) -> float | None:
    """Seconds of a number, or of numbers with units, the larger ones first; None where it is neither."""
    text = text.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    total, position, larger = 0.0, 0, float("inf")
    while position < len(text):
        part = _PART.match(text, position)
        size = _UNITS.get(part[2].lower()) if part is not None and part[2] != _MONTH else None
        if part is None or size is None or size >= larger:
            return None
        total += float(part[1]) * size
        position, larger = part.end(), size
    return total if position else None


def write_duration(seconds: float) -> str:
    """`1h30m`, `2w`, `1.5s`: the same that `parse_duration` reads."""
    if seconds != int(seconds):
        return f"{seconds:.9g}s"
    left = int(seconds)
    if left and left % 604_800 == 0:
        return f"{left // 604_800}w"
    parts = []
    for size, unit in _WRITTEN:
        if left >= size:
            parts.append(f"{left // size}{unit}")
            left %= size
    return "".join([*parts, *([f"{left}s"] if left or not parts else [])])

"""Amounts as people read them: sizes and times, in logs, pages and tables."""

from __future__ import annotations


def size_text(size: int) -> str:
    """`size` bytes as `512 B`, `1.5 kB` or `2.0 MB`; a kB has 1,000 bytes."""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1000:.1f} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"


def millis_text(millis: float) -> str:
    """`millis` milliseconds as `4.2 ms`, `120 ms` or `12.0 s`."""
    if millis >= 10_000:
        return f"{millis / 1000:.1f} s"
    return f"{millis:.0f} ms" if millis >= 100 else f"{millis:.1f} ms"

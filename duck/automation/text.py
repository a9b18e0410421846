"""Text as every store of runs takes it."""

from __future__ import annotations


def clean(text: str) -> str:
    """What every database takes: none keeps halves of surrogate pairs, and PostgreSQL no NUL."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")

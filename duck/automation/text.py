"""Text as every store of runs takes it, and how much of it."""

from __future__ import annotations

import json
from typing import Any

# Characters of what a run has printed, and of why it ended so; who carries runs out keeps less of the first by itself.
MOST_OUTPUT = 65_536
MOST_REASON = 4_000
# Of an event, once its run is over.
MOST_EVENT = 4_096


def clean(text: str) -> str:
    """What every database takes: none keeps halves of surrogate pairs, and PostgreSQL no NUL."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")


def output_of(text: str) -> str:
    """The end of it, clean."""
    return clean(text[-MOST_OUTPUT:])


def reason_of(text: str) -> str:
    """The beginning of it, clean."""
    return clean(text[:MOST_REASON])


def remembered(event: str) -> str:
    """What is kept of an event whose run is over: all of a short one; else which runs have led to it, and its size."""
    if len(event) <= MOST_EVENT:
        return event
    try:
        told: Any = json.loads(event)
        before = told.get("by") if isinstance(told, dict) else None
        by = [str(name) for name in before] if isinstance(before, list) else []
    except (ValueError, TypeError, RecursionError):
        by = []
    short = json.dumps({"by": by, "cut": len(event)} if by else {"cut": len(event)})
    return short if len(short) <= MOST_EVENT else json.dumps({"cut": len(event)})

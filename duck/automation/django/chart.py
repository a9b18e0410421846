"""The chart of the last outcomes: an image of bars, with its meaning in words beside its colours and shapes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

BARS = 20
_WIDTH = 8
_STEP = 11
_HEIGHT = 28
_LEAST = 5
_MOST = 22

# How each state is drawn (see admin.css); what went wrong has a dot above its bar, and what did not run an empty one.
KINDS = {
    "succeeded": "good",
    "failed": "bad",
    "timed out": "bad",
    "lost": "bad",
    "cancelled": "none",
    "skipped": "none",
    "queued": "open",
    "running": "open",
}


class Outcome(NamedTuple):
    """One run.

    Attributes:
        took_s: how long it ran; None where it did not.
        title: what is said of it where somebody points at it.
    """

    state: str
    took_s: float | None
    title: str


def chart(outcomes: Sequence[Outcome]) -> SafeString:
    """The last BARS of `outcomes`, which are in order; bars are as high as runs were long, by orders of magnitude."""
    shown = outcomes[-BARS:]
    if not shown:
        return SafeString("")
    longest = max((each.took_s or 0.0 for each in shown), default=0.0)
    bars = format_html_join("", "{}", ((_bar(number, each, longest),) for number, each in enumerate(shown)))
    return format_html(
        '<svg class="duck-chart" role="img" aria-label="{}" width="{}" height="{}" viewBox="0 0 {} {}">{}</svg>',
        in_words(shown),
        *2 * (len(shown) * _STEP - (_STEP - _WIDTH), _HEIGHT),
        bars,
    )


def in_words(outcomes: Sequence[Outcome]) -> str:
    """The same for who does not see it: `Last 3 runs: 2 succeeded, 1 failed; the last one succeeded`."""
    if len(outcomes) == 1:
        return f"One run, which {_has(outcomes[0].state)}"
    counts = Counter(each.state for each in outcomes)
    told = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    return f"Last {len(outcomes)} runs: {told}; the last one {_has(outcomes[-1].state)}"


def _has(state: str) -> str:
    return state if state in ("succeeded", "failed", "timed out") else f"is {state}" if state != "lost" else "was lost"


def _bar(number: int, outcome: Outcome, longest: float) -> SafeString:
    kind = KINDS.get(outcome.state, "none")
    height = _LEAST if kind == "none" else _height(outcome.took_s or 0.0, longest)
    left = number * _STEP
    dot = (
        format_html('<circle cx="{}" cy="{}" r="2.5"/>', left + _WIDTH / 2, _HEIGHT - height - 4)
        if kind == "bad"
        else ""
    )
    edge = 0 if kind in ("good", "bad") else 1  # an outline lies half outside of what it is drawn around
    return format_html(
        '<g class="duck-{}"><title>{}</title><rect x="{}" y="{}" width="{}" height="{}" rx="1"/>{}</g>',
        kind,
        outcome.title,
        left + edge,
        _HEIGHT - height + edge,
        _WIDTH - 2 * edge,
        height - 2 * edge,
        dot,
    )


def _height(took_s: float, longest: float) -> int:
    if longest <= 0:
        return _LEAST
    part = math.log1p(1000 * took_s) / math.log1p(1000 * longest)
    return round(_LEAST + (_MOST - _LEAST) * part)

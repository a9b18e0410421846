"""Spans of time as people write them, and as Duck writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duck.settings.duration import parse_duration, write_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0),
        ("1.5", 1.5),
        ("250ms", 0.25),
        ("1h30m", 5400.0),
        ("1h 30min", 5400.0),
        (" 2 H ", 7200.0),
        ("1.5h", 5400.0),
        ("1w", 604_800.0),
        ("2 weeks", 1_209_600.0),
        ("1d12h", 129_600.0),
        ("1m0s", 60.0),
        ("10 seconds", 10.0),
    ],
)
def test_what_other_tools_take_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "1M", "1mo", "1y", "30m1h", "1h1h", "1h30", "-1s", "1,5h", "PT1H", "5 m x"])
def test_what_is_none_or_may_be_meant_otherwise_is_not(text: str) -> None:
    assert parse_duration(text) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3600, "1h"), (5400, "1h30m"), (90.5, "90.5s"), (0.25, "0.25s"), (1_209_600, "2w"), (129_600, "1d12h"), (0, "0s")],
)
def test_what_is_written_is_short(seconds: float, text: str) -> None:
    assert write_duration(seconds) == text


@given(st.integers(0, 10**9) | st.integers(1, 10**6).map(lambda ms: ms / 1000))
def test_what_is_written_is_read_as_the_same(seconds: float) -> None:
    assert parse_duration(write_duration(seconds)) == pytest.approx(seconds)

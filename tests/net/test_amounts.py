"""Sizes and times as people read them."""

from __future__ import annotations

import pytest

from duck.net.amounts import millis_text, size_text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1550, "1.6 kB"), (999_999, "1000.0 kB"), (1_000_000, "1.0 MB")],
)
def test_a_size(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("millis", "text"),
    [(0.0, "0.0 ms"), (4.24, "4.2 ms"), (100, "100 ms"), (9999, "9999 ms"), (10_000, "10.0 s"), (61_250, "61.2 s")],
)
def test_a_time(millis: float, text: str) -> None:
    assert millis_text(millis) == text

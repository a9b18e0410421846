"""What the store is told in order, and what lets the others by."""

from __future__ import annotations

import pytest

from duck.services.automations import line as module
from duck.services.automations.line import Line


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock that the line looks at."""
    at = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: at[0])
    return at


def line_of(*each: str) -> Line[str]:
    line: Line[str] = Line()
    for one in each:
        line.add(one)
    return line


def test_one_after_the_other(steady: list[float]) -> None:
    line = line_of("a", "b")
    assert line.first() == "a" and bool(line)
    line.done()
    assert line.first() == "b"
    line.done()
    assert line.first() is None and not line


def test_a_store_that_is_away_for_a_moment_keeps_the_order(steady: list[float]) -> None:
    line = line_of("a", "b")
    for _ in range(2):
        line.put_off()
        assert line.first() == "a"


def test_what_fails_again_and_again_lets_the_others_by_and_comes_back(steady: list[float]) -> None:
    line = line_of("a", "b")
    for _ in range(3):
        line.put_off()
    assert line.first() == "b" and list(line) == ["a", "b"]
    line.done()
    assert line.first() is None and line
    steady[0] += 15.0
    line.add("c")
    assert line.first() == "a"
    line.put_off()
    assert line.first() == "c", "once more is enough"


def test_at_the_end_nobody_waits_but_those_that_have_failed_come_last(steady: list[float]) -> None:
    line = line_of("a", "b")
    for _ in range(3):
        line.put_off()
    assert line.first(at_once=True) == "b"
    line.done()
    assert line.first(at_once=True) == "a"

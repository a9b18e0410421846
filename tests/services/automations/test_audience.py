"""Observers that the store fails, each told once and in order, and none in another's way."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from duck.exceptions import StoreError
from duck.services.automations import audience as module
from duck.services.automations.audience import Audience
from duck.services.automations.run import Cause, Run, State
from tests.dispatcher_node import Watching, declared

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration

NOW = datetime(2026, 5, 1, tzinfo=UTC)


class Hearing(Watching):
    """Keeps what it was told; the store fails it at these automations."""

    def __init__(self, *failing: str) -> None:
        super().__init__()
        self.failing = set(failing)
        self.heard: list[tuple[str, str, int]] = []
        self.asked: list[str] = []

    def _hear(self, what: str, run: Run) -> None:
        self.asked.append(run.name)
        if run.name in self.failing:
            raise StoreError("The store is away.")
        self.heard.append((what, run.name, run.id))

    def started(self, declaration: Declaration, run: Run) -> None:
        self._hear("started", run)

    def ended(self, declaration: Declaration, run: Run) -> None:
        self._hear("ended", run)


def run_of(name: str, number: int = 1) -> Run:
    return Run(number, name, "r", NOW, Cause.HAND, State.FAILED)


def tell(audience: Audience, name: str, number: int = 1, what: str = "ended") -> None:
    audience.tell(what, declared(name), run_of(name, number))


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock that the audience looks at."""
    at = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: at[0])
    return at


def test_one_is_told_again_later_and_the_others_once(steady: list[float]) -> None:
    first, second = Hearing("job"), Hearing()
    audience = Audience([first, second])
    tell(audience, "job", what="started")
    tell(audience, "job")
    assert second.heard == [("started", "job", 1), ("ended", "job", 1)] and audience.waits
    audience.tell_again()
    assert first.asked == ["job"], "a second has not passed"
    first.failing.clear()
    steady[0] += 1.0
    audience.tell_again()
    assert first.heard == second.heard and not audience.waits
    audience.tell_again(at_once=True)
    assert len(first.heard) == 2


def test_what_never_succeeds_holds_up_no_other_automation_and_is_given_up(
    steady: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    hearing = Hearing("bad")
    audience = Audience([hearing])
    tell(audience, "bad")
    tell(audience, "good")
    tell(audience, "bad", 2)
    audience.tell_again()
    assert hearing.heard == [("ended", "good", 1)]
    passed = 0
    while audience.waits:
        steady[0] += 1.0
        passed += 1
        tell(audience, "good", passed + 1)
        audience.tell_again()
    assert len(hearing.heard) == passed + 1, "each of the others was told in its turn"
    assert hearing.asked.count("bad") == 2 * module._TRIES
    assert "Hearing was not told of run 1 of bad (ended): The store is away." in caplog.text
    assert "Hearing was not told of run 2 of bad (ended): The store is away." in caplog.text


def test_while_the_store_is_away_each_turn_asks_once(steady: list[float]) -> None:
    hearing = Hearing("a", "b", "c")
    audience = Audience([hearing])
    for name in "abc":
        tell(audience, name)
    assert hearing.asked == ["a"]
    for _ in range(2):
        steady[0] += 10.0
        audience.tell_again()
    assert hearing.asked == ["a", "b", "c"]


def test_at_the_end_it_is_tried_until_somebody_gives_up(steady: list[float], caplog: pytest.LogCaptureFixture) -> None:
    hearing = Hearing("job")
    audience = Audience([hearing])
    tell(audience, "job")
    for _ in range(2000):
        audience.tell_again(at_once=True)
    assert audience.waits and len(hearing.asked) == 2001
    hearing.failing.clear()
    audience.tell_again(at_once=True)
    assert hearing.heard == [("ended", "job", 1)]
    assert "was not told" not in caplog.text


def test_what_waits_is_bounded_and_what_is_lost_is_in_the_log(
    steady: list[float], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    hearing = Hearing("job")
    audience = Audience([hearing])
    for number in (1, 2, 3):
        tell(audience, "job", number)
    assert "Hearing was not told of run 3 of job (ended): 2 others wait before it." in caplog.text
    audience.give_up()
    assert "Hearing was not told of run 2 of job (ended): Duck has ended before." in caplog.text
    assert not audience.waits

"""The engine in the project's database, over a link that a test holds: what it asks, and what it makes of answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from duck.exceptions import StoreError
from duck.services.automations.declaration import Declaration, read_declaration
from duck.services.automations.engine import Ended
from duck.services.automations.engines import django
from duck.services.automations.engines.django import DjangoEngine
from duck.services.automations.engines.local_rows import number
from duck.services.automations.run import Cause, State

NOW = datetime(2026, 11, 28, 10, 0, tzinfo=UTC)
ROW = {
    "id": 7,
    "name": "job",
    "revision": "r",
    "planned": number(NOW),
    "cause": "schedule",
    "state": "running",
    "reason": "",
    "attempt": 1,
    "not_before": number(NOW),
    "missed": 0,
    "event": "",
    "node": "a",
    "created": number(NOW),
    "started": number(NOW),
    "beat": number(NOW),
    "ended": None,
    "code": None,
    "output": "",
    "cancels": False,
    "for_node": "",
    "printed": 0,
}


class Link:
    """Answers what the test says, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {
            "take": [],
            "look": [[], {"held": number(NOW)}],
            "paused": {},
            "register": {},
            "beat": [],
        }
        self.is_lost = False
        self.shown = NOW

    def call(self, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append((name, dict(arguments)))
        if self.is_lost:
            raise StoreError("The answer is lost.")
        return self.answer(self.answers.get(name))

    def answer(self, result: Any, age_s: float = 0.0) -> Mapping[str, Any]:
        read = [django.time.monotonic() - age_s, django.time.time() - age_s]
        return {"result": result, "now": number(self.shown), "read": read}

    def attend(self, inbox: Any, on_change: Any) -> None:
        pass

    def close(self) -> None:
        pass

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.asked]


class Clock:
    """Both of this machine's clocks."""

    def __init__(self) -> None:
        self.steady = 100.0
        self.wall = 1_000_000.0

    def monotonic(self) -> float:
        return self.steady

    def time(self) -> float:
        return self.wall

    def pass_(self, seconds: float) -> None:
        self.steady += seconds
        self.wall += seconds


@pytest.fixture
def link() -> Link:
    return Link()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(django, "time", found)
    return found


@pytest.fixture
def engine(link: Link, clock: Clock) -> DjangoEngine:
    return DjangoEngine(link)


def declared(name: str = "job", **table: Any) -> Declaration:
    return read_declaration(name, {"command": "x", "every": "1h", **table}, "duck.toml", ZoneInfo("UTC"))


class TestTheClock:
    def test_it_is_the_stores_and_counted_on_from_its_last_answer(
        self, engine: DjangoEngine, link: Link, clock: Clock
    ) -> None:
        assert engine.now() == NOW
        clock.pass_(3.0)
        assert engine.now() == NOW + timedelta(seconds=3)
        assert link.names == ["now"]

    def test_what_has_passed_since_it_was_read_counts(self, link: Link, clock: Clock) -> None:
        class Slow(Link):
            def call(self, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
                return self.answer(super().call(name, arguments)["result"], 1.5)

        assert DjangoEngine(Slow()).now() == NOW + timedelta(seconds=1.5)

    def test_an_old_answer_is_not_counted_on_from(self, link: Link, clock: Clock) -> None:
        ages = iter([60.0, 0.5])
        link.call = lambda name, arguments: link.answer(None, next(ages))  # type: ignore[method-assign]
        assert DjangoEngine(link).now() == NOW + timedelta(seconds=0.5)

    def test_nor_one_before_which_the_machine_slept(self, link: Link, clock: Clock) -> None:
        slept = iter([3600.0, 0.0])

        def call(name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
            answer = link.answer(None)
            clock.wall += next(slept)
            link.asked.append((name, dict(arguments)))
            return answer

        link.call = call  # type: ignore[method-assign]
        assert DjangoEngine(link).now() == NOW
        assert link.names == ["now", "now"]

    @pytest.mark.parametrize(
        "passes",
        [
            lambda clock: clock.pass_(6.0),
            lambda clock: setattr(clock, "wall", clock.wall + 3600.0),
            lambda clock: setattr(clock, "wall", clock.wall - 3600.0),
        ],
        ids=["it is old", "the machine has slept", "its clock was put back"],
    )
    def test_it_is_asked_again(
        self, engine: DjangoEngine, link: Link, clock: Clock, passes: Callable[[Clock], None]
    ) -> None:
        engine.now()
        passes(clock)
        link.shown = NOW + timedelta(hours=2)
        assert engine.now() == NOW + timedelta(hours=2)


class TestFewQuestions:
    def test_a_turn_in_which_nothing_is_due_is_one_question(self, engine: DjangoEngine, link: Link) -> None:
        here = {"job": declared()}
        engine.take("a", here, {"process": 1})
        link.asked.clear()
        engine.now()
        assert engine.take("a", dict(here), {"process": 1}) == []
        engine.now()
        assert link.asked == [("take", {"node": "a", "room": {"process": 1}})]

    def test_a_heartbeat_of_nothing_is_one_once_people_have_been_told(
        self, engine: DjangoEngine, link: Link, clock: Clock
    ) -> None:
        job = declared()
        engine.register([job])
        engine.beat("a", [])
        link.asked.clear()
        engine.beat("a", [])
        engine.give_up(30.0, {"job": job})
        assert engine.paused() == {"held": NOW}
        assert link.names == ["look"]
        assert engine.paused() == {}, "what was known is known once"

    def test_a_store_that_has_forgotten_what_is_declared_is_told_again(self, engine: DjangoEngine, link: Link) -> None:
        here = {"job": declared()}
        engine.take("a", here, {"process": 1})
        link.asked.clear()
        answers = iter([None, [ROW]])
        link.answers = {"take": None}
        link.call = lambda name, arguments: (  # type: ignore[method-assign]
            link.asked.append((name, dict(arguments))) or link.answer(next(answers))
        )
        (run,) = engine.take("a", here, {"process": 1})
        assert run.id == 7
        assert [arguments.get("declared") for _, arguments in link.asked] == [
            None,
            {"job": ("process", "skip", 86_400_000_000, 0)},
        ]


class TestLostAnswers:
    def test_what_may_have_been_given_is_asked_for_again(self, engine: DjangoEngine, link: Link) -> None:
        here = {"job": declared()}
        link.answers["take"] = [ROW]
        assert [run.id for run in engine.take("a", here, {"process": 1})] == [7]
        link.is_lost = True
        with pytest.raises(StoreError):
            engine.take("a", here, {"process": 1})
        link.is_lost, link.answers["take"] = False, []
        engine.take("a", here, {"process": 1})
        asked = link.asked[-1][1]
        assert asked["held"] == [7]
        assert number(NOW) - 1_000_000 < asked["since"] <= number(NOW)
        engine.take("a", here, {"process": 1})
        assert "held" not in link.asked[-1][1], "the answer has come"

    def test_an_end_is_said_again_as_one_that_may_have_been_heard(self, engine: DjangoEngine, link: Link) -> None:
        link.answers |= {"enqueue": ROW, "finish": True}
        run = engine.enqueue(declared(), NOW, Cause.HAND)
        link.is_lost = True
        with pytest.raises(StoreError):
            engine.finish(run, Ended(State.SUCCEEDED))
        link.is_lost = False
        assert engine.finish(run, Ended(State.SUCCEEDED))
        assert [arguments["again"] for name, arguments in link.asked if name == "finish"] == [False, True]

    def test_what_people_were_not_told_they_are_told_later(self, engine: DjangoEngine, link: Link) -> None:
        engine.register([declared()])
        link.is_lost = True
        with pytest.raises(StoreError):
            engine.beat("a", [])
        link.is_lost = False
        engine.beat("a", [])
        name, facts, coming = link.asked[-1][1]["told"][0]
        assert name == "job" and '"when": "every 1h"' in facts and str(number(NOW + timedelta(hours=1))) in coming

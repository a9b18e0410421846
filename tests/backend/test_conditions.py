"""Triggers of the user's own: when they count, and what becomes of one that raises or hangs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from duck.automation import Automation, AutomationTrigger
from duck.backend.django.worker import conditions as module
from duck.backend.django.worker.conditions import Condition, Conditions
from duck.backend.django.worker.declared import _of_object

answers: list[bool | Exception] = []
asked = threading.Semaphore(0)
may_go_on = threading.Event()


class Scripted:
    """Answers as the test says, and then False for ever."""

    def check_trigger(self) -> bool:
        asked.release()
        answer = answers.pop(0) if answers else False
        if isinstance(answer, Exception):
            raise answer
        return answer


class Full(AutomationTrigger):
    def check_trigger(self) -> bool:
        return True


repeated = Automation(print, name="repeated", schedules=-1, interval=60)
once = Automation(print, name="once")


def test_a_condition_goes_with_no_times() -> None:
    """As settings pair them: `{"dotted.automation": {"trigger": "dotted.trigger"}}`."""
    condition = f"{__name__}.Full"
    table = _of_object(f"{__name__}.once", condition)["table"]
    assert (table["on"], table["name"], table["call"]) == ("condition", condition, f"{__name__}:once")
    with pytest.raises(TypeError, match="has schedules and an interval, which go with NoTrigger"):
        _of_object(f"{__name__}.repeated", condition)
    assert _of_object(f"{__name__}.repeated", "duck.automation.NoTrigger")["table"]["every"] == 60
    with pytest.raises(TypeError, match="Scripted is no AutomationTrigger"):
        _of_object(f"{__name__}.once", f"{__name__}.Scripted")


class Hanging:
    def check_trigger(self) -> bool:
        asked.release()
        may_go_on.wait(30)
        return True


begun: list[Conditions] = []


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[str]]]:
    monkeypatch.setattr(module, "PERIOD_S", 0.01)
    # As in a Duck project without Django; other tests of this process may have had one.
    monkeypatch.setattr(module, "has_django", lambda: False)

    def made(*names: str, true: tuple[str, ...] = ()) -> list[str]:
        told: list[str] = []
        conditions = Conditions(lambda name, is_true: told.append(name) if is_true else None)
        begun.append(conditions)
        conditions.ask([f"{__name__}:{name}" for name in names], [f"{__name__}:{name}" for name in true])
        return told

    begun.clear()
    before = set(threading.enumerate())
    yield made
    may_go_on.set()
    for conditions in begun:
        conditions.stop()
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
    may_go_on.clear()
    while asked.acquire(blocking=False):
        pass


def wait(times: int) -> None:
    for _ in range(times):
        assert asked.acquire(timeout=30)


def test_it_counts_when_the_answer_turns_to_true(begin: Callable[..., list[str]]) -> None:
    answers[:] = [False, True, True, True, False, True, False]
    told = begin("Scripted")
    wait(9)
    assert told == [f"{__name__}:Scripted"] * 2


def test_one_that_was_true_before_has_to_be_false_in_between(begin: Callable[..., list[str]]) -> None:
    answers[:] = [True, True, False, True]
    told = begin("Scripted", true=("Scripted",))
    wait(3)
    assert told == []
    wait(3)
    assert told == [f"{__name__}:Scripted"]


def test_one_that_raises_is_told_once_and_asked_again(
    begin: Callable[..., list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    answers[:] = [ValueError("no table"), ValueError("no table"), True]
    told = begin("Scripted", "Missing")
    wait(5)
    assert told == [f"{__name__}:Scripted"]
    said = capfd.readouterr().out
    assert said.count("Scripted cannot be asked: ValueError: no table") == 1
    assert said.count("Missing cannot be asked") == 1


def test_one_that_hangs_is_told_once_and_in_no_others_way(
    begin: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "HANGS_S", 0.05)
    answers[:] = [False, True]
    said: list[str] = []
    spoken = threading.Event()

    def say(self: Any, sentence: str) -> None:
        if sentence not in said:
            said.append(sentence)
            spoken.set()

    monkeypatch.setattr(Condition, "_say", say)
    told = begin("Hanging", "Scripted")
    wait(6)
    assert spoken.wait(30)
    assert told == [f"{__name__}:Scripted"]
    assert said == [f"The condition {__name__}:Hanging has not answered for 0.05 s; it is waited for."]


def test_one_thread_looks_after_all_however_often_more_are_asked(begin: Callable[..., list[str]]) -> None:
    answers[:] = []
    before = threading.active_count()
    begin("Scripted")
    (conditions,) = begun
    for _ in range(5):
        conditions.ask([f"{__name__}:Scripted"])
    assert sum(thread.name == "duck-conditions" for thread in threading.enumerate()) == 1
    assert threading.active_count() - before == 7


class Leaving:
    def check_trigger(self) -> bool:
        asked.release()
        sys.exit(3)


def test_one_that_leaves_the_process_is_told_and_asked_again(
    begin: Callable[..., list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    begin("Leaving")
    wait(3)
    assert capfd.readouterr().out.count("Leaving cannot be asked: SystemExit: 3") == 1


def test_what_fails_as_it_is_looked_after_keeps_nobody_from_that(
    begin: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    looked = threading.Semaphore(0)

    def look(self: Condition, now: float) -> None:
        looked.release()
        raise ValueError("quack")

    monkeypatch.setattr(Condition, "look", look)
    begin("Scripted", "Scripted")
    for _ in range(6):
        assert looked.acquire(timeout=30)
    assert "ValueError: quack" in capfd.readouterr().err

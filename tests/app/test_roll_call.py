"""Who has answered, and who is told of it."""

from __future__ import annotations

from duck.app.roll_call import RollCall


class Asked:
    def __init__(self, *numbers: int) -> None:
        self.calls: RollCall[str] = RollCall()
        self.over: list[int] = []
        for number in numbers:
            self.ask(number, "a", "b")

    def ask(self, number: int, *members: str) -> None:
        self.calls.ask(number, members, lambda: self.over.append(number))


def test_it_is_over_once_with_the_last_answer() -> None:
    asked = Asked(1)
    asked.calls.answered(1, "a")
    asked.calls.answered(1, "a")
    assert asked.over == []
    asked.calls.answered(1, "b")
    asked.calls.answered(1, "b")
    asked.calls.end(1)
    assert asked.over == [1]


def test_where_nobody_is_asked_it_is_over_at_once() -> None:
    asked = Asked()
    asked.ask(1)
    assert asked.over == [1]


def test_an_answer_may_stand_for_those_before() -> None:
    asked = Asked(1, 2, 3)
    asked.calls.answered_up_to(2, "a")
    asked.calls.answered_up_to(3, "b")
    assert asked.over == [1, 2]


def test_who_is_gone_is_not_waited_for() -> None:
    asked = Asked(1, 2)
    asked.calls.answered(2, "b")
    asked.calls.gone("a")
    assert asked.over == [2]
    asked.calls.gone("b")
    assert asked.over == [2, 1]


def test_who_is_silent_is_not_waited_for_for_ever() -> None:
    asked = Asked(1)
    asked.calls.end(1)
    asked.calls.answered(1, "a")
    asked.calls.answered(7, "a")
    assert asked.over == [1]


def test_who_is_told_may_ask_again() -> None:
    asked = Asked()
    asked.calls.ask(1, ["a"], lambda: asked.ask(2, "a"))
    asked.calls.gone("a")
    assert asked.over == []
    asked.calls.answered(2, "a")
    assert asked.over == [2]

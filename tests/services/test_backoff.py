"""How long is waited before a process is started again."""

from __future__ import annotations

from duck.services.backoff import STEADY_S, Backoff


def test_the_first_start_comes_at_once_and_each_later_one_after_twice_the_time() -> None:
    backoff = Backoff(0.25, 30.0)
    assert [backoff.next_s() for _ in range(10)] == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_none_comes_at_once_where_that_is_wanted() -> None:
    backoff = Backoff(0.5, 3.0, at_once=False)
    assert [backoff.next_s() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.lasted(STEADY_S)
    assert backoff.next_s() == 0.5


def test_one_that_could_not_begin_is_waited_for_the_first_time_too() -> None:
    backoff = Backoff(0.5, 30.0)
    assert [backoff.next_s(waits=True) for _ in range(3)] == [0.5, 1.0, 2.0]


def test_what_lasted_long_did_not_end_because_of_its_start() -> None:
    backoff = Backoff(0.25, 30.0)
    for _ in range(4):
        backoff.next_s()
    backoff.lasted(STEADY_S - 0.1)
    assert backoff.next_s() == 2.0
    backoff.lasted(STEADY_S)
    assert backoff.next_s() == 0.0

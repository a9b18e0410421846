"""When a change is over."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from duck.services.ducksight.burst import FEW, FOLLOWS_S, LONGEST_OF_ALL_S, Burst


def burst() -> Burst:
    return Burst(quiet_s=0.125, longest_s=3.0, busy_quiet_s=1.0)


def test_one_saved_file_is_over_at_once() -> None:
    one = burst()
    assert one.wait_s(0.0) is None
    one.add("a", 5.0)
    assert one.wait_s(5.0) == 0.125
    assert one.wait_s(5.25) == 0.0
    assert one.take(5.25) == ["a"]
    assert one.wait_s(7.0) is None


def test_a_file_that_is_gone_or_written_to_is_waited_for() -> None:
    one = burst()
    one.add("a", 5.0, whole=False)
    assert one.wait_s(5.0) == 1.0
    one.add("a", 5.5, whole=True)  # deleted and created, backup and rename: now it is there again
    assert one.wait_s(5.5) == 0.125


def test_many_files_are_waited_for_longer() -> None:
    one = burst()
    for number in range(FEW):
        one.add(str(number), 5.0)
    assert one.wait_s(5.0) == 0.125
    one.add("more", 5.0)
    assert one.wait_s(5.0) == 1.0


def test_another_file_right_after_the_last_is_of_somebody_who_goes_on() -> None:
    one = burst()
    one.add("a", 5.0)
    one.take(5.1)
    one.add("b", 5.2)
    assert one.wait_s(5.2) == 1.0
    one.take(6.3)
    one.add("b", 6.4)  # the same again: a person
    assert one.wait_s(6.4) == 0.125
    one.take(6.5)
    one.add("a", 6.5 + FOLLOWS_S)
    assert one.wait_s(6.5 + FOLLOWS_S) == 0.125


@given(st.lists(st.floats(0, 0.9), min_size=30, max_size=60))
@settings(max_examples=50)
def test_a_file_that_is_written_on_and_on_is_acted_upon_after_the_longest_time(gaps: list[float]) -> None:
    one = burst()
    now = 0.0
    for gap in gaps:
        one.add("x", now, whole=False)
        now += gap
        wait_s = one.wait_s(now)
        assert wait_s is not None
        assert now + wait_s <= max(3.0, now)


def test_a_formatter_that_goes_from_file_to_file_is_one_change() -> None:
    one = burst()
    now = 0.0
    for number in range(60):
        one.add(str(number), now)
        now += 0.9
        assert one.wait_s(now) != 0.0 or number < FEW
    assert len(one.take(now)) == 60


def test_files_that_never_end_are_acted_upon_after_a_minute() -> None:
    one = burst()
    now = 0.0
    one.add("first", now, whole=False)
    while one.wait_s(now) != 0.0:
        one.add(str(now), now, whole=False)
        now += 0.5
    assert LONGEST_OF_ALL_S <= now < LONGEST_OF_ALL_S + 1


def test_what_is_held_is_not_over_but_for_a_minute() -> None:
    one = burst()
    one.add("a", 0.0)
    assert one.wait_s(30.0, is_held=True) != 0.0
    assert one.wait_s(30.0) == 0.0
    assert one.wait_s(LONGEST_OF_ALL_S, is_held=True) == 0.0

"""What comes too often to be told each time."""

from __future__ import annotations

from duck.http.tally import Tally


def test_the_first_is_told_at_once_and_what_follows_once_a_minute() -> None:
    told: list[tuple[int, str]] = []
    tally = Tally(lambda count, what: told.append((count, what)))
    tally.add("a", 100.0)
    assert told == [(1, "a")]
    for now in range(101, 159):
        tally.add("a", float(now))
    tally.add("b", 159.0)
    assert told == [(1, "a")] and tally.total == 60
    tally.look(160.0)
    assert told[1:] == [(58, "a"), (1, "b")]
    tally.look(500.0)
    assert len(told) == 3


def test_of_very_many_different_things_the_rest_is_one() -> None:
    told: list[tuple[int, str]] = []
    tally = Tally(lambda count, what: told.append((count, what)))
    tally.add("first", 100.0)
    for number in range(1000):
        tally.add(str(number), 101.0)
    tally.look(200.0)
    assert len(told) == 22 and told[-1] == (980, "and others")

"""What nodes tell of their automations for people: all of it, in time, and a few at once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from duck.services.automations.coming import ALWAYS, REST, TIMES, Coming
from duck.services.automations.declaration import Declaration, read_declaration
from duck.services.automations.engines.local_rows import moment

NOW = datetime(2026, 3, 28, 10, 0, 30, tzinfo=UTC)


def declared(name: str = "job", **table: Any) -> Declaration:
    return read_declaration(name, {"command": "x", **(table or {"every": "1h"})}, "duck.toml", ZoneInfo("UTC"))


def times(coming: str) -> list[datetime]:
    return [moment(at) for at, _ in json.loads(coming)]


def test_facts_and_times_are_told_once() -> None:
    coming = Coming()
    coming.declare([declared()], NOW)
    ((name, facts, told),) = coming.take(NOW)
    assert name == "job"
    assert json.loads(facts)["runs"] == "command x"
    assert times(told)[0] == datetime(2026, 3, 28, 11, tzinfo=UTC) and len(times(told)) == TIMES
    assert coming.take(NOW + timedelta(minutes=1)) == []


def test_there_are_five_to_come_whenever_somebody_looks() -> None:
    coming = Coming()
    coming.declare([declared(every="1m")], NOW)
    known: list[datetime] = []
    for seconds in range(0, 7200, 2):
        now = NOW + timedelta(seconds=seconds)
        for _, _, told in coming.take(now):
            known = times(told)
        assert sum(1 for at in known if at > now) >= ALWAYS


def test_odd_days_are_marked() -> None:
    coming = Coming()
    coming.declare([declared(cron="30 2 * * *", tz="Europe/Berlin")], NOW)
    ((_, _, told),) = coming.take(NOW)
    assert [note for _, note in json.loads(told)][:2] == ["clocks go forward by 1 h at 02:00", ""]


def test_what_has_no_schedule_has_facts_alone_and_holds_as_is_said_once_an_hour() -> None:
    coming = Coming()
    coming.declare([declared(on="start")], NOW)
    ((_, _, told),) = coming.take(NOW)
    assert told == "[]"
    assert coming.take(NOW + timedelta(minutes=60)) == []
    later = NOW + timedelta(minutes=61)
    again = coming.take(later)
    assert again == [("job", "", "")]
    coming.forget(again, later)
    assert coming.take(later)[0][1] != "", "whether the store has it is not known"


def test_times_that_do_not_run_out_hold_for_an_hour_and_another() -> None:
    coming = Coming()
    coming.declare([declared(every="30m")], NOW)
    coming.take(NOW)
    told = [coming.take(NOW + timedelta(minutes=61 * count)) for count in (1, 2, 3, 4)]
    assert [bool(facts) for ((_, facts, _),) in told] == [False, False, False, True]


def test_of_times_that_lie_far_away_one_more_than_always_is_told() -> None:
    coming = Coming()
    coming.declare([declared(cron="0 3 * * *")], NOW)
    ((_, _, told),) = coming.take(NOW)
    assert len(times(told)) == ALWAYS + 1
    assert coming.take(times(told)[0] + timedelta(minutes=30)) == [("job", "", "")]
    ((_, _, again),) = coming.take(times(told)[1])
    assert times(again)[: ALWAYS - 1] == times(told)[2:]


def test_a_schedule_that_ends_has_all_it_has_and_that_holds() -> None:
    coming = Coming()
    coming.declare([declared(at="2026-03-29 10:00")], NOW)
    ((_, _, told),) = coming.take(NOW)
    assert len(times(told)) == 1
    assert coming.take(NOW + timedelta(days=2)) == [("job", "", "")]


def test_of_many_a_few_are_told_at_once_and_all_in_turn() -> None:
    coming = Coming()
    coming.declare([declared(f"job{number}") for number in range(10)], NOW)
    told = [name for turn in range(4) for name, _, _ in coming.take(NOW + turn * REST, 3)]
    assert sorted(told) == sorted(f"job{number}" for number in range(10))


def test_the_next_wait_for_a_while_for_they_cost_something() -> None:
    coming = Coming()
    coming.declare([declared(f"job{number}") for number in range(4)], NOW)
    assert len(coming.take(NOW, 3)) == 3
    assert coming.take(NOW + timedelta(seconds=2), 3) == []
    assert len(coming.take(NOW - timedelta(hours=1), 3)) == 0, "nothing is due by a clock that was put back"
    assert len(coming.take(NOW + REST, 3)) == 1


def test_as_many_as_a_node_that_rests_may_spend_on_them() -> None:
    """Each question for what was spent finds 4 ms more: what takes longer than 10 is over after the third."""
    spent = iter(0.004 * number for number in range(1000))
    coming = Coming(lambda: next(spent))
    coming.declare([declared(f"job{number}") for number in range(10)], NOW)
    assert [len(coming.take(NOW + turn * REST)) for turn in range(5)] == [2, 2, 2, 2, 2]


def test_what_still_holds_is_said_of_many_at_once() -> None:
    coming = Coming()
    coming.declare([declared(f"job{number}") for number in range(10)], NOW)
    for turn in range(5):
        coming.take(NOW + turn * REST, 2)
    questions = [coming.take(NOW + timedelta(minutes=59, seconds=seconds)) for seconds in range(0, 180, 2)]
    assert [len(told) for told in questions if told] == [6, 4]


def test_what_could_not_be_told_is_told_again() -> None:
    coming = Coming()
    coming.declare([declared("a"), declared("b")], NOW)
    lost = coming.take(NOW, 1)
    coming.forget(lost, NOW)
    assert {name for name, _, _ in coming.take(NOW + REST)} == {"a", "b"}

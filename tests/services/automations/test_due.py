"""Which planned times run, which are passed over, and that none is silent."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from duck.services.automations.declaration import Declaration, read_declaration
from duck.services.automations.due import MOST_ROWS, due

NOW = datetime(2026, 5, 1, 12, 0, 5, tzinfo=UTC)


def declared(**table: Any) -> Declaration:
    return read_declaration("job", {"command": "x", "every": "1h", **table}, "duck.toml", ZoneInfo("UTC"))


def told(declaration: Declaration, since: datetime, now: datetime = NOW) -> list[tuple[int, bool, str, int]]:
    return [(each.planned.hour, each.runs, each.reason, each.missed) for each in due(declaration, since, now)]


def test_one_that_is_due_runs() -> None:
    assert told(declared(), NOW - timedelta(minutes=10)) == [(12, True, "", 0)]


def test_before_its_time_nothing_is_due() -> None:
    assert told(declared(), NOW) == []


def test_the_jitter_is_part_of_its_time() -> None:
    declaration = declared(jitter="10m")
    begin = datetime(2026, 5, 1, 12, tzinfo=UTC)
    at = begin + timedelta(seconds=declaration.delay_s)
    assert told(declaration, begin - timedelta(seconds=1), at - timedelta(seconds=1)) == []
    assert told(declaration, begin - timedelta(seconds=1), at) == [(12, True, "", 0)]


def test_once_runs_the_latest_for_all_that_were_missed() -> None:
    stands = "one run stands for it, that of 2026-05-01 12:00:00 UTC"
    assert told(declared(), NOW - timedelta(hours=3)) == [
        (10, False, stands, 0),
        (11, False, stands, 0),
        (12, True, "", 2),
    ]


def test_all_runs_each() -> None:
    assert [each[:2] for each in told(declared(missed="all"), NOW - timedelta(hours=3))] == [
        (10, True),
        (11, True),
        (12, True),
    ]


def test_skip_runs_what_is_in_time_alone() -> None:
    assert told(declared(missed="skip"), NOW - timedelta(hours=2)) == [
        (11, False, "missed by 60 min", 0),
        (12, True, "", 0),
    ]
    late = NOW + timedelta(minutes=5)
    assert told(declared(missed="skip"), NOW - timedelta(hours=1), late) == [(12, False, "missed by 5 min", 0)]


def test_of_several_that_are_just_in_time_the_latest_runs_and_all_where_they_may_wait() -> None:
    """The first would keep the others from it, and be the one that is late."""
    stands = "one run stands for it, that of 2026-05-01 12:00:00 UTC"
    for overlap, second in (
        ("skip", (False, stands, 0)),
        ("queue_one", (False, stands, 0)),
        ("replace", (False, stands, 0)),
        ("allow", (True, "", 0)),
        ("queue_all", (True, "", 0)),
    ):
        found = told(declared(every="30s", missed="skip", overlap=overlap), NOW - timedelta(seconds=91))
        assert [each[1:] for each in found] == [(False, "missed by 65 s", 0), second, (True, "", 0)], overlap


def test_beyond_the_window_nothing_runs_and_each_is_told() -> None:
    found = told(declared(every="1d", within="6h"), NOW - timedelta(days=2))
    assert found == [
        (0, False, "missed by 36 h, which is more than `within`", 0),
        (0, False, "missed by 12 h, which is more than `within`", 0),
    ]
    assert told(declared(every="1d", within="13h"), NOW - timedelta(days=2))[-1] == (0, True, "", 0)


def test_after_a_year_of_sleep_its_seconds_are_not_counted() -> None:
    began = time.process_time()
    found = due(declared(every="1s", missed="skip"), NOW - timedelta(days=365), NOW)
    assert len(found) == MOST_ROWS and found[-1].planned == NOW
    assert time.process_time() - began < 5.0


def test_of_a_long_absence_the_latest_are_told() -> None:
    found = due(declared(every="1m", within="10m"), NOW - timedelta(days=30), NOW)
    assert len(found) == MOST_ROWS
    assert found[-1].runs and found[-1].missed == 9


@given(
    hours=st.floats(0, 100),
    missed=st.sampled_from(["once", "all", "skip"]),
    within=st.integers(1, 200_000),
    period=st.integers(60, 20_000),
)
@settings(deadline=None, max_examples=300)
def test_every_planned_time_is_decided_on_once(hours: float, missed: str, within: int, period: int) -> None:
    declaration = declared(every=period, missed=missed, within=within)
    since = NOW - timedelta(hours=hours)
    found = due(declaration, since, NOW)
    planned = [each.planned for each in found]
    assert planned == sorted(set(planned))
    assert all(since < at <= NOW for at in planned)
    assert all(bool(each.reason) != each.runs for each in found)
    for each in found:
        late = (NOW - each.planned).total_seconds()
        if each.runs:
            assert late <= max(within, 60)
    if missed == "once":
        assert sum(each.runs for each in found) <= 1

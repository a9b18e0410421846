"""Time moved by hand: what would be run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from duck.automation import Automation, automation, cron, every, on
from duck.exceptions import SettingsError
from duck.testing import AutomationClock


@automation(cron("30 2 * * *", tz="Europe/Berlin"))
def nightly(ctx: Any) -> str:
    return f"for {ctx.scheduled_for:%d}"


@automation(every("1h"), overlap="skip", within="3h")
def hourly() -> None: ...


def test_planned_times_come_as_time_is_moved() -> None:
    clock = AutomationClock(nightly, hourly, at="2026-05-01T00:00")
    runs = clock.move(hours=2)
    assert [(run.name, f"{run.planned:%H:%M}") for run in runs] == [
        ("nightly", "00:30"),
        ("hourly", "01:00"),
        ("hourly", "02:00"),
    ]
    assert all(run.starts == run.planned for run in runs)
    assert clock.move(minutes=59) == [] and clock.now == datetime(2026, 5, 1, 2, 59, tzinfo=UTC)


def test_on_the_day_that_clocks_go_back_it_runs_once() -> None:
    clock = AutomationClock(nightly, at="2026-10-24T12:00", tz="Europe/Berlin")
    assert len(clock.move_to("2026-10-25T12:00")) == 1


def test_what_was_missed_is_told_with_the_reason() -> None:
    clock = AutomationClock(hourly, at="2026-05-01T00:00")
    runs = clock.sleep(hours=5, minutes=1)
    assert [run.reason.partition(",")[0] for run in runs] == [
        "missed by 4 h",
        "missed by 3 h",
        "one run stands for it",
        "one run stands for it",
        "",
    ]
    assert runs[-1].missed == 2


@pytest.mark.parametrize(
    ("overlap", "starts"),
    [
        ("skip", ["01:00", None, "03:00"]),
        ("allow", ["01:00", "02:00", "03:00"]),
        ("queue_all", ["01:00", "02:30", "04:00"]),
        ("replace", ["01:00", "02:00", "03:00"]),
    ],
)
def test_a_run_that_lasts_is_in_the_way_as_its_overlap_says(overlap: str, starts: list[str | None]) -> None:
    @automation(every("1h"), overlap=overlap, name="long")
    def long() -> None: ...

    clock = AutomationClock(long, at="2026-05-01T00:00", lasting={"long": timedelta(minutes=90)})
    assert [run.starts and f"{run.starts:%H:%M}" for run in clock.move(hours=3)] == starts


def test_events_and_what_they_tell() -> None:
    got: list[Any] = []

    @automation(on("signal", name="shop.signals.paid").excluding(weekdays="sat"))
    def paid(ctx: Any) -> None:
        got.append(ctx.event)

    clock = AutomationClock(paid, at="2026-05-01T00:00", carries_out=True)
    (run,) = clock.happens("signal", {"pk": 3}, name="shop.signals.paid")
    assert run.starts == clock.now and got == [{"pk": 3}]
    assert clock.happens("deploy") == []
    clock.move(days=1)
    assert clock.happens("signal", name="shop.signals.paid") == []


def test_runs_are_carried_out_where_that_is_wanted() -> None:
    clock = AutomationClock(nightly, at="2026-05-01T00:00", carries_out=True)
    assert [run.ran and run.ran.result for run in clock.move(days=2)] == ["for 01", "for 02"]


def test_an_object_too() -> None:
    report = Automation(lambda: "done", name="report", schedules=-1, interval=3600)
    clock = AutomationClock(report, at="2026-05-01T00:00", carries_out=True)
    assert [run.ran and run.ran.result for run in clock.move(hours=2)] == ["done", "done"]


def test_what_cannot_be_is_said() -> None:
    clock = AutomationClock(at="2026-05-01T00:00")
    with pytest.raises(ValueError, match="time is not moved back"):
        clock.move_to("2026-04-01T00:00")
    with pytest.raises(TypeError, match="is no automation: decorate it"):
        AutomationClock(print, at="2026-05-01T00:00")

    @automation(every("never"))
    def wrong() -> None: ...

    with pytest.raises(SettingsError, match="every is 'never'"):
        AutomationClock(wrong, at="2026-05-01T00:00")

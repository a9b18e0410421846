"""Planned times: none doubled, none lost, in order, in every zone and on every odd day."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duck.services.automations.schedule import (
    AllSchedule,
    AnySchedule,
    CalendarSchedule,
    CronSchedule,
    DailySchedule,
    ExcludingSchedule,
    Exclusion,
    IntervalSchedule,
    MomentsSchedule,
    Schedule,
    missed,
    oddity,
    previous,
    resolve,
    upcoming,
)

BERLIN = ZoneInfo("Europe/Berlin")
SPRING = datetime(2026, 3, 28, 20, tzinfo=UTC)  # clocks go forward at 02:00 on the 29th
AUTUMN = datetime(2026, 10, 24, 20, tzinfo=UTC)  # and back at 03:00 on the 25th
ZONES = sorted(available_timezones())

zones = st.sampled_from(ZONES).map(ZoneInfo)
moments = st.datetimes(datetime(1972, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))
times_of_day = st.builds(time, st.integers(0, 23), st.integers(0, 59))


def shown(schedule: Schedule, after: datetime, count: int, zone: ZoneInfo = BERLIN) -> list[str]:
    return [f"{at.astimezone(zone):%d %H:%M%z}" for at in upcoming(schedule, after, count)]


@pytest.mark.parametrize(
    ("line", "spring", "autumn"),
    [
        # at the first moment after the gap; the first time that clocks show it
        ("30 2 * * *", ["29 03:00+0200", "30 02:30+0200"], ["25 02:30+0200", "26 02:30+0100"]),
        ("0,30 2 * * *", ["29 03:00+0200", "30 02:00+0200"], ["25 02:00+0200", "25 02:30+0200", "26 02:00+0100"]),
        ("0 3 * * *", ["29 03:00+0200", "30 03:00+0200"], ["25 03:00+0100", "26 03:00+0100"]),
        ("15 1-3 * * *", ["29 01:15+0100", "29 03:00+0200", "29 03:15+0200", "30 01:15+0200"],
         ["25 01:15+0200", "25 02:15+0200", "25 03:15+0100", "26 01:15+0100"]),
        # with a star: as time goes by
        ("30 * * * *", ["28 21:30+0100", "28 22:30+0100", "28 23:30+0100", "29 00:30+0100", "29 01:30+0100",
                        "29 03:30+0200"],
         ["24 22:30+0200", "24 23:30+0200", "25 00:30+0200", "25 01:30+0200", "25 02:30+0200", "25 02:30+0100"]),
    ],
)  # fmt: skip
def test_a_line_of_crontab_on_the_days_when_clocks_change(line: str, spring: list[str], autumn: list[str]) -> None:
    schedule = CronSchedule(line, BERLIN)
    assert shown(schedule, SPRING, len(spring)) == spring
    assert shown(schedule, AUTUMN, len(autumn)) == autumn


# What crontab(5) of Debian says, case by case.
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("5 0 * * *", ["01 00:05", "02 00:05"]),  # five minutes after midnight, every day
        ("15 14 1 * *", ["01 14:15", "01 14:15"]),  # at 2:15pm on the first of every month
        ("0 22 * * 1-5", ["01 22:00", "04 22:00", "05 22:00"]),  # at 10 pm on weekdays; 1 May 2026 is a Friday
        ("23 0-23/2 * * *", ["01 00:23", "01 02:23", "01 04:23"]),
        ("5 4 * * sun", ["03 04:05", "10 04:05"]),
        ("0 4 8-14 * *", ["08 04:00", "09 04:00"]),
        ("0 4 8-14 * 6", ["02 04:00", "08 04:00", "09 04:00"]),  # day of month or day of week
        ("0 4 */2 * 6", ["09 04:00", "23 04:00"]),  # a field that starts with a star: both have to match
        ("0 12 * * 7", ["03 12:00", "10 12:00"]),  # 0 and 7 are Sunday
        ("0 0 31 * *", ["31 00:00", "31 00:00"]),  # months without one are passed over
        ("0 0 L * *", ["31 00:00", "30 00:00"]),
        ("0 9 * * fri#2", ["08 09:00", "12 09:00"]),
        ("0 9 * * 5L", ["29 09:00", "26 09:00"]),
        ("0 9 LW * *", ["29 09:00", "30 09:00"]),
        ("*/20 9 1 may *", ["01 09:00", "01 09:20", "01 09:40"]),
    ],
)
def test_a_line_of_crontab_means_what_its_manual_says(line: str, expected: list[str]) -> None:
    begin = datetime(2026, 4, 30, 23, 59, tzinfo=UTC)
    found = upcoming(CronSchedule(line, ZoneInfo("UTC")), begin, len(expected))
    assert [f"{at:%d %H:%M}" for at in found] == expected


def test_a_leap_day_waits_for_its_year() -> None:
    found = upcoming(CronSchedule("0 0 29 2 *", ZoneInfo("UTC")), datetime(2026, 1, 1, tzinfo=UTC), 2)
    assert [at.date() for at in found] == [date(2028, 2, 29), date(2032, 2, 29)]


@given(zone=zones, moment=moments, at=times_of_day)
@settings(deadline=None, max_examples=400)
def test_a_time_of_day_is_planned_once_for_each_day(zone: ZoneInfo, moment: datetime, at: time) -> None:
    """Of every zone there is, on any days: each day has its time, or the first moment after the gap that skips it."""
    for schedule in (CronSchedule(f"{at.minute} {at.hour} * * *", zone), DailySchedule((at,), zone)):
        found = upcoming(schedule, moment, 5)
        day = moment.astimezone(zone).date() - timedelta(days=2)
        expected: list[datetime] = []
        while len(expected) < 5:
            planned = resolve(day, at, zone)
            if planned > moment and planned not in expected:
                expected.append(planned)
            day += timedelta(days=1)
        assert found == expected


@given(
    zone=zones,
    moment=moments,
    line=st.sampled_from(
        ["*/5 * * * *", "7 * * * *", "0,30 1-3 * * *", "30 2 * * *", "59 23 * * *", "*/20 2 * * 0", "0 0 1 * *"]
    ),
    fraction=st.floats(0, 0.999),
)
@settings(deadline=None, max_examples=400)
def test_where_one_looks_from_changes_nothing(zone: ZoneInfo, moment: datetime, line: str, fraction: float) -> None:
    """So that machines that look at other moments, and one that was asleep, plan the same times."""
    schedule = CronSchedule(line, zone)
    found = upcoming(schedule, moment, 6)
    assert found == sorted(set(found))
    for first, second in itertools.pairwise(found):
        assert schedule.after(first + (second - first) * fraction) == second


@pytest.mark.parametrize("zone", ["Australia/Lord_Howe", "Pacific/Apia", "America/Sao_Paulo", "Africa/Casablanca"])
def test_a_time_is_planned_on_every_day_of_zones_with_odd_changes(zone: str) -> None:
    """Half an hour, a whole day left out (2011-12-30), midnight skipped, and a change for Ramadan."""
    place = ZoneInfo(zone)
    for at in (time(0, 0), time(0, 30), time(2, 15)):
        schedule = CronSchedule(f"{at.minute} {at.hour} * * *", place)
        found = upcoming(schedule, datetime(2011, 1, 1, tzinfo=UTC), 4 * 365)
        days = [planned.astimezone(place).date() for planned in found]
        assert days == sorted(days)
        # Where a day is left out, its time and that of the next may be one moment, never more than two days apart.
        assert max(after - before for before, after in itertools.pairwise(days)) <= timedelta(days=2)


class TestIntervals:
    def test_they_lie_whole_periods_from_their_anchor_whatever_clocks_do(self) -> None:
        found = upcoming(IntervalSchedule(timedelta(hours=6)), SPRING, 4)
        assert [f"{at:%d %H:%M}" for at in found] == ["29 00:00", "29 06:00", "29 12:00", "29 18:00"]

    def test_nothing_runs_before_the_start(self) -> None:
        start = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
        assert IntervalSchedule(timedelta(hours=1), start).after(SPRING) == start

    @given(moment=moments, seconds=st.floats(1, 1e7), steps=st.integers(1, 50))
    @settings(deadline=None)
    def test_they_never_drift(self, moment: datetime, seconds: float, steps: int) -> None:
        schedule = IntervalSchedule(timedelta(seconds=seconds))
        found = upcoming(schedule, moment, steps)
        assert found[-1] - found[0] == (steps - 1) * timedelta(seconds=seconds)
        assert moment < found[0] <= moment + timedelta(seconds=seconds)


class TestCalendar:
    def test_every_second_monday(self) -> None:
        schedule = CalendarSchedule(date(2026, 1, 5), time(9), BERLIN, days=14)
        found = [at.astimezone(BERLIN) for at in upcoming(schedule, datetime(2026, 3, 1, tzinfo=UTC), 3)]
        assert [f"{at:%a %d.%m. %H:%M}" for at in found] == ["Mon 02.03. 09:00", "Mon 16.03. 09:00", "Mon 30.03. 09:00"]

    def test_the_31st_is_the_last_day_of_shorter_months(self) -> None:
        schedule = CalendarSchedule(date(2026, 1, 31), time(12), ZoneInfo("UTC"), months=1)
        found = upcoming(schedule, datetime(2026, 1, 1, tzinfo=UTC), 4)
        assert [at.date().isoformat() for at in found] == ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]

    @given(
        zone=zones,
        moment=moments,
        start=st.dates(date(1975, 1, 1), date(2030, 1, 1)),
        at=times_of_day,
        months=st.integers(0, 14),
        days=st.integers(1, 40),
    )
    @settings(deadline=None)
    def test_where_one_looks_from_changes_nothing(
        self, zone: ZoneInfo, moment: datetime, start: date, at: time, months: int, days: int
    ) -> None:
        schedule = CalendarSchedule(start, at, zone, months=months, days=0 if months else days)
        found = upcoming(schedule, moment, 4)
        assert len(found) == 4 and found == sorted(set(found))
        assert found[0] >= resolve(start, at, zone)
        for first, second in itertools.pairwise(found):
            assert schedule.after(second - timedelta(microseconds=1)) == second
            assert schedule.after(first) == second


class TestSeveral:
    def test_any_of_them_once_where_they_agree(self) -> None:
        both = AnySchedule((DailySchedule((time(6), time(12)), BERLIN), CronSchedule("0 12 * * *", BERLIN)))
        assert shown(both, SPRING, 3) == ["29 06:00+0200", "29 12:00+0200", "30 06:00+0200"]

    def test_all_of_them(self) -> None:
        friday_13th = AllSchedule((CronSchedule("0 9 13 * *", BERLIN), CronSchedule("0 9 * * fri", BERLIN)))
        found = upcoming(friday_13th, SPRING, 2)
        assert [f"{at:%Y-%m-%d}" for at in found] == ["2026-11-13", "2027-08-13"]

    def test_what_never_agrees_has_no_time(self) -> None:
        odd = AllSchedule((CronSchedule("0 9 * * *", BERLIN), CronSchedule("30 9 * * *", BERLIN)))
        assert odd.after(SPRING) is None

    def test_moments_come_once_each(self) -> None:
        schedule = MomentsSchedule((SPRING, AUTUMN))
        assert upcoming(schedule, SPRING, 5) == [AUTUMN]


class TestExclusions:
    def test_days_weekdays_and_times_of_day(self) -> None:
        quiet = Exclusion(
            BERLIN,
            dates=frozenset({date(2026, 3, 30)}),
            anniversaries=frozenset({(3, 31)}),
            weekdays=frozenset({5, 6}),
            between=((time(22), time(6)),),
        )
        schedule = ExcludingSchedule(CronSchedule("0 5,6,21,22 * * *", BERLIN), quiet)
        assert shown(schedule, SPRING, 4) == ["01 06:00+0200", "01 21:00+0200", "02 06:00+0200", "02 21:00+0200"]

    def test_what_excludes_all_leaves_nothing(self) -> None:
        never = ExcludingSchedule(CronSchedule("0 5 * * *", BERLIN), Exclusion(BERLIN, weekdays=frozenset(range(7))))
        assert never.after(SPRING) is None

    def test_a_long_exclusion_of_a_short_interval_is_passed_over_at_once(self) -> None:
        schedule = ExcludingSchedule(
            IntervalSchedule(timedelta(seconds=1)), Exclusion(BERLIN, between=((time(0), time(23, 59)),))
        )
        (found,) = upcoming(schedule, SPRING + timedelta(hours=4), 1)
        assert f"{found.astimezone(BERLIN):%H:%M:%S}" == "23:59:00"


def test_what_was_missed_is_told_up_to_a_number_the_latest_of_it() -> None:
    schedule = IntervalSchedule(timedelta(minutes=1))
    found = missed(schedule, SPRING, SPRING + timedelta(hours=10), 3)
    assert found == [SPRING + timedelta(hours=10, minutes=-2 + number) for number in range(3)]


def test_odd_days_are_told() -> None:
    assert oddity(SPRING + timedelta(hours=12), BERLIN) == "clocks go forward by 1 h at 02:00"
    assert oddity(AUTUMN + timedelta(hours=12), BERLIN) == "clocks go back by 1 h at 03:00"
    assert oddity(AUTUMN + timedelta(days=3), BERLIN) == ""
    assert oddity(datetime(2026, 4, 4, 18, tzinfo=UTC), ZoneInfo("Australia/Lord_Howe")) == (
        "clocks go back by 0.5 h at 02:00"
    )


def test_where_clocks_change_at_midnight_the_day_that_is_shorter_or_longer_is_odd() -> None:
    cairo = ZoneInfo("Africa/Cairo")
    coming = CronSchedule("30 0 * * *", cairo)
    spring = upcoming(coming, datetime(2027, 4, 27, 12, tzinfo=UTC), 4)
    assert [(f"{at.astimezone(cairo):%d %H:%M}", oddity(at, cairo)) for at in spring] == [
        ("28 00:30", ""),
        ("29 00:30", ""),
        ("30 01:00", "clocks go forward by 1 h at 00:00"),
        ("01 00:30", ""),
    ]
    autumn = upcoming(coming, datetime(2027, 10, 26, 12, tzinfo=UTC), 3)
    assert [(f"{at.astimezone(cairo):%d %H:%M}", oddity(at, cairo)) for at in autumn] == [
        ("27 00:30", ""),
        ("28 00:30", "clocks go back by 1 h at 24:00"),
        ("29 00:30", ""),
    ]


class TestLookingBack:
    @given(
        st.sampled_from(
            [
                CronSchedule("30 2 * * *", BERLIN),
                CronSchedule("*/5 9-17 * * mon-fri", BERLIN),
                CronSchedule("0 0 29 2 *", BERLIN),
                CronSchedule("15 * 1,L * *", BERLIN),
                IntervalSchedule(timedelta(seconds=7)),
                DailySchedule((time(2, 30), time(14, 0)), BERLIN),
                CalendarSchedule(date(2020, 1, 31), time(3), BERLIN, months=1),
                AnySchedule((IntervalSchedule(timedelta(hours=5)), CronSchedule("0 4 * * sun", BERLIN))),
            ]
        ),
        moments.filter(lambda moment: moment.year > 1990),
        st.integers(1, 4),
    )
    @settings(max_examples=60, deadline=None)
    def test_the_times_before_are_those_that_lead_here(self, schedule: Schedule, moment: datetime, count: int) -> None:
        times = list(upcoming(schedule, moment, count + 1))
        assert previous(schedule, times[count], count) == times[0]
        assert previous(schedule, times[count], 1) == times[count - 1]

    def test_a_time_that_is_none_of_its_own_is_looked_back_from_as_well(self) -> None:
        schedule = CronSchedule("30 2 * * *", BERLIN)
        assert previous(schedule, datetime(2026, 5, 1, 12, tzinfo=UTC)) == datetime(2026, 5, 1, 0, 30, tzinfo=UTC)

    def test_before_the_first_there_is_none(self) -> None:
        first = datetime(2026, 5, 1, tzinfo=UTC)
        assert previous(MomentsSchedule((first,)), first) is None
        assert previous(IntervalSchedule(timedelta(hours=1), first), first) is None
        assert previous(IntervalSchedule(timedelta(hours=1), first), first + timedelta(hours=1), 2) is None

    def test_little_is_asked(self) -> None:
        """It is done for each run that starts; of 500 at once each may take a millisecond."""

        class Counted:
            asked = 0

            def after(self, moment: datetime) -> datetime | None:
                self.asked += 1
                return IntervalSchedule(timedelta(seconds=1)).after(moment)

        counted = Counted()
        assert previous(counted, SPRING) == SPRING - timedelta(seconds=1)
        assert counted.asked <= 3

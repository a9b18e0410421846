"""What a declaration may say, and the sentence for each thing that it may not."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from duck.automation import Trigger, all_of, any_of, at, calendar, cron, daily_at, every, on
from duck.exceptions import SettingsError
from duck.services.automations import declaration as module
from duck.services.automations.declaration import Declaration, events_of, read_declaration
from duck.services.automations.event import Event
from duck.services.automations.schedule import upcoming

BERLIN = ZoneInfo("Europe/Berlin")
BEGIN = datetime(2026, 5, 1, tzinfo=UTC)


def read(**table: Any) -> Declaration:
    return read_declaration("nightly", {"command": "clearsessions", **table}, "duck.toml", BERLIN)


def shown(declaration: Declaration, count: int = 2) -> list[str]:
    assert declaration.plan.schedule is not None
    return [f"{planned:%d %H:%M}" for planned in upcoming(declaration.plan.schedule, BEGIN, count)]


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        (cron("30 2 * * *"), ["01 00:30", "02 00:30"]),  # in the zone of the project
        (cron("30 2 * * *", tz="America/New_York"), ["01 06:30", "02 06:30"]),
        (cron("@daily"), ["01 22:00", "02 22:00"]),
        (every("6h"), ["01 06:00", "01 12:00"]),
        (every(90, start="2026-05-01T00:01:00+00:00"), ["01 00:01", "01 00:02"]),
        (every("1d", start=datetime(2026, 5, 3, 4, 0)), ["03 02:00", "04 02:00"]),
        (calendar(weeks=2, start="2026-05-04", at="09:00"), ["04 07:00", "18 07:00"]),
        (calendar(years=1, start="2026-05-04", tz="UTC"), ["04 00:00", "04 00:00"]),
        (daily_at("14:00", "02:30"), ["01 00:30", "01 12:00"]),
        (at("2026-05-24T18:00"), ["24 16:00"]),
        (Trigger({"daily_at": time(2, 30)}), ["01 00:30"]),  # as TOML has it
        (every(timedelta(hours=6)), ["01 06:00"]),
        (any_of(daily_at("14:00"), cron("0 9 * * mon")), ["01 12:00", "02 12:00"]),
        (all_of(daily_at("09:00"), cron("* * * * mon")), ["04 07:00", "11 07:00"]),
        (daily_at("09:00").excluding(weekdays=["sat", "sunday"], dates="05-04"), ["01 07:00", "05 07:00"]),
        (every("1h", start="2026-05-01T00:00:00Z").excluding(between=("00:00", "06:00")), ["01 04:00", "01 05:00"]),
    ],
    ids=repr,
)
def test_every_trigger_of_code_is_read(trigger: Any, expected: list[str]) -> None:
    declaration = read(**trigger.table)
    assert shown(declaration, len(expected)) == expected


def test_toml_may_say_the_exclusions_beside_the_trigger() -> None:
    assert shown(read(daily_at="09:00", **{"except": {"weekdays": ["fri"]}})) == ["02 07:00", "03 07:00"]


def test_events_are_read_with_their_details() -> None:
    declaration = read(**any_of(on("start"), on("automation", name="import", outcome="failed"), every("1d")).table)
    assert declaration.plan.events == (
        Event("start"),
        Event("automation", (("name", "import"), ("outcome", "failed"))),
    )
    assert shown(declaration, 1) == ["02 00:00"]


def test_of_many_moments_the_first_are_shown() -> None:
    moments = [f"2026-05-0{day}" for day in range(1, 8)]
    assert read(at=moments).when == "at 2026-05-01, 2026-05-02, 2026-05-03 and 4 more"
    assert read(at=moments[:4]).when == "at 2026-05-01, 2026-05-02, 2026-05-03, 2026-05-04"


def test_what_tells_of_each_thing_queues_its_runs_by_default() -> None:
    assert read(on="file", path="in/*.csv").overlap == "queue_all"
    assert read(every="1h", missed="all").overlap == "queue_all", "with skip the first would stand for all"
    assert read(every="1h", missed="all", overlap="skip").overlap == "skip"
    assert read(**any_of(on("signal", name="shop.signals.paid"), every("1d")).table).overlap == "queue_all"
    assert read(on="file", path="in/*.csv", overlap="skip").overlap == "skip"
    assert read(on="deploy").overlap == "skip"


def test_a_secret_is_in_nothing_that_is_shown() -> None:
    declaration = read(on="webhook", path="/hooks/build", secret="s3cret-s3cret-s3cret")
    assert "s3cret" not in repr(declaration) and declaration.when == "on webhook /hooks/build"
    assert declaration.plan.events[0].secret == ("secret", "s3cret-s3cret-s3cret")
    assert declaration.revision == read(on="webhook", path="/hooks/build", secret="another-one-than-that").revision


def test_an_event_may_be_excepted_and_joined_with_times() -> None:
    trigger = any_of(on("deploy"), daily_at("09:00")).excluding(weekdays="sat", between=("12:00", "13:00"))
    declaration = read(**trigger.table)
    (event,) = declaration.plan.events
    friday = datetime(2026, 5, 1, 8, 0, tzinfo=UTC)
    assert event.is_met("deploy", {}, friday)
    assert not event.is_met("start", {}, friday)
    assert not event.is_met("deploy", {}, friday + timedelta(hours=2, minutes=30)), "12:30 in Berlin"
    assert not event.is_met("deploy", {}, friday + timedelta(days=1))
    assert shown(declaration) == ["01 07:00", "03 07:00"]


def test_without_a_trigger_it_is_run_by_hand() -> None:
    plan = read().plan
    assert plan.schedule is None and plan.events == ()


def test_every_option_is_read() -> None:
    declaration = read(
        every="1d",
        missed="all",
        within="6h",
        overlap="queue_one",
        timeout="20m",
        grace=5,
        retry=3,
        backoff="exp:30s..10m",
        jitter="2m",
        on_crash="retry",
        run_in="thread",
        run_on="mail",
        enabled=False,
        description="Clears what is old.",
        args=["--verbosity", "0"],
    )
    assert (declaration.missed, declaration.within_s, declaration.overlap) == ("all", 21_600.0, "queue_one")
    assert (declaration.timeout_s, declaration.grace_s, declaration.retry) == (1200.0, 5.0, 3)
    assert [declaration.backoff.wait_s(attempt) for attempt in (1, 2, 5, 6, 900)] == [30, 60, 480, 600, 600]
    assert (declaration.on_crash, declaration.run_in) == ("retry", "thread")
    assert (declaration.run_on, declaration.enabled, declaration.sentence) == ("mail", False, "Clears what is old.")
    assert declaration.details == '{"args": ["--verbosity", "0"]}'
    assert 0.0 <= declaration.delay_s < 120.0 and declaration.delay_s == read(every="1d", jitter="2m").delay_s


def test_tries_after_a_crash_are_bounded() -> None:
    never, few, many = read(every="1d"), read(every="1d", on_crash="retry"), read(on_crash="retry", retry=5, every="1d")
    reason = "its node a fell silent"
    assert never.after_crash(1, reason) == (None, reason)
    for job, last in ((few, 4), (many, 6)):
        assert job.after_crash(last - 1, reason) == (30.0, reason)
        assert job.after_crash(last, reason) == (None, f"{reason}; this was attempt {last}, and the last one")


def test_defaults_are_the_safe_ones() -> None:
    declaration = read(every="1d")
    assert (declaration.missed, declaration.overlap, declaration.on_crash) == ("once", "skip", "fail")
    assert (declaration.retry, declaration.timeout_s, declaration.run_in) == (0, None, "process")
    assert declaration.within_s == timedelta(days=1).total_seconds()


def test_a_timedelta_of_settings_in_python_is_a_duration() -> None:
    hour = timedelta(hours=1)
    declaration = read(every=hour, timeout=hour, backoff=hour, within=hour)
    assert (declaration.when, declaration.timeout_s, declaration.backoff.first_s) == ("every 1h", 3600.0, 3600.0)
    assert declaration.trigger == '{"every": 3600.0}'


def test_none_of_what_may_be_none_is_said_by_0() -> None:
    declaration = read(every="1h", jitter=0, grace="0s", backoff=0)
    assert (declaration.jitter_s, declaration.grace_s, declaration.backoff.wait_s(3)) == (0.0, 0.0, 0.0)


def test_only_another_schedule_is_another_revision() -> None:
    first = read(cron="30 2 * * *")
    assert first.revision == read(cron="30 2 * * *", timeout="1h").revision
    assert first.revision != read(cron="31 2 * * *").revision
    assert first.revision != read(cron="30 2 * * *", tz="UTC").revision


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"cron": "30 2 * *"}, 'cron is "30 2 * *", which has 4 fields: give five'),
        ({"cron": "61 2 * * *"}, 'cron is "61 2 * * *": bad minute; crontab(5) says what is right'),
        ({"cron": "0 0 31 2 *"}, 'cron is "0 0 31 2 *": bad day-of-month'),
        ({"cron": "@reboot"}, 'which is not known: give on = "start"'),
        ({"cron": 5}, "cron is 5: give a text of five fields"),
        ({"cron": "* * * * *", "tz": "Berlin"}, "tz is 'Berlin', which is no time zone"),
        ({"cron": "* * * * *", "tz": "../../etc/passwd"}, "which is no time zone"),
        ({"every": "often"}, 'every is \'often\': give seconds as a number, or a text like "30s", "5m" or "1h30m"'),
        ({"every": "1 month"}, "every is '1 month': months and years are of different lengths, so give a date"),
        ({"every": "1M"}, "every is '1M': months and years are of different lengths"),
        ({"every": "30m1h"}, "every is '30m1h': give seconds as a number"),
        ({"every": 0.1}, "every is 0.1: give a second or more"),
        ({"every": "1h", "cron": "* * * * *"}, "cron and every are two triggers; join them in any_of"),
        ({"daily_at": "25:00"}, "daily_at is '25:00': give a time of day such as \"02:30\""),
        ({"daily_at": []}, "daily_at is []: give a list"),
        ({"at": "tomorrow"}, "at is 'tomorrow': give a date and a time"),
        ({"calendar": {"weeks": 2}}, "calendar needs start"),
        (
            {"calendar": {"weeks": 2, "days": 1, "start": "2026-01-01"}},
            "calendar needs one of years, months, weeks and days, and weeks and days are 2 of them",
        ),
        (
            {"calendar": {"start": "2026-01-01"}},
            "calendar needs one of years, months, weeks and days, and there is none",
        ),
        ({"on": "strat"}, "on is 'strat': give one of start, automation"),
        ({"on": "automation"}, 'on = "automation" needs name'),
        ({"run_on": "a b"}, 'run_on is \'a b\': give "any", "each", or a tag of nodes'),
        ({"on": "automation", "name": "a", "outcome": "died"}, "outcome is 'died': give one of succeeded"),
        ({"all_of": [{"on": "start"}, {"every": "1h"}]}, "all_of holds an event"),
        ({"any_of": [{"cron": "bad"}]}, 'cron is "bad"'),
        (
            {"all_of": [{"daily_at": "09:00"}, {"daily_at": "10:00"}]},
            "all_of plans nothing, for its triggers have no time in common: join them in any_of, or change one",
        ),
        (
            {"every": "1h", "except": {"weekdays": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}},
            "except excludes every moment, so nothing would ever run: leave some of it out",
        ),
        ({"on": "deploy", "except": {"between": ["00:00", "00:00"]}}, "except.between holds '00:00': give pairs"),
        ({"on": "deploy", "except": {"between": [["00:00", "00:00"]]}}, "except excludes every moment"),
        (
            {
                "every": "1d",
                "except": {"weekdays": ["sat", "sun"], "between": [["12:00", "06:00"], ["05:00", "12:00"]]},
            },
            "except excludes every moment",
        ),
        (
            {"cron": "0 9 * * mon", "except": {"weekdays": ["mon"]}},
            "except excludes everything that is planned, so it would never run: leave some of it out",
        ),
        ({"cron": "0 9 29 2 *", "except": {"between": [["08:00", "10:00"]]}}, "except excludes everything that is"),
        ({"at": "2020-12-25T18:00", "except": {"dates": ["12-25"]}}, "except excludes everything that is planned"),
        ({"every": "1h", "except": {"weekdays": ["funday"]}}, "except.weekdays holds 'funday'"),
        ({"every": "1h", "except": {"between": ["22:00", "06:00"]}}, "except.between holds '22:00': give pairs"),
        ({"every": "1h", "except": {"holidays": []}}, "except.holidays is not known here"),
        ({"on": 3}, "on is 3: give one of start, automation"),
        ({"on": "signal"}, 'on = "signal" needs name'),
        ({"on": "signal", "name": "post_save"}, 'name is "post_save": give a dotted name such as "django.db.models'),
        ({"on": "file"}, 'on = "file" needs path'),
        ({"on": "deploy", "path": "x"}, "path is not known here"),
        ({"on": "webhook", "path": "/a"}, "it has no secret, and without one anybody could start it: give one of"),
        ({"on": "webhook", "path": "/a", "secret": "s" * 16, "secret_env": "S"}, "secret and secret_env are given"),
        ({"on": "webhook", "path": "/a", "secret": 5}, "secret is no text"),
        ({"on": "webhook", "path": "/a", "secret": "short"}, "secret is too short: give 16 characters or more"),
        ({"on": "webhook", "path": "a", "secret_env": "S"}, 'path is "a": give a path such as "/hooks/build"'),
        ({"on": "webhook", "path": "/a/../b", "secret_env": "S"}, 'path is "/a/../b": give a path'),
        ({"on": "webhook", "path": "/.duck/x", "secret_env": "S"}, 'path is "/.duck/x": give a path'),
        ({"every": "1h", "overlap": "forbid"}, "overlap is 'forbid': give one of"),
        ({"every": "1h", "retry": -1}, "retry is -1: give a whole number from 0 to 1000"),
        ({"every": "1h", "backoff": "exp:10m..1m"}, "the second time has to be the longer one"),
        ({"every": "1h", "timout": "5m"}, "timout is not known: give timeout, if you mean that"),
        ({"every": "1h", "colour": "red"}, "colour is not known: leave it out"),
        ({"every": "1h", "shell": "true"}, "command and shell are 2 targets: give one"),
        ({"every": "1h", "cwd": "/tmp"}, "cwd does not go with `command`: it is of `shell`; leave it out"),
        ({"every": "1h", "except": {"dates": ["13-45"]}}, "except.dates holds '13-45': give a day of each year"),
        ({"cron": "@daily x"}, "which is not known"),
        ({"schedule": "@daily"}, "schedule is not known: give cron, if you mean that"),
        ({"every": "1h", "timezone": "UTC"}, "timezone is not known: give tz, if you mean that"),
        ({"every": "1h", "directory": "/x"}, "directory is not known: leave it out"),
        ({"tz": "UTC"}, "tz goes with a trigger, and there is none: give cron, every, calendar, daily_at, at, on"),
        ({"path": "in/*.csv"}, "path goes with a trigger, and there is none"),
        ({"except": {"weekdays": ["sat"]}}, "no trigger is there: give one of cron"),
        ({"at": date(2026, 12, 24)}, "at is 2026-12-24: give a date and a time"),
        ({"calendar": {"month": 1, "start": "2026-01-01"}}, "and there is none: give months, if you mean month"),
        ({"every": "1h", "except": {"dates": ["24.12."]}}, 'give a day such as "2026-12-25", or "12-25" for each year'),
        ({"every": "1h", "timeout": 0}, "timeout is 0: give seconds as a number"),
        ({"cron": "x"}, 'cron is "x", which has 1 field: give five'),
    ],
)
def test_what_cannot_be_used_is_one_sentence(table: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read(**table)
    said = str(raised.value)
    assert said.startswith("duck.toml: the automation 'nightly' cannot be used: ")
    assert sentence in said
    assert said.endswith(".") and "\n" not in said


@pytest.mark.parametrize(
    ("table", "when"),
    [
        ({"every": 3600}, "every 1h"),
        ({"every": "3600"}, "every 1h"),
        ({"every": 90.5}, "every 90.5s"),
        ({"every": "90m"}, "every 90m"),
        ({"calendar": {"months": 1, "start": "2026-01-05"}}, "each month at 00:00"),
        ({"calendar": {"weeks": 2, "start": "2026-01-05", "at": "09:00"}}, "each 2 weeks at 09:00"),
        ({"every": 60, "except": {"weekdays": ["sat"]}}, "every 1m, with exceptions"),
    ],
)
def test_when_it_runs_is_said_with_its_unit(table: dict[str, Any], when: str) -> None:
    assert read(**table).when == when


def test_an_exclusion_that_leaves_little_is_none_that_leaves_nothing() -> None:
    days = [f"{month:02}-{day:02}" for month in range(1, 13) for day in range(1, 32) if (month, day) != (2, 29)]
    dates = [each for each in days if each[3:] <= {"02": "28"}.get(each[:2], "31")]
    dates = [each for each in dates if each not in ("04-31", "06-31", "09-31", "11-31")]
    leap = read(daily_at="09:00", **{"except": {"dates": dates}})
    assert leap.plan.schedule is not None
    assert leap.plan.schedule.after(BEGIN) == datetime(2028, 2, 29, 8, tzinfo=UTC)
    minute = read(every="1m", **{"except": {"between": [["00:01", "00:00"]]}})
    assert shown(minute) == ["01 22:00", "02 22:00"]
    over = read(at="2020-12-24T18:00", **{"except": {"dates": ["12-25"]}}).plan.schedule
    assert over is not None and over.after(BEGIN) is None, "it is over, which is no fault of what is excluded"


@pytest.mark.parametrize("name", ["", "a b", "../x", "x" * 101])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="give it a name of letters"):
        read_declaration(name, {"command": "x"}, "duck.toml", BERLIN)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({}, "it has nothing to run: give one of command, shell, url, task, call"),
        ({"url": "ftp://x"}, "give one that begins with http://"),
        ({"call": "not a name"}, 'call is "not a name": give a dotted name'),
        ({"shell": ""}, "shell is '': give a text"),
        ({"shell": "x", "env": "A=1"}, "env is of another kind: give {LANG"),
        ({"shell": "x", "env": {"A=B": "1"}}, "env holds 'A=B', which cannot be a variable of a command"),
        ({"url": "https:///ping"}, 'url is "https:///ping", which has no host: give one such as "https://example.org'),
        ({"url": "http://a:port/"}, "which has a host or port that cannot be"),
        ({"url": "http://example.org/a b"}, "which holds a blank"),
        ({"url": "//example.org/x"}, "give one that begins with http://, https://, or / for the project itself"),
        ({"url": "/x", "method": "PSOT"}, "method is 'PSOT', which is no method of HTTP: give \"POST\", if you mean"),
        ({"url": "/x", "method": "FETCHIT"}, "which is no method of HTTP: give one of GET, POST, PUT, PATCH, DELETE"),
        ({"url": "/x", "headers": {"X Y": "1"}}, "headers holds 'X Y', which is no name of a header"),
        ({"url": "/x", "headers": {"X": "a\r\nB: c"}}, "the header X is no line of text"),
    ],
)
def test_targets_that_cannot_be_run(table: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read_declaration("nightly", table, "duck.toml", BERLIN)
    assert sentence in str(raised.value)


def test_methods_of_any_case_and_of_caches_are_methods() -> None:
    for method in ("post", "Patch", "PURGE", "PROPFIND"):
        read_declaration("ping", {"url": "http://user:geheim@127.0.0.1:1/", "method": method}, "duck.toml", BERLIN)


def test_the_password_of_a_url_is_not_repeated() -> None:
    with pytest.raises(SettingsError) as raised:
        read_declaration("ping", {"url": "https://user:geheim@example.org/a b"}, "duck.toml", BERLIN)
    assert "geheim" not in str(raised.value) and "https://user@example.org/a b" in str(raised.value)


def test_what_plans_times_alone_waits_for_no_event_and_is_not_read_for_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "read_trigger", lambda table, zone: pytest.fail("it was read"))
    for trigger in ({"cron": "30 2 * * *"}, {"every": "1h"}, {"daily_at": "02:30"}, {"at": "2026-12-24T18:00"}):
        assert events_of({"command": "x", **trigger}) == ()


def test_a_day_that_never_comes_is_refused_and_one_that_seldom_does_is_not() -> None:
    for line in ("0 0 30 2 *", "0 0 31 4,6,9,11 *"):
        with pytest.raises(SettingsError, match=r"bad day-of-month|a day that never comes"):
            read_declaration("job", {"command": "x", "cron": line}, "duck.toml", ZoneInfo("UTC"))
    for line in ("0 0 29 2 *", "0 0 31 * *", "0 0 * 2 mon#5", "0 0 L 2 *", "0 0 31 * sun"):
        schedule = read_declaration("job", {"command": "x", "cron": line}, "duck.toml", ZoneInfo("UTC")).plan.schedule
        assert schedule is not None and schedule.after(datetime(2026, 1, 1, tzinfo=UTC)) is not None

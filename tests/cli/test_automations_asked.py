"""`duck automations`, asked by somebody who mistypes, has run nothing yet, or names a time that clocks show twice."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

import pytest

from tests.cli.test_automations_moved import Site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site(tmp_path)
    monkeypatch.chdir(made.directory)
    return made


class TestBeforeAnythingHasRun:
    def test_who_only_looks_makes_no_store(self, site: Site) -> None:
        place = site.state / "automations"
        for arguments in (("list",), ("show", "odd"), ("history",), ("logs", "1"), ("cancel", "1"), ("next",)):
            site.call(*arguments)
            assert not place.exists(), arguments
        assert site.json("history") == {"runs": []} and site.json("show", "odd")["last"] is None
        told = site.call("history", "odd")
        assert told.returncode == 0
        assert told.stderr.startswith(f"There are no runs of odd: nothing has run here yet, and {place}/site-")
        for command in ("logs", "cancel"):
            done = site.call(command, "1")
            assert done.returncode == 1 and done.stderr.startswith("duck: There is no run 1: nothing has run here yet")

    def test_what_is_declared_can_be_paused_and_resumed(self, site: Site) -> None:
        assert site.call("pause", "nightly", "--for", "2d").returncode == 0
        assert site.json("show", "nightly")["state"] == "paused"
        assert site.call("resume", "by-hand").returncode == 0

    def test_what_is_not_cannot_and_a_near_name_is_offered(self, site: Site) -> None:
        for command in ("pause", "resume", "run", "show", "next"):
            done = site.call(command, "nigthly")
            assert (done.returncode, done.stderr) == (
                1,
                "duck: There is no automation 'nigthly'; did you mean nightly?\n",
            )
        done = site.call("pause", "nightly", "--for", "1 month")
        assert done.returncode == 2 and "1 month: give seconds as a number, or a text like" in done.stderr


def test_what_is_off_does_not_come(site: Site) -> None:
    site.toml.write_text(site.toml.read_text().replace('every = "7m"', 'every = "7m"\nenabled = false'))
    assert {each["name"] for each in site.json("next")["next"]} == {"nightly"}
    assert {each["note"] for each in site.json("next", "odd")["next"]} == {"passed over: off"}


def test_the_history_of_a_mistyped_name_is_no_empty_one(site: Site) -> None:
    site.call("run", "by-hand")
    done = site.call("history", "by-hnad")
    assert (done.returncode, done.stderr) == (1, "duck: There is no automation 'by-hnad'; did you mean by-hand?\n")
    done = site.call("history", "something-else")
    assert (done.returncode, done.stderr) == (0, "There are no runs of something-else.\n")


class TestWhatCannotRunHere:
    def test_one_that_is_off_is_not_queued_for_ever(self, site: Site) -> None:
        site.toml.write_text(site.toml.read_text().replace('every = "7m"', 'every = "7m"\nenabled = false'))
        for arguments in (("run", "odd"), ("run", "odd", "--wait")):
            done = site.call(*arguments)
            assert done.returncode == 1
            assert done.stderr.startswith(f"duck: odd is off (`enabled` is false in {site.toml}:13); take that out")
        assert site.call("backfill", "odd", "--from", "2026-01-01", "--to", "2026-01-01", "--yes").returncode == 1
        assert site.runs("odd") == []

    def test_one_of_another_tag_is_not_waited_for_where_no_node_is(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.toml.write_text(site.toml.read_text().replace('every = "7m"', 'every = "7m"\nrun_on = "mail"'))
        done = site.call("run", "odd", "--wait")
        assert (
            done.returncode == 1 and "no node is there; start one, or give this command AUTOMATION_TAGS" in done.stderr
        )
        assert site.runs("odd") == []
        monkeypatch.setenv("DUCK_AUTOMATION_TAGS", "mail")
        done = site.call("run", "odd", "--wait")
        assert done.returncode == 0, done.stderr

    def test_an_export_says_so(self, site: Site) -> None:
        text = site.toml.read_text()
        site.toml.write_text(text.replace('every = "7m"', 'every = "1h"\nrun_on = "each"'))
        for kind in ("crontab", "systemd", "k8s"):
            (left,) = json.loads(site.call("export", "odd", f"--{kind}", "--json").stdout)["left"]
            assert left.startswith("odd (every 1h) cannot be said") and left.endswith(": it runs on each node of Duck.")
        site.toml.write_text(text.replace('every = "7m"', 'every = "1h"\nrun_on = "mail"'))
        for kind in ("crontab", "systemd", "k8s"):
            told = json.loads(site.call("export", "odd", f"--{kind}", "--json").stdout)
            assert told["left"] == ['odd: run_on = "mail": it is run only where AUTOMATION_TAGS has that.']
            assert any(told["left"][0][5:] in text for text in told["files"].values())
        for option, kind in (("--user", "k8s"), ("--image", "crontab")):
            assert f"{option} goes with" in site.call("export", "odd", option, "x", f"--{kind}").stderr


class TestTimesThatClocksShowTwiceOrNever:
    def test_a_span_holds_both_of_those_that_come_twice(self, site: Site) -> None:
        with open(site.toml, "a") as file:
            file.write('[automations.often]\nshell = "true"\nevery = "30m"\ntz = "Europe/Berlin"\n')
        span = ("backfill", "often", "--from", "2025-10-26T02:30", "--to", "2025-10-26T02:30", "--dry-run")
        done = site.call(*span)
        assert [line.split("  ")[0] for line in done.stdout.splitlines()[1:-1]] == [
            "2025-10-26 02:30:00 CEST",
            "2025-10-26 02:00:00 CET",
            "2025-10-26 02:30:00 CET",
        ]
        first, second = done.stderr.splitlines()
        assert first == (
            "Clocks in Europe/Berlin show 2025-10-26 02:30 twice; the first is taken, so that both are in the span, and"
            " 2025-10-26T02:30+02:00 or 2025-10-26T02:30+01:00 says which."
        )
        assert "the second is taken" in second
        told = site.json(*span)
        assert told["notes"] == [first, second]
        one = site.json(
            "backfill", "often", *"--from 2025-10-26T02:30+01:00 --to 2025-10-26T02:30+01:00 --dry-run".split()
        )
        assert [each["planned"] for each in one["planned"]] == ["2025-10-26T01:30:00Z"] and one["notes"] == []

    def test_one_that_never_comes_is_the_moment_for_which_it_is_planned(self, site: Site) -> None:
        for first, last in (("2026-03-29T02:30", "2026-03-29T02:30"), ("2026-03-29T02:30", "2026-03-29T03:00")):
            done = site.call("backfill", "nightly", "--from", first, "--to", last, "--dry-run")
            assert "2026-03-29 03:00:00 CEST" in done.stdout, done.stderr
            assert "Clocks in Europe/Berlin skip 2026-03-29 02:30; 03:00 is taken" in done.stderr

    def test_a_whole_day_with_a_change_is_whole(self, site: Site) -> None:
        site.toml.write_text(site.toml.read_text().replace('every = "7m"', 'every = "30m"\ntz = "Europe/Berlin"'))
        told = site.json("backfill", "odd", "--from", "2025-10-26", "--to", "2025-10-26", "--dry-run")
        assert len(told["planned"]) == 2 * 25 and told["notes"] == []


def test_a_backfill_that_nobody_answers_is_refused_and_one_that_is_declined_says_so(site: Site) -> None:
    span = ("backfill", "nightly", "--from", "2026-03-28", "--to", "2026-03-28")
    done = site.call(*span)
    assert done.returncode == 2 and "Nobody can be asked here: give --yes, or --dry-run." in done.stderr
    done = site.call(*span, typed="n\n")
    assert done.returncode == 1 and "Nothing is run." in done.stderr
    assert site.runs("nightly") == []


def test_a_crontab_whose_lines_begin_with_users_is_taken_for_one_of_the_system(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "crontab"
    user = getpass.getuser()
    file.write_text(f"@daily {user} /srv/a.sh\n5 4 * * * {user} /srv/b.sh\n")
    hint = f"Each line begins with the name of a user ({user}): give --system where it says who runs it."
    assert hint in site.call("import-crontab", str(file)).stderr
    for more in ("--system", "--user"):
        assert hint not in site.call("import-crontab", str(file), more).stderr
    file.write_text(f"@daily {user} /srv/a.sh\n5 4 * * * /srv/b.sh\n")
    assert hint not in site.call("import-crontab", str(file)).stderr


def test_what_an_export_cannot_say_is_named(site: Site) -> None:
    with open(site.toml, "a") as file:
        file.write('[automations.a]\nshell = "true"\nevery = "1h"\nexcept = {weekdays = ["sat"]}\n')
        file.write('[automations.b]\nshell = "true"\nall_of = [{daily_at = "09:00"}, {cron = "* * * * mon"}]\n')
    for kind in ("crontab", "systemd", "k8s"):
        left = json.loads(site.call("export", "a", "b", f"--{kind}", "--json").stdout)["left"]
        assert left[0].endswith(": times that `except` leaves out.")
        assert left[1].endswith(": times that all triggers of all_of have in common.")

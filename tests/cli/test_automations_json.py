"""What commands print with `--json` is what the reference says, and each option of a declaration is among it."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from duck.automation import automation
from duck.cli.automations.group import _COMMANDS
from duck.services.automations.run import Cause, State
from tests.cli.test_automations_moved import Site

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "automations-json.md").read_text()

TOML = """
use_django = false

[automation_alerts.ops]
log = true

[automations.full]
shell = "true"
cwd = "."
env = {KEY = "geheim"}
description = "All of it."
cron = "30 2 * * *"
tz = "Europe/Berlin"
except = {weekdays = ["sat"]}
missed = "all"
within = "6h"
overlap = "queue_one"
timeout = "1h30m"
grace = 5
retry = 3
backoff = "exp:30s..10m"
jitter = "2m"
on_crash = "retry"
run_on = "each"
enabled = false
alert = "ops"
alert_late = "1m"
alert_after = "1w"

[automations.ping]
url = "https://ada:geheim@example.org/ping"
headers = {Authorization = "geheim"}
body = "geheim"
every = 3600

[automations.hook]
shell = "true"
on = "webhook"
path = "/hook"
secret = "geheim-geheim-geheim"
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site(tmp_path)
    made.toml.write_text(TOML)
    monkeypatch.chdir(made.directory)
    return made


def keys_of(section: str) -> set[str]:
    """Those in the first column of the table below a heading."""
    rows = re.findall(r"^\| (`.*?) \|", PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0], re.MULTILINE)
    return {key for row in rows for key in re.findall(r"`(\w+)`", row)}


def row_of(command: str) -> str:
    (row,) = [line for line in PAGE.split("\n## ")[0].splitlines() if re.match(rf"\| `{command}[ `]", line)]
    return row.split(" | ", 1)[1]


def test_each_option_of_a_declaration_is_shown(site: Site) -> None:
    told = site.json("show", "full")
    options = set(inspect.signature(automation).parameters) - {"trigger"}
    shown = {key.removesuffix("_s") for key in told}
    assert options <= shown
    given: Mapping[str, Any] = {
        "within_s": 21_600.0,
        "timeout_s": 5400.0,
        "grace_s": 5.0,
        "retry": 3,
        "backoff": {"first_s": 30.0, "most_s": 600.0},
        "jitter_s": 120.0,
        "on_crash": "retry",
        "run_on": "each",
        "enabled": False,
        "alert": ["ops"],
        "alert_late_s": 60.0,
        "alert_after_s": 604_800.0,
        "details": {"cwd": ".", "env": ["KEY"]},
        "description": "All of it.",
        "state": "off",
    }
    assert {key: told[key] for key in given} == given
    assert told["trigger"]["except"] == {"weekdays": ["sat"]}


def test_for_people_they_have_units_and_what_is_not_given_its_default(site: Site) -> None:
    lines = dict(line.split(None, 1) for line in site.call("show", "full").stdout.splitlines())
    assert (lines["timeout"], lines["grace"], lines["backoff"]) == ("1h30m", "5s", "exp:30s..10m")
    assert (lines["jitter"], lines["alert_late"], lines["alert_after"]) == ("2m", "1m", "1w")
    assert (lines["alert"], lines["enabled"], lines["retry"]) == ("ops", "no", "3")
    lines = dict(line.split(None, 1) for line in site.call("show", "ping").stdout.splitlines())
    assert (lines["when"], lines["grace"], lines["backoff"], lines["alert_late"]) == ("every 1h", "10s", "30s", "5m")
    assert (lines["timeout"], lines["alert"], lines["alert_after"]) == ("none", "nobody", "never")
    assert (lines["jitter"], lines["enabled"], lines["retry"]) == ("none", "yes", "0")


def test_no_secret_is_shown(site: Site) -> None:
    for name in ("full", "ping", "hook"):
        for more in ((), ("--json",)):
            said = site.call("show", name, *more).stdout
            assert name in said and "geheim" not in said
    assert site.json("show", "ping")["details"] == {"body": "6 characters", "headers": ["Authorization"]}


def test_an_automation_and_a_run_have_the_keys_that_are_documented(site: Site) -> None:
    told = site.json("list")
    assert {*told} == {"automations", "problems", "warnings"}
    assert all({*row} == keys_of("An automation") for row in told["automations"])
    (run,) = site.json("run", "ping")["runs"]
    assert {*run} == {*site.json("logs", str(run["id"]))} == keys_of("A run")
    assert {*site.json("history")["runs"][0]} == keys_of("A run")
    assert site.json("show", "ping")["last"] == run


@pytest.mark.parametrize(
    "arguments",
    [
        ("next",),
        ("event", "deploy"),
        ("pause", "ping"),
        ("resume", "ping"),
        ("backfill", "ping", "--from", "2026-01-01T00:00", "--to", "2026-01-01T02:00", "--dry-run"),
        ("doctor",),
        ("alert-test", "ops"),
        ("export", "--crontab"),
        ("import-crontab", "-"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_the_other_commands_print_the_keys_that_are_documented(site: Site, arguments: tuple[str, ...]) -> None:
    site.call("run", "ping")  # the store knows it
    told = json.loads(site.call(*arguments, "--json", typed="@daily x\n").stdout)
    row = row_of(arguments[0])
    missing = [key for key in told if f"`{key}`" not in row]
    within = [each for value in told.values() if isinstance(value, list) for each in value if isinstance(each, dict)]
    assert missing == [] and all(f"`{key}`" in row for each in within for key in each)


def test_pausing_and_resuming_are_told_apart(site: Site) -> None:
    site.call("run", "ping")
    assert site.json("pause", "ping") == {"name": "ping", "paused": True, "paused_until": None}
    told = site.json("show", "ping")
    assert (told["state"], told["paused_until"], told["next"]) == ("paused", None, None)
    assert site.json("resume", "ping") == {"name": "ping", "paused": False, "paused_until": None}
    assert site.json("pause", "ping", "--for", "1h30m")["paused_until"] is not None


def test_every_command_is_documented_and_so_is_every_word(site: Site) -> None:
    assert all(row_of(command) for command in _COMMANDS)
    for word in (*State, *Cause):
        assert f"`{word}`" in PAGE


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("run", "--wait"), "--wait goes with NAME: give the automation that is to be run."),
        (("run", "--json"), "--json goes with NAME: give the automation that is to be run."),
        (("run", "ping", "--node", "a"), "--node goes without NAME"),
        (("shwo", "ping"), "No such command 'shwo'; did you mean show?"),
        (("export",), "Give one of --systemd, --crontab and --k8s."),
    ],
)
def test_what_is_wrong_with_a_command_line_is_json_where_that_is_wanted(
    site: Site, arguments: tuple[str, ...], told: str
) -> None:
    if "--json" not in arguments:
        done = site.call(*arguments)
        assert (done.returncode, done.stdout) == (2, "") and told in done.stderr
        arguments = (*arguments, "--json")
    done = site.call(*arguments)
    assert done.returncode == 2 and told in json.loads(done.stdout)["error"]

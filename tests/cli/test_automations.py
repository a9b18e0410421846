"""`duck automations`: what it shows, and nodes that run, are killed, stopped and continued."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.automation_site import Site
from tests.cli.here import run_here
from tests.waiting import wait_until

TOML = """
use_django = false

[automations.tick]
shell = "echo $DUCK_KEY >> ran"
every = "1s"
overlap = "allow"

[automations.nightly]
shell = "true"
cron = "30 2 * * *"
tz = "Europe/Berlin"
description = "At night."

[automations.by-hand]
shell = "echo hello; exit 2"

[automations.long]
shell = "sleep 60"

[automations.on-each]
shell = "echo here"
run_on = "each"
"""


class SiteHere(Site):
    """What is asked again and again is asked without a process for each time."""

    def runs(self, name: str = "tick") -> list[dict[str, Any]]:
        arguments = self.command("history", name, "-n", "10000", "--json")[3:]
        done = run_here(self.directory, tuple(arguments), dict(os.environ))
        assert done.stdout, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)["runs"]
        return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = SiteHere(tmp_path, TOML)
    yield made
    made.end()


class TestShown:
    def test_what_is_declared(self, site: Site) -> None:
        told = site.json("list")
        rows = {row["name"]: row for row in told["automations"]}
        assert set(rows) == {"tick", "nightly", "by-hand", "long", "on-each"} and told["problems"] == []
        assert rows["nightly"]["when"] == "cron 30 2 * * *" and rows["nightly"]["zone"] == "Europe/Berlin"
        assert rows["nightly"]["description"] == "At night." and rows["by-hand"]["state"] == "by hand"
        assert rows["nightly"]["declared_in"].startswith(str(site.directory / "duck.toml"))
        assert site.call("list").stdout.splitlines()[0].split() == ["name", "when", "next", "last"]

    def test_the_next_runs_are_the_planned_ones(self, site: Site) -> None:
        told = site.json("next", "nightly", "-n", "400")["next"]
        assert len(told) == 400
        odd = [each for each in told if each["note"]]
        assert 2 <= len(odd) <= 3
        assert {each["note"].split(" by ")[0] for each in odd} == {"clocks go forward", "clocks go back"}

    def test_all_of_one(self, site: Site) -> None:
        assert site.json("show", "nightly")["runs"] == "shell true"
        assert "At night." in site.call("show", "nightly").stdout

    def test_one_that_cannot_be_used_says_why_and_where(self, site: Site) -> None:
        wrong = '[automations.wrong]\nshell = "x"\ncron = "61 * * * *"\n'
        over = '[automations.over]\nshell = "x"\nat = "2020-01-01T00:00"\n'
        (site.directory / "duck.toml").write_text(TOML + wrong + over)
        line = TOML.count("\n") + 1
        done = site.call("run", "wrong", "--wait")
        assert done.returncode == 1
        assert done.stderr.startswith(
            f"duck: {site.directory / 'duck.toml'}:{line}: the automation 'wrong' cannot be used: cron is"
        )
        assert site.json("show", "over")["state"] == "over"
        assert site.json("show", "over")["declared_in"].endswith(f"duck.toml:{line + 3}")

    def test_a_name_that_is_none_is_a_sentence(self, site: Site) -> None:
        done = site.call("show", "nigthly")
        assert done.returncode == 1
        assert done.stderr == "duck: There is no automation 'nigthly'; did you mean nightly?\n"

    def test_a_wrong_declaration_is_told_with_its_file(self, site: Site) -> None:
        (site.directory / "duck.toml").write_text('use_django = false\n[automations.a]\nshell = "x"\ncron = "nope"\n')
        done = site.call("list")
        assert done.returncode == 1
        assert f"{site.directory / 'duck.toml'}" in done.stderr and 'cron is "nope"' in done.stderr


class TestByHand:
    def test_a_run_is_carried_out_by_a_node_and_waited_for(self, site: Site) -> None:
        site.start()
        done = site.call("run", "by-hand", "--wait")
        assert (done.returncode, done.stdout) == (1, "hello\n")
        assert "by-hand failed after" in done.stderr and "exit code 2" in done.stderr
        (run,) = site.runs("by-hand")
        assert (run["cause"], run["code"]) == ("hand", 2)
        assert site.call("logs", str(run["id"])).stdout == "hello\n"

    def test_one_of_each_node_is_run_by_all_that_are_there(self, site: Site) -> None:
        nobody = site.call("run", "on-each")
        assert nobody.returncode == 1
        assert "on-each runs on each node, and no node is there" in nobody.stderr
        for name in ("a", "b"):
            site.start("--node", name)
        wait_until(lambda: {run["node"] for run in site.runs()} >= {"a", "b"})
        told = site.json("run", "on-each", "--wait")["runs"]
        assert sorted((run["node"], run["state"], run["output"]) for run in told) == [
            ("a", "succeeded", "here\n"),
            ("b", "succeeded", "here\n"),
        ]

    def test_a_run_is_cancelled(self, site: Site) -> None:
        site.start("--name", "here")
        run = site.json("run", "long")["runs"][0]
        wait_until(lambda: site.runs("long")[0]["state"] == "running")
        assert site.runs("long")[0]["node"] == "here"
        assert site.call("cancel", str(run["id"])).returncode == 0
        wait_until(lambda: site.runs("long")[0]["state"] == "cancelled")
        assert site.call("cancel", str(run["id"])).returncode == 1

    def test_one_that_no_node_has_run_yet_can_be_paused_and_its_coming_times_say_so(self, site: Site) -> None:
        assert site.json("pause", "nightly", "--for", "3d")["paused_until"] is not None
        notes = [each["note"] for each in site.json("next", "nightly", "-n", "5")["next"]]
        assert notes[:3] == ["passed over: paused"] * 3 and "passed over: paused" not in notes[3:]
        refused = site.call("pause", "nightli")
        assert refused.returncode == 1 and "There is no automation 'nightli'" in refused.stderr

    def test_a_paused_one_is_not_planned(self, site: Site) -> None:
        site.start()
        wait_until(lambda: site.runs())
        assert site.json("pause", "tick", "--for", "1h")["paused_until"] is not None
        assert site.json("show", "tick")["state"] == "paused"
        wait_until(lambda: (datetime.now(UTC) - datetime.fromisoformat(site.runs()[0]["planned"])).total_seconds() > 7)
        site.call("resume", "tick")
        before = len(site.runs())
        wait_until(lambda: len(site.runs()) > before)


class TestWithoutANode:
    """As cron, systemd and Kubernetes call it."""

    def test_a_run_is_carried_out_by_the_command_itself_with_what_waits_for_it(self, site: Site) -> None:
        with open(site.directory / "duck.toml", "a") as file:
            file.write('[automations.after]\nshell = "echo after > after"\non = "automation"\nname = "good"\n')
            file.write('[automations.good]\nshell = "echo $DUCK_KEY"\nretry = 1\n')
        done = site.call("run", "good", "--wait")
        (run,) = site.runs("good")
        assert (done.returncode, done.stdout) == (0, run["key"] + "\n"), done.stderr
        assert (site.directory / "after").read_text() == "after\n"
        assert site.runs("tick") == [], "it plans nothing"
        assert site.call("run", "by-hand", "--wait").returncode == 1

    def test_without_wait_that_nobody_would_is_told(self, site: Site) -> None:
        done = site.call("run", "by-hand")
        assert done.returncode == 0
        assert "No node runs that could carry it out; start `duck automations run`, or give --wait." in done.stderr


class TestFollowing:
    def test_what_a_run_prints_is_seen_while_it_runs(self, site: Site) -> None:
        with open(site.directory / "duck.toml", "a") as file:
            file.write('[automations.talks]\nshell = "echo first; while [ ! -e go ]; do sleep 0.1; done; echo last"\n')
        site.start()
        run = site.json("run", "talks")["runs"][0]
        logs = subprocess.Popen(
            site.command("logs", str(run["id"]), "-f"),
            cwd=site.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert logs.stdout is not None
        assert logs.stdout.readline() == "first\n"
        assert site.runs("talks")[0]["state"] == "running"
        (site.directory / "go").touch()
        rest, said = logs.communicate(timeout=60)
        assert (rest, logs.returncode) == ("last\n", 0)
        assert "of talks succeeded after" in said

    def test_of_a_flood_what_is_not_kept_is_counted(self) -> None:
        from duck.cli.automations.runs import _news
        from duck.services.automations.run import Cause, Run, State
        from duck.services.automations.tail import Tail

        tail = Tail(20)
        seen, printed = "", 0
        for text in ("one\n", "two\nthree\n", "x" * 30 + "\n" + "end\n", "more\n"):
            tail.add(text)
            now = datetime.now(UTC)
            run = Run(1, "j", "r", now, Cause.HAND, State.RUNNING, output=str(tail), printed=tail.count)
            seen += _news(run, printed)
            printed = run.printed
        assert seen == "one\ntwo\nthree\n[31 characters are left out]\nend\nmore\n"


def test_a_node_ends_in_order_and_its_exit_code_says_by_what(site: Site) -> None:
    node = site.start()
    wait_until(lambda: site.runs())
    run = site.json("run", "long")["runs"][0]
    wait_until(lambda: site.runs("long")[0]["state"] == "running")
    site.call("cancel", str(run["id"]))
    node.send_signal(signal.SIGTERM)
    assert node.wait(30) == 128 + signal.SIGTERM
    assert {each["state"] for each in site.runs()} <= {"succeeded"}

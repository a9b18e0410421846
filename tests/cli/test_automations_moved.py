"""`duck automations` that looks back and elsewhere: backfill, doctor, alerts, other schedulers; no node runs here."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from duck.app.automation_declarations import Found
from duck.app.automation_engine import store_path
from duck.app.automations_checkup import AutomationsCheckup
from duck.cli.main import run
from duck.cli.options import load_settings
from duck.exceptions import StoreError
from duck.services.automations.clock import MachineClock
from duck.services.automations.declaration import Declaration, read_declaration
from duck.services.automations.due import Due
from duck.services.automations.engines.local import LocalEngine
from duck.services.automations.run import Cause, State
from duck.services.mounts import Mounts

TOML = """
use_django = false

[automation_alerts.ops]
webhook = "{url}"

[automations.nightly]
shell = "echo $DUCK_KEY >> ran"
cron = "30 2 * * *"
tz = "Europe/Berlin"
alert = "ops"

[automations.odd]
shell = "true"
every = "7m"

[automations.by-hand]
shell = "true"
"""


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


class Site:
    """A directory with a duck.toml; commands run in this process, where they need no other."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "site"
        self.directory.mkdir()
        self.toml = self.directory / "duck.toml"
        self.declare("http://127.0.0.1:1/T0K3N")
        self.state = directory / "state"
        self.state.mkdir(mode=0o700)

    def declare(self, url: str) -> None:
        self.toml.write_text(TOML.replace("{url}", url))

    def call(self, *arguments: str, typed: str = "") -> Done:
        return self.duck("automations", *arguments, "--state-dir", str(self.state), typed=typed)

    def duck(self, *arguments: str, typed: str = "") -> Done:
        out, err, before = io.StringIO(), io.StringIO(), sys.stdin
        sys.stdin = io.StringIO(typed)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = run(arguments)
        finally:
            sys.stdin = before
        return Done(code, out.getvalue(), err.getvalue())

    def json(self, *arguments: str) -> Any:
        return json.loads(self.call(*arguments, "--json").stdout)

    def runs(self, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.json("history", name)["runs"]
        return found


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site(tmp_path)
    monkeypatch.chdir(made.directory)
    return made


class TestBackfill:
    SPAN = ("backfill", "nightly", "--from", "2026-03-28", "--to", "2026-03-30")

    def test_what_would_be_run_is_shown_with_the_clocks_of_the_automation(self, site: Site) -> None:
        done = site.call(*self.SPAN, "--dry-run")
        assert done.returncode == 0, done.stderr
        # On the 29th clocks go forward at 02:00.
        told = site.json(*self.SPAN, "--dry-run")
        assert [each["planned"] for each in told["planned"]] == [
            "2026-03-28T01:30:00Z",
            "2026-03-29T01:00:00Z",
            "2026-03-30T00:30:00Z",
        ]
        assert "3 planned times, 3 to run." in done.stdout and told["queued"] == []
        assert site.runs("nightly") == []

    def test_each_is_run_once_and_asked_for_before(self, site: Site) -> None:
        refused = site.call(*self.SPAN, typed="n\n")
        assert "Run nightly for 3 planned times? [y/N]" in refused.stdout and site.runs("nightly") == []
        done = site.call(*self.SPAN, "--yes")
        assert "3 planned times queued" in done.stdout and "No node runs" in done.stderr
        runs = site.runs("nightly")
        assert {(run["cause"], run["state"]) for run in runs} == {("backfill", "queued")}
        assert runs[0]["key"] == "nightly:2026-03-30T00:30:00Z"
        again = site.json("backfill", "nightly", "--from", "2026-03-29", "--to", "2026-03-31T04:00", "--yes")
        assert [each["planned"] for each in again["queued"]] == ["2026-03-31T00:30:00Z"]
        assert again["planned"][0]["left"].endswith("a backfill, queued")

    def test_a_node_carries_them_out_one_after_the_other(self, site: Site) -> None:
        site.call(*self.SPAN, "--yes")
        # What is carried out by the command itself is a node, too, and takes what else is queued.
        engine = LocalEngine(store_path(load_settings({"state_dir": str(site.state)}), site.directory))
        deadline = time.monotonic() + 60.0
        while engine.runs("nightly", state=State.QUEUED) and time.monotonic() < deadline:
            assert site.call("run", "by-hand", "--wait").returncode == 0
        assert {run["state"] for run in site.runs("nightly")} == {"succeeded"}
        assert (site.directory / "ran").read_text().splitlines() == [
            f"nightly:{planned}" for planned in ("2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z")
        ]
        engine.close()

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("by-hand", "--from", "2026-01-01", "--to", "2026-01-02"), "by-hand has no planned times (by hand)"),
            (("nightly", "--from", "soon", "--to", "2026-01-02"), "soon: give a date or a moment"),
            (("nightly", "--from", "2026-01-02", "--to", "2026-01-01"), "2026-01-01 is before 2026-01-02"),
            (("nightly", "--from", "2999-01-01", "--to", "2999-01-02"), "2999-01-01 has not come yet"),
            (("odd", "--from", "2020-01-01", "--to", "2026-01-02"), "more than 10000 planned times"),
            (("nightly", "--from", "2026-01-01", "--to", "2026-01-02", "--json"), "give --yes, or --dry-run"),
        ],
    )
    def test_what_cannot_be_done_is_a_sentence(self, site: Site, arguments: tuple[str, ...], told: str) -> None:
        done = site.call("backfill", *arguments)
        assert done.returncode in (1, 2) and told in done.stderr + done.stdout


class SetClock(MachineClock):
    off_s = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.off_s)


class AgedEngine(LocalEngine):
    ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Doctor:
    """A look at the store of a site, with clocks that can be set."""

    def __init__(self, site: Site) -> None:
        self.settings = load_settings({"state_dir": str(site.state)})
        self.path = store_path(self.settings, site.directory)
        self.engine = AgedEngine(self.path)
        self.clock = SetClock()
        self.found: list[Declaration] = []
        self.problems: list[str] = []

    def declare(self, name: str, **table: Any) -> Declaration:
        made = read_declaration(name, {"shell": "x", **table}, "duck.toml", ZoneInfo("UTC"))
        self.found.append(made)
        self.engine.register([made])
        return made

    def told(self, topic: str) -> list[tuple[str, str]]:
        found = Found(tuple(self.found), tuple(self.problems), ZoneInfo("UTC"))
        engine = AgedEngine(self.path)
        engine.ahead = self.engine.ahead
        checkup = AutomationsCheckup(self.settings, lambda: found, lambda: engine, self.clock)
        return [(each.level, each.sentence) for each in checkup.findings() if each.topic == topic]


@pytest.fixture
def doctor(site: Site) -> Iterator[Doctor]:
    made = Doctor(site)
    yield made
    made.engine.close()


class TestDoctor:
    def test_the_command_says_what_is_wrong_and_returns_it(self, site: Site) -> None:
        done = site.call("doctor")
        assert done.returncode == 1
        assert "store: The store can be read and written." in done.stdout
        assert "nodes: No node has been heard of, so nothing runs; start `duck automations run`" in done.stdout
        told = site.json("doctor")
        assert told["ok"] is False and told["counts"]["error"] == 1

    def test_all_is_well(self, doctor: Doctor) -> None:
        doctor.declare("job", every="1h")
        doctor.engine.join("a")
        assert doctor.told("nodes") == [("ok", "1 node run: a.")]
        assert [level for level, _ in doctor.told("clock")] == ["ok"]
        for topic in ("stuck", "missed", "late", "room", "schedule", "zone"):
            assert doctor.told(topic) == []

    def test_a_store_that_cannot_be_used(self, doctor: Doctor, site: Site) -> None:
        doctor.engine.close()
        for path in site.state.glob("automations/*.sqlite3*"):
            path.unlink()
        doctor.path.write_text("no database, and long enough to have been one" * 100)

        def refuse() -> LocalEngine:
            return LocalEngine(doctor.path)

        checkup = AutomationsCheckup(doctor.settings, lambda: (_ for _ in ()).throw(StoreError("no.")), refuse)
        found = {each.topic: each for each in checkup.findings()}
        assert found["store"].level == "error" and "file is not a database" in found["store"].sentence
        assert found["declarations"].sentence == "no."

    def test_one_that_opens_and_does_not_answer_is_told_once_and_the_rest_is_looked_at(
        self, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As a database that the project has not migrated."""

        def refuse(*given: Any) -> Any:
            raise StoreError("The tables are not there.")

        doctor.declare("never", at="2020-01-01T00:00")
        for name in ("leave", "now", "nodes"):
            monkeypatch.setattr(AgedEngine, name, refuse)
        found = [*doctor.told("store"), *doctor.told("schedule")]
        assert [level for level, _ in found] == ["error", "warning"] and found[0][1] == "The tables are not there."

    @pytest.mark.parametrize(("off_s", "level"), [(1.0, "ok"), (5.0, "warning"), (-45.0, "error")])
    def test_clocks(self, doctor: Doctor, off_s: float, level: str) -> None:
        doctor.clock.off_s = off_s
        doctor.engine.join("a", ahead_s=off_s)
        told = doctor.told("clock")
        assert {found for found, _ in told} == {level} and len(told) == (1 if level == "ok" else 2)
        if level == "error":
            assert "The clock of the node a is 45.0 s behind the store's, so it starts nothing; set it" in told[1][1]

    def test_nobody_lives(self, doctor: Doctor) -> None:
        doctor.declare("job", every="1h")
        doctor.engine.join("a")
        doctor.engine.ahead = timedelta(minutes=10)
        ((level, sentence),) = doctor.told("nodes")
        assert level == "error" and sentence.startswith(
            "No node has been heard of, the last for 10 min, so nothing runs"
        )

    def test_runs_that_are_stuck(self, doctor: Doctor) -> None:
        running, queued, tagged = doctor.declare("r"), doctor.declare("q"), doctor.declare("t", run_on="mail")
        for each in (running, queued, tagged):
            doctor.engine.enqueue(each, doctor.engine.now(), Cause.HAND)
        doctor.engine.enqueue(
            read_declaration("gone", {"shell": "x"}, "t", ZoneInfo("UTC")), doctor.engine.now(), Cause.HAND
        )
        doctor.engine.take("a", {"r": running}, {running.lane: 1})
        doctor.engine.ahead = timedelta(minutes=6)
        told = "\n".join(sentence for _, sentence in doctor.told("stuck"))
        assert "of r is running on a, which has been silent for 6 min" in told
        assert "of q has waited for 6 min for room" in told
        assert "of t has waited for 6 min for a node with 'mail' in AUTOMATION_TAGS" in told
        assert "gone is not declared any more; `duck automations cancel" in told

    def test_what_was_late_and_missed(self, doctor: Doctor) -> None:
        job = doctor.declare("job", every="1h", overlap="allow")
        now = doctor.engine.now()
        doctor.engine.claim([(job, Due(now + timedelta(minutes=1), False, "missed by 5 min"))])
        doctor.engine.claim([(job, Due(now + timedelta(minutes=2), True))])
        doctor.engine.ahead = timedelta(minutes=9)
        doctor.engine.take("a", {"job": job}, {job.lane: 1})
        assert doctor.told("missed")[0][1].startswith("job missed 1 planned time in the last day; see to it")
        assert doctor.told("late")[0][1].startswith("job started up to 7 min late in the last day;")
        doctor.engine.ahead = timedelta(days=2)
        assert doctor.told("missed") == doctor.told("late") == []

    def test_what_never_comes_and_too_little_room(self, doctor: Doctor) -> None:
        doctor.declare("past", at="2020-01-01T00:00")
        for number in range(5):
            doctor.declare(f"job{number}", daily_at="03:00")
        doctor.problems.append("duck.toml: x.")
        ((level, sentence),) = doctor.told("schedule")
        assert level == "warning" and "'past' (at 2020-01-01T00:00) has no time to come" in sentence
        ((_, sentence),) = doctor.told("room")
        assert re.match(r"5 runs are due in the same second, \S+T03:00:00Z, and AUTOMATION_PROCESSES is 4,", sentence)
        assert ("error", "duck.toml: x.") in doctor.told("declarations")

    def test_a_zone_that_is_none(self, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TZ", "Mars/Base")
        assert doctor.told("zone")[0][1].startswith('TZ is "Mars/Base", which is no time zone')

    def test_a_network_share(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Mounts, "read", classmethod(lambda cls: Mounts(f"s:/x {site.state} nfs4 rw 0 0\n")))
        done = site.call("doctor")
        assert done.returncode == 1
        assert "lies on a network share (nfs4)" in done.stdout
        assert "give a directory of this machine with --state-dir." in done.stdout


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.server.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_who_follows_a_run_that_nobody_would_carry_out_is_told(site: Site) -> None:
    run_id = site.json("run", "by-hand")["runs"][0]["id"]
    followed = subprocess.Popen(
        [sys.executable, "-m", "duck", "automations", "logs", str(run_id), "-f", "--state-dir", str(site.state)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert followed.stderr is not None
    assert followed.stderr.readline() == f"Run {run_id} waits, and no node runs that could carry it out.\n"
    site.call("cancel", str(run_id))
    assert "of by-hand cancelled after no time" in followed.communicate(timeout=60)[1]
    assert followed.returncode == 1


class TestAlerts:
    def test_a_test_is_sent_and_a_receiver_that_is_not_there_is_told_without_its_url(self, site: Site) -> None:
        done = site.call("alert-test", "ops")
        assert (done.returncode, done.stderr) == (1, "webhook: it cannot be asked (ConnectError)\n")
        server = HTTPServer(("127.0.0.1", 0), _Receiver)
        server.got = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/T0K3N"
        site.declare(url)
        done = site.call("alert-test", "ops")
        thread.join(20)
        server.server_close()
        assert (done.returncode, done.stdout) == (0, "webhook: taken\n")
        assert server.got[0]["event"] == "test"  # type: ignore[attr-defined]

    def test_no_command_prints_the_url(self, site: Site) -> None:
        for arguments in (["settings"], ["settings", "--json"], ["check", "--json"], ["automations", "list", "--json"]):
            done = subprocess.run(
                [sys.executable, "-m", "duck", *arguments],
                cwd=site.directory,
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert "T0K3N" not in done.stdout + done.stderr, arguments

    def test_a_channel_that_is_none_is_a_problem_of_its_declaration(self, site: Site) -> None:
        text = site.toml.read_text()
        site.toml.write_text(text.replace('alert = "ops"', 'alert = "opps"'))
        done = site.call("list")
        assert done.returncode == 1
        assert (
            "the automation 'nightly' alerts 'opps', which is no channel of AUTOMATION_ALERTS; give one of ops."
            in done.stderr
        )
        site.toml.write_text(text.replace("http:", "htp:"))
        done = site.call("list")
        assert "the channel 'ops' of AUTOMATION_ALERTS cannot be used: webhook has to be a URL" in done.stderr
        assert "T0K3N" not in done.stderr


class TestCheck:
    def test_a_declaration_that_cannot_be_used_is_an_error_with_its_file(self, site: Site) -> None:
        with open(site.directory / "duck.toml", "a") as file:
            file.write('[automations.wrong]\nshell = "x"\ncron = "61 * * * *"\n')
        done = site.duck("check", "--json", "--port", "0", "--state-dir", str(site.state))
        found = [each for each in json.loads(done.stdout)["findings"] if each["topic"] == "automations"]
        assert [each["level"] for each in found] == ["error", "ok"], found
        assert str(site.toml) in found[0]["sentence"]
        assert "the automation 'wrong' cannot be used: cron is \"61 * * * *\": bad minute" in found[0]["sentence"]
        assert found[1]["sentence"] == "3 automations are declared."


class TestOthers:
    def test_an_export_is_printed_or_written_and_what_is_left_is_told(self, site: Site, tmp_path: Path) -> None:
        done = site.call("export", "--crontab")
        assert done.returncode == 0, done.stderr
        assert f"CRON_TZ=Europe/Berlin\n30 2 * * * cd {site.directory} && " in done.stdout
        assert f"automations run nightly --wait --state-dir {site.state}\n" in done.stdout
        assert "odd (every 7m) cannot be said in crontab" in done.stderr
        assert "by-hand (by hand) cannot be said in crontab: it has no planned times." in done.stderr
        done = site.call("export", "nightly", "--systemd", "--dest", str(tmp_path / "units"), "--user", "www-data")
        assert sorted(path.name for path in (tmp_path / "units").iterdir()) == [
            "duck-nightly.service",
            "duck-nightly.timer",
        ]
        assert "2 files written" in done.stdout
        told = site.json("export", "--k8s", "--image", "example/shop:1")
        assert '"example/shop:1"' in told["files"]["cronjobs.yaml"] and len(told["left"]) == 2
        assert site.call("export").returncode == 2

    def test_a_line_of_an_exported_crontab_runs_it(self, site: Site) -> None:
        text = site.call("export", "nightly", "--crontab").stdout.splitlines()[-1]
        command = text.split(None, 5)[5].replace("\\%", "%")
        done = subprocess.run(["/bin/sh", "-c", command], cwd="/", capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert (site.directory / "ran").read_text().startswith("nightly:")

    def test_a_crontab_becomes_tables_that_are_put_behind_what_is_there(self, site: Site, tmp_path: Path) -> None:
        before = site.toml.read_text()
        file = tmp_path / "crontab"
        file.write_text("MAILTO=ada@example.org\n30 2 * * * /srv/nightly.sh\n@daily date +\\%F\n@fortnightly x\n")
        printed = site.call("import-crontab", str(file))
        assert printed.returncode == 1 and site.toml.read_text() == before
        assert "line 4 cannot be carried over: @fortnightly is none of" in printed.stderr
        assert "[automations.nightly-2]" in printed.stdout, "the name is taken"
        tables = tomllib.loads(printed.stdout)["automations"]
        assert tables["date"]["shell"] == "date +%F"
        site.toml.chmod(0o640)
        written = site.call("import-crontab", str(file), "--write")
        after = site.toml.read_text()
        assert after.startswith(before) and site.toml.stat().st_mode & 0o777 == 0o640
        assert "2 automations written to" in written.stdout
        assert {row["name"] for row in site.json("list")["automations"]} == {
            "nightly",
            "odd",
            "by-hand",
            "nightly-2",
            "date",
        }
        again = site.call("import-crontab", str(file), "--write")
        assert "0 automations written" in again.stdout and "date is declared already, as it is here." in again.stderr
        assert site.toml.read_text() == after

    def test_without_a_file_it_is_the_users_own(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program = tmp_path / "bin" / "crontab"
        program.parent.mkdir()
        program.write_text('#!/bin/sh\n[ "$1" = -l ] && echo "@daily /srv/own.sh"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
        (row,) = site.json("import-crontab")["jobs"]
        assert (row["name"], row["table"]["shell"]) == ("own", "/srv/own.sh")
        program.write_text("#!/bin/sh\necho no crontab for ada >&2; exit 1\n")
        done = site.call("import-crontab")
        assert (done.returncode, done.stderr) == (1, "duck: `crontab -l` says: no crontab for ada; give a file.\n")

    def test_a_crontab_from_standard_input_or_of_the_system(self, site: Site) -> None:
        done = site.call("import-crontab", "-", "--system", "--json", typed="5 4 * * *\troot\t/srv/x.sh\n")
        (row,) = json.loads(done.stdout)["jobs"]
        assert row["table"]["shell"] == "/srv/x.sh" and "It ran as root" in row["notes"][0]

    def test_tables_that_cannot_be_put_there_are_refused_and_nothing_is_changed(
        self, site: Site, tmp_path: Path
    ) -> None:
        text = 'use_django = false\nautomations = {a = {shell = "x"}}\n'
        site.toml.write_text(text)
        (tmp_path / "crontab").write_text("@daily y\n")
        done = site.call("import-crontab", str(tmp_path / "crontab"), "--write")
        assert done.returncode == 1 and "write [automations.NAME] there instead" in done.stderr
        assert site.toml.read_text() == text and len(list(site.directory.iterdir())) == 1


def test_names_are_completed(site: Site) -> None:
    words = {"COMP_WORDS": "duck automations show n", "COMP_CWORD": "3", "_DUCK_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-m", "duck"],
        cwd=site.directory,
        env={**os.environ, **words, "XDG_STATE_HOME": str(site.state)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == ["plain,nightly"], done.stderr

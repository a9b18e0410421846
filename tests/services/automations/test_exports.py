"""Automations written for systemd, cron and Kubernetes, and what those plan then, compared with their own times."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from cronsim import CronSim

from duck.services.automations.declaration import Declaration, read_declaration
from duck.services.automations.exports import crontab, k8s, systemd
from duck.services.automations.exports.export import Command

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
# Name, and what its table says of when.
SAID: dict[str, dict[str, Any]] = {
    "night": {"cron": "30 2 * * 1-5", "tz": "Europe/Berlin"},
    "quarters": {"every": "15m"},
    "sixth": {"every": "6h"},
    "weekly": {"every": "7d"},
    "either": {"cron": "0 4 1,15 * mon"},
    "twice": {"daily_at": ["02:30", "14:00"], "tz": "America/New_York"},
    "quarterly": {"calendar": {"months": 3, "start": "2026-01-15", "at": "09:00"}},
    "years": {"calendar": {"years": 1, "start": "2026-02-01", "at": "09:00"}},
    "some": {"cron": "5-50/15 8-18/2 * jan,jul 7"},
    "both": {"any_of": [{"every": "1h"}, {"daily_at": "02:45"}]},
    "names": {"cron": "@weekly"},
}
# What crontab's five fields cannot say, and systemd can.
ONLY_SYSTEMD: dict[str, dict[str, Any]] = {
    "last-day": {"cron": "0 4 L * *"},
    "second-monday": {"cron": "0 4 * * 1#2"},
    "last-friday": {"cron": "0 4 * * 5L"},
    "odd-mondays": {"cron": "0 4 */2 * mon"},
    "christmas": {"at": "2026-12-24T18:00"},
}
NOBODY: dict[str, dict[str, Any]] = {
    "fortnight": {"calendar": {"weeks": 2, "start": "2026-01-05"}},
    "but-saturdays": {"every": "1h", "except": {"weekdays": ["sat"]}},
    "agreed": {"all_of": [{"every": "1h"}, {"daily_at": "02:00"}]},
    "after": {"on": "automation", "name": "night"},
    "thirtieth": {"calendar": {"months": 1, "start": "2026-01-30"}},
}
# As `systemd-analyze calendar` shows them.
_IN_UTC = re.compile(r"(?:\(in UTC\)|Next elapse|Iteration #\d+|Iter\. #\d+): \w+ ([\d-]+ [\d:]+) UTC")
COMMAND = Command(("/opt/duck/bin/duck",), Path("/srv/100% shop"), ("--state-dir", "/var/lib/a b"))


def declared(*tables: dict[str, dict[str, Any]], **options: Any) -> list[Declaration]:
    return [
        read_declaration(name, {"shell": "x", **table, **options}, "duck.toml", ZoneInfo("UTC"))
        for each in tables
        for name, table in each.items()
    ]


def planned(declaration: Declaration, count: int) -> list[datetime]:
    schedule, at, found = declaration.plan.schedule, NOW, []
    assert schedule is not None
    while len(found) < count:
        following = schedule.after(at)
        if following is None:
            break
        found.append(at := following)
    return found


def by_cron(lines: list[tuple[str, str]], count: int) -> list[datetime]:
    """What lines of crontab, each with its zone, plan together."""
    found: set[datetime] = set()
    for expression, zone in lines:
        each = CronSim(expression, NOW.astimezone(ZoneInfo(zone)))
        found |= {next(each).astimezone(UTC) for _ in range(count)}
    return sorted(found)[:count]


class TestCrontab:
    def test_its_lines_plan_the_same_times(self) -> None:
        declarations = declared(SAID)
        made = crontab.crontab(declarations, COMMAND, "UTC")
        zone, lines = "UTC", {}
        for line in made.files["crontab"].splitlines():
            if line.startswith("CRON_TZ="):
                zone = line.removeprefix("CRON_TZ=")
            elif line and not line.startswith("#"):
                name = line.split("automations run ")[1].split()[0]
                lines.setdefault(name, []).append((" ".join(line.split()[:5]), zone))
        assert made.left == ()
        for each in declarations:
            assert by_cron(lines[each.name], 60) == planned(each, 60), each.name

    def test_the_command_is_the_whole_of_it_and_its_percents_are_kept(self) -> None:
        text = crontab.crontab(declared({"night": SAID["night"]}), COMMAND, "Europe/Berlin").files["crontab"]
        line = text.splitlines()[-1]
        assert line == (
            r"30 2 * * 1-5 cd '/srv/100\% shop' && /opt/duck/bin/duck automations run night --wait"
            " --state-dir '/var/lib/a b'"
        )

    def test_what_cannot_be_said_is_a_comment_and_told(self) -> None:
        made = crontab.crontab(declared(ONLY_SYSTEMD, NOBODY, {"odd": {"every": "7m"}}), COMMAND, "UTC")
        assert len(made.left) == len(ONLY_SYSTEMD) + len(NOBODY) + 1
        for sentence in made.left:
            assert f"# {sentence}" in made.files["crontab"]
        assert not [line for line in made.files["crontab"].splitlines() if line and not line.startswith("#")]
        assert "odd (every 7m) cannot be said in crontab: each 7 min, which divides no hour and no day." in made.left

    def test_a_start_and_what_is_off(self) -> None:
        off = declared({"off": {"every": "1h"}}, enabled=False)
        lines = (
            crontab.crontab([*declared({"boot": {"on": "start"}}), *off], COMMAND, "UTC").files["crontab"].splitlines()
        )
        assert lines[-1].startswith("@reboot cd ")
        assert not [line for line in lines if "run off" in line]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not there")
class TestSystemd:
    def analyze(self, *arguments: str) -> str:
        environ = {**os.environ, "TZ": "UTC", "LC_ALL": "C"}
        done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, env=environ)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def test_systemd_plans_the_same_times(self) -> None:
        """`systemd-analyze calendar` says what is next; several lines of a timer are one another's alternatives."""
        declarations = declared(SAID, ONLY_SYSTEMD)
        made = systemd.systemd(declarations, COMMAND, NOW, "www-data")
        assert made.left == ()
        for each in declarations:
            lines = re.findall("^OnCalendar=(.*)$", made.files[f"duck-{each.name}.timer"], re.M)
            expected = planned(each, 6)
            found: set[datetime] = set()
            for line in lines:
                told = self.analyze("calendar", "--iterations=6", f"--base-time={NOW:%Y-%m-%d %H:%M:%S} UTC", line)
                found |= {datetime.fromisoformat(each).replace(tzinfo=UTC) for each in _IN_UTC.findall(told)}
            assert sorted(found)[: len(expected)] == expected, (each.name, lines)

    def test_systemd_takes_every_unit(self, tmp_path: Path) -> None:
        made = systemd.systemd(
            declared(SAID, ONLY_SYSTEMD, {"odd": {"every": "7m"}}, jitter="5m"), COMMAND, NOW, "root"
        )
        for name, text in made.files.items():
            # What is called has to be there.
            (tmp_path / name).write_text(
                text.replace("/opt/duck/bin/duck", "/bin/true").replace("/srv/100%% shop", "/")
            )
        units = [str(path) for path in sorted(tmp_path.iterdir())]
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, timeout=120
        )
        mine = [line for line in done.stderr.splitlines() if "duck-" in line]
        assert mine == [], done.stderr

    def test_an_interval_that_no_calendar_has_is_counted_and_said_to_drift(self) -> None:
        made = systemd.systemd(declared({"odd": {"every": "7m"}}), COMMAND, NOW, "root")
        assert "OnUnitActiveSec=420s" in made.files["duck-odd.timer"]
        assert len(made.left) == 1 and "drifts" in made.left[0] and "drifts" in made.files["duck-odd.timer"]

    def test_what_cannot_be_said_is_told_and_makes_no_unit(self) -> None:
        made = systemd.systemd(declared(NOBODY), COMMAND, NOW, "root")
        assert made.files == {} and len(made.left) == len(NOBODY)

    def test_options_have_their_counterparts(self) -> None:
        (job,) = declared({"night": SAID["night"]}, jitter="5m", missed="skip", description="At 100 %.")
        made = systemd.systemd([job], COMMAND, NOW, "www-data")
        timer, service = made.files["duck-night.timer"], made.files["duck-night.service"]
        assert "RandomizedDelaySec=300s\nFixedRandomDelay=true" in timer and "Persistent=false" in timer
        assert "Description=At 100 %%." in service and "User=www-data" in service
        assert "WorkingDirectory=/srv/100%% shop" in service
        assert 'run night --wait --state-dir "/var/lib/a b"' in service
        (job,) = declared({"night": SAID["night"]}, missed="all")
        assert "starts it once for all" in systemd.systemd([job], COMMAND, NOW, "x").left[0]


class TestKubernetes:
    def documents(self, made: Any) -> list[dict[str, Any]]:
        return [each for each in yaml.safe_load_all(made.files["cronjobs.yaml"]) if each is not None]

    def test_the_manifests_are_cron_jobs_that_plan_the_same_times(self) -> None:
        declarations = declared(SAID, overlap="replace", within="2h")
        made = k8s.k8s(declarations, COMMAND, "example/shop:1")
        lines: dict[str, list[tuple[str, str]]] = {}
        names = set()
        for job in self.documents(made):
            assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
            assert set(job) == {"apiVersion", "kind", "metadata", "spec"}
            name = job["metadata"]["name"]
            assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?", name) and name not in names
            names.add(name)
            spec = job["spec"]
            # The fields of CronJobSpec (batch/v1), with the types that the API server takes.
            assert {key: type(value) for key, value in spec.items()} == {
                "schedule": str,
                "timeZone": str,
                "concurrencyPolicy": str,
                "startingDeadlineSeconds": int,
                "successfulJobsHistoryLimit": int,
                "failedJobsHistoryLimit": int,
                "jobTemplate": dict,
            }
            assert (spec["concurrencyPolicy"], spec["startingDeadlineSeconds"]) == ("Replace", 7200)
            pod = spec["jobTemplate"]["spec"]["template"]["spec"]
            assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0 and pod["restartPolicy"] == "Never"
            (container,) = pod["containers"]
            assert container["image"] == "example/shop:1" and container["workingDir"] == "/srv/100% shop"
            assert container["command"][:3] == ["/opt/duck/bin/duck", "automations", "run"]
            lines.setdefault(container["command"][3], []).append((spec["schedule"], spec["timeZone"]))
        for each in declarations:
            assert by_cron(lines[each.name], 60) == planned(each, 60), each.name

    def test_what_cannot_be_said_is_a_comment_and_told(self) -> None:
        made = k8s.k8s(declared(ONLY_SYSTEMD, NOBODY), COMMAND)
        assert len(made.left) == len(ONLY_SYSTEMD) + len(NOBODY) and self.documents(made) == []
        for sentence in made.left:
            assert f"# {sentence}" in made.files["cronjobs.yaml"]

    def test_long_and_odd_names_are_made_names_of_kubernetes(self) -> None:
        long = "A_" + "very.long_name" * 6
        made = k8s.k8s(declared({long: {"every": "1h"}, long + "2": {"every": "1h"}, "__": {"every": "1h"}}), COMMAND)
        names = [job["metadata"]["name"] for job in self.documents(made)]
        assert len(set(names)) == 3 and all(re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?", name) for name in names)

    def test_intervals_below_a_minute_are_nobodys(self) -> None:
        for make in (k8s.k8s, lambda d, c: crontab.crontab(d, c, "UTC")):
            assert len(make(declared({"fast": {"every": "10s"}}), COMMAND).left) == 1
        assert timedelta(seconds=10) < timedelta(minutes=1)

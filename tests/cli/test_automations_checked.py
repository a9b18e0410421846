"""What is wrong with declarations: found by `duck check`, by `list`, and as a node starts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.app.conftest import wait_until
from tests.automation_project import write_project

SETTINGS = """
from site1.shared import *
AUTOMATIONS["late"] = {"command": "migrat", "every": "1d"}
AUTOMATIONS["late-too"] = {"call": "site1.jobs.good", "every": "often"}
"""
SHARED = """
from datetime import timedelta

AUTOMATIONS = {
    "good": {"call": "site1.jobs.good", "every": timedelta(hours=1)},
    "near": {"call": "site1.jobs.goood", "every": "1h30m"},
}
"""
TOML = """
[automations.mail]
task = "site1.jobs.good"
every = "1w"
run_on = "mail"

[automations.away]
shell = "true"
cwd = "nowhere"

[automations.fails]
call = "site1.fails.job"
"""


class Project:
    """A Django project, and what each command says of it."""

    def __init__(self, directory: Path) -> None:
        self.root = write_project(directory, settings=SETTINGS, has_store=False)
        (self.root / "site1" / "shared.py").write_text(SHARED)
        (self.root / "site1" / "jobs.py").write_text("def good(): ...\n")
        (self.root / "site1" / "fails.py").write_text("import nowhere_to_be_found\ndef job(): ...\n")
        (self.root / "duck.toml").write_text(TOML)
        self.state = directory / "state"
        self.state.mkdir(mode=0o700)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "duck", *arguments, "--state-dir", str(self.state)]

    def json(self, *arguments: str) -> Any:
        command = self.command(*arguments, "--json")
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, timeout=120)
        assert done.returncode == 1, done.stdout + done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("declared"))


def expected(root: Path) -> list[str]:
    """At a start; what is imported by `duck check` alone is not among them."""
    settings, shared, toml = root / "site1" / "settings.py", root / "site1" / "shared.py", root / "duck.toml"
    first = settings.read_text().splitlines().index('AUTOMATIONS["late"] = {"command": "migrat", "every": "1d"}') + 1
    return [
        f"{shared}:6: the automation 'near' cannot be run: site1.jobs has no 'goood'; give \"site1.jobs.good\", if you"
        " mean that.",
        f"{settings}:{first}: the automation 'late' cannot be run: there is no command 'migrat'; give 'migrate', if"
        " you mean that.",
        f"{toml}:2: the automation 'mail' cannot be run: site1.jobs.good is no task; decorate it with @task, or give it"
        " by `call`.",
        f"{settings}:{first + 1}: the automation 'late-too' cannot be used: every is 'often': give seconds as a number,"
        ' or a text like "30s", "5m" or "1h30m".',
        f"{toml}:7: the automation 'away' runs in {root}/nowhere, which is not there; make it, or give another cwd.",
    ]


WARNING = (
    "mail runs on nodes with the tag 'mail' alone, which is none of this one's (AUTOMATION_TAGS is empty); start one"
    " that has it, or is called so."
)


def test_list_tells_all_of_them(project: Project) -> None:
    told = project.json("automations", "list")
    assert told["problems"] == expected(project.root) and told["warnings"] == [WARNING]
    rows = {row["name"]: row["when"] for row in told["automations"]}
    assert rows["good"] == "every 1h" and rows["near"] == "every 1h30m"


def test_check_tells_them_and_what_cannot_be_imported(project: Project) -> None:
    told = project.json("check", "--port", "0")
    found = [each for each in told["findings"] if each["topic"] == "automations"]
    errors = [each["sentence"] for each in found if each["level"] == "error"]
    imported = [each for each in errors if "'fails'" in each]
    assert imported[0].startswith(
        f"{project.root}/duck.toml:11: the automation 'fails' cannot be run: No module named 'nowhere_to_be_found'"
    )
    # What was imported is known to be no task of any kind.
    wanted = [each.replace("is no task;", "is no task of django_tasks;") for each in expected(project.root)]
    assert sorted(each for each in errors if each not in imported) == sorted(wanted)
    assert [each["sentence"] for each in found if each["level"] == "warning"] == [WARNING]


def test_the_doctor_tells_them_and_what_others_may_have_as_a_warning(project: Project) -> None:
    found = [each for each in project.json("automations", "doctor")["findings"] if each["topic"] == "declarations"]
    assert [each["sentence"] for each in found if each["level"] == "error"] == expected(project.root)
    assert [each["sentence"] for each in found if each["level"] == "warning"] == [WARNING]


def test_a_node_tells_them_as_it_starts(project: Project) -> None:
    log = project.root / "log"
    with log.open("w") as said:
        node = subprocess.Popen(project.command("automations", "run"), cwd=project.root, stderr=said)
    try:
        wait_until(lambda: "Automations:" in log.read_text())
    finally:
        node.terminate()
        node.wait(30)
    text = log.read_text()
    assert all(each in text for each in (*expected(project.root), WARNING)), text

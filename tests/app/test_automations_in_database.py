"""`duck automations` with its store in the project's database: nodes that share it, and the server away for a while."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.automation_project import database_of, migrate, write_project
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.postgres import Postgres

DEADLINE_S = 60.0
DUCK = """
automation_engine = "django"

[automations.tick]
shell = "echo ticked"
every = "1s"
overlap = "allow"

[automations.nightly]
command = "check"
cron = "30 2 * * *"
"""


class Nodes:
    """Commands and nodes of one project."""

    def __init__(self, root: Path, state: Path) -> None:
        self.root = root
        (root / "duck.toml").write_text(DUCK)
        self._environ = {name: value for name, value in os.environ.items() if not name.startswith(("DUCK_", "DJANGO"))}
        self._environ |= {"DUCK_STATE_DIR": str(state), "DUCK_PYTHON": sys.executable}
        self._nodes: list[subprocess.Popen[bytes]] = []

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "duck", "automations", *arguments],
            cwd=self.root,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )

    def told(self, *arguments: str) -> Any:
        done = self.call(*arguments, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def start(self) -> subprocess.Popen[bytes]:
        with (self.root / f"node-{len(self._nodes)}.log").open("wb") as log:
            command = [sys.executable, "-m", "duck", "automations", "run"]
            self._nodes.append(subprocess.Popen(command, cwd=self.root, env=self._environ, stderr=log))
        return self._nodes[-1]

    def log(self, number: int = 0) -> str:
        return (self.root / f"node-{number}.log").read_text()

    def wait(self, true: Callable[[], bool]) -> None:
        wait_until(true, told=lambda: "\n".join(self.log(number) for number in range(len(self._nodes))))

    def end(self) -> None:
        for node in self._nodes:
            node.kill()
            node.wait()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    root = write_project(tmp_path)
    migrate(root)
    found = Nodes(root, tmp_path / "state")
    yield found
    found.end()


def test_nodes_share_the_projects_database_and_commands_see_it(nodes: Nodes) -> None:
    first, second = nodes.start(), nodes.start()
    nodes.wait(lambda: nodes.log(0).count(" succeeded ") > 1 and nodes.log(1).count(" succeeded ") > 1)
    done = nodes.call("run", "nightly", "--wait")
    assert done.returncode == 0, done.stderr
    assert "System check identified no issues" in done.stdout
    for node in (first, second):
        node.terminate()
        assert node.wait(DEADLINE_S) == 143
    runs = nodes.told("history", "tick", "-n", "1000")["runs"]
    planned = [run["planned"] for run in runs]
    assert len(planned) == len(set(planned)) > 3
    assert {run["state"] for run in runs} <= {"succeeded", "cancelled"}
    assert len({run["node"] for run in runs}) == 2
    assert not list((nodes.root.parent / "state").glob("**/*.sqlite3")), "this machine keeps nothing"


def test_where_the_tables_are_missing_every_command_says_what_to_run(tmp_path: Path) -> None:
    nodes = Nodes(write_project(tmp_path), tmp_path / "state")
    done = nodes.call("history")
    assert done.returncode == 1
    assert "run `duck manage migrate duck_automations`" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_node_that_was_started_before_its_tables_were_made_goes_on_then(tmp_path: Path) -> None:
    root = write_project(tmp_path)
    nodes = Nodes(root, tmp_path / "state")
    nodes.start()
    try:
        nodes.wait(lambda: "run `duck manage migrate duck_automations`" in nodes.log())
        assert " succeeded " not in nodes.log()
        migrate(root)
        nodes.wait(lambda: " succeeded " in nodes.log())
    finally:
        nodes.end()


def test_without_a_project_there_is_no_such_store(tmp_path: Path) -> None:
    nodes = Nodes(write_project(tmp_path), tmp_path / "state")
    (nodes.root / "duck.toml").write_text('automation_engine = "django"\nuse_django = false\n')
    done = nodes.call("history")
    assert done.returncode == 1
    assert 'AUTOMATION_ENGINE is "django" (' in done.stderr and 'set it to "local"' in done.stderr


def test_a_server_that_was_away_is_found_again_and_no_time_is_lost(tmp_path: Path, postgres: Postgres) -> None:
    root = write_project(tmp_path, database=database_of(postgres, postgres.make_database()))
    migrate(root)
    nodes = Nodes(root, tmp_path / "state")
    nodes.start()
    try:
        nodes.wait(lambda: nodes.log().count(" succeeded ") > 1)
        postgres.suspend()
        nodes.wait(lambda: "Planned times wait meanwhile" in nodes.log())
        postgres.resume()
        nodes.wait(lambda: nodes.log().rpartition("can be reached again")[2].count(" succeeded ") > 1)
        runs = nodes.told("history", "tick", "-n", "1000")["runs"]
    finally:
        nodes.end()
    planned = sorted(run["planned"] for run in runs)
    assert len(planned) == len(set(planned))
    seconds = [int(time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))) for text in planned]
    assert seconds == list(range(seconds[0], seconds[-1] + 1))

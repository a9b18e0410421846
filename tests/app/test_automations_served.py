"""Automations of `duck serve` whose runs a database keeps, and the database killed under it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.app.conftest import Duck, wait_until
from tests.automation_project import APP, database_of, migrate

if TYPE_CHECKING:
    import subprocess

    from tests.postgres import Postgres

SERVE = {"DUCK_ALLOW_UNAPPLIED_MIGRATIONS": "yes", **({"DUCK_USER": "root"} if os.geteuid() == 0 else {})}
TICK = """
[automations.tick]
shell = "echo $DUCK_SCHEDULED_FOR >> ran"
every = "1s"
overlap = "allow"
missed = "all"
"""


@pytest.mark.parametrize("engine", ["django", "postgres"])
def test_a_database_that_is_killed_and_comes_again_loses_no_planned_time_and_no_page(
    engine: str,
    start: Callable[..., Duck],
    ask: Callable[..., subprocess.CompletedProcess[str]],
    whole_project: Path,
    tmp_path: Path,
    postgres: Postgres,
) -> None:
    project = Path(shutil.copytree(whole_project, tmp_path / "project"))
    name = postgres.make_database()
    variables = {**SERVE, "DUCK_AUTOMATION_ENGINE": engine}
    if engine == "postgres":
        variables["DUCK_AUTOMATION_DATABASE"] = postgres.url(name)
    else:
        with (project / "site1" / "settings.py").open("a") as file:
            file.write(f"INSTALLED_APPS += [{APP!r}]\nDATABASES = {{'default': {database_of(postgres, name)}}}\n")
        migrate(project)
    (project / "duck.toml").write_text(TICK)
    ran = project / "ran"

    def times() -> list[datetime]:
        """The planned times of which a run was started, in the order in which they were."""
        whole = ran.read_text().splitlines() if ran.exists() else []
        return [datetime.fromisoformat(line) for line in whole if line.endswith("Z")]

    duck = start(project, "--workers", "1", command="serve", **variables)
    assert duck.get().text == "one"
    wait_until(lambda: len(times()) > 1)
    postgres.suspend(signal.SIGQUIT)
    try:
        duck.wait_for("Planned times wait meanwhile")
        assert duck.get().text == "one"
    finally:
        postgres.resume()
    duck.wait_for("The store of automations can be reached again")
    back = times()[-1] + timedelta(seconds=3)
    wait_until(lambda: max(times()) > back)
    told: dict[str, Any] = json.loads(
        ask(project, "automations", "history", "tick", "-n", "1000", "--json", **variables).stdout
    )
    assert duck.get().text == "one"
    planned = sorted(datetime.fromisoformat(run["planned"]) for run in told["runs"])
    seconds = (planned[-1] - planned[0]).total_seconds()
    assert planned == [planned[0] + timedelta(seconds=number) for number in range(int(seconds) + 1)], "none was lost"
    assert {run["state"] for run in told["runs"]} <= {"queued", "running", "succeeded"}
    started = times()
    assert len(set(started)) == len(started), "none was started twice"

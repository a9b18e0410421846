"""A node that was made for one run ends with it, whoever carries it out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from duck.app.automation_declarations import read_all
from duck.app.automation_engine import open_engine
from duck.app.automation_project import ProjectSide
from duck.app.automations import Automations
from duck.services.automations.engine import Ended
from duck.services.automations.run import Cause, State
from duck.settings import load

if TYPE_CHECKING:
    from duck.settings.load import Settings

TOML = """
use_django = false

[automations.job]
shell = "true"

[automations.after]
shell = "touch after"
on = "automation"
name = "job"

[automations.file]
shell = "touch came"
on = "file"
path = "*.toml"
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "duck.toml").write_text(TOML)
    return load.load({}, {}, tmp_path).with_values(STATE_DIR=tmp_path.parent / f"{tmp_path.name}-state")


def test_it_ends_where_another_has_been_quicker(settings: Settings) -> None:
    engine = open_engine(settings, ProjectSide(settings))
    job = next(each for each in read_all(settings, None).declarations if each.name == "job")
    engine.register([job])
    engine.enqueue(job, engine.now(), Cause.HAND)
    (run,) = engine.take("another", {"job": job}, {job.lane: 1})
    engine.finish(run, Ended(State.SUCCEEDED))
    assert Automations(settings, run_id=run.id).run() == 0
    engine.close()


def test_it_carries_it_out_with_what_waits_for_its_end_and_nothing_else(settings: Settings, tmp_path: Path) -> None:
    engine = open_engine(settings, ProjectSide(settings))
    job = next(each for each in read_all(settings, None).declarations if each.name == "job")
    engine.register([job])
    run = engine.enqueue(job, engine.now(), Cause.HAND)
    assert Automations(settings, run_id=run.id).run() == 0
    assert {each.name: each.state for each in engine.runs()} == {"job": State.SUCCEEDED, "after": State.SUCCEEDED}
    assert (tmp_path / "after").exists() and not (tmp_path / "came").exists()
    engine.close()

"""Events that come faster than their runs are done: what a dispatcher refuses, and whom it asks to wait."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from duck.automation import admission
from duck.services.automations.declaration import Declaration, read_declaration
from duck.services.automations.event_spool import EventSpool
from duck.services.automations.run import Cause
from tests.services.automations.test_dispatcher import Node


def hooked(name: str, path: str, **table: Any) -> Declaration:
    told = {"command": "x", "on": "webhook", "path": path, "secret": "x" * 16, **table}
    return read_declaration(name, told, "duck.toml", ZoneInfo("UTC"))


@pytest.fixture
def spool(tmp_path: Path) -> EventSpool:
    made = EventSpool(tmp_path / "events")
    made.make()
    return made


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little may wait."""
    monkeypatch.setattr(admission, "MOST_QUEUED", 4)
    monkeypatch.setattr(admission, "CROWDED", 2)


@pytest.mark.usefixtures("small")
def test_a_flood_is_counted_told_once_and_leaves_no_rows(
    tmp_path: Path, spool: EventSpool, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node(tmp_path / "store", "a", room=0, events=spool)
    node.begin(hooked("build", "/build"), hooked("quiet", "/quiet"))
    for number in range(20):
        spool.put("webhook", {"path": "/build"}, {"body": number})
    spool.put("webhook", {"path": "/quiet"})
    node.serve(lambda: not spool.waiting())
    runs = node.engine.runs()
    assert sorted(run.name for run in runs) == ["build"] * 4 + ["quiet"], "what others wait for is not in its way"
    assert sorted(json.loads(run.event)["body"] for run in runs if run.name == "build") == [0, 1, 2, 3]
    assert node.dispatcher.status()["refused"] == 16
    said = [record.getMessage() for record in caplog.records]
    assert said == ["Events ran nothing, 1 in the last minute: 4 runs of build are waiting already."]
    node.inbox.close()


@pytest.mark.usefixtures("small")
def test_before_it_is_full_fronts_are_told_and_when_it_is_not_any_more(tmp_path: Path, spool: EventSpool) -> None:
    node = Node(tmp_path / "store", "a", room=0, events=spool)
    build, both = hooked("build", "/build", overlap="allow"), hooked("both", "/shared")
    node.begin(build, both, hooked("also", "/shared"))
    node.turns()
    assert spool.crowded() == frozenset()
    for declaration in (build, build, both, both):
        node.engine.enqueue(declaration, node.engine.now(), Cause.EVENT)
    node.wait(seconds=3)
    assert spool.crowded() == {"/build"}, "where one of two has room for it, a webhook is let in"
    for run in node.engine.runs("build"):
        node.engine.cancel(run.id)
    node.wait(seconds=3)
    assert spool.crowded() == frozenset()
    node.inbox.close()

"""When new code is known to be new."""

from __future__ import annotations

from pathlib import Path

import pytest

from duck.app import deployed
from duck.app.deployed import code_digest, tell
from duck.services.automations.event_spool import EventSpool


@pytest.fixture
def spool(tmp_path: Path) -> EventSpool:
    made = EventSpool(tmp_path / "events")
    made.want([{"event": "deploy"}])
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "site"
    (made / "shop").mkdir(parents=True)
    (made / "shop" / "models.py").write_text("one")
    return made


def reasons(spool: EventSpool) -> list[str]:
    with spool.taken(10) as found:
        return [str(each.told["reason"]) for each in found]


def test_a_start_is_told_where_the_code_is_other_than_at_the_last(spool: EventSpool, root: Path) -> None:
    for text, expected in (("one", []), ("one", []), ("two", ["start"]), ("two", [])):
        (root / "shop" / "models.py").write_text(text)
        tell(spool.directory, root, "start", {})
        assert reasons(spool) == expected


def test_after_a_reload_the_next_start_with_its_code_is_none(spool: EventSpool, root: Path) -> None:
    tell(spool.directory, root, "start", {})
    (root / "shop" / "models.py").write_text("two")
    tell(spool.directory, root, "reload", {"generation": 2})
    tell(spool.directory, root, "start", {})
    assert reasons(spool) == ["reload"]


def test_nothing_is_kept_where_nothing_waits(tmp_path: Path, root: Path) -> None:
    tell(tmp_path / "none", root, "reload", {})
    assert not (tmp_path / "none").exists()
    spool = EventSpool(tmp_path / "events")
    spool.want([{"event": "webhook", "path": "/a", "secret_env": "A"}])
    tell(spool.directory, root, "reload", {})
    assert reasons(spool) == []


def test_what_cannot_be_told_is_said(
    spool: EventSpool, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*arguments: object, **more: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(EventSpool, "put", full)
    tell(spool.directory, root, "reload", {})
    assert "Automations are not told that new code serves: [Errno 28] No space left on device" in caplog.text


def test_code_is_the_python_files_of_the_project_and_not_those_of_environments(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = code_digest(root)
    for place in (".git", "node_modules/x", "__pycache__", "env/lib"):
        (root / place).mkdir(parents=True)
        (root / place / "a.py").write_text("other")
    (root / "env" / "pyvenv.cfg").touch()
    (root / "shop" / "a.txt").write_text("no code")
    assert code_digest(root) == before != ""
    (root / "shop" / "models.py").rename(root / "shop" / "views.py")
    assert code_digest(root) != before
    monkeypatch.setattr(deployed, "_MOST_FILES", 0)
    assert code_digest(root) == ""

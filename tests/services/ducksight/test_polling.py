"""Looking again and again, one look at a time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from duck.services.ducksight import ChangeFilter, Places
from duck.services.ducksight.polling import Polling
from duck.services.ducksight.seen import What


class Looks:
    """A tree that is looked at when it is asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.told: list[tuple[What, str]] = []
        self.polling = Polling(lambda what, path: self.told.append((what, path)), ChangeFilter(), [str(root)])
        self.look()
        assert self.told == []
        self.polling.ready.set()

    def look(self) -> set[tuple[What, str]]:
        self.told.clear()
        self.polling.look()
        return {(what, os.path.relpath(path, self.root)) for what, path in self.told}


@pytest.fixture
def looks(tmp_path: Path) -> Looks:
    (tmp_path / "app").mkdir()
    (tmp_path / "pages").mkdir()
    (tmp_path / "app" / "views.py").write_text("x")
    (tmp_path / "pages" / "old.html").write_text("x")
    return Looks(tmp_path)


def test_what_is_new_different_or_gone_is_told_once(looks: Looks) -> None:
    (looks.root / "app" / "views.py").write_text("xy")
    (looks.root / "app" / "new.py").write_text("x")
    assert looks.look() == {(What.WRITING, "app/views.py"), (What.WRITING, "app/new.py")}
    assert looks.look() == set()
    (looks.root / "app" / "new.py").unlink()
    assert looks.look() == {(What.GONE, "app/new.py")}


def test_a_name_is_seen_whose_directory_had_the_same_time_before(looks: Looks) -> None:
    """The times of network file systems are coarse."""
    before = os.stat(looks.root / "app")
    (looks.root / "app" / "new.py").write_text("x")
    os.utime(looks.root / "app", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert looks.look() == {(What.WRITING, "app/new.py")}


def test_what_is_looked_for_from_now_on_has_not_changed_and_what_was_looked_for_already_has(looks: Looks) -> None:
    (looks.root / "app" / "views.py").write_text("xy")
    (looks.root / "app" / "new.py").write_text("x")
    (looks.root / "more").mkdir()
    (looks.root / "more" / "a.py").write_text("x")
    (looks.root / "pages" / "new.html").write_text("x")
    places = Places(django=str(looks.root)).told({"template_dirs": [str(looks.root / "pages")]})
    looks.polling.look_for(ChangeFilter(places=places), [str(looks.root)])
    assert looks.look() == {(What.WRITING, name) for name in ("app/views.py", "app/new.py", "more/a.py")}
    (looks.root / "pages" / "old.html").write_text("xy")
    assert looks.look() == {(What.WRITING, "pages/old.html")}


def test_what_is_looked_for_no_more_is_not_gone(looks: Looks) -> None:
    looks.polling.look_for(ChangeFilter(["*.txt"]), [str(looks.root)])
    assert looks.look() == set()


def test_a_look_that_fails_is_logged_and_not_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "views.py").write_text("x")
    told: list[str] = []
    polling = Polling(lambda what, path: told.append(path), ChangeFilter(), [str(tmp_path)], 0.01)
    listed, fails = polling._list, [True]

    def broken(*asked: Any) -> Any:
        if fails[0]:
            fails[0] = False
            raise RuntimeError("quack")
        return listed(*asked)

    monkeypatch.setattr(polling, "_list", broken)
    polling.start()
    assert polling.ready.wait(30.0)
    polling.stop()
    assert told == [] and "RuntimeError: quack" in caplog.text

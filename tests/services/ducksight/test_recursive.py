"""Whole trees that are told of, as on macOS and Windows; here by Linux, through the same observer of watchdog's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirModifiedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileClosedNoWriteEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileOpenedEvent,
    FileSystemEvent,
)

from duck.services.ducksight.recursive import seen
from duck.services.ducksight.seen import What

if TYPE_CHECKING:
    from tests.services.ducksight.conftest import Watched


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (FileModifiedEvent("/p/a.py"), [(What.WRITING, "/p/a.py")]),
        (FileCreatedEvent("/p/a.py"), [(What.WRITING, "/p/a.py")]),
        (FileClosedEvent("/p/a.py"), [(What.WRITTEN, "/p/a.py")]),
        (FileDeletedEvent("/p/a.py"), [(What.GONE, "/p/a.py")]),
        (FileAttribEvent("/p/a.py"), [(What.TOUCHED, "/p/a.py")]),
        (FileMovedEvent("/p/.a.swp", "/p/a.py"), [(What.GONE, "/p/.a.swp"), (What.WRITTEN, "/p/a.py")]),
        (FileMovedEvent("", "/p/a.py"), [(What.WRITTEN, "/p/a.py")]),
        (DirMovedEvent("/p/a", "/p/b"), [(What.DIRECTORY_GONE, "/p/a"), (What.DIRECTORY, "/p/b")]),
        (DirCreatedEvent("/p/a"), [(What.DIRECTORY, "/p/a")]),
        (DirDeletedEvent("/p/a"), [(What.DIRECTORY_GONE, "/p/a")]),
        (DirModifiedEvent("/p/a"), []),
        (FileOpenedEvent("/p/a.py"), []),
        (FileClosedNoWriteEvent("/p/a.py"), []),
    ],
)
def test_an_event_is_said_in_ducks_words_and_reading_is_none(
    event: FileSystemEvent, expected: list[tuple[What, str]]
) -> None:
    assert seen(event) == expected


def test_a_tree_that_is_told_of_as_a_whole_is_seen_without_what_is_ignored_in_it(
    watch: Callable[..., Watched], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("duck.services.ducksight.sight._ASKS_FOR_EACH", False)
    for name in ("app", "node_modules/x"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "app" / "views.py").write_text("x = 1\n")
    watched = watch(tmp_path)
    (tmp_path / "node_modules" / "x" / "a.py").write_text("x")
    (tmp_path / "app" / "notes.txt").write_text("x")
    watched.settle()
    assert watched.calls == []
    (tmp_path / "app" / "views.py").write_text("x = 22\n")
    watched.until_seen("app/views.py")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a.py").write_text("x")
    watched.until_seen("new/a.py")
    watched.calls.clear()
    (tmp_path / "app").rename(tmp_path / "shop")
    watched.until_seen("app/views.py", "shop/views.py")

"""Which changes matter, and that they are seen."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from watchdog.events import (
    DirModifiedEvent,
    FileClosedNoWriteEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileOpenedEvent,
    FileSystemEvent,
)

from duck.services.ducksight import Burst, ChangeFilter, DuckSight, RecoveryWatch, syntax_error, walk
from duck.services.inbox import Inbox


class TestFilter:
    @pytest.mark.parametrize(
        ("event", "expected"),
        [
            (FileModifiedEvent("/p/a.py"), "/p/a.py"),
            (FileCreatedEvent("/p/a.py"), "/p/a.py"),
            (FileDeletedEvent("/p/a.py"), "/p/a.py"),
            (FileModifiedEvent("/p/a.txt"), None),
            (FileMovedEvent("/p/.a.swp", "/p/a.py"), "/p/a.py"),
            (FileMovedEvent("/p/a.py", "/p/a.py~"), "/p/a.py"),
            (FileMovedEvent("/p/x", "/p/y"), None),
            (FileOpenedEvent("/p/a.py"), None),
            (FileClosedNoWriteEvent("/p/a.py"), None),
            (DirModifiedEvent("/p/a.py"), None),
        ],
    )
    def test_a_rename_counts_by_its_new_name_and_reading_is_no_change(
        self, event: FileSystemEvent, expected: str | None
    ) -> None:
        assert ChangeFilter().changed(event) == expected

    def test_patterns_choose_the_files(self) -> None:
        chosen = ChangeFilter(["*.html", "*.toml"])
        assert chosen.wants("/p/t/base.html")
        assert not chosen.wants("/p/a.py")

    @pytest.mark.parametrize("name", [".git", ".venv", "node_modules", "__pycache__", "site-packages"])
    def test_directories_that_never_hold_sources_are_not_entered(self, name: str) -> None:
        assert not ChangeFilter().enters(f"/p/{name}", [])

    def test_an_environment_is_known_by_what_it_holds_not_by_its_name(self) -> None:
        assert not ChangeFilter().enters("/p/whatever", ["bin", "pyvenv.cfg"])
        assert not ChangeFilter().enters("/p/whatever", ["bin", "conda-meta"])
        assert ChangeFilter().enters("/p/env", ["models.py"])

    def test_named_roots_are_not_entered(self) -> None:
        assert not ChangeFilter(ignored=["/p/media/"]).enters("/p/media", [])

    def test_nothing_below_an_ignored_directory_is_walked(self, tmp_path: Path) -> None:
        for path in ("app/migrations", "app/__pycache__", "node_modules/x/y", ".git/objects", "ve/lib/app"):
            (tmp_path / path).mkdir(parents=True)
        (tmp_path / "ve" / "pyvenv.cfg").touch()
        (tmp_path / "loop").symlink_to(tmp_path)
        found = {os.path.relpath(path, tmp_path) for path in walk(str(tmp_path), ChangeFilter())}
        assert found == {".", "app", "app/migrations"}


class TestBurst:
    def test_is_over_when_nothing_has_come_for_the_quiet_time(self) -> None:
        burst = Burst(quiet_s=1.0, longest_s=10.0)
        assert burst.wait_s(0.0) is None
        burst.add("b", 5.0)
        burst.add("a", 5.5)
        assert burst.wait_s(5.5) == 1.0
        assert burst.wait_s(6.6) == 0.0
        assert burst.take() == ["a", "b"]
        assert burst.wait_s(7.0) is None

    @given(st.lists(st.floats(0, 0.9), min_size=30))
    def test_an_endless_one_is_over_after_the_longest_time(self, gaps: list[float]) -> None:
        burst = Burst(quiet_s=1.0, longest_s=3.0)
        now = 0.0
        for gap in gaps:
            burst.add("x", now)
            now += gap
            wait_s = burst.wait_s(now)
            assert wait_s is not None
            assert now + wait_s <= max(3.0, now)


class TestSyntax:
    def test_an_error_is_found_without_running_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.py"
        path.write_text("raise SystemExit\ndef f(:\n")
        error = syntax_error(str(path))
        assert error is not None
        assert error.lineno == 2
        assert error.filename == str(path)

    @pytest.mark.parametrize("source", [b"raise SystemExit", b"'\\d'", b"# coding: latin-1\nx = '\xe9'\n", b""])
    def test_what_compiles_is_no_error(self, tmp_path: Path, source: bytes) -> None:
        path = tmp_path / "a.py"
        path.write_bytes(source)
        assert syntax_error(str(path)) is None

    @pytest.mark.parametrize("source", [b"x = '\xff'", b"x = 1\0"])
    def test_bytes_that_are_no_source_are_an_error(self, tmp_path: Path, source: bytes) -> None:
        path = tmp_path / "a.py"
        path.write_bytes(source)
        assert syntax_error(str(path)) is not None

    def test_a_file_that_is_gone_is_no_error(self, tmp_path: Path) -> None:
        assert syntax_error(str(tmp_path / "gone.py")) is None


@pytest.fixture
def inbox():
    inbox = Inbox()
    yield inbox
    inbox.close()


def run_until(inbox: Inbox, seen: list[str], path: Path, deadline_s: float = 5.0) -> None:
    end = time.monotonic() + deadline_s
    while str(path) not in seen:
        assert time.monotonic() < end, f"{path} not in {seen}"
        inbox.run_once(0.05)


class TestDuckSight:
    @pytest.fixture(params=[0.0, 0.05], ids=["told", "polling"])
    def watched(self, request: pytest.FixtureRequest, inbox: Inbox, tmp_path: Path):
        (tmp_path / "app").mkdir()
        (tmp_path / "app" / "views.py").write_text("x = 1\n")
        (tmp_path / "node_modules").mkdir()
        seen: list[str] = []
        sight = DuckSight(
            inbox, [tmp_path], ChangeFilter(), seen.extend, burst=Burst(quiet_s=0.02), poll_s=request.param
        )
        sight.start()
        assert sight.watching.wait(5)
        yield sight, seen, tmp_path
        sight.stop()

    def test_a_written_file_is_seen(self, inbox: Inbox, watched) -> None:
        _, seen, root = watched
        (root / "app" / "views.py").write_text("x = 22\n")
        run_until(inbox, seen, root / "app" / "views.py")

    def test_a_new_time_is_a_change_and_a_new_mode_is_none(self, inbox: Inbox, watched) -> None:
        _, seen, root = watched
        (root / "app" / "views.py").chmod(0o600)
        (root / "app" / "first.py").write_text("x = 1\n")
        run_until(inbox, seen, root / "app" / "first.py")  # comes after what the mode made
        assert str(root / "app" / "views.py") not in seen
        os.utime(root / "app" / "views.py", (1, 1))
        run_until(inbox, seen, root / "app" / "views.py")

    def test_a_file_renamed_into_place_is_seen(self, inbox: Inbox, watched) -> None:
        _, seen, root = watched
        (root / "app" / ".tmp").write_text("x = 2222\n")
        os.replace(root / "app" / ".tmp", root / "app" / "views.py")
        run_until(inbox, seen, root / "app" / "views.py")

    def test_a_new_directory_is_watched_and_what_it_held_already_is_seen(self, inbox: Inbox, watched) -> None:
        _, seen, root = watched
        (root / "new" / "deep").mkdir(parents=True)
        (root / "new" / "deep" / "first.py").write_text("x = 1\n")
        run_until(inbox, seen, root / "new" / "deep" / "first.py")
        (root / "new" / "deep" / "second.py").write_text("x = 1\n")
        run_until(inbox, seen, root / "new" / "deep" / "second.py")

    def test_other_files_and_ignored_directories_are_not_seen(self, inbox: Inbox, watched) -> None:
        sight, seen, root = watched
        assert sight.directories == 2
        (root / "node_modules" / "x.py").write_text("x")
        (root / "app" / "notes.txt").write_text("x")
        (root / "app" / "last.py").write_text("x = 1\n")
        run_until(inbox, seen, root / "app" / "last.py")
        assert set(seen) == {str(root / "app" / "last.py")}

    def test_nothing_is_said_after_stop(self, inbox: Inbox, watched) -> None:
        sight, seen, root = watched
        sight.stop()
        (root / "app" / "views.py").write_text("x = 3333\n")
        inbox.run_once(0.1)
        assert seen == []

    def test_what_the_library_reads_after_stop_is_no_error(self, watched, caplog: pytest.LogCaptureFixture) -> None:
        sight, _, _ = watched
        sight.stop()
        # As its thread does where an event comes while it is being stopped.
        logging.getLogger("watchdog.observers.inotify").error("called when the thread is inactive")
        assert caplog.messages == []


class TestRecovery:
    def test_a_file_of_the_failure_that_changes_or_appears_is_seen_once(self, inbox: Inbox, tmp_path: Path) -> None:
        path, missing = tmp_path / "a.py", tmp_path / "b.py"
        path.write_text("x")
        seen: list[str] = []
        watch = RecoveryWatch(inbox, [str(path), str(missing)], seen.extend)
        watch.start()
        missing.write_text("y")
        run_until(inbox, seen, missing)
        path.write_text("xyz")
        inbox.run_once(0.4)
        assert seen == [str(missing)]

    def test_nothing_is_said_after_stop(self, inbox: Inbox, tmp_path: Path) -> None:
        seen: list[str] = []
        watch = RecoveryWatch(inbox, [str(tmp_path / "a.py")], seen.extend)
        watch.start()
        watch.stop()
        (tmp_path / "a.py").write_text("x")
        inbox.run_once(0.4)
        assert seen == []

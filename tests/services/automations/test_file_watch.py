"""Files that come, are changed and settle, in a real directory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from duck.backend.django.worker import event_file
from duck.services.automations import file_watch as module
from duck.services.automations.event_spool import EventSpool, Happened
from duck.services.automations.file_watch import FileWatch, Settling, place_of
from tests.waiting import wait_until


class Watched:
    def __init__(self, directory: Path) -> None:
        self.root = directory / "site"
        self.root.mkdir(exist_ok=True)
        self.spool = EventSpool(directory / "events")
        self.watch = FileWatch(self.spool, self.root)
        self.told: list[Happened] = []

    def take(self, count: int, within_s: float = 30.0) -> list[dict[str, Any]]:
        deadline = time.monotonic() + within_s
        while len(self.told) < count:
            assert time.monotonic() < deadline, f"only {self.told} was told of"
            with self.spool.taken(100) as found:
                self.told += found
            time.sleep(0.02)
        found, self.told = self.told, []
        return [dict(each.told) for each in found]

    def nothing_more(self) -> None:
        """After a look that would have seen it: what is put into place now is seen by the same one."""
        (self.root / "in" / "last.csv").write_text("last")
        assert [os.path.basename(each["path"]) for each in self.take(1)] == ["last.csv"]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.setattr(module, "SETTLE_S", 0.2)
    monkeypatch.setattr(module, "_REST_S", 0.01)
    made = Watched(tmp_path)
    (made.root / "in").mkdir()
    yield made
    made.watch.stop()


@pytest.fixture(params=["told", "polled"])
def either(request: pytest.FixtureRequest, site: Watched, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """With a file system that tells of changes, and with one that does not."""
    if request.param == "told":
        monkeypatch.setattr(module, "POLL_S", 3600.0)
    else:
        monkeypatch.setattr(module, "POLL_S", 0.1)
        monkeypatch.setattr(FileWatch, "_follow", lambda self: None)
    return site


def test_a_file_is_told_of_once_and_again_when_it_has_changed(either: Watched) -> None:
    site = either
    site.watch.watch(["in/*.csv"])
    (site.root / "in" / "a.csv").write_text("one")
    (site.root / "in" / "a.txt").write_text("another kind")
    (told,) = site.take(1)
    assert told["path"] == str(site.root / "in" / "a.csv") and told["size"] == 3
    assert told["modified"].endswith("Z")
    (site.root / "in" / "a.csv").write_text("longer")
    assert site.take(1)[0]["size"] == 6
    site.nothing_more()


def test_a_renamed_file_is_told_of_by_its_destination(either: Watched) -> None:
    site = either
    site.watch.watch(["in/*.csv"])
    (site.root / "in" / ".upload").write_text("whole")
    (site.root / "in" / ".upload").rename(site.root / "in" / "b.csv")
    assert site.take(1)[0]["path"] == str(site.root / "in" / "b.csv")
    site.nothing_more()


def test_what_lay_there_is_told_of_and_not_again_after_a_restart(site: Watched) -> None:
    (site.root / "in" / "old.csv").write_text("old")
    site.watch.watch(["in/*.csv"])
    assert len(site.take(1)) == 1
    site.watch.stop()
    again = Watched(site.root.parent)
    again.watch.watch(["in/*.csv"])
    again.nothing_more()
    again.watch.stop()


def test_two_nodes_of_a_machine_tell_of_it_once(site: Watched) -> None:
    other = FileWatch(EventSpool(site.spool.directory), site.root)
    for watch in (site.watch, other):
        watch.watch(["in/*.csv"])
    for number in range(20):
        (site.root / "in" / f"{number}.csv").write_text("x")
    assert len({each["path"] for each in site.take(20)}) == 20
    site.nothing_more()
    other.stop()


def test_a_directory_that_comes_later_and_files_deep_in_it(site: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.1)
    site.watch.watch(["later/**/*.json"])
    (site.root / "later" / "a" / "b").mkdir(parents=True)
    (site.root / "later" / "a" / "b" / "x.json").write_text("{}")
    assert site.take(1)[0]["path"] == str(site.root / "later" / "a" / "b" / "x.json")


def test_what_is_kept_no_more_is_told_once_there_is_room(
    site: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.1)
    put: Callable[..., str] = EventSpool.put
    is_full = True

    def refused(*arguments: Any, **more: Any) -> str:
        if is_full:
            raise OSError(28, "No space left on device")
        return put(*arguments, **more)

    monkeypatch.setattr(EventSpool, "put", refused)
    site.watch.watch(["in/*.csv"])
    (site.root / "in" / "a.csv").write_text("x")
    wait_until(lambda: "No space left" in caplog.text)
    is_full = False
    assert len(site.take(1)) == 1
    assert caplog.text.count("No space left") == 1


def test_what_there_was_room_for_is_not_told_of_again(
    site: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.1)
    monkeypatch.setattr(event_file, "MOST_EVENTS", 3)
    for number in range(10):
        (site.root / "in" / f"{number}.csv").write_text("x")
    site.watch.watch(["in/*.csv"])
    wait_until(lambda: "events wait in" in caplog.text)
    assert len({each["path"] for each in site.take(10)}) == 10
    site.nothing_more()


def test_a_time_that_no_calendar_has_keeps_no_file_from_being_told_of(
    site: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.1)
    found = [("/in/odd.csv", (300_000_000_000 * 10**9, 1, 1)), ("/in/other.csv", (10**18, 1, 2))]
    monkeypatch.setattr(FileWatch, "_files", lambda self, pattern: iter(found))
    site.watch.watch(["in/*.csv"])
    told = {each["path"]: each["modified"] for each in site.take(2)}
    assert told == {"/in/odd.csv": None, "/in/other.csv": "2001-09-09T01:46:40Z"}


def test_a_broken_memory_is_told_of(site: Watched, caplog: pytest.LogCaptureFixture) -> None:
    site.spool.make()
    (site.spool.directory / "files").write_text("[broken")
    site.watch.watch(["in/*.csv"])
    site.nothing_more()
    assert "is broken; files that were seen are told of again" in caplog.text


def test_more_files_than_are_looked_at(
    site: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MOST_FILES", 3)
    for number in range(6):
        (site.root / "in" / f"{number}.csv").write_text("x")
    site.watch.watch(["in/*.csv"])
    assert len(site.take(3)) == 3
    assert "More than 3 files lie in in/*.csv" in caplog.text


def test_a_version_settles_when_it_has_been_the_same_for_a_while() -> None:
    settling = Settling(1.0)
    first, longer = (1, 10, 7), (2, 20, 7)
    assert settling.look({"a": first}, 0.0) == ({}, True)
    assert settling.look({"a": first, "b": first}, 0.9) == ({}, True)
    assert settling.look({"a": first, "b": first}, 1.0) == ({"a": first}, True)
    assert settling.look({"a": longer, "b": first}, 2.0) == ({"b": first}, True)
    assert settling.look({"a": longer}, 3.0) == ({"a": longer}, False)
    assert settling.look({}, 4.0) == ({}, False)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("in/*.csv", ("in", False)),
        ("*.csv", ("", False)),
        ("in/**/*.csv", ("in", True)),
        ("in/a*/b/c.csv", ("in", True)),
        ("/srv/in/one.csv", ("/srv/in", False)),
    ],
)
def test_where_a_pattern_is_looked_for(pattern: str, expected: tuple[str, bool]) -> None:
    assert place_of(pattern) == expected

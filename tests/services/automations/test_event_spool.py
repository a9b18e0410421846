"""Events that wait in files: kept by one process, taken by another, whatever becomes of either."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from duck.backend.django.worker import event_file
from duck.backend.django.worker.event_file import Wanted
from duck.exceptions import ApplicationError, StoreError
from duck.services.automations import event_spool
from duck.services.automations.event_spool import EventSpool, Happened
from duck.services.state import state_directory


@pytest.fixture
def spool(tmp_path: Path) -> EventSpool:
    return EventSpool(tmp_path / "events")


def taken(spool: EventSpool, most: int = 100) -> list[Happened]:
    with spool.taken(most) as found:
        return found


def files(spool: EventSpool) -> list[str]:
    return sorted(name for name in os.listdir(spool.directory) if name != "lock")


def test_what_was_kept_is_taken_once_and_in_order(spool: EventSpool) -> None:
    ids = [spool.put("deploy", {"name": str(number)}, {"number": number}) for number in range(20)]
    assert len(set(ids)) == 20
    found = taken(spool, 15) + taken(spool)
    assert [each.id for each in found] == ids
    assert [each.told["number"] for each in found] == list(range(20))
    assert found[3] == Happened(ids[3], "deploy", {"name": "3"}, {"number": 3})
    times = [each.at for each in found if each.at is not None]
    assert times == sorted(times) and abs((datetime.now(UTC) - times[-1]).total_seconds()) < 60
    assert Happened("x", "deploy").at is None
    assert taken(spool) == [] and files(spool) == []


def test_what_was_not_dealt_with_is_taken_again(spool: EventSpool) -> None:
    spool.put("deploy", {})
    with pytest.raises(StoreError), spool.taken(10) as found:
        assert len(found) == 1
        raise StoreError("The store is away.")
    assert len(taken(spool)) == 1


def test_two_nodes_take_turns(spool: EventSpool) -> None:
    spool.put("deploy", {})
    other = EventSpool(spool.directory)
    with spool.taken(10) as found, other.taken(10) as nothing:
        assert (len(found), nothing) == (1, [])
    assert taken(other) == []


def test_nothing_is_made_by_who_only_takes(spool: EventSpool) -> None:
    assert taken(spool) == [] and spool.waiting() == 0
    spool.want([])
    assert not spool.directory.exists()


def test_it_is_its_owners_alone(spool: EventSpool) -> None:
    spool.put("deploy", {})
    spool.want([{"event": "webhook", "path": "/a", "secret": "x" * 16}])
    taken(spool)
    spool.put("deploy", {})
    assert stat.S_IMODE(spool.directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE((spool.directory / name).stat().st_mode) for name in os.listdir(spool.directory)} == {0o600}
    spool.directory.chmod(0o755)
    with pytest.raises(ApplicationError, match="chmod 700"):
        spool.put("deploy", {})


def test_whoever_comes_first_makes_a_state_directory_that_all_can_use(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path / "home" / "state")}
    spool = EventSpool(state_directory(None, environ, make=False) / "automations" / "events")
    spool.put("deploy", {})
    assert state_directory(None, environ) == tmp_path / "home" / "state" / "duck"
    assert {stat.S_IMODE(path.stat().st_mode) for path in (spool.directory, *spool.directory.parents[:4])} == {0o700}


def test_a_file_that_is_no_event_is_told_of_and_the_next_one_is_taken(
    spool: EventSpool, caplog: pytest.LogCaptureFixture
) -> None:
    spool.put("deploy", {})
    for number, text in enumerate(("", "{", "[]", '{"event": 3, "details": {}, "told": {}}', '{"event": "deploy"}')):
        (spool.directory / f"0000{number}.json").write_text(text)
    (spool.directory / "00009.json").write_bytes(b" " * (event_file.MAX_EVENT_BYTES + 1))
    assert len(taken(spool)) == 1
    assert len(caplog.records) == 6 and "00002.json holds no event" in caplog.text
    assert files(spool) == []


def test_a_flood_is_bounded_and_refused_in_one_sentence(spool: EventSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_file, "MOST_EVENTS", 5)
    for _ in range(5):
        spool.put("deploy", {})
    with pytest.raises(StoreError, match=r"5 events wait in .*, and no node takes them"):
        spool.put("deploy", {})
    assert len(taken(spool)) == 5
    spool.put("deploy", {})
    with pytest.raises(StoreError, match="too long"):
        spool.put("deploy", {}, {"text": "x" * event_file.MAX_EVENT_BYTES})


def test_so_are_its_bytes_with_what_a_writer_has_not_finished(
    spool: EventSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_file, "MOST_BYTES", 3000)
    for _ in range(2):
        spool.put("deploy", {}, {"text": "x" * 900})
    with pytest.raises(StoreError, match=r"0 MiB of events wait in .*, and no node takes them"):
        spool.put("deploy", {}, {"text": "x" * 1500})
    (spool.directory / f"unfinished{event_file.UNFINISHED}").write_bytes(b"x" * 900)
    with pytest.raises(StoreError, match="events wait"):
        spool.put("deploy", {}, {"text": "x" * 500})
    taken(spool)
    spool.put("deploy", {}, {"text": "x" * 1500})


def test_which_webhooks_are_crowded_is_known_for_as_long_as_a_node_says_so(
    spool: EventSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.make()
    other = EventSpool(spool.directory)
    assert other.crowded() == frozenset()
    spool.crowd(["/a", "/b"])
    assert other.crowded() == {"/a", "/b"}
    monkeypatch.setattr(event_spool, "_CROWDED_S", -1.0)
    assert other.crowded() == frozenset(), "that node has gone"
    monkeypatch.undo()
    spool.crowd([])
    assert other.crowded() == frozenset() and files(spool) == []
    (spool.directory / "crowded").write_text("{")
    assert other.crowded() == frozenset()


def test_a_full_disk_leaves_nothing_behind(spool: EventSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    spool.put("deploy", {})
    taken(spool)

    def full(descriptor: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(event_file.os, "write", full)
        with pytest.raises(StoreError, match="No space left on device"):
            spool.put("deploy", {})
    assert files(spool) == []


def test_what_a_killed_writer_has_left_is_removed_in_time(spool: EventSpool) -> None:
    spool.put("deploy", {})
    for name, age_s in (("a.part", 7200), ("b.part", 0)):
        (spool.directory / name).write_text("{")
        found = (spool.directory / name).stat()
        os.utime(spool.directory / name, (found.st_atime - age_s, found.st_mtime - age_s))
    assert len(taken(spool)) == 1
    assert files(spool) == ["b.part"]


def test_one_that_cannot_be_removed_is_taken_once(
    spool: EventSpool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spool.put("deploy", {})

    def refused(path: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(event_spool.os, "unlink", refused)
    assert len(taken(spool)) == 1 and taken(spool) == [] == taken(spool)
    assert caplog.text.count("cannot be removed: Operation not permitted") == 1


class TestWanted:
    def test_who_could_tell_learns_what_is_wanted_and_that_it_has_changed(self, spool: EventSpool) -> None:
        wanted = Wanted(str(spool.directory))
        assert not wanted.look() and wanted.events == []
        spool.want([{"event": "deploy"}])
        assert wanted.look() and wanted.events == [{"event": "deploy"}]
        spool.want([{"event": "deploy"}])
        assert not wanted.look()
        spool.want([])
        assert wanted.look() and wanted.events == []
        (spool.directory / "wanted").unlink()
        assert wanted.look() and not wanted.look()

    def test_what_is_none_of_nodes_changes_nothing(self, spool: EventSpool) -> None:
        spool.want([{"event": "deploy"}])
        wanted = Wanted(str(spool.directory))
        wanted.look()
        (spool.directory / "wanted").write_text("{broken")
        assert not wanted.look() and wanted.events == [{"event": "deploy"}]


def test_what_is_nested_beyond_reading_is_no_event(spool: EventSpool, caplog: pytest.LogCaptureFixture) -> None:
    spool.put("deploy", {})
    deep = "[" * 100_000 + "]" * 100_000
    (spool.directory / "00000000000000000001-1-1.json").write_text(f'{{"event": "x", "details": {{}}, "told": {deep}}}')
    assert [each.event for each in taken(spool)] == ["deploy"]
    assert "holds no event" in caplog.text and files(spool) == []

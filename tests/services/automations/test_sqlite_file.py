"""The SQLite file where its disk, or somebody, is not kind: one sentence each, and nothing is lost in silence."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from duck.exceptions import StoreError
from duck.services.automations.due import Due
from duck.services.automations.engine import Ended
from duck.services.automations.engines.local import LocalEngine
from duck.services.automations.run import Cause, State
from tests.automation_stores import declared, soon, take
from tests.services.automations.test_dispatcher import Node


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path / "store", "a")
    yield made
    made.inbox.close()


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


def fill_disk(engine: LocalEngine, *, is_full: bool) -> None:
    """SQLite is told that the file may not grow, and answers as for a full disk."""
    (pages,) = engine._db.execute("PRAGMA page_count").fetchone()
    engine._db.execute(f"PRAGMA max_page_count = {pages if is_full else 2**30}")


def test_a_full_disk_is_told_and_what_could_not_be_kept_is_once_there_is_room(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    job, large = declared(every="365d", overlap="allow"), "x" * 60_000
    node.begin(job)
    node.engine.enqueue(job, node.engine.now(), Cause.HAND)
    node.serve(lambda: node.hands.started)
    run = node.hands.started[0]
    fill_disk(node.engine, is_full=True)
    node.hands.end(run, Ended(State.SUCCEEDED, output=large))
    node.serve(lambda: said(caplog))
    path = node.engine._file.path
    assert said(caplog) == [
        f"The store of automations at {path} refuses: database or disk is full; make room on its disk."
        " Planned times wait meanwhile; what runs goes on."
    ]
    found = node.engine.run(run.id)
    assert found is not None and found.state is State.RUNNING
    fill_disk(node.engine, is_full=False)
    node.turns()
    found = node.engine.run(run.id)
    assert found is not None and (found.state, found.output) == (State.SUCCEEDED, large)
    assert node.dispatcher.status()["store"] == "reachable"


def test_a_commit_that_fails_is_undone_and_the_next_change_is_made(tmp_path: Path) -> None:
    """As on a full disk: SQLite leaves the transaction open then."""
    engine, job = LocalEngine(tmp_path / "store"), declared()
    engine.register([job])

    class Failing:
        """The connection, whose next commit is refused."""

        def __init__(self, db: sqlite3.Connection) -> None:
            self.db = db
            self.is_to_fail = True

        def __getattr__(self, name: str) -> object:
            return getattr(self.db, name)

        def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
            if statement == "COMMIT" and self.is_to_fail:
                self.is_to_fail = False
                raise sqlite3.OperationalError("disk I/O error")
            return self.db.execute(statement, *values)

    engine._file.db = Failing(engine._file.db)  # type: ignore[assignment]
    with pytest.raises(StoreError, match="refuses: disk I/O error"):
        engine.pause("job", None)
    assert engine.paused() == {}
    engine.pause("job", None)
    assert set(engine.paused()) == {"job"}
    engine.close()


def test_one_that_may_not_be_written_is_told_with_what_to_do(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    node.begin(declared(every="365d"))
    node.turns()
    node.engine._db.execute("PRAGMA query_only = 1")  # as of a disk that was mounted anew
    node.wait(minutes=1)
    assert "attempt to write a readonly database; let Duck write it, and its directory." in said(caplog)[0]
    node.engine._db.execute("PRAGMA query_only = 0")
    node.turns()
    assert node.dispatcher.status()["store"] == "reachable"


def test_one_that_is_somebody_elses_is_refused_with_what_to_do() -> None:
    """As a user who may read it and no more; root may do anything."""
    directory = Path(tempfile.mkdtemp(prefix="duck-store-"))
    before = os.geteuid()
    try:
        LocalEngine(directory / "store").close()
        directory.chmod(0o555)
        (directory / "store").chmod(0o444)
        if before == 0:
            os.seteuid(65534)
        with pytest.raises(StoreError, match=r"cannot be opened: Permission denied; see to it, or give another dir"):
            LocalEngine(directory / "store")
    finally:
        os.seteuid(before)
        directory.chmod(0o755)
        shutil.rmtree(directory)


def test_one_that_was_damaged_starts_nothing_and_says_what_to_do(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    job = declared(every="365d")
    node.begin(job)
    node.turns()
    path = node.engine._file.path
    (size,) = node.engine._db.execute("PRAGMA page_size").fetchone()
    node.engine._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(size)  # the first says what the file is
        file.write(b"\xff" * (path.stat().st_size - size))
    node.engine._db.execute("PRAGMA shrink_memory")
    node.wait(minutes=1)
    assert "malformed; stop Duck, move the file away with its -wal and -shm, and start Duck again" in said(caplog)[0]
    assert node.hands.started == [] and node.dispatcher.status()["store"] == "unreachable"


@pytest.mark.parametrize("is_replaced", [False, True])
def test_one_that_was_deleted_or_replaced_is_not_gone_on_with_until_a_reload(
    node: Node, caplog: pytest.LogCaptureFixture, tmp_path: Path, is_replaced: bool
) -> None:
    """Another node would have a store of its own, and start what this one starts."""
    job = declared(every="1s", overlap="allow")
    node.begin(job)
    node.serve(lambda: node.hands.started)
    run = node.hands.started[0]
    for path in tmp_path.glob("store*"):
        path.unlink()
    if is_replaced:
        LocalEngine(tmp_path / "store").close()
    count = len(node.hands.started)
    node.serve(lambda: said(caplog))
    assert "was deleted or replaced while it was in use: nothing is planned or started until `duck reload`" in "".join(
        said(caplog)
    )
    node.wait(minutes=1)
    assert len(node.hands.started) == count and len(said(caplog)) == 1
    node.hands.end(run, Ended(State.SUCCEEDED))  # what runs goes on, and its end can be told nowhere any more
    node.dispatcher.declare([job])  # a reload
    node.serve(lambda: len(node.hands.started) > count)
    assert (tmp_path / "store").exists() and node.dispatcher.status()["store"] == "reachable"
    started = [each.planned for each in node.hands.started]
    assert len(set(started)) == len(started)


def test_whether_it_is_there_is_seen_under_the_lock(tmp_path: Path) -> None:
    """One that waits for another's transaction looks when it has the lock."""
    engine, job = LocalEngine(tmp_path / "store"), declared()
    engine.register([job])
    (tmp_path / "store").rename(tmp_path / "away")
    with pytest.raises(StoreError, match="was deleted or replaced"):
        engine.claim([(job, Due(soon(), True))])
    with pytest.raises(StoreError, match="was deleted or replaced"):
        engine.runs()
    (tmp_path / "away").rename(tmp_path / "store")
    assert len(engine.claim([(job, Due(soon(), True))])) == 1
    assert len(take(engine, "a", job)) == 1
    engine.close()

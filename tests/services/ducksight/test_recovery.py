"""The files of a failure."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from duck.services.ducksight import RecoveryWatch

if TYPE_CHECKING:
    from duck.services.inbox import Inbox


def run_until(inbox: Inbox, seen: list[str], path: Path, deadline_s: float = 45.0) -> None:
    end = time.monotonic() + deadline_s
    while str(path) not in seen:
        assert time.monotonic() < end, f"{path} not in {seen}"
        inbox.run_once(0.05)


def test_a_file_of_the_failure_that_changes_or_appears_is_seen_once(inbox: Inbox, tmp_path: Path) -> None:
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


def test_nothing_is_said_after_stop(inbox: Inbox, tmp_path: Path) -> None:
    seen: list[str] = []
    watch = RecoveryWatch(inbox, [str(tmp_path / "a.py")], seen.extend)
    watch.start()
    watch.stop()
    (tmp_path / "a.py").write_text("x")
    inbox.run_once(0.4)
    assert seen == []

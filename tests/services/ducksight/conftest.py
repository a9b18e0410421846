"""A watched tree, and what was seen in it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from duck.services.ducksight import Burst, ChangeFilter, DuckSight
from tests.waiting import serve_until

if TYPE_CHECKING:
    from duck.services.inbox import Inbox

DEADLINE_S = 45.0


class Watched:
    """A directory that DuckSight watches.

    Attributes:
        calls: what was told, by bursts.
    """

    def __init__(self, inbox: Inbox, root: Path, chosen: ChangeFilter, **more: Any) -> None:
        self.inbox = inbox
        self.root = root
        self.calls: list[list[str]] = []
        more.setdefault("burst", Burst(0.01, busy_quiet_s=0.05))
        roots = more.pop("roots", [root])
        self.sight = DuckSight(inbox, roots, chosen, self.calls.append, **more)
        self.sight.start()
        self.until(self.sight.watching.is_set)

    @property
    def seen(self) -> set[str]:
        """All that was told, relative to the root."""
        return {os.path.relpath(path, self.root) for call in self.calls for path in call}

    def until(self, true: Callable[[], bool]) -> None:
        """Serve the inbox until it is so."""
        serve_until(self.inbox, true, told=lambda: f"it did not happen; seen were {self.calls}")

    def until_seen(self, *names: str) -> None:
        """Serve the inbox until all of `names` were told, then forget them."""
        self.until(lambda: self.seen.issuperset(names))

    def settle(self) -> None:
        """Serve the inbox until whatever was done so far has been told, or is nothing that is told."""
        mark = self.root / f"mark{time.monotonic_ns()}.py"
        mark.write_text("")
        self.until_seen(mark.name)
        for call in self.calls:
            if str(mark) in call:
                call.remove(str(mark))
        self.calls[:] = [call for call in self.calls if call]


@pytest.fixture
def watch(inbox: Inbox) -> Iterator[Callable[..., Watched]]:
    """Watch a directory, to the end of the test."""
    started: list[Watched] = []

    def start(root: Path, chosen: ChangeFilter | None = None, **more: Any) -> Watched:
        started.append(Watched(inbox, root, chosen or ChangeFilter(), **more))
        return started[-1]

    yield start
    for watched in started:
        watched.sight.stop()

"""What a node of automations tells of itself: its state, its figures, what comes next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from duck.exceptions import StoreError
from duck.services.automations.figures import Figures
from duck.services.automations.run import State

if TYPE_CHECKING:
    from duck.services.automations.engine import Engine

# So many runs that wait are counted.
_MOST_QUEUED: Final = 1000


class NodeReport:
    """Of one node. On the inbox's thread.

    Args:
        state: that of the dispatcher (`Dispatcher.status`).

    Attributes:
        counts: an `Observer`.
        zone: whose clocks tell what comes next.
        unusable: how many declarations cannot be used.
        hindered: why nothing that is declared is run, "" where it is.
    """

    def __init__(self, engine: Engine, state: Callable[[], Mapping[str, Any]]) -> None:
        self.counts = Figures()
        self.zone = ZoneInfo("UTC")
        self.unusable = 0
        self.hindered = ""
        self._engine = engine
        self._state = state
        self._queued = 0

    def recall(self, names: Iterable[str]) -> None:
        """Know of these automations when they have succeeded last, here or elsewhere.

        Raises:
            StoreError: the store cannot be reached.
        """
        for name in self.counts.declare(names):
            for run in self._engine.runs(name, state=State.SUCCEEDED, limit=1):
                if run.ended is not None:
                    self.counts.succeeded[name] = run.ended.timestamp()

    def status(self) -> dict[str, Any]:
        """Plain values for `duck status`."""
        said = dict(self._state())
        following = said["next"]
        if following is not None:
            # What was missed comes first, though its time has passed.
            is_past = datetime.fromisoformat(following["at"]) <= datetime.now(UTC)
            when = "now" if is_past else f"at {_local(following['at'], self.zone)}"
            said["next"] = f"{following['name']} {when}"
        if self.hindered:
            # Of the store that was not got at the dispatcher knows nothing yet.
            said.update(store="not in use", hindered=self.hindered)
        return {**said, "unusable": self.unusable}

    def figures(self, *, asks_store: bool) -> dict[str, Any]:
        """`status`, what was counted (`Figures.snapshot`), and when automations have succeeded last.

        How many runs wait is as it was when the store was asked last.
        """
        if asks_store:
            try:
                self._queued = len(self._engine.runs(state=State.QUEUED, limit=_MOST_QUEUED))
            except StoreError:
                self._queued = 0  # that it is out of reach is in its status
        status = self.status()
        snapshot = self.counts.snapshot(len(status["running"]), self._queued)
        snapshot["refused"] = status.get("refused", 0)
        return {"status": status, "snapshot": snapshot, "succeeded": self.counts.succeeded}

    def summary(self, count: int) -> str:
        """One line, once so many are declared."""
        following = self.status()["next"]
        return f"Automations: {count}, {f'next {following}' if following else 'nothing is planned'}"


def _local(moment: str, zone: ZoneInfo) -> str:
    """A moment of ISO 8601 as clocks in `zone` show it: the time alone where it is today."""
    at = datetime.fromisoformat(moment).astimezone(zone)
    clock = f"{at:%H:%M:%S}" if at.second else f"{at:%H:%M}"
    return clock if at.date() == datetime.now(zone).date() else f"{at:%Y-%m-%d} {clock}"

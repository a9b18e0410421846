"""Figures of automations, as a dispatcher counts them; `services.automation_metrics` has Prometheus read them.

Labels are the names of automations, which the project declares: of very many the first have figures of their own, the
others are counted together. One that is not declared any more makes room.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final

from duck.net.stats import SECONDS
from duck.services.automations.due import PUNCTUAL
from duck.services.automations.labels import MOST_NAMES, OTHERS
from duck.services.automations.run import Cause, State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from duck.services.automations.declaration import Declaration
    from duck.services.automations.run import Run

MISSED: Final = "missed"


class Figures:
    """An `Observer` that counts. On the inbox's thread.

    Attributes:
        succeeded: when each automation has succeeded last, in seconds since 1970.
    """

    def __init__(self) -> None:
        self.succeeded: dict[str, float] = {}
        self._runs: dict[str, dict[str, int]] = {}
        self._delays = [0] * (len(SECONDS) + 1)
        self._delay_sum = 0.0
        self._names: dict[str, None] = {}

    def declare(self, names: Iterable[str]) -> list[str]:
        """These are declared, and no others; those of them that have figures of their own now, and had none."""
        names = dict.fromkeys(names)
        for gone in [name for name in self._names if name not in names]:
            del self._names[gone]
            self._runs.pop(gone, None)
            self.succeeded.pop(gone, None)
        new = [name for name in names if name not in self._names][: MOST_NAMES - len(self._names)]
        self._names |= dict.fromkeys(new)
        return new

    def started(self, declaration: Declaration, run: Run) -> None:
        """See `Observer`."""
        if run.cause is Cause.SCHEDULE and run.attempt == 1 and run.started is not None:
            delay_s = max(0.0, (run.started - run.planned).total_seconds() - declaration.delay_s)
            self._delays[bisect_left(SECONDS, delay_s)] += 1
            self._delay_sum += delay_s

    def ended(self, declaration: Declaration, run: Run) -> None:
        """See `Observer`."""
        self._count(run.name, run.state.name.lower())
        if run.state is State.SUCCEEDED and run.ended is not None and run.name in self._names:
            self.succeeded[run.name] = run.ended.timestamp()

    def skipped(self, declaration: Declaration, run: Run) -> None:
        """See `Observer`."""
        late = run.created is not None and (run.created - run.planned).total_seconds() - declaration.delay_s
        self._count(run.name, MISSED if late and late > PUNCTUAL.total_seconds() else "skipped")

    def snapshot(self, running: int, queued: int) -> dict[str, Any]:
        """All that was counted, and how many runs there are now; plain values, as `duck.net.stats.merge` adds them."""
        return {
            "runs": {name: dict(outcomes) for name, outcomes in self._runs.items()},
            "delay": {"counts": list(self._delays), "sum": round(self._delay_sum, 6)},
            "now": {"running": running, "queued": queued},
        }

    def _count(self, name: str, outcome: str) -> None:
        outcomes = self._runs.setdefault(name if name in self._names else OTHERS, {})
        outcomes[outcome] = outcomes.get(outcome, 0) + 1

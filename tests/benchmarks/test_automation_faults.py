"""Three nodes on each store, in short; `manage_duck.py bench automations faults` does it for longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.automations.celery_store import STORES
from tests.benchmarks.automations.faults import try_faults
from tests.benchmarks.servers import Missing

# So that each fault comes once at least; those of a store last longer than those of nodes.
PLANNED = {"sqlite": 12, "postgres": 20, "django": 20, "celery": 24}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PLANNED)
def test_nodes_that_are_killed_stopped_and_cut_off_lose_nothing_and_double_nothing(name: str, tmp_path: Path) -> None:
    try:
        outcome = try_faults(tmp_path / "faults", name, PLANNED[name], 0.5, settles=["queued"])
    except Missing as why:
        pytest.skip(str(why))
    assert set(outcome.faults) == {"kill", "stop", *STORES[name].faults}
    assert outcome.doubled == [] and outcome.lost == [], outcome.logs
    assert outcome.is_right and outcome.started >= PLANNED[name] - 10, outcome

"""Three nodes on each store, in short; `manage_duck.py bench automations faults` does it for longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.automations.celery_store import STORES
from tests.benchmarks.automations.faults import try_faults
from tests.benchmarks.servers import Missing

# Each fault comes once, which takes as long on every store.
STORES_TRIED = ("sqlite", "postgres", "django", "celery")
LEAST = 10


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", STORES_TRIED)
def test_nodes_that_are_killed_stopped_and_cut_off_lose_nothing_and_double_nothing(name: str, tmp_path: Path) -> None:
    try:
        outcome = try_faults(tmp_path / "faults", name, LEAST, 0.2, settles=["queued"])
    except Missing as why:
        pytest.skip(str(why))
    assert set(outcome.faults) == {"kill", "stop", *STORES[name].faults}
    assert outcome.doubled == [] and outcome.lost == [], outcome.logs
    assert outcome.is_right and outcome.started >= LEAST / 2, outcome

"""What dispatchers of automations have counted (`services.automations.figures`), as Prometheus reads it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from duck.net.stats import SECONDS
from duck.services.families import counter, gauge, histogram

if TYPE_CHECKING:
    from prometheus_client.core import Metric


def automation_families(total: Mapping[str, Any], succeeded: Mapping[str, float]) -> Iterator[Metric]:
    """The families of what dispatchers have counted.

    Args:
        total: the sum of their snapshots.
        succeeded: when each automation has succeeded last, in seconds since 1970.
    """
    yield counter(
        "duck_automation_runs",
        "Runs of automations that are over, by name and outcome; missed: nothing could run at its time.",
        [
            ({"name": name, "outcome": outcome}, count)
            for name, outcomes in total.get("runs", {}).items()
            for outcome, count in outcomes.items()
        ],
    )
    yield histogram(
        "duck_automation_start_delay_seconds",
        "How long after their planned time, jitter included, runs have started.",
        SECONDS,
        total.get("delay", {}),
    )
    yield counter(
        "duck_automation_events_refused",
        "Events that ran nothing, for too many runs of their automations waited already.",
        [({}, total.get("refused", 0))],
    )
    now = total.get("now", {})
    yield gauge("duck_automations_running", "Runs that are under way on this node.", [({}, now.get("running", 0))])
    yield gauge("duck_automations_queued", "Runs that wait, of all nodes of the store.", [({}, now.get("queued", 0))])
    yield gauge(
        "duck_automation_seconds_since_success",
        "How long ago the last run ended that succeeded, by name; not there for what never has.",
        [({"name": name}, max(0.0, round(time.time() - at, 1))) for name, at in succeeded.items()],
    )

"""What a dispatcher counts, and how Prometheus reads it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from duck.net.stats import SECONDS
from duck.services.automations.declaration import Declaration, read_declaration
from duck.services.automations.figures import Figures
from duck.services.automations.labels import MOST_NAMES, OTHERS
from duck.services.automations.run import Cause, Run, State
from duck.services.metrics import Metrics
from tests.services.test_metrics import samples

PLANNED = datetime(2026, 5, 1, 2, 30, tzinfo=UTC)


def declared(name: str = "nightly", **table: Any) -> Declaration:
    return read_declaration(name, {"command": "x", **table}, "duck.toml", ZoneInfo("UTC"))


def run(name: str = "nightly", state: State = State.SUCCEEDED, late_s: float = 0.02, **facts: Any) -> Run:
    at = PLANNED + timedelta(seconds=late_s)
    moments = {"created": at, "started": at, "ended": at + timedelta(seconds=1)}
    return Run(1, name, "r", PLANNED, Cause.SCHEDULE, state, **{"attempt": 1, **moments, **facts})


def test_runs_are_counted_by_name_and_outcome() -> None:
    figures = Figures()
    figures.declare(["nightly", "hourly"])
    for state in (State.SUCCEEDED, State.SUCCEEDED, State.TIMED_OUT):
        figures.ended(declared(), run(state=state))
    figures.skipped(declared(), run(state=State.SKIPPED))
    figures.skipped(declared(), run(state=State.SKIPPED, late_s=3600))
    told = figures.snapshot(2, 3)
    assert told["runs"] == {"nightly": {"succeeded": 2, "timed_out": 1, "skipped": 1, "missed": 1}}
    assert told["now"] == {"running": 2, "queued": 3}
    assert figures.succeeded == {"nightly": (PLANNED + timedelta(seconds=1.02)).timestamp()}


def test_of_starts_only_the_first_for_a_planned_time_counts_and_jitter_is_no_delay() -> None:
    figures = Figures()
    jittered = declared(jitter="10m")
    figures.started(jittered, run(late_s=jittered.delay_s + 0.02))
    figures.started(declared(), run(late_s=900, attempt=2))
    figures.started(declared(), _by_hand())
    delay = figures.snapshot(0, 0)["delay"]
    assert sum(delay["counts"]) == 1 and delay["counts"][SECONDS.index(0.025)] == 1 and delay["sum"] == 0.02


def _by_hand() -> Run:
    return Run(2, "nightly", "r", PLANNED, Cause.HAND, State.RUNNING, attempt=1, started=PLANNED + timedelta(hours=1))


def test_names_are_bounded() -> None:
    figures = Figures()
    names = [f"job{number}" for number in range(MOST_NAMES + 50)]
    assert len(figures.declare(names)) == MOST_NAMES
    assert figures.declare(names) == []
    for name in names:
        figures.ended(declared(name), run(name))
    told = figures.snapshot(0, 0)["runs"]
    assert len(told) == MOST_NAMES + 1 and told[OTHERS] == {"succeeded": 50}
    assert len(figures.succeeded) == MOST_NAMES


def test_names_that_are_declared_no_more_make_room() -> None:
    figures = Figures()
    old, new = [f"old{number}" for number in range(MOST_NAMES)], [f"new{number}" for number in range(3)]
    figures.declare(old)
    for name in (*old, *new):
        figures.ended(declared(name), run(name))
    assert figures.snapshot(0, 0)["runs"][OTHERS] == {"succeeded": 3}
    assert figures.declare([*old[:-2], *new]) == new[:2]
    for name in (*old[-2:], *new):
        figures.ended(declared(name), run(name))
    told = figures.snapshot(0, 0)["runs"]
    assert told["new0"] == told["new1"] == {"succeeded": 1} and told[OTHERS] == {"succeeded": 6}
    assert not {*old[-2:], "new2"} & {*told, *figures.succeeded} and len(told) == MOST_NAMES + 1


def test_prometheus_reads_them_and_what_a_dispatcher_had_counted_stays() -> None:
    metrics = Metrics("1.0", 0.0)
    assert not any("automation" in key for key in samples(metrics))
    figures = Figures()
    figures.declare(["nightly"])
    figures.started(declared(), run())
    figures.ended(declared(), run())
    metrics.automations.update("one", {**figures.snapshot(1, 4), "refused": 7})
    metrics.automations.ended("one")
    metrics.automations.update("two", figures.snapshot(0, 2))
    again = Metrics("1.0", 0.0, kept=metrics.counts)
    again.automations.update("three", figures.snapshot(0, 0))
    told = samples(metrics, succeeded={"nightly": time.time() - 100})
    assert told["duck_automation_runs_total{name=nightly,outcome=succeeded}"] == 2
    assert told["duck_automation_events_refused_total"] == 7
    assert told["duck_automation_start_delay_seconds_count"] == 2
    assert told["duck_automation_start_delay_seconds_bucket{le=0.025}"] == 2
    assert told["duck_automations_running"] == 0 and told["duck_automations_queued"] == 2
    assert 100 <= told["duck_automation_seconds_since_success{name=nightly}"] < 160
    assert samples(again)["duck_automation_runs_total{name=nightly,outcome=succeeded}"] == 3

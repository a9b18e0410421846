"""The figures of an App, as Prometheus reads them."""

from __future__ import annotations

import json
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from duck.net.stats import CLASSES, METHODS, SECONDS
from duck.services.automations.labels import MOST_NAMES, OTHERS
from duck.services.metrics import STATES, Metrics, Tally
from tests.net.front import Front, get


def snapshot(requests: int = 0, **now: Any) -> dict[str, Any]:
    """What a worker tells that has answered `requests`."""
    front = Front()
    for _ in range(requests):
        front.ask(get())
    told = front.server.snapshot()
    told["now"] |= now
    return told


def samples(metrics: Metrics, **facts: Any) -> dict[str, float]:
    """Every sample by its name and labels, read by the library's own parser."""
    text = metrics.exposition(state="running", **facts).decode()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        assert family.name.startswith("duck_"), family.name
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            key = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert key not in found, key
            found[key] = sample.value
    return found


def test_every_method_and_class_of_status_is_there_from_the_start() -> None:
    metrics = Metrics("1.0", 1000.0)
    metrics.fronts.update("one", snapshot())
    told = samples(metrics)
    assert len([key for key in told if key.startswith("duck_requests_total")]) == len(METHODS) * CLASSES
    assert told["duck_requests_total{method=GET,status=2xx}"] == 0
    assert told["duck_info{version=1.0}"] == 1
    assert told["duck_start_time_seconds"] == 1000.0
    assert [told[f"duck_state{{state={state}}}"] for state in STATES] == [0, 1, 0, 0, 0]


def test_an_app_that_has_heard_of_no_worker_yet_has_figures() -> None:
    told = samples(Metrics("1.0", 0.0))
    assert told["duck_connections"] == 0
    assert told["duck_request_duration_seconds_count"] == 0
    assert told["duck_generation"] == 0


def test_the_workers_are_added_up() -> None:
    metrics = Metrics("1.0", 0.0)
    metrics.fronts.update(1, snapshot(2, busy=1, generations={"3": 1}))
    metrics.fronts.update(2, snapshot(3, busy=2, generations={"4": 1}))
    told = samples(metrics)
    assert told["duck_requests_total{method=GET,status=2xx}"] == 5
    assert told["duck_backend_slots_busy"] == 3
    assert told["duck_front_loops"] == 2
    assert (told["duck_generation"], told["duck_front_loops_behind"]) == (4, 1)


def test_automations_that_come_and_go_with_dispatchers_are_bounded_and_none_of_their_runs_is_lost() -> None:
    metrics = Metrics("1.0", 0.0)
    for start in range(6):
        names = [f"job{start}-{number}" for number in range(100)]
        metrics.automations.update(start, {"runs": {**{name: {"failed": 1} for name in names}, OTHERS: {"failed": 1}}})
        metrics.automations.ended(start)
        metrics = Metrics("1.0", 0.0, kept=metrics.counts)
    told = {key: value for key, value in samples(metrics).items() if key.startswith("duck_automation_runs_total")}
    assert len(told) == MOST_NAMES + 1 and sum(told.values()) == 606
    assert told[f"duck_automation_runs_total{{name={OTHERS},outcome=failed}}"] == 406
    assert "duck_automation_runs_total{name=job5-7,outcome=failed}" in told, "the latest have figures of their own"


def test_a_histogram_says_how_many_are_at_most_so_much() -> None:
    counts = [0] * (len(SECONDS) + 1)
    counts[SECONDS.index(0.005)], counts[-1] = 2, 1
    metrics = Metrics("1.0", 0.0)
    metrics.fronts.update(1, {"duration": {"counts": counts, "sum": 100.5}})
    told = samples(metrics)
    name = "duck_request_duration_seconds"
    assert [told[f"{name}_bucket{{le={le}}}"] for le in ("0.0025", "0.005", "60.0", "+Inf")] == [0, 2, 2, 3]
    assert (told[f"{name}_count"], told[f"{name}_sum"]) == (3, 100.5)


def test_no_count_goes_backwards_when_a_worker_is_replaced() -> None:
    metrics = Metrics("1.0", 0.0)
    metrics.fronts.update("first", snapshot(2, connections=7))
    metrics.fronts.update("second", snapshot(1, connections=1))
    before = samples(metrics)
    metrics.fronts.ended("first")
    metrics.fronts.ended("first")
    gone = samples(metrics)
    assert (gone["duck_connections"], gone["duck_front_loops"]) == (1, 1)
    metrics.fronts.update("third", snapshot())
    after = samples(metrics)
    for told in (gone, after):
        assert {key for key in before if key.endswith("_total") and told[key] < before[key]} == set()
        assert told["duck_requests_total{method=GET,status=2xx}"] == 3


def test_an_app_that_goes_on_as_another_program_keeps_its_counts() -> None:
    first = Metrics("1.0", 0.0)
    first.fronts.update("one", snapshot(4, connections=9))
    samples(first, processes=[{"role": "django", "pid": 5, "cpu_s": 2.0}])
    second = Metrics("1.1", 0.0, kept=json.loads(json.dumps(first.counts)))
    told = samples(second)
    assert told["duck_requests_total{method=GET,status=2xx}"] == 4
    assert told["duck_connections"] == 0
    assert told["duck_process_cpu_seconds_total{role=django}"] == 2.0


def test_processes_are_told_by_role_and_their_processor_time_stays() -> None:
    metrics = Metrics("1.0", 0.0)
    app = {"role": "app", "pid": 1, "state": "running", "cpu_s": 1.0, "memory_bytes": 10, "uptime_s": 5.0}
    django = {"role": "django", "pid": 2, "state": "running", "cpu_s": 3.0, "memory_bytes": 20, "generation": 7}
    told = samples(metrics, processes=[app, django], restarts={"django": 1})
    assert told["duck_process_memory_bytes{pid=2,role=django}"] == 20
    assert told["duck_process_generation{pid=2,role=django}"] == 7
    assert told["duck_process_restarts_total{role=django}"] == 1
    assert told["duck_process_restarts_total{role=app}"] == 0
    assert told["duck_processes{role=django}"] == 1
    told = samples(
        metrics, processes=[app, {**django, "pid": 3, "cpu_s": 0.5}, {"role": "django", "pid": 2, "state": "gone"}]
    )
    assert told["duck_process_cpu_seconds_total{role=django}"] == 3.5
    assert told["duck_processes{role=django}"] == 1
    assert "duck_process_memory_bytes{pid=2,role=django}" not in told
    told = samples(metrics, processes=[app])
    assert told["duck_process_cpu_seconds_total{role=django}"] == 3.5


def test_a_tally_leaves_what_it_was_told_alone() -> None:
    tally = Tally({"n": 1})
    told = {"n": 2, "now": {"x": 1}}
    tally.update("a", told)
    tally.ended("a")
    tally.update("b", told)
    assert tally.total == {"n": 5, "now": {"x": 1}}
    assert tally.counts == {"n": 5}
    assert told == {"n": 2, "now": {"x": 1}}

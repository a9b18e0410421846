"""What `bench automations` is made of, and a little of it run: that all is claimed and started, not how soon."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks import stacks
from tests.benchmarks.automations import table
from tests.benchmarks.automations.command import Plan, measure
from tests.benchmarks.automations.marks import Mark, read_marks
from tests.benchmarks.automations.peers import PEERS
from tests.benchmarks.automations.results import DUCK, Burst, Delays, Load, Results

SMALL = Plan(schedules=50, idle_s=0.2, jobs=20, period_s=3, firings=3, warm_ups=1)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return measure(SMALL, ["scale", "burst", "delays"], [DUCK], tmp_path_factory.mktemp("bench"))


class TestOfDuck:
    def test_nothing_fails(self, measured: Results) -> None:
        assert not measured.failed and not measured.missing

    def test_schedules_are_loaded(self, measured: Results) -> None:
        (load,) = measured.loads
        assert load.schedules == 50 and load.took_s > 0.0 and load.idle >= 0.0

    def test_what_is_due_at_one_moment_is_all_claimed_and_started(self, measured: Results) -> None:
        assert [burst.lane for burst in measured.bursts] == ["thread", "loop", "process"]
        for burst in measured.bursts:
            assert len(burst.claimed) == len(burst.started) == 20, burst.lane
            assert min(burst.claimed) >= 0.0
            assert all(started >= min(burst.claimed) for started in burst.started)

    def test_nothing_starts_before_its_time(self, measured: Results) -> None:
        assert [(each.name, each.how) for each in measured.delays] == [
            (DUCK, how) for how in ("thread", "loop", "process")
        ]
        for each in measured.delays:
            assert len(each.each_s) >= 1 and min(each.each_s) >= 0.0


@pytest.mark.parametrize("name", PEERS)
def test_another_scheduler_starts_its_jobs(name: str, tmp_path: Path) -> None:
    found = measure(SMALL, ["delays"], [name], tmp_path)
    if found.missing:
        pytest.skip(found.missing[name])
    assert not found.failed
    assert [each.how for each in found.delays] == list(PEERS[name].hows)
    assert all(len(each.each_s) >= 1 for each in found.delays)
    assert set(PEERS[name].distributions) <= found.versions.keys()


class TestResults:
    def results(self, delay_s: float = 0.005) -> Results:
        found = Results(versions={"duck-server": "1"})
        found.loads.append(Load(10_000, 3.0, 1.5, 1.2, 0.004, 30.0))
        found.bursts.append(Burst("loop", 3, [0.1, 0.2, 0.3], [0.2, 0.3, 0.4]))
        found.bursts.append(Burst("process", 3, [0.1, 0.2], [5.0, 6.0, 7.0]))
        found.delays.append(Delays(DUCK, "thread", [delay_s] * 60))
        found.delays.append(Delays("APScheduler", "thread", [9.0]))
        return found

    def test_all_bars_are_named(self) -> None:
        wanted = {each.what: each for each in self.results().wanted()}
        assert wanted["10,000 schedules loaded"].found == pytest.approx(1.5)
        assert wanted["3 due at once, loop: the last has started"].found == 0.4
        assert wanted["delay, thread: median"].found == pytest.approx(5.0)
        assert len(wanted) == 7
        assert all(each.is_met for name, each in wanted.items() if "process" not in name)

    def test_what_was_never_claimed_is_not_reached(self) -> None:
        wanted = {each.what: each for each in self.results().wanted()}
        assert not wanted["3 due at once, process: the last is claimed"].is_met

    def test_what_is_late_is_not_reached(self) -> None:
        wanted = {each.what: each.is_met for each in self.results(0.5).wanted()}
        assert not wanted["delay, thread: median"] and not wanted["delay, thread: 99th percentile"]

    def test_the_tables_say_it(self) -> None:
        found = self.results()
        found.missing["procrastinate"] = "postgres is not on this machine"
        text = table.markdown(found, {"Machine": "fast"})
        assert "- Machine: fast." in text
        assert "| 10,000 | 3.00 | 1.50 | 1.20 | 0.40 |" in text
        assert "| loop | 3 | 0.300 | 0.200 | 0.300 | 0.400 |" in text
        assert "| duck | thread | 5.0 | 5.0 | 5.0 to 5.0 | 60 |" in text
        assert "| delay, thread: median | 5.00 ms | 5.0 to 5.0 ms | at most 20 ms | yes |" in text
        assert "- procrastinate: postgres is not on this machine." in text

    def test_every_figure_is_kept_as_json(self) -> None:
        kept = json.loads(json.dumps(self.results().as_json()))
        assert kept["delays"][1]["each_s"] == [9.0]
        assert len(kept["wanted"]) == 7


def test_a_line_that_is_still_being_written_is_not_read(tmp_path: Path) -> None:
    assert read_marks(tmp_path / "none") == []
    (tmp_path / "marks").write_text("a 1.0 1.5\nb 2.0 2.")
    assert read_marks(tmp_path / "marks") == [Mark("a", 1.0, 1.5)]


def test_an_unknown_part_is_refused_with_the_known_ones() -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "automations", "delay"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=stacks.ROOT)
    assert done.returncode == 2
    assert "there is no part delay: choose from scale, burst, delays" in done.stderr

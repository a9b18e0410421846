"""The command `bench automations`."""

from __future__ import annotations

import argparse
import datetime
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from tests.benchmarks import report
from tests.benchmarks.automations import table
from tests.benchmarks.automations.celery_store import STORES
from tests.benchmarks.automations.delays import of_duck, of_peer
from tests.benchmarks.automations.faults import try_faults
from tests.benchmarks.automations.node import CALLS
from tests.benchmarks.automations.peers import PEERS
from tests.benchmarks.automations.results import DUCK, Results
from tests.benchmarks.automations.scale import burst, load_many
from tests.benchmarks.servers import Failed, Missing
from tests.benchmarks.stacks import ROOT, machine

PAGE: Final = ROOT / "docs" / "explanation" / "performance.md"
PARTS: Final = ("scale", "burst", "delays", "faults")


@dataclass(frozen=True)
class Plan:
    """How much is done.

    Attributes:
        schedules: that are loaded.
        idle_s: for how long nothing is due.
        jobs: due at one moment, and again after `period_s`.
        firings: of each scheduler; the first `warm_ups` find caches cold, and do not count.
        planned: times of each store, with faults.
    """

    schedules: int
    idle_s: float
    jobs: int
    period_s: int
    firings: int
    warm_ups: int
    planned: int = 300


WHOLE: Final = Plan(schedules=10_000, idle_s=30.0, jobs=500, period_s=30, firings=65, warm_ups=5)
SHORT: Final = Plan(schedules=1_000, idle_s=3.0, jobs=50, period_s=5, firings=8, warm_ups=3, planned=20)


def main(arguments: list[str], say: Callable[[str], None]) -> int:
    """Run it; 1 where a scheduler failed, else 0, whatever was reached."""
    chosen = _arguments(arguments)
    given = {"schedules": chosen.schedules, "idle_s": chosen.idle, "jobs": chosen.jobs, "firings": chosen.firings}
    given["planned"] = chosen.planned
    plan = replace(SHORT if chosen.short else WHOLE, **{name: value for name, value in given.items() if value})
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="duck-bench-") as directory:
        results = measure(plan, chosen.parts, chosen.stack, Path(directory), say, chosen.store)
    facts = {
        "Machine": machine(),
        "Day": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "Versions": ", ".join(f"{name} {said}" for name, said in results.versions.items()),
        "Load": f"{plan.schedules:,} schedules, {plan.idle_s:.0f} s idle; {plan.jobs} jobs due at once; "
        f"a job a second, {plan.firings} of each scheduler, the first {plan.warm_ups} not counted; "
        f"{plan.planned} planned times of each store with faults",
    }
    text = table.markdown(results, facts)
    say(f"\n{text}\nmeasured in {time.monotonic() - began:.0f} s")
    if chosen.json:
        chosen.json.write_text(json.dumps({"facts": facts, **results.as_json()}, indent=1, default=str) + "\n")
    if chosen.write_docs and not results.failed:
        report.write_into(PAGE, text, table.TABLE)
        say(f"the table is in {PAGE}")
    for name, failure in results.failed.items():
        say(f"failed: {name}: {failure}")
    return 1 if results.failed else 0


def measure(
    plan: Plan,
    parts: list[str],
    stacks: list[str],
    directory: Path,
    say: Callable[[str], None] = lambda text: None,
    stores: Sequence[str] = (),
) -> Results:
    """Those parts, of those schedulers and stores, or of all where none is named."""
    results = Results(versions=_versions("duck-server"))
    measures_duck = not stacks or DUCK in stacks
    if "scale" in parts and measures_duck:
        with _attempt("scale", results, say):
            results.loads.append(load_many(directory / "scale", plan.schedules, plan.idle_s))
            say(f"scale: {results.loads[-1]}")
    if "burst" in parts and measures_duck:
        for lane in CALLS:
            with _attempt(f"burst, {lane}", results, say):
                found = burst(directory / "burst", lane, plan.jobs, plan.period_s)
                results.bursts.append(found)
                say(f"burst: {lane}: claimed {max(found.claimed):.3f} s, started {max(found.started):.3f} s")
    if "delays" in parts:
        (directory / "delays").mkdir()
        if measures_duck:
            with _attempt(DUCK, results, say):
                results.delays += of_duck(directory / "delays", plan.firings, plan.warm_ups)
        for peer in PEERS.values():
            if not stacks or peer.name in stacks:
                with _attempt(peer.name, results, say):
                    results.versions |= _versions(*peer.distributions)
                    results.delays += of_peer(directory / "delays", peer, plan.firings, plan.warm_ups)
        for each in results.delays:
            say(f"delays: {each.name}, {each.how}: {each.median_ms:.1f} ms, 99th {each.percentile_ms:.1f} ms")
    if "faults" in parts and measures_duck:
        for name in stores or STORES:
            with _attempt(f"faults, {name}", results, say):
                outcome = results.faults[name] = try_faults(directory / f"faults-{name}", name, plan.planned)
                say(f"faults: {name}: {outcome}")
                if not outcome.is_right:
                    raise Failed(f"started twice {outcome.doubled}, without a row {outcome.lost}")
    return results


class _attempt:
    """What is missing or fails is named in the results."""

    def __init__(self, name: str, results: Results, say: Callable[[str], None]) -> None:
        self._name = name
        self._results = results
        self._say = say

    def __enter__(self) -> None:
        self._say(f"{self._name} ...")

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, Missing):
            self._results.missing[self._name] = str(error)
        elif isinstance(error, Failed):
            self._results.failed[self._name] = str(error)
        else:
            return False
        return True


def _versions(*names: str) -> dict[str, str]:
    try:
        return {name: version(name) for name in names}
    except PackageNotFoundError as absent:
        raise Missing(f"{absent.name} is not installed") from absent


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="manage_duck.py bench automations",
        description="Measure scheduled work: many schedules, many due at once, how late jobs start beside others, and"
        " whether each planned time is started once while nodes and stores fail.",
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all by default")
    parser.add_argument("--stack", action="append", default=[], metavar="NAME", help="only this one; repeatable")
    parser.add_argument("--store", action="append", default=[], choices=STORES, help="of the faults; repeatable")
    parser.add_argument("--short", action="store_true", help="a little of everything, in about three minutes")
    parser.add_argument("--schedules", type=int, help=f"how many are loaded ({WHOLE.schedules})")
    parser.add_argument("--idle", type=float, metavar="SECONDS", help=f"while nothing is due ({WHOLE.idle_s:.0f})")
    parser.add_argument("--jobs", type=int, help=f"due at one moment ({WHOLE.jobs})")
    parser.add_argument("--firings", type=int, help=f"of each scheduler ({WHOLE.firings})")
    parser.add_argument("--planned", type=int, help=f"times of each store with faults ({WHOLE.planned})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--write-docs", action="store_true", help=f"write the table into {PAGE.relative_to(ROOT)}")
    chosen = parser.parse_args(arguments)
    for name, known in (("part", PARTS), ("stack", (DUCK, *PEERS))):
        given = chosen.parts if name == "part" else chosen.stack
        unknown = [each for each in given if each not in known]
        if unknown:
            parser.error(f"there is no {name} {', '.join(unknown)}: choose from {', '.join(known)}")
    chosen.parts = chosen.parts or list(PARTS)
    return chosen

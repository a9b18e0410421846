"""The command `bench reload`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.benchmarks import report
from tests.benchmarks.reload import table
from tests.benchmarks.reload.bench import SHORT, WHOLE, Bench, Plan
from tests.benchmarks.reload.peers import PEERS
from tests.benchmarks.reload.sites import PLAIN, RECIPES, make_sites
from tests.benchmarks.servers import Missing
from tests.benchmarks.stacks import ROOT, machine
from tests.environments import NotInstalled

PAGE: Final = ROOT / "docs" / "explanation" / "performance.md"
PARTS: Final = ("edits", "idle", "load")


def main(arguments: list[str], say: Callable[[str], None]) -> int:
    """Run it; 1 where a server failed, else 0, whatever was reached."""
    chosen = _arguments(arguments)
    plan = _plan(chosen)
    began = time.monotonic()
    try:
        say("making the sites: the first time this takes minutes ...")
        projects = make_sites()
    except (Missing, NotInstalled) as why:
        say(f"failed: {why}")
        return 1
    peers = [peer for name, peer in PEERS.items() if not chosen.stack or name in chosen.stack]
    with contextlib.ExitStack() as cleanup:
        directory = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="duck-bench-")))
        bench = Bench(plan, projects, peers, directory, say)
        if "edits" in chosen.parts:
            for site in chosen.site or RECIPES:
                asyncio.run(bench.measure_edits(site))
        if "idle" in chosen.parts:
            for site in chosen.site or RECIPES:
                asyncio.run(bench.measure_idle(site))
        if "load" in chosen.parts:
            asyncio.run(bench.measure_load(PLAIN))
    results = bench.results
    facts = {
        "Machine": machine(),
        "Day": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "Versions": ", ".join(dict.fromkeys(each for said in results.versions.values() for each in said.split(", "))),
        "Edits": f"{plan.edits} rounds of a view and the URLconf with four servers, every third one with the others "
        "and of a template; by a rename and in place in turn",
        "Under load": f"the site of startproject, a request each 10 ms; {plan.reloads} reloads of Duck, "
        f"{plan.peer_reloads} of the others",
        "Idle": f"{plan.files:,} files more in each site, {plan.idle_s:.0f} s",
    }
    text = table.markdown(results, facts)
    say(f"\n{text}\nmeasured in {time.monotonic() - began:.0f} s")
    if chosen.json:
        chosen.json.write_text(json.dumps({"facts": facts, **results.as_json()}, indent=1) + "\n")
    if chosen.write_docs and not results.failed:
        report.write_into(PAGE, text, table.TABLE)
        say(f"the table is in {PAGE}")
    for name, failure in results.failed.items():
        say(f"failed: {name}: {failure.splitlines()[0]}")
    return 1 if results.failed else 0


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="manage_duck.py bench reload",
        description="Measure what a changed file costs with `duck runserver` and beside it with other servers.",
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all by default")
    parser.add_argument("--stack", action="append", default=[], metavar="NAME", help="only this one; repeatable")
    parser.add_argument("--site", action="append", default=[], choices=RECIPES, help="of edits and idle; repeatable")
    parser.add_argument("--short", action="store_true", help="a few of everything, in about three minutes")
    parser.add_argument("--edits", type=int, help=f"rounds on each site ({WHOLE.edits})")
    parser.add_argument("--reloads", type=int, help=f"under load ({WHOLE.reloads})")
    parser.add_argument("--peer-reloads", type=int, help=f"the same of other servers ({WHOLE.peer_reloads})")
    parser.add_argument("--idle", type=float, metavar="SECONDS", help=f"without a change ({WHOLE.idle_s:.0f})")
    parser.add_argument("--files", type=int, help=f"in the tree meanwhile ({WHOLE.files})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--write-docs", action="store_true", help=f"write the table into {PAGE.relative_to(ROOT)}")
    chosen = parser.parse_args(arguments)
    for name, known in (("part", PARTS), ("stack", PEERS)):
        given = chosen.parts if name == "part" else chosen.stack
        unknown = [each for each in given if each not in known]
        if unknown:
            parser.error(f"there is no {name} {', '.join(unknown)}: choose from {', '.join(known)}")
    chosen.parts = chosen.parts or list(PARTS)
    return chosen


def _plan(chosen: argparse.Namespace) -> Plan:
    given = {
        "edits": chosen.edits,
        "reloads": chosen.reloads,
        "peer_reloads": chosen.peer_reloads,
        "idle_s": chosen.idle,
        "files": chosen.files,
    }
    return replace(SHORT if chosen.short else WHOLE, **{name: value for name, value in given.items() if value})

"""`python -m tests.benchmarks`, which is `python3 manage_duck.py bench`."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from tests.benchmarks import faults, load, report, rows, secure, soak
from tests.benchmarks.automations import command as automations_command
from tests.benchmarks.compiling import compile_duck
from tests.benchmarks.measure import Outcome, measure
from tests.benchmarks.memory import raise_file_limit
from tests.benchmarks.project import make_site
from tests.benchmarks.reload import command as reload_command
from tests.benchmarks.rows import CONNECTIONS, IDLE_CONNECTIONS, Site
from tests.benchmarks.servers import Failed, Missing
from tests.benchmarks.stacks import ROOT, THREADS, RawBackend, machine

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ROWS = {**rows.ROWS, **secure.ROWS}
PAGE = ROOT / "docs" / "explanation" / "performance.md"


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        prog="manage_duck.py bench",
        description="Measure Duck beside its peers.",
        epilog="`bench soak` and `bench faults` put load on `duck serve` instead, `bench reload` edits projects,"
        " and `bench automations` has jobs run: see their own --help.",
    )
    names = ", ".join(ROWS)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"{names}; all by default")
    parser.add_argument("--stack", action="append", default=[], metavar="NAME", help="only this one; repeatable")
    parser.add_argument("--rounds", type=int, default=7, help="how often every stack is measured (7)")
    parser.add_argument("--seconds", type=int, default=3, help="how long a stack is measured at a time (3)")
    parser.add_argument("--access-log", choices=("off", "on", "both"), default="both", help="written or not (both)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--write-docs", action="store_true", help=f"write the tables into {PAGE.relative_to(ROOT)}")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.rows if name not in ROWS]
    if unknown:
        parser.error(f"there is no row {', '.join(unknown)}: choose from {names}")
    if chosen.rounds < 1 or chosen.seconds < 1:
        parser.error("--rounds and --seconds are 1 at least")
    return chosen


def main() -> int:
    """Measure, print, write; 1 when a server failed, else 0, whatever was reached."""
    end_in_order()
    if sys.argv[1:2] == ["soak"]:
        return soak.main(sys.argv[2:], say)
    if sys.argv[1:2] == ["faults"]:
        return faults.main(sys.argv[2:], say)
    if sys.argv[1:2] == ["reload"]:
        return reload_command.main(sys.argv[2:], say)
    if sys.argv[1:2] == ["automations"]:
        return automations_command.main(sys.argv[2:], say)
    chosen = arguments()
    asked = [ROWS[name] for name in chosen.rows or ROWS]
    wants_compiled = any("duck, compiled" in row.make for row in asked) and (
        not chosen.stack or "duck, compiled" in chosen.stack
    )
    logs = {"off": [False], "on": [True], "both": [False, True]}[chosen.access_log]
    started = time.monotonic()
    outcomes: list[Outcome] = []
    failures: list[str] = []
    with contextlib.ExitStack() as cleanup:
        directory = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="duck-bench-")))
        backend = RawBackend(directory)
        cleanup.callback(backend.stop)
        try:
            raise_file_limit(IDLE_CONNECTIONS + 256)
            backend.start()
            site = Site(directory, make_site(directory), backend, compiled(directory) if wants_compiled else None)
        except Failed as failed:
            say(str(failed))
            return 1
        for row in asked:
            for access_log in logs if row.load else [False]:
                outcome = measure(
                    row,
                    site,
                    rounds=chosen.rounds,
                    seconds=chosen.seconds,
                    access_log=access_log,
                    only=chosen.stack,
                    say=say,
                )
                outcomes.append(outcome)
                failures += [f"{row.name}: {name}: {why}" for name, why in outcome.failed.items()]
    facts = {
        "Machine": machine(),
        "Day": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "Versions": ", ".join(sorted({s.version for outcome in outcomes for s in outcome.stacks.values()})),
        "Load": f"{load.generator_name()}, {CONNECTIONS} connections, {chosen.rounds} rounds of {chosen.seconds} s; "
        f"Django servers with {THREADS} threads in each process; the hop's backend in {backend.kind}",
    }
    tables = {
        name: report.markdown([outcome for outcome in outcomes if outcome.row.table == name], facts)
        for name in dict.fromkeys(row.table for row in asked)
    }
    print("\n" + "\n".join(tables.values()) + f"\nmeasured in {time.monotonic() - started:.0f} s", flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(report.as_json(outcomes, facts), indent=1) + "\n")
    if chosen.write_docs and not failures:
        for name, text in tables.items():
            report.write_into(PAGE, text, name)
        say(f"the tables are in {PAGE}")
    for failure in failures:
        say(f"failed: {failure.splitlines()[0]}")
    return 1 if failures else 0


def end_in_order() -> None:
    """Have a signal end the servers that were started, and then this process; a further one changes nothing."""
    numbers = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]

    def end(number: int, frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        say("ending what was started ...")
        raise SystemExit(128 + number)

    for number in numbers:
        signal.signal(number, end)


def compiled(directory: Path) -> Path | None:
    """Duck as native modules, or None, saying why."""
    say("compiling Duck: this takes a minute ...")
    try:
        return compile_duck(directory)
    except (Missing, Failed) as reason:
        say(f"duck, compiled, is skipped: {reason}")
        return None


def say(sentence: str) -> None:
    """Progress, now."""
    print(sentence, flush=True)


if __name__ == "__main__":
    sys.exit(main())

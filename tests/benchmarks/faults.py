"""`bench faults`: a minute of steady load on `duck serve`, with reloads, and with processes killed."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.servers import Failed
from tests.load.attribution import Verdict
from tests.load.faults import Faults, Plan
from tests.load.project import make_project
from tests.load.served import Served


def main(arguments: list[str], say: Callable[[str], None]) -> int:
    """Run it; 0 where no request failed but those inside killed processes, and all is as it was before."""
    parser = argparse.ArgumentParser(
        prog="manage_duck.py bench faults",
        description="Put steady load on `duck serve`, reload it and kill its processes, and say of each failed request"
        " whether it was inside a killed process. The exit code is 1 where one was not.",
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--reloads", type=int, default=20, help="of the project (20)")
    parser.add_argument("--self-reloads", type=int, default=5, help="of Duck itself (5)")
    parser.add_argument("--django-every", type=float, default=3.0, metavar="SECONDS", help="between kills (3); 0: none")
    parser.add_argument("--front-every", type=float, default=5.0, metavar="SECONDS", help="between kills (5); 0: none")
    parser.add_argument("--workers", type=int, default=2, help="front processes (2)")
    parser.add_argument("--django-workers", type=int, default=2, help="Django processes (2)")
    chosen = parser.parse_args(arguments)
    plan = Plan(chosen.seconds, chosen.reloads, chosen.self_reloads, chosen.django_every, chosen.front_every)
    with contextlib.ExitStack() as cleanup:
        directory = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="duck-bench-")))
        served = Served(make_project(directory / "site"), workers=chosen.workers, django_workers=chosen.django_workers)
        cleanup.callback(served.stop)
        try:
            served.start()
            told = asyncio.run(Faults(served, plan, say).run())
        except Failed as failed:
            say(str(failed))
            return 1
        say(f"\n{told}")
        wrong = []
        if told.report.counts[Verdict.FAULT]:
            wrong.append(f"{told.report.counts[Verdict.FAULT]} requests failed that were inside no killed process")
        wrong += told.refused
        for name, wanted in (("duck reload", plan.reloads), ("duck reload --self", plan.self_reloads)):
            if len(told.commands.get(name, ())) < wanted:
                wrong.append(f"{name} was done {len(told.commands.get(name, ()))} times, not {wanted}")
        if told.after != told.before:
            wrong.append("processes or descriptors are not as before")
        for sentence in wrong:
            say(f"failed: {sentence}")
        return 1 if wrong else 0

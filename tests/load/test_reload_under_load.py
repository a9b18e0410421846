"""No request fails while processes are replaced, and none but those inside it when one is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.load.attribution import Role, Verdict
from tests.load.faults import Faults, Plan, Told
from tests.load.served import Served

pytestmark = pytest.mark.timeout(150)


# Half the load that the benchmarks have: it takes most of the processor, and hides no failure.
PAUSE = 2.0


@pytest.fixture(scope="module")
def served(shared_project: Path) -> Iterator[Served]:
    """One Duck for all: whatever is done to it, it has the same processes afterwards."""
    served = Served(shared_project)
    served.start()
    yield served
    served.stop()


def run(served: Served, plan: Plan) -> Told:
    told = asyncio.run(Faults(served, plan).run())
    assert told.report.counts[Verdict.SERVED] > 25 * plan.seconds, str(told)
    assert told.echoed > 3 * plan.seconds, str(told)
    return told


def test_reloads_alone_fail_nothing(served: Served) -> None:
    told = run(served, Plan(seconds=6, reloads=3, self_reloads=0, django_every_s=0, front_every_s=0, pause=PAUSE))
    assert told.refused == [], str(told)
    assert len(told.commands["duck reload"]) == 3
    assert not told.report.faults, str(told)
    assert told.report.counts[Verdict.SERVED] == told.report.total
    assert told.after == told.before
    # Of four generations of two the first and others after it: a busy machine asks the last ones little.
    assert len({outcome.pid for outcome in told.outcomes if outcome.target == "/pid"}) > 4


def test_a_reload_of_duck_itself_fails_nothing(served: Served) -> None:
    pid = served.pid
    told = run(served, Plan(seconds=5, reloads=0, self_reloads=1, django_every_s=0, front_every_s=0, pause=PAUSE))
    assert told.refused == [], str(told)
    assert len(told.commands["duck reload --self"]) == 1
    assert not told.report.faults, str(told)
    assert told.after == told.before
    assert [each["pid"] for each in served.processes() if each["role"] == "app"] == [pid]


def test_kills_and_reloads_at_once_fail_only_what_was_inside_a_killed_process(served: Served) -> None:
    plan = Plan(seconds=12, reloads=3, self_reloads=2, django_every_s=2.5, front_every_s=4.0, pause=PAUSE)
    told = run(served, plan)
    killed = [kill.role for kill in told.kills]
    assert killed.count(Role.DJANGO) >= 2, str(told)
    assert killed.count(Role.FRONT) >= 1, str(told)  # a busy machine takes longer over each
    assert told.during_reloads > 0, str(told)
    assert not told.report.faults, str(told)
    assert told.report.counts[Verdict.INSIDE] > 0, str(told)  # else nothing was shown
    assert told.refused == [], str(told)
    assert (len(told.commands["duck reload"]), len(told.commands["duck reload --self"])) == (3, 2), str(told)
    assert told.after == told.before, str(told)

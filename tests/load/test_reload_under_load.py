"""No request fails while processes are replaced, and none but those inside it when one is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.load.attribution import Role, Verdict
from tests.load.faults import Faults, Plan, Told
from tests.load.served import Served

Serve = Callable[..., Served]

pytestmark = pytest.mark.timeout(150)


def run(served: Served, plan: Plan) -> Told:
    told = asyncio.run(Faults(served, plan).run())
    assert told.report.counts[Verdict.SERVED] > 40 * plan.seconds, str(told)
    assert told.echoed > 5 * plan.seconds, str(told)
    return told


def test_reloads_alone_fail_nothing(serve: Serve) -> None:
    told = run(serve(), Plan(seconds=8, reloads=4, self_reloads=0, django_every_s=0, front_every_s=0))
    assert told.refused == [], str(told)
    assert len(told.commands["duck reload"]) == 4
    assert not told.report.faults, str(told)
    assert told.report.counts[Verdict.SERVED] == told.report.total
    assert told.after == told.before
    assert len({outcome.pid for outcome in told.outcomes if outcome.target == "/pid"}) >= 10  # 5 generations of 2


def test_reloads_of_duck_itself_fail_nothing(serve: Serve) -> None:
    served = serve()
    pid = served.pid
    told = run(served, Plan(seconds=8, reloads=0, self_reloads=2, django_every_s=0, front_every_s=0))
    assert told.refused == [], str(told)
    assert not told.report.faults, str(told)
    assert told.after == told.before
    assert [each["pid"] for each in served.processes() if each["role"] == "app"] == [pid]


def test_kills_and_reloads_at_once_fail_only_what_was_inside_a_killed_process(serve: Serve) -> None:
    told = run(serve(), Plan(seconds=20, reloads=6, self_reloads=2))
    killed = [kill.role for kill in told.kills]
    assert killed.count(Role.DJANGO) >= 4, str(told)
    assert killed.count(Role.FRONT) >= 2, str(told)  # a busy machine takes longer over each
    assert told.during_reloads > 0, str(told)
    assert not told.report.faults, str(told)
    assert told.report.counts[Verdict.INSIDE] > 0, str(told)  # else nothing was shown
    assert told.refused == [], str(told)
    assert (len(told.commands["duck reload"]), len(told.commands["duck reload --self"])) == (6, 2), str(told)
    assert told.after == told.before, str(told)

"""What users' tests are given: an automation run here and now."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from duck.automation import Automation, AutomationTrigger, NoTrigger, automation, condition, cron
from duck.automation.automation import MARK

seen: list[Any] = []


@automation(cron("30 2 * * *"), retry=2)
def nightly(ctx: Any) -> int:
    seen.append(ctx)
    if ctx.attempt < 3:
        raise KeyError(f"attempt {ctx.attempt}")
    return 42


@automation()
async def on_a_loop(ctx: Any) -> str:
    await asyncio.sleep(0)
    return f"{ctx.name} {ctx.event['pk']}"


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()


def run(of: Any, **facts: Any) -> Any:
    return of.run_for_test(**facts)


def test_it_runs_with_a_context_and_its_retries_without_a_wait() -> None:
    ran = run(nightly, scheduled_for="2026-05-01T02:30:00+02:00")
    assert (ran.result, ran.attempt, ran.succeeded) == (42, 3, True)
    assert [ctx.attempt for ctx in seen] == [1, 2, 3] and ran.contexts == seen
    assert {ctx.key for ctx in seen} == {"nightly:2026-05-01T00:30:00Z"}
    assert seen[0].scheduled_for == datetime(2026, 5, 1, 0, 30, tzinfo=UTC)


def test_a_try_may_be_named_and_what_it_is_told() -> None:
    ran = run(nightly, attempt=3, missed=4, key="k", event={"pk": 1})
    assert ran.attempt == 3
    assert (seen[0].missed, seen[0].key, seen[0].event) == (4, "k", {"pk": 1})


def test_what_the_last_try_has_raised_is_raised_or_kept() -> None:
    @automation(retry=1)
    def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run(fails)
    ran = run(fails, raises=False)
    assert (ran.attempt, str(ran.error), ran.succeeded) == (2, "no", False)


def test_a_coroutine_function_is_run_to_its_end() -> None:
    assert run(on_a_loop, event={"pk": 3}).result == "on_a_loop 3"

    async def within() -> None:
        with pytest.raises(RuntimeError, match="await it with a Context"):
            run(on_a_loop)

    asyncio.run(within())


def test_an_object_is_run_with_what_goes_before_and_after_it() -> None:
    class Report(Automation):
        def on_start(self) -> None:
            seen.append("start")

        def execute(self) -> str:
            return "done"

        def on_finish(self) -> None:
            seen.append("finish")

    assert Report().run_for_test().result == "done"
    assert seen == ["start", "finish"]


def test_an_object_may_have_its_work_awaited_and_hooks_around_each_run() -> None:
    class Report(Automation):
        def on_pre_execute(self) -> None:
            seen.append("before")

        async def execute(self) -> str:
            await asyncio.sleep(0)
            seen.append("work")
            return "done"

        def on_post_execute(self) -> None:
            seen.append("after")

        def on_finish(self) -> None:
            seen.append("finish")

    report = Report(threaded=False, async_=True)
    assert report.run_for_test().result == "done"
    assert seen == ["before", "work", "after", "finish"]
    assert report.report("jobs:report", "jobs.py")["table"]["run_in"] == "loop"

    async def fetch() -> None:
        raise ValueError("no")

    class Told(Automation):
        def on_error(self, error: BaseException) -> None:
            seen.append(str(error))

    told = Told(fetch, async_=True)
    with pytest.raises(ValueError, match="no"):
        told.run_for_test()
    assert seen[-1] == "no" and told.report("jobs:told", "jobs.py")["table"]["run_in"] == "loop"
    assert Automation(print, async_=True).report("jobs:it", "jobs.py")["table"]["run_in"] == "thread"


def test_an_object_may_be_called_by_several_words() -> None:
    report = Automation(lambda: None, "Weekly report (sales)")
    assert report.name == "Weekly report (sales)"
    told = report.report("jobs:report", "jobs.py")
    assert (told["name"], told["table"]["description"]) == ("Weekly-report-sales", "Weekly report (sales)")
    assert report.run_for_test().contexts[0].name == "Weekly-report-sales"


def test_triggers_have_a_place_of_their_own_and_a_name_for_people() -> None:
    from duck.automation import trigger

    assert trigger.NoTrigger is NoTrigger and trigger.AutomationTrigger is AutomationTrigger
    low = LowStock(name="low", description="Little is left.")
    assert (low.name, low.description) == ("low", "Little is left.")


def test_a_function_stays_what_it_was() -> None:
    class Ctx:
        attempt = 3

    assert nightly(Ctx()) == 42


def test_it_needs_nothing_but_the_standard_library(tmp_path: Path) -> None:
    """In an interpreter that has no package at all, as a project's may be without Duck's."""
    (tmp_path / "jobs.py").write_text(
        "from duck.automation import automation, every\n"
        "@automation(every('1h'))\n"
        "async def job(ctx): return ctx.name\n"
        "print(job.run_for_test().result)\n"
    )
    place = Path(__file__).resolve().parents[2]
    code = (
        f"import sys, types; package = types.ModuleType('duck'); package.__path__ = [{str(place / 'duck')!r}]; "
        "sys.modules['duck'] = package; exec(open('jobs.py').read())"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("job\n", "")


class LowStock(AutomationTrigger):
    def check_trigger(self) -> bool:
        return True


def test_a_condition_is_named_by_its_class() -> None:
    @automation(LowStock)
    def order() -> None: ...

    name = f"{__name__}:LowStock"
    assert getattr(order, MARK).trigger.table == {"on": "condition", "name": name}
    assert condition("shop.triggers.LowStock").table == {"on": "condition", "name": "shop.triggers.LowStock"}
    with pytest.raises(TypeError, match="give LowStock itself, or the dotted name"):
        condition(LowStock())  # type: ignore[arg-type]
    assert NoTrigger().check_trigger() is True

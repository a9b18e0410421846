"""New code that cannot serve: what ran serves on, and `duck reload` says why, in time. And an App that is killed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.alive import still_alive
from tests.load.attribution import Role
from tests.load.clients import Load
from tests.load.faults import settled
from tests.load.http1 import Request
from tests.load.outcome import End
from tests.load.project import LATER_MIGRATION
from tests.load.served import Done, Served

Serve = Callable[..., Served]

pytestmark = pytest.mark.timeout(240)

FAILING_CHECK = """

from django.core import checks

@checks.register()
def complain(app_configs, **kwargs):
    return [checks.Error("the colour is wrong", id="things.E001")]
"""


@pytest.fixture(scope="module")
def running(shared_project: Path) -> Iterator[Served]:
    served = Served(shared_project, variables={"DUCK_DJANGO_SERVER_WAIT_TIME": "60"})
    served.start()
    yield served
    served.stop()


@pytest.fixture
def served(running: Served, shared_project: Path) -> Iterator[Served]:
    """One Duck for all that reload it; what a test spoils of the project is as before after it."""
    before = {path: path.read_bytes() for path in shared_project.rglob("*.py")}
    yield running
    for path in shared_project.rglob("*.py"):
        if path not in before:
            path.unlink()
    for path, content in before.items():
        path.write_bytes(content)


@contextlib.asynccontextmanager
async def asked_meanwhile(served: Served) -> AsyncIterator[Load]:
    """All that is asked within is answered, and nothing waits longer than the reload lasts."""
    load = Load(served.port)
    for kept in (True, False):
        load.add(load.keep_asking(lambda: Request("GET", "/pid"), every_s=0.02, kept=kept))
    yield load
    await load.stop()
    load.check()
    failed = [outcome for outcome in load.outcomes if outcome.end is not End.OK]
    assert not failed, "\n".join(map(str, failed[:10]))
    assert load.outcomes


def reload(served: Served) -> tuple[Done, Load]:
    async def run() -> tuple[Done, Load]:
        async with asked_meanwhile(served) as load:
            return await served.command("reload"), load

    return asyncio.run(run())


def break_import(project: Path) -> None:
    (project / "site1" / "version.py").write_text("import not_there\n")


def break_syntax(project: Path) -> None:
    (project / "site1" / "version.py").write_text("VERSION = (\n")


def hang_at_import(project: Path) -> None:
    (project / "site1" / "version.py").write_text("import time\ntime.sleep(600)\n")


def end_at_import(project: Path) -> None:
    (project / "site1" / "version.py").write_text("import os\nos._exit(7)\n")


def fail_a_check(project: Path) -> None:
    with (project / "things" / "models.py").open("a") as models:
        models.write(FAILING_CHECK)


def lack_a_migration(project: Path) -> None:
    (project / "things" / "migrations" / "0002_size.py").write_text(LATER_MIGRATION)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (break_import, "not_there"),
        (break_syntax, "SyntaxError"),
        (end_at_import, "7"),
        (fail_a_check, "the colour is wrong"),
        (lack_a_migration, "0002_size"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_the_old_generation_serves_on_and_the_command_says_why(
    served: Served, shared_project: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    serves_on(served, shared_project, spoil, reason)


def test_the_old_generation_serves_on_where_the_new_one_hangs(serve: Serve, project: Path) -> None:
    # Of its own, for a busy machine may take longer to come to what is wrong than one should wait for what hangs.
    served = serve(variables={"DUCK_DJANGO_SERVER_WAIT_TIME": "4"})
    serves_on(served, project, hang_at_import, "not ready in 4 s")


def serves_on(served: Served, project: Path, spoil: Callable[[Path], None], reason: str) -> None:
    before = asyncio.run(settled(served))
    django = set(served.pids(Role.DJANGO))
    spoil(project)
    done, load = reload(served)
    assert done.status == 1, done.text
    assert reason in done.text
    assert done.taken_s < 12
    slowest = max(load.outcomes, key=lambda outcome: outcome.taken_s)
    assert slowest.taken_s < 3.0, str(slowest)  # nothing was held meanwhile
    assert set(load.pids()) <= django
    served.wait_until(lambda: served.census() == before, f"again {before}")
    assert set(served.pids(Role.DJANGO)) == django


def test_mended_code_is_taken_over_after_one_that_failed(served: Served, shared_project: Path) -> None:
    django = set(served.pids(Role.DJANGO))
    break_import(shared_project)
    assert reload(served)[0].status == 1
    (shared_project / "site1" / "version.py").write_text('VERSION = "two"\n')
    done, load = reload(served)
    assert done.status == 0, done.text
    served.wait_until(lambda: not django & set(served.pids(Role.DJANGO)), "served by new processes alone")
    assert set(load.pids()) - django or served.pids(Role.DJANGO)


def test_sighup_reloads(served: Served) -> None:
    django = set(served.pids(Role.DJANGO))
    psutil.Process(served.pid).send_signal(signal.SIGHUP)
    served.wait_until(lambda: served.pids(Role.DJANGO) and not django & set(served.pids(Role.DJANGO)), "reloaded")


def test_a_killed_app_leaves_nothing_after_two_seconds_and_the_next_start_works_at_once(serve: Serve) -> None:
    served = serve()
    children = [process for process in served.family() if process.pid != served.pid]
    assert len(children) >= 4
    began = time.monotonic()
    served.kill()
    alive = still_alive(children, 2.0)
    assert alive == [], f"left after {time.monotonic() - began:.1f} s: {alive}"
    served.start()  # on the same port, in the same run directory
    assert set(served.pids(Role.DJANGO)).isdisjoint(child.pid for child in children)

    async def spin() -> None:
        """Nor where its views spin."""
        load = Load(served.port)
        for _ in range(4):
            load.add(load.keep_asking(lambda: Request("GET", "/spin?s=60"), every_s=0))
        try:
            await asyncio.sleep(0.5)
            children = [process for process in served.family() if process.pid != served.pid]
            served.kill()
            alive = await asyncio.to_thread(still_alive, children, 2.0)
            assert alive == []
        finally:
            await load.abandon()

    asyncio.run(spin())


def test_a_stop_finishes_what_runs_and_leaves_nothing(serve: Serve) -> None:
    served = serve()
    children = [process for process in served.family() if process.pid != served.pid]

    async def run() -> None:
        load = Load(served.port)
        names = itertools.cycle(["GET", "POST"])

        def make() -> Request:
            method = next(names)
            return Request(method, "/sleep?s=1", body=b"" if method == "POST" else None)

        for _ in range(4):
            load.add(load.keep_asking(make, every_s=60))
        await asyncio.sleep(0.5)
        done = await served.command("stop")
        assert done.status == 0, done.text
        await load.abandon()
        assert [outcome.end for outcome in load.outcomes] == [End.OK] * 4

    asyncio.run(run())
    assert not still_alive(children, 2.0)

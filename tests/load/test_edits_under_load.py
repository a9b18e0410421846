"""`duck runserver` while its project is edited: each edit is seen, no request fails, and nothing is left behind.

The short form of `manage_duck.py bench reload`; how long an edit takes is asserted there, not here.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks.reload import sites
from tests.benchmarks.reload.edits import KINDS
from tests.benchmarks.reload.loaded import reload_under_load
from tests.benchmarks.reload.peers import DUCK, PEERS, Place, Running
from tests.benchmarks.reload.waiting import edit

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def duck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A Duck before a site of `startproject`."""
    made = sites.make_plain(tmp_path_factory.mktemp("made") / "site")
    # A short path, as a run directory has: a longer one leaves no room for the names of sockets.
    with tempfile.TemporaryDirectory(prefix="duck-", dir="/tmp") as private:
        directory = Path(private)
        running = Running(PEERS[DUCK], Place(sites.copy(made, directory / "site"), sys.executable, directory))
        running.start()
        yield running
        running.stop()
        assert running.processes() == []


def test_edits_of_every_kind_are_seen(duck: Running) -> None:
    async def each() -> None:
        for kind in KINDS * 2:  # in place, and by a rename
            found = await edit(duck, kind)
            assert found.took_s is not None, f"{kind}, in place: {found.in_place}\n{duck.server.output()}"
            assert found.failed == 0, f"{kind}, in place: {found.in_place}\n{duck.server.output()}"

    asyncio.run(each())


def test_reloads_under_load_fail_nothing_and_leave_nothing(duck: Running) -> None:
    found = asyncio.run(reload_under_load(duck, 4, warm_up=1))
    assert found.missed == 0, f"{found}\n{duck.server.output()}"
    assert found.failures == 0, f"{found}\n{duck.server.output()}"
    assert found.stale == 0, str(found)
    assert found.asked > 100, str(found)
    assert found.after.processes <= found.before.processes, str(found)
    # The pool may keep some connections more, each with two ends.
    assert found.after.descriptors <= found.before.descriptors + 16, str(found)

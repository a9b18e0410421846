"""The background loop and pool."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from duck.services.background import BackgroundWorkers


@pytest.fixture
def workers() -> Iterator[BackgroundWorkers]:
    workers = BackgroundWorkers(threads=2)
    yield workers
    workers.stop()


def test_coroutines_run_on_a_thread_of_their_own(workers: BackgroundWorkers) -> None:
    async def where() -> str:
        return threading.current_thread().name

    workers.loop.start()
    workers.loop.start()
    assert workers.loop.submit(where()).result(5) == "duck-background"


def test_what_still_runs_is_cancelled_at_the_end(workers: BackgroundWorkers) -> None:
    began = threading.Event()

    async def for_ever() -> None:
        began.set()
        await asyncio.sleep(60)

    workers.loop.start()
    future = workers.loop.submit(for_ever())
    assert began.wait(5)
    workers.stop()
    assert future.cancelled()
    assert not workers.loop.running


def test_without_a_loop_a_coroutine_is_refused(workers: BackgroundWorkers) -> None:
    async def nothing() -> None: ...

    with pytest.raises(RuntimeError, match="start_background_workers"):
        workers.loop.submit(nothing())


def test_the_last_future_of_each_name_is_kept(workers: BackgroundWorkers) -> None:
    assert workers.submit("one", lambda: 1).result(5) == 1
    with pytest.raises(ZeroDivisionError):
        workers.submit("two", lambda: 1 // 0).result(5)
    assert set(workers.futures) == {"one", "two"}

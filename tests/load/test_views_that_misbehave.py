"""What a view does to its own thread stays there; slow clients take no thread; a full queue says so in time."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.load.attribution import Role
from tests.load.clients import Load, percentile
from tests.load.http1 import Connection, Request, ask, connect
from tests.load.outcome import End, Outcome
from tests.load.served import Served

Serve = Callable[..., Served]

pytestmark = pytest.mark.timeout(120)

THREADS = 3
SLOW_CLIENTS = 200
SLOW_BYTES_S = 1024
PID = Request("GET", "/pid")


async def once(served: Served, request: Request, *, deadline_s: float = 30.0) -> Outcome:
    """One request on a connection of its own."""
    outcome = Outcome(f"once-{time.monotonic_ns()}", request.method, request.target, time.monotonic())
    connection = await connect(served.port, outcome, deadline_s)
    if connection is not None:
        await ask(connection, request, outcome, deadline_s)
        await connection.close()
    return outcome


async def others_are_served(served: Served, busy: list[Request], *, within_s: float) -> list[Outcome]:
    """While views are `busy`, all but one thread of the process, others are answered; what came of the busy ones."""
    tasks = [asyncio.create_task(once(served, request)) for request in busy]
    await asyncio.sleep(0.3)
    taken = []
    for _ in range(20):
        outcome = await once(served, PID)
        assert outcome.end is End.OK, str(outcome)
        taken.append(outcome.taken_s)
    assert not any(task.done() for task in tasks)  # they were busy all the time
    assert max(taken) < within_s, taken
    return await asyncio.gather(*tasks)


@pytest.fixture(scope="module")
def served(shared_project: Path) -> Iterator[Served]:
    """One process of few threads: whatever its views do, it serves the next test."""
    served = Served(shared_project, workers=1, django_workers=1, threads=THREADS)
    served.start()
    yield served
    served.stop()


def test_views_that_sleep_hold_their_own_threads_only(served: Served) -> None:
    busy = [Request("GET", "/sleep?s=3")] * (THREADS - 1)
    done = asyncio.run(others_are_served(served, busy, within_s=0.5))
    assert [each.end for each in done] == [End.OK] * len(busy)


def test_views_that_spin_leave_others_the_interpreter_in_turn(served: Served) -> None:
    pids = served.pids(Role.DJANGO)
    busy = [Request("GET", "/spin?s=4")] * (THREADS - 1)
    done = asyncio.run(others_are_served(served, busy, within_s=2.0))
    assert served.pids(Role.DJANGO) == pids  # that it is busy is no reason to replace it
    assert [each.end for each in done] == [End.OK] * len(busy)


def test_all_views_asleep_make_others_wait_and_no_longer(served: Served) -> None:
    async def run() -> None:
        busy = [asyncio.create_task(once(served, Request("GET", "/sleep?s=1.5"))) for _ in range(THREADS)]
        await asyncio.sleep(0.3)
        waited = await once(served, PID)
        assert waited.end is End.OK
        assert 0.5 < waited.taken_s < 2.5
        assert [(await task).end for task in busy] == [End.OK] * THREADS

    asyncio.run(run())


def test_a_view_that_leaks_is_answered_and_its_memory_is_seen(served: Served) -> None:
    def memory() -> int:
        return max(int(each["memory_bytes"]) for each in served.processes() if each["role"] == "django pages")

    async def run() -> None:
        before = await asyncio.to_thread(memory)
        for _ in range(4):
            assert (await once(served, Request("GET", "/leak?mb=10"))).end is End.OK
        assert await asyncio.to_thread(memory) - before > 30 << 20
        assert (await once(served, PID)).end is End.OK

    asyncio.run(run())


@pytest.mark.parametrize("chunked", [False, True], ids=["counted", "chunked"])
def test_a_view_that_never_reads_its_body_frees_its_thread_and_the_connection(served: Served, chunked: bool) -> None:
    async def run() -> None:
        outcome = Outcome("open", "POST", "/noread", time.monotonic())
        connection = await connect(served.port, outcome, 10)
        assert connection is not None
        for number in range(THREADS * 3):
            outcome = Outcome(f"body-{number}", "POST", "/noread", time.monotonic())
            await ask(connection, Request("POST", "/noread", body=bytes(3 << 20), chunked=chunked), outcome, 20)
            assert outcome.end is End.OK, str(outcome)
        after = Outcome("after", "GET", "/pid", time.monotonic())
        await ask(connection, PID, after, 5)  # on the same connection: no byte of a body is taken for a request
        assert after.end is End.OK, str(after)
        await connection.close()

    asyncio.run(run())


def test_a_client_that_stops_within_its_body_takes_no_thread(served: Served) -> None:
    async def run() -> None:
        stuck = []
        for number in range(THREADS * 4):
            outcome = Outcome(f"stuck-{number}", "POST", "/echo", time.monotonic())
            connection = await Connection.open(served.port)
            half = Request("POST", "/echo", fields=[("Content-Length", "100000")])
            await connection.send(half, outcome)
            stuck.append(connection)
        for _ in range(10):
            outcome = await once(served, PID)
            assert outcome.end is End.OK, str(outcome)
            assert outcome.taken_s < 0.5
        for connection in stuck:
            await connection.close()

    asyncio.run(run())


# -- slow clients -----------------------------------------------------------------------------------------------------


def p99_s(outcomes: list[Outcome]) -> float:
    assert len(outcomes) > 150
    failed = [outcome for outcome in outcomes if outcome.end is not End.OK]
    assert not failed, "\n".join(map(str, failed[:10]))
    return percentile([outcome.taken_s for outcome in outcomes], 0.99)


async def measure(served: Served, for_s: float) -> float:
    """The p99 of four brisk clients."""
    load = Load(served.port)
    for kept in (True, True, False, False):
        load.add(load.keep_asking(lambda: PID, every_s=0.01, kept=kept))
    await asyncio.sleep(for_s)
    await load.stop()
    load.check()
    return p99_s(load.outcomes)


async def start_slow(served: Served) -> Load:
    """Half of them send a body at 1 KB/s, half read an answer of 1 MiB at 1 KB/s."""
    slow = Load(served.port, deadline_s=120)
    send = Request("POST", "/echo", body=bytes(64 << 10), piece_bytes=256, pause_s=256 / SLOW_BYTES_S)
    read = Request("GET", "/big?mb=1", read_bytes_s=SLOW_BYTES_S)
    for _ in range(SLOW_CLIENTS // 2):
        slow.add(slow.keep_asking(lambda: send, every_s=0))
        slow.add(slow.keep_asking(lambda: read, every_s=0, receive_buffer=4096))
        await asyncio.sleep(0.005)
    return slow


def test_200_slow_clients_leave_the_p99_of_others_within_twice_its_value(serve: Serve) -> None:
    served = serve(workers=1, django_workers=1, threads=4)

    async def run() -> tuple[list[float], list[float]]:
        await measure(served, 1.0)
        alone, beside_slow = [], []
        for _ in range(3):
            alone.append(await measure(served, 2.0))
            slow = await start_slow(served)
            await asyncio.sleep(1.0)
            beside_slow.append(await measure(served, 2.0))
            slow.check()
            assert not slow.outcomes  # none has come to its end
            status = await asyncio.to_thread(served.status)
            assert status["front"]["connections"] >= SLOW_CLIENTS
            await slow.abandon()
        alone.append(await measure(served, 2.0))
        return alone, beside_slow

    alone, beside_slow = asyncio.run(run())
    # What else the machine does is in each of them, and in the middle one least.
    assert statistics.median(beside_slow) <= 2 * statistics.median(alone), (alone, beside_slow)


# -- a full queue -----------------------------------------------------------------------------------------------------


def test_a_full_queue_answers_503_at_once_and_a_long_wait_in_time(serve: Serve) -> None:
    variables = {"DUCK_MAX_QUEUE": "4", "DUCK_QUEUE_TIMEOUT": "2"}
    served = serve(workers=1, django_workers=1, threads=THREADS, variables=variables)

    async def run() -> None:
        busy = [asyncio.create_task(once(served, Request("POST", "/sleep?s=5", body=b""))) for _ in range(THREADS)]
        await asyncio.sleep(0.3)
        queued = [asyncio.create_task(once(served, PID)) for _ in range(4)]
        await asyncio.sleep(0.2)
        refused = await once(served, PID)
        assert (refused.end, refused.status) == (End.STATUS, 503), str(refused)
        assert refused.taken_s < 0.5
        assert int(refused.retry_after) > 0
        for task in queued:
            waited = await task
            assert (waited.end, waited.status) == (End.STATUS, 503), str(waited)
            assert int(waited.retry_after) > 0
            assert 1.5 < waited.taken_s < 4.0
        assert [(await task).end for task in busy] == [End.OK] * THREADS
        assert (await once(served, PID)).end is End.OK

    asyncio.run(run())

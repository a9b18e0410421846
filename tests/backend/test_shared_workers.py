"""Two fronts before one Django worker, each with its pools, under loads that differ."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from duck.net.worker import new_loop
from duck.proxy.upstream import Upstream
from tests.backend.conftest import BARE, VIEWS, change_project
from tests.backend.link_client import Worker
from tests.net.front import get
from tests.proxy.conftest import Front, wait
from tests.waiting import DEADLINE_S

NAP_S = 0.2
NAP = f"""
def nap(request):
    time.sleep({NAP_S})
    return HttpResponse("rested")

def take(request):
    return HttpResponse(request.body)

take.csrf_exempt = True
urlpatterns += [path("nap", nap), path("take", take)]
"""


class Pair:
    """Two fronts on a worker with so many threads."""

    def __init__(self, upstream: Upstream) -> None:
        self.threads = upstream.slots
        self.ended = threading.Event()
        self.fronts = [Front(new_loop), Front(new_loop)]  # type: ignore[no-untyped-call]
        for front in self.fronts:
            front.switch(upstream)  # type: ignore[no-untyped-call]

    def at_once(self, number: int, target: str, count: int) -> float:
        """How long so many requests take that come together to front `number`, in seconds."""
        clients = [self.fronts[number].connect() for _ in range(count)]  # type: ignore[no-untyped-call]
        began = time.monotonic()
        for client in clients:
            client.sendall(get(target))  # type: ignore[no-untyped-call]
        for client in clients:
            assert client.answer().status == 200
        return time.monotonic() - began

    def load(self, number: int, clients: int, enough: int, pause_s: float = 0.0) -> tuple[int, float]:
        """Requests of so many clients that ask again when they were answered: how many, and the longest wait.

        They go on until one front has been answered `enough` times, or the deadline.
        """
        longest: list[float] = []

        def ask() -> None:
            client = self.fronts[number].connect()  # type: ignore[no-untyped-call]
            worst, end = 0.0, time.monotonic() + DEADLINE_S
            while not self.ended.is_set() and time.monotonic() < end:
                began = time.monotonic()
                assert client.ask(get("/hello")).body == b"hello"  # type: ignore[no-untyped-call]
                worst = max(worst, time.monotonic() - began)
                answered.append(worst)
                if len(answered) >= enough:
                    self.ended.set()
                time.sleep(pause_s)
            longest.append(worst)

        answered: list[float] = []
        threads = [threading.Thread(target=ask) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(longest) == clients
        return len(answered), max(longest)

    def close(self) -> None:
        for front in self.fronts:
            front.close()  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module", params=[1, 2, 4])
def upstream(
    stock_project: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Upstream]:
    """One worker with so many threads for all tests; each has fronts of its own."""
    directory = tmp_path_factory.mktemp("shared") / "project"
    shutil.copytree(stock_project, directory)
    change_project(directory, VIEWS + NAP, "ALLOWED_HOSTS = ['*']\n" + BARE)
    sockets = Path(tempfile.mkdtemp(prefix="duck-"))
    with Worker(directory, sockets, threads=request.param) as worker:
        worker.wait_ready()
        yield Upstream("link", worker.ready["address"], request.param, "worker")
    shutil.rmtree(sockets)


@pytest.fixture
def pair(upstream: Upstream) -> Iterator[Pair]:
    pair = Pair(upstream)
    yield pair
    pair.close()


def together(*calls: Callable[[], object]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_slots_that_one_front_has_kept_serve_the_other(pair: Pair) -> None:
    pair.at_once(0, "/nap", pair.threads)
    assert len(pair.fronts[0].pool.idle) == pair.threads  # type: ignore[attr-defined]
    for front in (1, 0, 1):
        # All threads are at work for it, milliseconds after it asked.
        assert pair.at_once(front, "/nap", pair.threads) < 1.75 * NAP_S


def test_two_fronts_that_always_ask_get_the_same(pair: Pair) -> None:
    results: dict[int, tuple[int, float]] = {}

    def load(number: int) -> None:
        results[number] = pair.load(number, 8, 200)

    together(lambda: load(0), lambda: load(1))
    counts = [results[number][0] for number in range(2)]
    assert min(counts) > 0.4 * max(counts), results
    assert max(longest for _, longest in results.values()) < 1.0, results


def test_a_front_that_asks_now_and_then_is_served_beside_one_that_always_asks(pair: Pair) -> None:
    results: dict[int, tuple[int, float]] = {}

    def load(number: int, clients: int, pause_s: float) -> None:
        results[number] = pair.load(number, clients, 15 if pause_s else 1_000_000, pause_s)

    together(lambda: load(0, 8, 0.0), lambda: load(1, 1, 0.02))
    assert results[1][0] == 15, results
    assert results[1][1] < 0.5, results


def test_what_a_front_had_that_ends_serves_the_other(pair: Pair) -> None:
    front = pair.fronts[0]
    clients = [front.connect() for _ in range(2 * pair.threads)]  # type: ignore[no-untyped-call]
    for client in clients:
        client.sendall(get("/nap"))  # type: ignore[no-untyped-call]
    pool = front.pool
    wait(lambda: pool.busy == pair.threads)  # type: ignore[no-untyped-call]
    front.call(front.site.close)  # type: ignore[no-untyped-call, attr-defined]
    front.call(front.worker.server.cut)  # type: ignore[no-untyped-call, union-attr]
    # Views that run go on to their end.
    assert pair.at_once(1, "/nap", pair.threads) < 2.75 * NAP_S
    wait(lambda: not pool.open)  # type: ignore[no-untyped-call]


def test_a_front_that_is_stuck_keeps_no_slot_from_the_other_and_loses_no_request(pair: Pair) -> None:
    stuck = pair.fronts[0]
    pair.at_once(0, "/nap", pair.threads)
    assert len(stuck.pool.idle) == pair.threads  # type: ignore[attr-defined]
    client = stuck.connect()  # type: ignore[no-untyped-call]
    assert client.ask(get("/hello")).body == b"hello"
    awake = threading.Event()
    stuck.worker.post(lambda: awake.wait(20))  # type: ignore[attr-defined]
    try:
        # What it may repeat, and what it may not, wait for its loop with the news that its slots were taken.
        client.sendall(b"POST /take HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi")
        assert pair.at_once(1, "/nap", pair.threads) < 4.0
    finally:
        awake.set()
    assert client.answer().body == b"hi"
    # At the end both are served as before.
    for front in (0, 1):
        pair.at_once(front, "/nap", pair.threads)

"""Several fronts before several Django processes: each keeps to its own where all are busy."""

import itertools
import threading
import time

import pytest

from duck.proxy.backends import own_share
from duck.wire import link
from tests.net.front import get
from tests.proxy.conftest import wait


@pytest.mark.parametrize("fronts", range(1, 6))
@pytest.mark.parametrize("count", range(8))
def test_every_process_is_somebodys_and_every_front_has_one(count, fronts):
    shares = [own_share(count, index, fronts) for index in range(fronts)]
    assert set(itertools.chain(*shares)) == set(range(count))
    if count:
        assert all(shares)
    if count >= fronts:
        assert sorted(itertools.chain(*shares)) == list(range(count))


class Process:
    """Answers with its name; its views have computed since `busy_since`, for whomever."""

    def __init__(self, name):
        self.name = name
        self.busy_since = None
        self.asked = 0
        self.go_on = threading.Event()

    def __call__(self, slot, items, fields, body):
        self.asked += 1
        if items["target"].startswith("/wait"):
            self.go_on.wait(20)
        computed = 0.0 if self.busy_since is None else time.monotonic() - self.busy_since
        head = link.head_frame(200, b"OK", b"", len(self.name), self.name, complete=True)
        slot.send(head + link.free_frame(round(computed * 1e6)))


@pytest.fixture
def two(make_front, link_backend):
    """The second of two fronts, and its own process beside that of the first, of one slot each."""
    front = make_front(share=(1, 2))
    other, own = Process(b"other"), Process(b"own")
    front.switch(*(link_backend(process).upstream(slots=1, name=process.name.decode()) for process in (other, own)))
    return front, other, own


def test_with_nothing_to_do_a_front_asks_its_own_process(two):
    front, _, _ = two
    client = front.connect()
    assert {client.ask(get("/")).body for _ in range(20)} == {b"own"}


def test_a_process_with_time_to_spare_is_anybodys(two):
    front, _, own = two
    first = front.connect()
    first.sendall(get("/wait"))
    wait(lambda: own.asked)
    client = front.connect()
    assert {client.ask(get("/")).body for _ in range(20)} == {b"other"}
    own.go_on.set()
    assert first.answer().body == b"own"


def test_a_process_that_others_keep_busy_is_left_to_them_where_ones_own_is_short_of_nothing(two):
    front, other, own = two
    other.busy_since = time.monotonic()
    waiting, client = front.connect(), front.connect()
    waiting.sendall(get("/wait"))
    wait(lambda: own.asked)
    while not front.call(lambda: front.site.proxy.backends.pages[0].turns.utilisation.is_full(time.monotonic())):
        assert client.ask(get("/")).body == b"other"  # which finds out that it is busy
    front.call(lambda: setattr(front.site.proxy.backends.pages[1].turns.pace, "narrow", True))
    picked = front.call(lambda: front.site.proxy.backends.pick_page().upstream.name)
    assert picked == "own"
    # Views that only wait are no reason to queue behind them.
    front.call(lambda: setattr(front.site.proxy.backends.pages[1].turns.pace, "narrow", False))
    picked = front.call(lambda: front.site.proxy.backends.pick_page().upstream.name)
    assert picked == "other"
    own.go_on.set()
    assert waiting.answer().body == b"own"


def test_a_busy_process_takes_over_from_one_that_died(two):
    front, other, _ = two
    other.busy_since = time.monotonic()
    for _ in range(20):
        front.call(lambda: front.site.proxy.backends.pages[1].shun())  # which is for a moment
        assert front.ask(get("/")).body == b"other"

"""A worker's slots in narrow pace: one call at a time, and none that waits for a slow one."""

import statistics
import threading
import time

from duck.proxy.pace import IDLE_S
from duck.wire import link
from tests.net.front import get
from tests.proxy.conftest import wait

SLOTS = 4


class Views:
    """Answers at once, but for targets that begin with `/slow`, and counts who is at work at the same time."""

    def __init__(self):
        self.at_work = 0
        self.counts = []  # of those at work, as each begins
        self.all_us = 0
        self.go_on = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, slot, items, fields, body):
        with self._lock:
            self.at_work += 1
            self.counts.append(self.at_work)
        if items["target"].startswith("/slow"):
            self.go_on.wait(20)
        else:
            time.sleep(0.001)
        with self._lock:
            self.at_work -= 1
        body = items["target"].encode()
        slot.head(body, length=len(body), complete=True)
        with self._lock:
            self.all_us += 1_000_000  # all of the time was computed, however slow this machine is
        slot.send(link.free_frame(self.all_us))


def test_in_narrow_pace_one_call_follows_the_other(front, link_backend):
    views = Views()
    front.switch(link_backend(views).upstream(slots=SLOTS))
    clients = [front.connect() for _ in range(SLOTS)]
    assert clients[0].ask(get("/")).body == b"/"
    wait(lambda: front.pool.idle)  # a first call's end would make it wide
    longest = IDLE_S
    while longest >= IDLE_S:  # a busy machine may pause for so long that the pace has to begin anew
        front.pace.narrow = True
        views.counts.clear()
        before, longest = time.monotonic(), 0.0
        for number in range(20):
            for client in clients:
                client.sendall(get(f"/{number}"))
            assert [client.answer().body for client in clients] == [b"/%d" % number] * SLOTS
            now = time.monotonic()
            before, longest = now, max(longest, now - before)
    assert front.pace.narrow
    # A call that a busy machine made slow has had another beside it; in wide pace each but the first would.
    assert statistics.median(views.counts) == 1


def test_a_slow_call_holds_nobody_up_in_narrow_pace(front, link_backend):
    views = Views()
    front.switch(link_backend(views).upstream(slots=SLOTS))
    front.pace.narrow = True
    slow = [front.connect() for _ in range(SLOTS - 1)]
    for number, client in enumerate(slow):
        client.sendall(get(f"/slow/{number}"))
    quick = front.connect()
    assert [quick.ask(get("/quick")).body for _ in range(3)] == [b"/quick"] * 3
    assert views.at_work == SLOTS - 1
    views.go_on.set()
    assert [client.answer().body for client in slow] == [b"/slow/%d" % number for number in range(SLOTS - 1)]
    wait(lambda: len(front.pool.idle) == len(front.pool.open))


def test_a_worker_that_dies_in_narrow_pace_holds_nobody_up(front, link_backend):
    def die(slot, items, fields, body):
        if items["target"] == "/die":
            slot.close()
        else:
            slot.answer(b"alive")

    front.switch(link_backend(die).upstream(slots=SLOTS))
    front.pace.narrow = True
    first, second = front.connect(), front.connect()
    first.sendall(get("/die", method="POST"))
    second.sendall(get("/"))
    assert (first.answer().status, second.answer().body) == (502, b"alive")


def test_those_who_wait_in_narrow_pace_start_together_when_it_becomes_wide(front, link_backend):
    views = Views()
    front.switch(link_backend(views).upstream(slots=SLOTS))
    front.pace.narrow = True
    clients = [front.connect() for _ in range(SLOTS)]
    for client in clients:
        assert client.ask(get("/")).body == b"/"
    time.sleep(0.2)  # a pause makes it wide at the end of the next call
    clients[0].sendall(get("/slow"))
    for client in clients[1:]:
        client.sendall(get("/slow"))
    wait(lambda: views.at_work == SLOTS)
    views.go_on.set()
    assert [client.answer().body for client in clients] == [b"/slow"] * SLOTS
    assert not front.pace.narrow

"""Fronts that share the threads of one worker: none starves, none waits while another keeps what it does not use."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from duck.wire import link
from tests.backend.conftest import BARE, VIEWS

if TYPE_CHECKING:
    from tests.backend.conftest import MakeProject, MakeWorker
    from tests.backend.link_client import LinkClient, Worker

SOON_S = 5.0  # on a machine that is busy; where it is not, all of this takes milliseconds
NAP = """
def nap(request):
    time.sleep(float(request.GET["s"]))
    return HttpResponse("rested")

def much(request):
    return HttpResponse(b"x" * 8_000_000)

urlpatterns += [path("nap", nap), path("much", much)]
"""
FRONTS = [b"front %02d" % number for number in range(8)]


@pytest.fixture
def share(make_project: MakeProject, make_warm_worker: MakeWorker) -> Iterator[Share]:
    with Share(make_warm_worker(make_project(urls=VIEWS + NAP, settings=BARE), threads=4).wait_ready(), 4) as share:
        yield share


class Share:
    """A worker, and the slots that fronts have of it."""

    def __init__(self, worker: Worker, threads: int) -> None:
        self.worker = worker
        self.threads = threads
        self._stack = ExitStack()

    def __enter__(self) -> Share:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def ask(self, front: bytes) -> LinkClient:
        return self._stack.enter_context(self.worker.client(front))

    def granted(self, front: bytes, count: int) -> list[LinkClient]:
        slots = [self.ask(front) for _ in range(count)]
        for slot in slots:
            slot.wait_hello()
        return slots


def is_told(slot: LinkClient, seconds: float = 0.2) -> int:
    """The level at which `slot` is recalled within so many seconds; 0 for not."""
    slot.socket.settimeout(seconds)
    try:
        while not slot.recalled:
            slot.receive()
    except TimeoutError:
        pass
    slot.socket.settimeout(20)
    return slot.recalled


def is_granted(slot: LinkClient, seconds: float = 0.1) -> bool:
    slot.socket.settimeout(seconds)
    try:
        while not slot.hello:
            slot.receive()
    except TimeoutError:
        pass
    slot.socket.settimeout(20)
    return slot.hello


def test_an_idle_slot_is_recalled_for_a_front_that_asks(share: Share) -> None:
    kept = share.granted(FRONTS[0], 4)
    asking = share.ask(FRONTS[1])
    told = [slot for slot in kept if is_told(slot)]
    assert [slot.recalled for slot in told] == [link.SOFT]
    assert not asking.hello
    told[0].socket.close()
    assert asking.get("/hello").body == b"hello"
    left = [slot for slot in kept if slot is not told[0]]
    assert [slot.get("/hello").body for slot in left] == [b"hello"] * 3
    assert not any(slot.recalled for slot in left)


def test_busy_slots_are_recalled_down_to_equal_shares_as_their_requests_end(share: Share) -> None:
    first = share.granted(FRONTS[0], 4)
    for slot in first:
        slot.send("GET", "/slow")
    asking = [share.ask(FRONTS[1]) for _ in range(4)]
    for slot in first:
        slot.read_answer()
    assert sorted(slot.recalled for slot in first) == [link.SOFT] * 2 + [link.HARD] * 2
    for slot in first:
        if slot.recalled == link.HARD:
            slot.socket.close()
    slots: list[LinkClient] = []
    while len(slots) < 2:
        slots += [slot for slot in asking if slot not in slots and is_granted(slot, 0.01)]
    assert len(slots) == 2
    assert not any(is_granted(slot, 0.01) for slot in asking if slot not in slots)
    # A soft recall is for a front with nothing to ask; one that goes on keeps its share.
    going_on = [slot for slot in first if slot.recalled == link.SOFT]
    for slot in (*going_on, *slots):
        slot.send("GET", "/slow")
    for slot in (*going_on, *slots):
        assert slot.read_answer().body == b"slow"


def test_a_request_that_crosses_a_recall_is_answered(share: Share) -> None:
    kept = share.granted(FRONTS[0], 4)
    share.ask(FRONTS[1])
    told = next(slot for slot in kept if is_told(slot))
    assert told.get("/hello").body == b"hello"


@pytest.mark.parametrize(("threads", "fronts"), [(1, 2), (1, 3), (2, 5), (4, 2)])
def test_fronts_that_have_always_requests_are_served_alike(
    make_project: MakeProject, make_warm_worker: MakeWorker, threads: int, fronts: int
) -> None:
    worker = make_warm_worker(make_project(urls=VIEWS, settings=BARE), threads=threads).wait_ready()
    served = [0] * fronts
    longest = [0.0] * fronts
    ended = threading.Event()
    faults: list[BaseException] = []

    def saturate(number: int) -> None:
        try:
            before = time.monotonic()
            while not ended.is_set():
                with worker.client(FRONTS[number]) as slot:
                    slot.wait_hello()
                    longest[number] = max(longest[number], time.monotonic() - before)
                    while slot.recalled != link.HARD and not ended.is_set():
                        assert slot.get("/hello").body == b"hello"
                        served[number] += 1
                        if served[number] >= 300:
                            ended.set()
                before = time.monotonic()
        except BaseException as error:
            faults.append(error)

    clients = [threading.Thread(target=saturate, args=(number % fronts,)) for number in range(fronts * threads)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert not faults
    assert min(served) > 0.25 * max(served), served
    assert max(longest) < SOON_S, longest


def test_what_a_dead_front_had_and_asked_for_is_the_others(share: Share) -> None:
    dying = [*share.granted(FRONTS[0], 4), *(share.ask(FRONTS[0]) for _ in range(4))]
    asking = [share.ask(FRONTS[1]) for _ in range(4)]
    for slot in dying:
        slot.socket.close()
    began = time.monotonic()
    for slot in asking:
        assert slot.get("/hello").body == b"hello"
    assert time.monotonic() - began < SOON_S


class TestAFrontThatDoesNotReact:
    """It is stopped, or stuck: it keeps its connections open, and reads nothing."""

    def test_loses_idle_slots_that_others_ask_for(self, share: Share) -> None:
        numb = share.granted(FRONTS[0], 4)
        asking = [share.ask(FRONTS[1]) for _ in range(4)]
        began = time.monotonic()
        for slot in asking:
            assert slot.get("/hello").body == b"hello"
        assert time.monotonic() - began < 2 * SOON_S
        for slot in numb:
            with pytest.raises(EOFError):
                slot.read_answer()
            assert slot.recalled == link.TAKEN

    def test_loses_those_that_its_views_have_left_and_answers_that_run_go_on(self, share: Share) -> None:
        numb = share.granted(FRONTS[0], 4)
        for slot in numb[:3]:
            slot.send("GET", "/slow")
        numb[3].send("GET", "/much")  # more than a connection holds: its thread waits in the middle
        asking = [share.ask(FRONTS[1]) for _ in range(3)]
        for slot in asking:
            assert slot.get("/hello").body == b"hello"
        for slot in numb[:3]:
            assert slot.read_answer().body == b"slow"
        assert len(numb[3].read_answer().body) == 8_000_000

    def test_knows_that_what_it_sent_too_late_was_not_begun(self, share: Share) -> None:
        (numb,) = share.granted(FRONTS[0], 1)
        others = share.granted(FRONTS[1], 3)
        for slot in others:
            slot.send("GET", "/nap?s=3")
        share.ask(FRONTS[2]).wait_hello()
        with contextlib.suppress(BrokenPipeError):
            numb.send("GET", "/hello")
        with pytest.raises((EOFError, ConnectionResetError)):
            numb.read_answer()
        assert numb.recalled == link.TAKEN
        assert not numb.answer.status

    def test_comes_after_all_others_with_what_it_asked_for_before(self, share: Share) -> None:
        share.granted(FRONTS[0], 4)
        late = [share.ask(FRONTS[0]) for _ in range(8)]
        asking = [share.ask(FRONTS[1]) for _ in range(4)]
        began = time.monotonic()
        for slot in asking:
            assert slot.get("/hello").body == b"hello"
        assert time.monotonic() - began < 2 * SOON_S
        # Once nobody else asks, or it has reacted, it is served as any other.
        for slot in asking:
            slot.socket.close()
        for slot in late[:4]:
            assert slot.get("/hello").body == b"hello"

    def test_is_as_any_other_again_when_it_asks(self, share: Share) -> None:
        share.granted(FRONTS[0], 4)
        others = [share.ask(FRONTS[1]) for _ in range(4)]
        for slot in others:
            slot.wait_hello()
        for slot in others:
            slot.send("GET", "/nap?s=1")
        awake = share.ask(FRONTS[0])
        waiting = share.ask(FRONTS[1])
        for slot in others:
            slot.read_answer()
            slot.socket.close()
        assert awake.get("/hello").body == b"hello"
        assert waiting.get("/hello").body == b"hello"


def test_a_front_alone_is_never_told_anything(share: Share) -> None:
    slots = share.granted(FRONTS[0], 4)
    more = share.ask(FRONTS[0])
    assert not is_granted(more)
    for slot in slots:
        assert slot.get("/hello").body == b"hello"
        assert not slot.recalled
    slots[0].socket.close()
    assert more.get("/hello").body == b"hello"


@pytest.mark.parametrize(
    "said", [b"", link.frame(link.HELLO), link.frame(link.ASK, b"short"), b"GET / HTTP/1.1\r\n\r\n"]
)
def test_a_connection_that_does_not_ask_takes_no_thread(share: Share, said: bytes) -> None:
    strangers = []
    for _ in range(8):
        stranger = socket.socket(socket.AF_UNIX)
        stranger.settimeout(10)
        stranger.connect(share.worker.ready["address"])
        stranger.sendall(said)
        strangers.append(stranger)
    for slot in share.granted(FRONTS[0], 4):
        assert slot.get("/hello").body == b"hello"
    if len(said) >= 13:
        try:
            assert strangers[0].recv(1) == b""
        except ConnectionResetError:
            pass  # closed with something unread
    for stranger in strangers:
        stranger.close()


def test_a_stop_closes_what_asks(share: Share) -> None:
    share.granted(FRONTS[0], 4)
    asking = share.ask(FRONTS[1])
    share.worker.command("stop", deadline_s=1)
    with pytest.raises((EOFError, ConnectionResetError)):
        asking.wait_hello()
    assert share.worker.process.wait(10) == 0

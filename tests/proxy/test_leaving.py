"""What is in flight at a backend that is replaced: it ends in order, and only then may the backend be stopped."""

import tempfile
import threading
import time
from pathlib import Path

import pytest

from duck.net.farewell import Farewell
from tests.net.front import get, post
from tests.proxy.backends import LinkBackend, answer, read_request
from tests.proxy.conftest import wait
from tests.proxy.test_tunnels import SWITCH, UPGRADE, echo, open_tunnel, read, read_head

CLOSE = b"\x88\x02\x03\xe9"  # 1001
CLOSED = b"\x88\x82\0\0\0\0\x03\xe9"  # a client's


def named(name):
    def script(slot, items, fields, body):
        slot.answer(name)

    return script


class Deaf(LinkBackend):
    """Grants no slot."""

    def play(self, slot):
        slot.read_frame()
        slot.wait_end()


@pytest.fixture
def leave(front, link_backend):
    """A function that puts new backends in the place of all; an event that is set once the old ones are left."""

    def switch():
        left = threading.Event()
        new = link_backend(named(b"new")).upstream()
        front.switch(new, on_left=left.set)
        return left

    return switch


def test_with_nothing_in_flight_it_is_left_at_once(front, link_backend, http_backend, leave):
    front.switch(link_backend(named(b"old")).upstream(), sockets=[http_backend(lambda connection: None).upstream()])
    assert front.ask(get()).body == b"old"
    assert leave().wait(5)
    assert front.ask(get()).body == b"new"


def test_it_is_left_when_the_last_view_has_ended_and_not_when_its_client_has(front, link_backend, leave, event):
    def script(slot, items, fields, body):
        slot.head(b"whole", length=5, complete=True)
        event.wait(10)
        slot.free()

    front.switch(link_backend(script).upstream())
    assert front.ask(get()).body == b"whole"
    left = leave()
    assert front.ask(get()).body == b"new"
    assert not left.is_set()
    event.set()
    assert left.wait(5)


def test_a_slot_that_is_not_granted_yet_is_not_waited_for(front, leave):
    with tempfile.TemporaryDirectory(prefix="duck-") as directory:
        deaf = Deaf(None, address=Path(directory) / "deaf.sock")
        front.switch(deaf.upstream())
        client = front.connect()
        client.sendall(get())
        wait(lambda: deaf.connections and front.pool.waiting)
        assert leave().wait(5)
        assert client.answer().body == b"new"
        deaf.close()


def test_an_upgrade_that_is_under_way_is_waited_for_and_closed_in_order_when_it_comes(
    front, http_backend, leave, event
):
    def script(connection):
        read_request(connection)
        event.wait(10)
        connection.send(SWITCH)
        assert connection.read(8)[:2] == CLOSED[:2]
        connection.send(CLOSE)
        connection.wait_end()

    backend = http_backend(script)
    front.switch(backend.upstream(), sockets=[backend.upstream()])
    client = front.connect()
    client.sendall(get("/ws", *UPGRADE))
    wait(lambda: backend.connections and backend.connections[0].requests)
    left = leave()
    assert not left.wait(0.05)
    event.set()
    assert read_head(client).startswith(b"HTTP/1.1 101 ")
    assert read(client, 4) == CLOSE
    assert not left.is_set()
    client.sendall(CLOSED)
    assert left.wait(5)


def test_a_plain_request_that_was_sent_is_answered_and_its_connection_used_no_more(front, http_backend, leave, event):
    def script(connection):
        read_request(connection)
        event.wait(10)
        connection.send(answer(b"old"))
        connection.wait_end()

    backend = http_backend(script)
    front.switch(backend.upstream())
    client = front.connect()
    client.sendall(post(b"x"))
    wait(lambda: backend.connections and backend.connections[0].requests)
    left = leave()
    assert not left.wait(0.05)
    event.set()
    assert client.answer().body == b"old"
    assert left.wait(5) and backend.connections[0].ended.wait(5)
    assert client.ask(get()).body == b"new"


def test_tunnels_get_their_close_spread_over_the_time_and_those_of_others_stay(make_front, http_backend, link_backend):
    front = make_front(farewell=Farewell(spread_s=1.0, sockets_s=20))
    old, kept = http_backend(echo), http_backend(echo)
    front.switch(link_backend(named(b"")).upstream(), sockets=[old.upstream()])
    clients = [open_tunnel(front) for _ in range(5)]
    front.switch(link_backend(named(b"")).upstream(), sockets=[old.upstream(), kept.upstream()])
    stays = open_tunnel(front)
    assert len(kept.connections) == 1
    left = threading.Event()
    new = link_backend(named(b"new")).upstream()
    began = time.monotonic()
    front.switch(new, sockets=[kept.upstream()], on_left=left.set)
    for number, client in enumerate(clients):
        assert read(client, 4) == CLOSE
        assert time.monotonic() - began >= number / 5 - 0.01
        client.sendall(CLOSED)  # echoed by this backend: both have confirmed
        assert client.rest() == b""
    assert left.wait(5)
    stays.sendall(b"\x82\x80\0\0\0\0")
    assert read(stays, 6) == b"\x82\x80\0\0\0\0"


def test_a_tunnel_that_does_not_end_in_order_is_cut_at_the_deadline(make_front, http_backend, link_backend):
    front = make_front(farewell=Farewell(sockets_s=0.5))
    backend = http_backend(echo)
    front.switch(link_backend(named(b"")).upstream(), sockets=[backend.upstream()])
    client = open_tunnel(front)
    client.sendall(b"\x82")  # the beginning of a frame
    assert read(client, 1) == b"\x82"
    left = threading.Event()
    front.switch(link_backend(named(b"new")).upstream(), on_left=left.set)
    assert left.wait(5)
    assert client.rest() == b""


@pytest.mark.parametrize("begins", ["before", "after"])
def test_streams_of_events_end_in_order_others_are_cut_and_what_ends_by_itself_is_whole(
    make_front, link_backend, begins
):
    front = make_front(farewell=Farewell(streams_s=1.5))
    switched, go_on = threading.Event(), threading.Event()

    def script(slot, items, fields, body):
        if begins == "after":
            switched.wait(10)
        kind = b"text/event-stream" if items["target"] == "/events" else b"text/csv"
        slot.head(b"data: 1\n\n", block=b"Content-Type: %b\r\n" % kind)
        go_on.wait(10)
        slot.data(b"data: 2\n\n")
        if items["target"] == "/short":
            slot.end()
            slot.free()
        else:
            slot.read_frame()  # the ABORT
            slot.free()

    backend = link_backend(script)
    front.switch(backend.upstream(slots=3))
    clients = {target: front.connect() for target in ("/events", "/csv", "/short")}
    for target, client in clients.items():
        client.sendall(get(target))
    wait(lambda: sum(len(one.requests) for one in backend.connections) == 3)
    heads = {}
    if begins == "before":
        heads = {target: client.head() for target, client in clients.items()}
    left = threading.Event()
    front.switch(link_backend(named(b"new")).upstream(), on_left=left.set)
    switched.set()
    go_on.set()
    heads = heads or {target: client.head() for target, client in clients.items()}
    both = b"data: 1\n\ndata: 2\n\n"
    assert heads["/short"].read() == both
    assert not left.is_set()
    assert heads["/events"].read() == both
    # No last chunk.
    rest = heads["/csv"].fp.read()
    assert b"data: 2\n\n" in rest and not rest.endswith(b"0\r\n\r\n")
    assert left.wait(5)
    assert not front.site.proxy.streams


def test_each_switch_is_told_of_its_own_end(front, link_backend, event):
    def slow(slot, items, fields, body):
        if items["path"] == "/slow":
            event.wait(10)
        slot.answer(b"")

    front.switch(link_backend(slow).upstream())
    first = front.connect()
    first.sendall(get("/slow"))
    wait(lambda: front.pool.busy)
    told = []
    lefts = [threading.Event() for _ in range(2)]
    for number, left in enumerate(lefts):
        new = link_backend(named(b"%d" % number)).upstream()
        front.switch(new, on_left=lambda number=number, left=left: (told.append(number), left.set()))
    assert not told
    event.set()
    for left in lefts:
        assert left.wait(5)
    assert told == [0, 1]


def test_an_upgrade_that_a_dying_process_had_not_answered_is_sent_once_more(front, http_backend, link_backend):
    def script(connection):
        if connection.number:
            echo(connection)
        else:
            read_request(connection)
            connection.reset()

    backend = http_backend(script)
    front.switch(link_backend(named(b"")).upstream(), sockets=[backend.upstream(patient=True)])
    open_tunnel(front)
    assert len(backend.connections) == 2 and front.site.proxy.retries == 1


def test_an_upgrade_that_a_dying_process_had_not_answered_is_sent_to_its_successor(
    front, http_backend, link_backend, event
):
    def dies(connection):
        read_request(connection)
        event.wait(10)
        connection.reset()

    dead, alive = http_backend(dies), http_backend(echo)
    front.switch(link_backend(named(b"")).upstream(), sockets=[dead.upstream(patient=True)])
    client = front.connect()
    client.sendall(get("/ws", *UPGRADE))
    wait(lambda: dead.connections and dead.connections[0].requests)
    front.switch(link_backend(named(b"")).upstream(), sockets=[alive.upstream(patient=True)])
    event.set()
    assert read_head(client).startswith(b"HTTP/1.1 101 ")
    assert len(alive.connections) == 1

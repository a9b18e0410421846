"""Gates and generations: requests wait, go on, are told why not, and none is lost."""

import dataclasses
import os
import socket
import threading
import time

import pytest

from duck.proxy.upstream import QueueLimits, Upstream
from tests.net.front import get, post
from tests.proxy.backends import LinkBackend
from tests.proxy.conftest import wait


def named(name):
    def script(slot, items, fields, body):
        time.sleep(0.001)
        slot.answer(name + b" " + body)

    return script


def test_requests_wait_for_the_first_generation(front, link_backend):
    clients = [front.connect() for _ in range(3)]
    for number, client in enumerate(clients):
        client.sendall(post(b"%d" % number) if number else get())
    wait(lambda: front.site.proxy.gate.held == 3)
    front.switch(link_backend(named(b"first")).upstream())
    assert [client.answer().body for client in clients] == [b"first ", b"first 1", b"first 2"]


def test_requests_wait_while_django_restarts(front, link_backend):
    backend = link_backend(named(b"old"))
    front.switch(backend.upstream())
    client = front.connect()
    assert client.ask(get()).body == b"old "
    front.call(front.site.hold, "a file changed")
    client.sendall(get())
    wait(lambda: front.site.proxy.gate.held)
    front.switch(link_backend(named(b"new")).upstream())
    assert client.answer().body == b"new "
    assert backend.connections[0].ended.wait(10)  # its idle connections were closed


def test_the_wait_has_a_deadline(make_front, caplog):
    front = make_front(hold_timeout_s=60)
    client = front.connect()
    client.sendall(get())
    wait(lambda: front.site.proxy.gate.held)
    front.sweep(59)
    front.sweep(61)
    found = client.answer()
    assert (found.status, found.getheader("Retry-After")) == (503, "5")
    assert "did not become ready within 60 s" in caplog.text
    assert front.site.proxy.gate.held == 0


def test_only_so_many_wait(front):
    front.site.proxy.gate._max_held = 2
    clients = [front.connect() for _ in range(2)]
    for client in clients:
        client.sendall(get())
    wait(lambda: front.site.proxy.gate.held == 2)
    assert front.ask(get()).status == 503


def test_a_project_that_cannot_be_started_is_told_to_those_that_wait_and_those_that_come(make_front, link_backend):
    front = make_front(development=True)
    waiting = front.connect()
    waiting.sendall(get("/", "Accept: text/html"))
    wait(lambda: front.site.proxy.gate.held)
    failure = {"message": "No module named 'polls'", "traceback": "Traceback: line 1"}
    front.call(front.site.broken, failure)
    for found in (waiting.answer(), front.ask(get("/", "Accept: text/html"))):
        assert found.status == 503
        assert b"No module named &#x27;polls&#x27;" in found.body and b"Traceback: line 1" in found.body
    front.switch(link_backend(named(b"mended")).upstream())
    assert waiting.ask(get()).body == b"mended "


@pytest.mark.parametrize(
    "fields", [("X-Forwarded-For: 192.0.2.1",), ("Forwarded: for=192.0.2.1",), ("X-Real-IP: 1.2.3.4",)]
)
@pytest.mark.parametrize("trusted", [(), ("127.0.0.1",)])
def test_what_failed_is_not_shown_through_a_proxy(make_front, fields, trusted):
    front = make_front(development=True, trusted_proxies=trusted)
    front.call(front.site.broken, {"message": "secret message", "traceback": "secret traceback"})
    found = front.ask(get("/", "Accept: text/html", *fields))
    assert found.status == 503 and b"secret" not in found.body


def test_what_failed_is_not_shown_in_production(make_front):
    front = make_front()
    front.call(front.site.broken, {"message": "secret message", "traceback": "secret traceback"})
    assert b"secret" not in front.ask(get("/", "Accept: text/html")).body


def test_one_that_cannot_go_on_takes_no_other_along(front, link_backend, caplog):
    def fault():
        raise ZeroDivisionError("a fault")

    clients = [front.connect() for _ in range(3)]
    for number, client in enumerate(clients):
        client.sendall(get())
        wait(lambda number=number: front.site.proxy.gate.held == number + 1)
    front.site.proxy.gate._held[0].go = fault
    front.switch(link_backend(named(b"on")).upstream())
    assert [client.answer().body for client in clients[1:]] == [b"on "] * 2
    assert clients[0].rest() == b"" and "ZeroDivisionError" in caplog.text


def test_a_client_that_left_while_it_waited_is_not_asked_for(front, link_backend):
    backend = link_backend(named(b"x"))
    client = front.connect()
    client.sendall(post(b"begun", length=10))
    other = front.connect()
    other.sendall(get())
    wait(lambda: front.site.proxy.gate.held == 2)
    client.close()
    front.switch(backend.upstream())
    assert other.answer().body == b"x "
    wait(lambda: len(front.worker.server.connections) == 1)
    assert sum(len(one.requests) for one in backend.connections) == 1


def test_a_new_generation_under_load_loses_nothing(front, link_backend):
    backends = [link_backend(named(b"%d" % number)) for number in range(6)]
    front.switch(backends[0].upstream(slots=2))
    counts, faults = [0] * 6, []
    done = threading.Event()

    def load(index):
        client = front.connect()
        try:
            while not done.is_set():
                found = client.ask(post(b"body") if index % 2 else get())
                assert found.status == 200, (found.status, found.body)
                counts[index] += 1
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=load, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for backend in backends[1:]:
        before = sum(counts)
        wait(lambda before=before: sum(counts) > before + 40 or faults)
        front.switch(backend.upstream(slots=2))
    wait(lambda: backends[-1].connections or faults)
    done.set()
    for thread in threads:
        thread.join(20)
    assert not faults and all(counts)
    for backend in backends[:-1]:
        for connection in backend.connections:
            assert connection.ended.wait(10)


def test_a_worker_that_is_started_again_at_its_address_is_waited_for(make_front, link_backend, tmp_path):
    front = make_front(queue=QueueLimits(queue_timeout_s=10))
    backend = link_backend(named(b"back"))
    front.switch(backend.upstream(patient=True, slots=2))
    client = front.connect()
    assert client.ask(get()).body == b"back "
    backend.listener.close()
    for connection in backend.connections:
        connection.close()
    path = backend.address
    os.rename(path, path + ".away")
    client.sendall(get())
    wait(lambda: front.pool.open == set() and not front.pool.waiting)
    backend.listener = socket.socket(socket.AF_UNIX)
    backend.listener.bind(path)
    backend.listener.listen()
    backend._accepting = threading.Thread(target=backend._accept, daemon=True)
    backend._accepting.start()
    assert client.answer().body == b"back "


def test_a_switch_does_not_touch_what_both_generations_have(front, link_backend, http_backend, event):
    def slow(slot, items, fields, body):
        if items["path"] == "/slow":
            event.wait(10)
        slot.answer(b"kept")

    kept, gone = link_backend(slow), link_backend(named(b"gone"))
    upstream = kept.upstream(slots=1)
    tunnels = http_backend(lambda connection: None).upstream()
    front.switch(upstream, sockets=[tunnels])
    waiting, busy = front.connect(), front.connect()
    busy.sendall(get("/slow"))
    wait(lambda: kept.connections and kept.connections[0].requests)
    waiting.sendall(get("/next"))
    wait(lambda: front.pool.waiting)
    before = (front.site.proxy.backends.pages[0], front.site.proxy.backends.sockets[0])
    front.switch(dataclasses.replace(upstream), gone.upstream(), sockets=[dataclasses.replace(tunnels)])
    assert (front.site.proxy.backends.pages[0], front.site.proxy.backends.sockets[0]) == before
    front.switch(upstream)
    assert front.pool.waiting
    event.set()
    assert [busy.answer().body, waiting.answer().body] == [b"kept", b"kept"]
    assert len(kept.connections) == 1


def test_with_one_worker_dead_the_others_are_asked_at_once(front, link_backend):
    dead, alive = link_backend(named(b"dead")), link_backend(named(b"alive"))
    front.switch(dead.upstream(patient=True), alive.upstream(patient=True))
    first = front.connect()
    first.ask(get())
    dead.close()
    began = time.monotonic()
    assert [first.ask(get()).body for _ in range(20)] == [b"alive "] * 20
    assert [front.ask(post(b"x")).body for _ in range(20)] == [b"alive x"] * 20
    assert time.monotonic() - began < 10.0


def test_a_worker_that_was_dead_is_asked_again(front, link_backend, tmp_path):
    alive = link_backend(named(b"alive"))
    late = Upstream("link", str(tmp_path / "late.sock"), 8, "late")
    front.switch(late, alive.upstream())
    assert front.ask(get()).body == b"alive "
    assert front.site.proxy.backends.pages[0].shunned
    wait(lambda: not front.site.proxy.backends.pages[0].shunned)
    backend = LinkBackend(named(b"late"), address=late.address)
    assert front.ask(get()).body == b"late "
    front.switch(alive.upstream())
    backend.close()

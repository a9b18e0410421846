"""Clients that take an answer of a Django worker slowly: whose thread they hold, what they cost, and what they get."""

import http.client
import os
import socket
import threading
import time

import pytest

from duck.net.server import MAX_SLOW_IN_MEMORY
from duck.proxy.spool import PIECE_BYTES
from duck.wire import link
from tests.net.front import get
from tests.proxy.conftest import wait
from tests.proxy.test_link_workers import leave, spooled_files

MIB = 1 << 20
LONG = os.urandom(MIB) * 12
# Of it, what lies in a file at least: the kernel's buffers take some MiB.
MUCH = 4 * MIB
RECEIVE_BYTES = 65_536


def open_files(directory):
    """Descriptors of files below `directory`, those without a name included."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    return [path for path in found if path.startswith(str(directory)) and not os.path.isdir(path)]


def wait_empty(front, directory):
    """Nothing is left of any answer."""
    wait(lambda: not front.site.spool.used and not open_files(directory) and not spooled_files(directory))
    wait(lambda: not front.site.spool.used_by_answers)


def at_once(slot, items, fields, body):
    """As Django's ordinary answers come: one frame."""
    if items["path"] == "/long":
        slot.head(LONG, length=len(LONG), complete=True)
    else:
        slot.head(b"quick", length=5, complete=True)
    slot.free()


def streamed(slot, items, fields, body):
    if items["path"] == "/long":
        slot.head()
        for at in range(0, len(LONG), 100_000):
            slot.data(LONG[at : at + 100_000])
        slot.end()
    else:
        slot.head(b"quick", length=5, complete=True)
    slot.free()


@pytest.mark.parametrize("script", [at_once, streamed])
def test_slow_readers_hold_no_thread(make_front, link_backend, tmp_path, script):
    front = make_front(spool_dir=str(tmp_path))
    front.switch(link_backend(script).upstream(slots=2))
    slow = [front.connect(RECEIVE_BYTES) for _ in range(8)]
    for client in slow:
        client.sendall(get("/long"))
    assert front.ask(get("/other")).body == b"quick"
    wait(lambda: len(front.pool.idle) == 2)
    assert front.site.spool.used > 8 * MUCH
    assert len(open_files(tmp_path)) == 8
    assert not spooled_files(tmp_path)  # without a name they go with the process, however that ends
    for client in slow:
        assert client.answer().body == LONG
    assert slow[0].ask(get("/other")).body == b"quick"
    wait_empty(front, tmp_path)


def test_where_many_are_slow_nothing_more_waits_in_memory(make_front, link_backend, tmp_path):
    front = make_front(spool_dir=str(tmp_path))
    front.switch(link_backend(streamed).upstream(slots=2))
    server = front.worker.server
    others = set(range(MAX_SLOW_IN_MEMORY))
    front.call(server.slow.update, others)
    slow = [front.connect(RECEIVE_BYTES) for _ in range(3)]
    for client in slow:
        client.sendall(get("/long"))
    wait(lambda: front.site.spool.used > 3 * MUCH and len(front.pool.idle) == 2)
    held = front.call(lambda: [one._transport.get_write_buffer_size() for one in server.connections])
    assert all(0 < size < MIB // 2 for size in held) and len(held) == 3
    leave(slow.pop())
    for client in slow:
        assert client.answer().body == LONG
        assert client.ask(get("/other")).body == b"quick"
    wait_empty(front, tmp_path)
    assert server.slow == others


def test_an_answer_of_http_1_0_comes_whole(make_front, link_backend, tmp_path):
    front = make_front(spool_dir=str(tmp_path))
    front.switch(link_backend(streamed).upstream(slots=1))
    client = front.connect(RECEIVE_BYTES)
    client.sendall(get("/long", version="1.0"))
    wait(lambda: front.pool.idle)
    assert client.rest().partition(b"\r\n\r\n")[2] == LONG
    wait_empty(front, tmp_path)


def test_an_answer_a_little_ahead_takes_no_file(make_front, link_backend, tmp_path):
    front = make_front(spool_dir=str(tmp_path))

    def script(slot, items, fields, body):
        slot.head(LONG[:MIB], length=MIB, complete=True)
        slot.free()

    front.switch(link_backend(script).upstream(slots=1))
    client = front.connect(RECEIVE_BYTES)
    client.sendall(get())
    wait(lambda: front.pool.idle)
    assert not open_files(tmp_path)
    assert client.answer().body == LONG[:MIB]


def endless(slot, items, fields, body):
    """Sends for as long as it may; `sent` tells how much that was."""
    slot.sent = 0
    slot.head()
    while True:
        slot.data(LONG[:100_000])
        slot.sent += 100_000


def wait_still(slot):
    """Wait until the worker gets no further; how much it has sent."""
    seen = -1
    for _ in range(1000):
        if seen == slot.sent:
            return seen
        seen = slot.sent
        time.sleep(0.2)
    raise AssertionError("it is still sending")


@pytest.mark.parametrize(("allowed", "room"), [(4 * MIB, 16 << 30), (64 * MIB, 8 * MIB), (0, 16 << 30), (MIB, 0)])
def test_an_endless_answer_is_held_back_at_a_bound(make_front, link_backend, tmp_path, allowed, room):
    front = make_front(spool_dir=str(tmp_path), max_spooled_answer_bytes=allowed, max_spool_bytes=room)
    backend = link_backend(endless)
    front.switch(backend.upstream(slots=1))
    client = front.connect(RECEIVE_BYTES)
    client.sendall(get())
    wait(lambda: backend.connections and backend.connections[0].requests)
    slot = backend.connections[0]
    held = wait_still(slot)
    bound = min(allowed, room // 2)
    assert bound - PIECE_BYTES <= front.site.spool.used <= bound + PIECE_BYTES
    # What the kernel and the transports hold besides is no more than some MiB.
    assert bound < held < bound + 12 * MIB
    body = client.head()
    assert body.read(held) == (LONG[:100_000] * (held // 100_000 + 1))[:held]
    wait(lambda: slot.sent > held)  # it goes on as the client does
    assert wait_still(slot) < 2 * bound + 24 * MIB
    body.close()
    leave(client)
    assert slot.read_frame()[0] == link.ABORT
    wait_empty(front, tmp_path)


def test_who_finds_no_room_gets_the_answer_all_the_same(make_front, link_backend, tmp_path):
    front = make_front(spool_dir=str(tmp_path), max_spool_bytes=8 * MIB)
    front.switch(link_backend(at_once).upstream(slots=8))
    slow = [front.connect(RECEIVE_BYTES) for _ in range(8)]
    for client in slow:
        client.sendall(get("/long"))
    wait(lambda: front.site.spool.used_by_answers > 3 * MIB)
    answers = [None] * len(slow)

    def read(number):
        answers[number] = slow[number].answer().body

    threads = [threading.Thread(target=read, args=(number,)) for number in range(len(slow))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert answers == [LONG] * 8
    wait_empty(front, tmp_path)


def test_answers_leave_room_for_the_bodies_of_requests(make_front, link_backend, tmp_path):
    def script(slot, items, fields, body):
        if items["path"] == "/long":
            slot.head(LONG, length=len(LONG), complete=True)
            slot.free()
        else:
            slot.answer(b"%d" % len(body))

    front = make_front(spool_dir=str(tmp_path), max_spool_bytes=8 * MIB)
    front.switch(link_backend(script).upstream(slots=4))
    for _ in range(3):
        front.connect(RECEIVE_BYTES).sendall(get("/long"))
    wait(lambda: front.site.spool.used_by_answers > 3 * MIB)
    data = get("/", f"Content-Length: {3 * MIB}", method="POST") + b"x" * 3 * MIB
    assert front.ask(data).body == b"%d" % (3 * MIB)


def test_a_directory_that_cannot_be_written_holds_the_thread_and_fails_nothing(make_front, link_backend, tmp_path):
    front = make_front(spool_dir=str(tmp_path / "absent"))
    front.switch(link_backend(at_once).upstream(slots=1))
    client = front.connect(RECEIVE_BYTES)
    client.sendall(get("/long"))
    assert client.answer().body == LONG
    wait(lambda: front.pool.idle)


@pytest.mark.parametrize("ended", [True, False], ids=["the view has ended", "the view runs"])
def test_a_client_that_leaves_takes_its_file_along(make_front, link_backend, tmp_path, ended):
    told = threading.Event()

    def script(slot, items, fields, body):
        slot.head(LONG, length=None if not ended else len(LONG), complete=ended)
        if not ended:
            kind, _ = slot.read_frame()
            assert kind == link.ABORT
            told.set()
            slot.cut("the client left")
        slot.free()

    front = make_front(spool_dir=str(tmp_path))
    front.switch(link_backend(script).upstream(slots=1))
    client = front.connect(RECEIVE_BYTES)
    client.sendall(get("/long"))
    wait(lambda: front.site.spool.used > MUCH)
    if ended:
        wait(lambda: front.pool.idle)
    leave(client)
    wait_empty(front, tmp_path)
    wait(lambda: front.pool.idle)
    assert told.is_set() is not ended


@pytest.mark.parametrize("how", ["cut", "killed"])
def test_an_answer_that_is_cut_while_it_waits_never_looks_complete(make_front, link_backend, tmp_path, how, caplog):
    go = threading.Event()

    def script(slot, items, fields, body):
        slot.head(LONG)
        assert go.wait(10)
        if how == "killed":
            raise EOFError
        slot.cut("a view failed")
        slot.free()

    front = make_front(spool_dir=str(tmp_path))
    front.switch(link_backend(script).upstream(slots=1))
    client = front.connect(RECEIVE_BYTES)
    client.sendall(get())
    wait(lambda: front.site.spool.used > MUCH)
    go.set()
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        client.answer()
    wait_empty(front, tmp_path)
    assert "the answer was cut" in caplog.text


def test_a_worker_that_dies_after_its_answer_spoils_nothing(make_front, link_backend, tmp_path):
    def script(slot, items, fields, body):
        slot.head(LONG, length=len(LONG), complete=True)
        raise EOFError

    front = make_front(spool_dir=str(tmp_path))
    front.switch(link_backend(script).upstream(slots=1))
    client = front.connect(RECEIVE_BYTES)
    client.sendall(get())
    wait(lambda: front.site.spool.used > MUCH and not front.pool.open)
    assert client.answer().body == LONG
    wait_empty(front, tmp_path)


def test_the_time_of_a_worker_does_not_run_while_its_client_reads_slowly(make_front, link_backend, tmp_path):
    front = make_front(spool_dir=str(tmp_path), read_timeout_s=60)
    front.switch(link_backend(at_once).upstream(slots=1))
    before = len(front.worker._clock.watched)
    client = front.connect(RECEIVE_BYTES)
    client.sendall(get("/long"))
    wait(lambda: front.pool.idle)
    assert len(front.worker._clock.watched) == before + 1  # the connection alone
    assert client.answer().body == LONG
    wait_empty(front, tmp_path)


def test_what_comes_while_the_client_catches_up_comes_in_order(make_front, link_backend, tmp_path):
    go = threading.Event()

    def script(slot, items, fields, body):
        slot.head(block=b"Content-Type: text/event-stream\r\n")
        slot.data(LONG)
        assert go.wait(10)
        for number in range(2000):
            slot.data(b"%06d" % number)
        slot.end()
        slot.free()

    front = make_front(spool_dir=str(tmp_path))
    front.switch(link_backend(script).upstream(slots=1))
    client = front.connect(RECEIVE_BYTES)
    client.sendall(get())
    wait(lambda: front.site.spool.used > MUCH)
    body = client.head()
    assert body.read(5 * MIB) == LONG[: 5 * MIB]
    go.set()
    assert body.read() == LONG[5 * MIB :] + b"".join(b"%06d" % number for number in range(2000))
    wait_empty(front, tmp_path)


def test_a_client_that_has_caught_up_gets_each_chunk_at_once(make_front, link_backend, tmp_path):
    go = threading.Semaphore(0)

    def script(slot, items, fields, body):
        slot.head(block=b"Content-Type: text/event-stream\r\n")
        slot.data(LONG)
        for number in range(5):
            assert go.acquire(timeout=10)
            slot.data(b"data: %d\n\n" % number)
        slot.end()
        slot.free()

    front = make_front(spool_dir=str(tmp_path))
    front.switch(link_backend(script).upstream(slots=1))
    client = front.connect(RECEIVE_BYTES)
    client.sendall(get())
    wait(lambda: front.site.spool.used > MUCH)
    body = client.head()
    assert body.read(len(LONG)) == LONG
    wait_empty(front, tmp_path)
    for number in range(5):
        go.release()
        assert body.read1(100) == b"data: %d\n\n" % number
    assert body.read() == b""


def test_a_file_that_fails_cuts_the_answer(make_front, link_backend, tmp_path, caplog):
    front = make_front(spool_dir=str(tmp_path))
    front.switch(link_backend(at_once).upstream(slots=1))
    client = front.connect(RECEIVE_BYTES)
    client.sendall(get("/long"))
    wait(lambda: front.pool.idle)
    for number in os.listdir("/proc/self/fd"):
        path = f"/proc/self/fd/{number}"
        if os.path.isfile(path) and os.readlink(path).startswith(str(tmp_path)):
            os.truncate(path, 0)
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        client.answer()
    wait_empty(front, tmp_path)
    assert "cannot be read from the spool" in caplog.text


def test_a_client_that_closed_its_half_gets_all_of_it(make_front, link_backend, tmp_path):
    front = make_front(spool_dir=str(tmp_path))
    front.switch(link_backend(at_once).upstream(slots=1))
    client = front.connect(RECEIVE_BYTES)
    client.sendall(get("/long", "Connection: close"))
    client.shutdown(socket.SHUT_WR)
    wait(lambda: front.pool.idle)
    assert client.rest().partition(b"\r\n\r\n")[2] == LONG
    wait_empty(front, tmp_path)

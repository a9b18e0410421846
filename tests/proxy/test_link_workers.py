"""Requests over links: slots, bodies in memory and in files, streaming, and every way a worker fails."""

import http.client
import os
import select
import socket
import threading

import pytest

from duck.proxy.upstream import QueueLimits, Upstream
from duck.wire import link
from tests.net.front import chunked, get, post
from tests.proxy.conftest import wait

RESET = b"\1\0\0\0\0\0\0\0"


def leave(client):
    """Close by a reset, as a client does that was killed."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()


def echo(slot, items, fields, body):
    slot.answer(f"{items['method']} {items['target']} {items['length']} ".encode() + body)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (get("//a/%2F?b|c"), b"GET //a/%2F?b|c  "),
        (post(b"hello"), b"POST / 5 hello"),
        (chunked(b"he", b"llo"), b"POST / 5 hello"),
        (chunked(), b"POST / 0 "),
        (post(b""), b"POST / 0 "),
        (get(method="POST"), b"POST /  "),
        (post(b"x" * 300_000), b"POST / 300000 " + b"x" * 300_000),
        (chunked(*[b"x" * 10_000] * 40), b"POST / 400000 " + b"x" * 400_000),
    ],
    ids=["target", "length", "chunked", "chunked, empty", "empty", "none", "file", "chunked file"],
)
def test_a_worker_gets_the_request_whole(front, link_backend, data, expected):
    backend = link_backend(echo)
    front.switch(backend.upstream())
    client = front.connect()
    assert [client.ask(data).body for _ in range(2)] == [expected] * 2
    files = [items["spool"] for one in backend.connections for items, _, _ in one.requests]
    wait(lambda: not front.site.spool.used and not [path for path in files if os.path.exists(path or "?")])


def test_no_slot_is_taken_before_the_body_is_complete(front, link_backend):
    backend = link_backend(echo)
    front.switch(backend.upstream(slots=1))
    slow, quick = front.connect(), front.connect()
    slow.sendall(post(b"begun", length=10))
    assert quick.ask(get()).body == b"GET /  "
    slow.sendall(b"ended")
    assert slow.answer().body == b"POST / 10 begunended"
    assert len(backend.connections) == 1


def test_a_slot_is_not_used_again_before_its_view_has_ended(front, link_backend, event):
    def script(slot, items, fields, body):
        slot.head(b"early", length=5, complete=True)
        if slot.number == 0:
            event.wait(10)
        slot.free()

    backend = link_backend(script)
    front.switch(backend.upstream(slots=2))
    client = front.connect()
    assert [client.ask(get()).body for _ in range(3)] == [b"early"] * 3
    assert [len(one.requests) for one in backend.connections] == [1, 2]
    event.set()
    wait(lambda: len(front.pool.idle) == 2)


def test_a_request_is_not_repeated_on_another_link_of_the_worker_that_died(front, link_backend):
    held = threading.Barrier(4)
    dead = threading.Event()

    def script(slot, items, fields, body):
        if not dead.is_set():
            held.wait(10)
        elif slot.number < 4:  # a link of the process that is gone: the end of each is read when it is
            slot.close()
            return
        slot.answer(b"served")

    front.switch(link_backend(script).upstream(slots=8, patient=True))
    clients = [front.connect() for _ in range(4)]
    for client in clients:
        client.sendall(get())
    assert [client.answer().body for client in clients] == [b"served"] * 4
    wait(lambda: len(front.pool.idle) == 4)
    dead.set()
    assert clients[0].ask(get()).body == b"served"


def test_a_credit_that_was_not_granted_is_not_used(front, link_backend, event):
    backend = link_backend(echo)
    play = backend.play

    def late(slot):
        event.wait(10)
        play(slot)

    backend.play = late
    front.switch(backend.upstream(slots=1))
    client = front.connect()
    client.sendall(get())
    wait(lambda: backend.connections)
    assert front.pool.open and not front.pool.idle
    event.set()
    assert client.answer().status == 200


def test_chunks_pass_at_once(front, link_backend):
    go = threading.Semaphore(0)

    def script(slot, items, fields, body):
        slot.head(block=b"Content-Type: text/event-stream\r\n")
        for number in range(5):
            assert go.acquire(timeout=10)
            slot.data(b"data: %d\n\n" % number)
        slot.end()
        slot.free()

    front.switch(link_backend(script).upstream())
    client = front.connect()
    client.sendall(get())
    head = client.head()
    for number in range(5):
        go.release()
        assert head.read1(100) == b"data: %d\n\n" % number
    assert head.read() == b""


@pytest.mark.parametrize("how", ["cut", "killed", "freed"])
@pytest.mark.parametrize("length", [10, None])
def test_an_answer_that_is_cut_never_looks_complete(front, link_backend, how, length, caplog):
    def script(slot, items, fields, body):
        slot.head(b"12345", length=length)
        if how == "cut":
            slot.cut("a view failed")
        elif how == "killed":
            raise EOFError
        slot.free()

    front.switch(link_backend(script).upstream())
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        front.ask(get())
    wait(lambda: front.exchanges)
    assert front.exchanges[0].answer_state == "cut"
    assert "worker" in caplog.text and "the answer was cut" in caplog.text


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("size", [0, 10, 300_000])
def test_a_request_that_may_be_repeated_is_once(front, link_backend, method, size):
    def script(slot, items, fields, body):
        assert len(body) == size
        if slot.number == 0:
            raise EOFError
        slot.answer(b"" if method == "HEAD" else b"second")

    backend = link_backend(script)
    front.switch(backend.upstream())
    data = get("/", *((f"Content-Length: {size}",) if size else ()), method=method) + b"x" * size
    assert front.ask(data, method).status == 200
    assert len(backend.connections) == 2
    wait(lambda: not front.site.spool.used)


@pytest.mark.parametrize("size", [0, 10, 300_000])
def test_a_post_is_never_repeated(front, link_backend, size, caplog):
    def script(slot, items, fields, body):
        raise EOFError

    backend = link_backend(script)
    front.switch(backend.upstream())
    assert front.ask(post(b"x" * size)).status == 502
    assert sum(len(one.requests) for one in backend.connections) == 1
    assert "worker closed its link" in caplog.text


@pytest.mark.parametrize("size", [0, 10, 300_000])
def test_what_was_sent_on_a_slot_that_was_taken_is_sent_again_whatever_it_is(front, link_backend, size):
    def script(slot, items, fields, body):
        if slot.number == 0 and items["method"] == "POST":
            slot.send(link.frame(link.RECALL, bytes((link.TAKEN,))))  # it crossed the request, which nobody reads
            raise EOFError
        slot.answer(body)

    backend = link_backend(script)
    front.switch(backend.upstream())
    assert front.ask(get()).status == 200
    wait(lambda: front.pool.idle)  # the answer may be with the client before its slot is free, and another be asked for
    answer = front.ask(post(b"x" * size))
    assert (answer.status, answer.body) == (200, b"x" * size)
    assert methods(backend) == [["GET", "POST"], ["POST"]]
    wait(lambda: not front.site.spool.used)


def methods(backend):
    """Of the requests that each slot was given."""
    return [[items["method"] for items, _, _ in one.requests] for one in backend.connections]


@pytest.mark.parametrize("size", [10, 300_000])
@pytest.mark.parametrize("is_granted", [True, False])
def test_it_is_given_to_one_more_slot_where_another_was_asked_for(front, link_backend, size, is_granted):
    asked, taken = threading.Event(), threading.Event()

    def script(slot, items, fields, body):
        if slot.number:
            slot.answer(body)
        elif items["method"] == "GET":
            slot.head(complete=True)
            assert asked.wait(10)
            slot.free()
        else:
            if is_granted:
                taken.set()
                wait(lambda: front.pool.idle)
            slot.send(link.frame(link.RECALL, bytes((link.TAKEN,))))
            taken.set()
            raise EOFError

    backend = link_backend(script)
    play = backend.play

    def grant(slot):
        if slot.number == 1:
            asked.set()
            assert taken.wait(10)
        play(slot)

    backend.play = grant
    front.switch(backend.upstream())
    assert front.ask(get()).status == 200
    answer = front.ask(post(b"x" * size))
    assert (answer.status, answer.body) == (200, b"x" * size)
    # What is idle is dropped where a slot is lost: its process may have died.
    assert methods(backend) == [["GET", "POST"], *[[]] * is_granted, ["POST"]]
    wait(lambda: not front.site.spool.used)


@pytest.mark.parametrize("size", [0, 10, 300_000])
def test_what_could_not_be_written_to_its_end_is_sent_again_whatever_it_is(front, link_backend, size):
    deaf = threading.Event()

    def script(slot, items, fields, body):
        slot.answer(body)
        if slot.number == 0:
            slot.sock.shutdown(socket.SHUT_RD)  # what is written from now on meets a broken pipe
            deaf.set()

    backend = link_backend(script)
    front.switch(backend.upstream())
    assert front.ask(get()).status == 200
    assert deaf.wait(10)
    answer = front.ask(post(b"x" * size))
    assert (answer.status, answer.body) == (200, b"x" * size)
    wait(lambda: not front.site.spool.used)


def test_what_a_worker_had_not_read_when_it_was_killed_is_sent_again_whatever_it_is(front, link_backend):
    def script(slot, items, fields, body):
        slot.answer(body)
        if slot.number == 0:
            select.select([slot.sock], [], [], 10)
            slot.sock.close()  # as the kernel does for a process that was killed
            raise EOFError

    backend = link_backend(script)
    front.switch(backend.upstream())
    client = front.connect()
    assert client.ask(get()).status == 200
    answer = client.ask(post(b"once"))
    assert (answer.status, answer.body) == (200, b"once")
    assert [len(one.requests) for one in backend.connections if one.requests] == [1, 1]


@pytest.mark.parametrize("first", ["the request", "the end"])
def test_what_comes_in_the_turn_that_finds_a_worker_dead_is_sent_to_another(front, link_backend, first):
    answered, end, ended = threading.Event(), threading.Event(), threading.Event()

    def script(slot, items, fields, body):
        slot.answer(body)
        if slot.number == 0:
            answered.set()
            end.wait(10)
            slot.close()
            ended.set()
            raise EOFError

    backend = link_backend(script)
    front.switch(backend.upstream())
    client = front.connect()
    assert client.ask(get()).status == 200
    wait(lambda: front.pool.idle)

    def both_at_once():
        if first == "the request":
            client.sendall(post(b"once"))
        end.set()
        assert ended.wait(10)
        if first == "the end":
            client.sendall(post(b"once"))

    front.call(both_at_once)
    answer = client.answer()
    assert (answer.status, answer.body) == (200, b"once")
    assert [len(one.requests) for one in backend.connections if one.requests] == [1, 1]


def test_a_request_that_kills_its_workers_is_repeated_once(front, link_backend):
    def script(slot, items, fields, body):
        raise EOFError

    backend = link_backend(script)
    front.switch(backend.upstream())
    assert front.ask(get()).status == 502
    assert sum(len(one.requests) for one in backend.connections) == 2


@pytest.mark.parametrize(
    "said", [link.FRAME.pack(5, 99) + b"12345", link.FRAME.pack(1 << 30, link.FREE), b"HTTP/1.1 200 OK\r\n"]
)
def test_what_is_no_frame_is_502(front, link_backend, said):
    def script(slot, items, fields, body):
        slot.send(said)
        slot.wait_end()

    front.switch(link_backend(script).upstream())
    assert front.ask(post(b"x")).status == 502


def test_a_client_that_leaves_while_its_view_runs_is_told_to_the_worker(front, link_backend):
    told = threading.Event()

    def script(slot, items, fields, body):
        if items["path"] == "/slow":
            kind, _ = slot.read_frame()
            assert kind == link.ABORT
            told.set()
            slot.answer(b"nobody reads this")
        else:
            slot.answer(b"next")

    backend = link_backend(script)
    front.switch(backend.upstream(slots=1))
    client = front.connect()
    client.sendall(get("/slow"))
    wait(lambda: backend.connections and backend.connections[0].requests)
    leave(client)
    assert told.wait(10)
    assert front.ask(get("/next")).body == b"next"
    assert len(backend.connections) == 1


def test_a_client_that_leaves_a_stream_is_told_to_the_worker(front, link_backend):
    told = threading.Event()

    def script(slot, items, fields, body):
        slot.head()
        while True:
            slot.sock.settimeout(10)
            slot.data(b"x" * 100_000)
            slot.sock.settimeout(0.01)
            try:
                kind, _ = slot.read_frame()
            except TimeoutError:
                continue
            assert kind == link.ABORT
            told.set()
            slot.sock.settimeout(10)
            slot.cut("the client left")
            slot.free()
            return

    front.switch(link_backend(script).upstream(slots=1))
    client = front.connect()
    client.sendall(get())
    client.head().read(10)
    leave(client)
    assert told.wait(10)
    wait(lambda: len(front.pool.idle) == 1)


def test_a_worker_that_is_slow_to_answer_is_504_and_its_slot_comes_back_later(make_front, link_backend, event):
    def script(slot, items, fields, body):
        event.wait(10)
        slot.answer(b"late")

    backend = link_backend(script)
    front = make_front(read_timeout_s=60)
    front.switch(backend.upstream(slots=1))
    client = front.connect()
    client.sendall(get())
    wait(lambda: backend.connections and backend.connections[0].requests)
    front.sweep(61)
    assert client.answer().status == 504
    assert not front.pool.idle
    event.set()
    wait(lambda: len(front.pool.idle) == 1)


# -- the spool --------------------------------------------------------------------------------------------------------


def spooled_files(directory):
    return [os.path.join(where, name) for where, _, names in os.walk(directory) for name in names]


def test_a_full_spool_is_503_and_its_files_are_gone(make_front, link_backend, tmp_path, caplog):
    backend = link_backend(echo)
    front = make_front(max_spool_bytes=1_000_000, spool_dir=str(tmp_path))
    front.switch(backend.upstream())
    first = front.connect()
    first.sendall(post(b"x" * 600_000, length=700_000))
    wait(lambda: front.site.spool.used == 600_000)
    assert len(spooled_files(tmp_path)) == 1
    client = front.connect()
    client.sendall(post(b"x" * 500_000))
    found = client.answer()
    assert (found.status, found.getheader("Retry-After")) == (503, "5")
    assert "MAX_SPOOL_BYTES" in caplog.text
    assert len(spooled_files(tmp_path)) == 1
    first.sendall(b"x" * 100_000)
    assert first.answer().body.endswith(b"x" * 700_000)
    wait(lambda: not front.site.spool.used and not spooled_files(tmp_path))


@pytest.mark.skipif(os.name == "nt", reason="names of files are text there")
def test_a_directory_may_have_any_name(make_front, link_backend, tmp_path):
    directory = os.fsencode(tmp_path) + b"/\xc3\xa4 \xff"
    os.mkdir(directory)
    front = make_front(spool_dir=os.fsdecode(directory))
    front.switch(link_backend(echo).upstream(slots=1))
    client = front.connect()
    for _ in range(2):
        assert client.ask(post(b"x" * 600_000)).body.endswith(b"x" * 600_000)


def test_a_client_that_leaves_takes_its_file_along(make_front, link_backend, tmp_path):
    front = make_front(spool_dir=str(tmp_path))
    front.switch(link_backend(echo).upstream())
    client = front.connect()
    client.sendall(post(b"x" * 600_000, length=700_000))
    wait(lambda: front.site.spool.used)
    client.close()
    wait(lambda: not front.site.spool.used and not spooled_files(tmp_path))


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="a small file system can be mounted by root only"
)
def test_a_full_disk_is_503_and_its_files_are_gone(make_front, link_backend, tmp_path, caplog):
    import subprocess

    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        front = make_front(spool_dir=str(disk))
        front.switch(link_backend(echo).upstream())
        found = front.ask(post(b"x" * 3_000_000))
        assert found.status == 503
        assert "its disk is full" in caplog.text
        wait(lambda: not spooled_files(disk) and not front.site.spool.used)
        assert front.ask(post(b"x" * 500_000)).body.endswith(b"x" * 500_000)
        wait(lambda: not spooled_files(disk))
        front.call(front.site.close)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_directory_that_cannot_be_written_is_503(make_front, link_backend, tmp_path, caplog):
    front = make_front(spool_dir=str(tmp_path / "absent"))
    front.switch(link_backend(echo).upstream())
    assert front.ask(post(b"x" * 500_000)).status == 503
    assert "SPOOL_DIR" in caplog.text
    assert front.ask(post(b"x" * 5)).status == 200


@pytest.mark.parametrize("why", ["gone", "broken", "held too long", "queued too long", "replaced by another kind"])
def test_a_request_that_is_given_up_leaves_no_file(make_front, link_backend, http_backend, tmp_path, why, event):
    def script(slot, items, fields, body):
        event.wait(10)
        slot.answer(b"")

    backend = link_backend(script)
    front = make_front(
        spool_dir=str(tmp_path), queue=QueueLimits(queue_timeout_s=0.3 if why == "gone" else 30), hold_timeout_s=60
    )
    absent = Upstream("link", str(tmp_path / "absent.sock"), 2, "absent")
    front.switch(absent if why == "gone" else backend.upstream(slots=1))
    client = front.connect()
    busy = front.connect()
    if why == "queued too long":
        busy.sendall(get())
        wait(lambda: front.pool.busy == 1)
    client.sendall(post(b"x" * 600_000, length=700_000))
    wait(lambda: front.site.spool.used == 600_000)
    if why in ("broken", "held too long"):
        front.call(front.site.hold, "a restart")
    elif why == "replaced by another kind":
        front.switch(http_backend(lambda connection: None).upstream())
    client.sendall(b"x" * 100_000)
    if why == "broken":
        wait(lambda: front.site.proxy.gate.held)
        front.call(front.site.broken, {"message": "no"})
    elif why == "held too long":
        wait(lambda: front.site.proxy.gate.held)
        front.sweep(61)
    elif why == "queued too long":
        wait(lambda: front.pool.waiting)
        front.sweep(31)
    assert client.answer().status in (502, 503)
    wait(lambda: not front.site.spool.used and not spooled_files(tmp_path))


def test_an_event_stream_goes_on_while_it_drains_and_is_ended_in_order_before_the_deadline(front, link_backend):
    go_on = threading.Event()

    def script(slot, items, fields, body):
        kind = b"text/event-stream" if items["target"] == "/events" else b"text/plain"
        slot.head(b"data: 1\n\n", block=b"Content-Type: %b\r\n" % kind)
        go_on.wait(10)
        slot.data(b"data: 2\n\n")
        if items["target"] == "/other":
            slot.end()
            slot.free()
        else:
            slot.wait_end()

    front.switch(link_backend(script).upstream(slots=2))
    events, other = front.connect(), front.connect()
    events.sendall(get("/events"))
    other.sendall(get("/other"))
    streams = [events.head(), other.head()]
    assert [stream.read1(9) for stream in streams] == [b"data: 1\n\n"] * 2
    drained = threading.Event()
    front.worker.drain(1.5, drained.set)
    go_on.set()
    assert [stream.read() for stream in streams] == [b"data: 2\n\n"] * 2  # both whole, by their last chunk
    assert drained.wait(10)
    assert not front.site.proxy.streams

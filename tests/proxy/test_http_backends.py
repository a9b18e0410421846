"""Requests through pooled HTTP/1.1 connections: reuse, queues, replay, and every way a backend fails."""

import http.client
import os
import socket
import threading
import time

import pytest

from duck.net.limits import Limits
from duck.proxy.upstream import QueueLimits, Upstream
from tests.net.front import chunked, get, post
from tests.proxy.backends import answer, read_request, serve
from tests.proxy.conftest import wait


def echo(connection, line, fields, body):
    return answer(line + b"\n" + body)


def test_a_connection_is_used_again_the_last_one_first(front, http_backend):
    backend = http_backend(serve(echo))
    front.switch(backend.upstream())
    client = front.connect()
    for number in range(5):
        assert client.ask(get(f"/{number}")).body == b"GET /%d HTTP/1.1\n" % number
    assert len(backend.connections) == 1 and len(backend.connections[0].requests) == 5
    wait(lambda: len(front.pool.idle) == 1 and front.pool.busy == 0)


def test_a_request_in_the_turn_that_finds_its_connection_ended_goes_to_another(front, http_backend):
    end, ended = threading.Event(), threading.Event()

    def script(connection):
        connection.send(answer(read_request(connection)[2]))
        if connection.number == 0:
            end.wait(10)
            connection.close()
            ended.set()

    backend = http_backend(script)
    front.switch(backend.upstream())
    client = front.connect()
    assert client.ask(get()).status == 200
    wait(lambda: front.pool.idle)

    def both_at_once():
        end.set()
        assert ended.wait(10)
        client.sendall(post(b"once"))

    front.call(both_at_once)
    found = client.answer()
    assert (found.status, found.body) == (200, b"once")


def test_requests_and_answers_arrive_as_they_were_sent(front, http_backend):
    def reply(connection, line, fields, body):
        fields = b"B: 1\r\na: 2\r\nB: 3\r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Length: 2\r\n"
        return b"HTTP/1.1 299 Fine by me\r\n" + fields + b"\r\nok"

    backend = http_backend(serve(reply))
    front.switch(backend.upstream())
    found = front.ask(get("//a/../%2F?b|c", "X-Y: 1", "x-y: 2"))
    assert (found.status, found.reason, found.body) == (299, "Fine by me", b"ok")
    pairs = [pair for pair in found.getheaders() if pair[0] != "Date"]
    assert pairs == [
        ("B", "1"),
        ("a", "2"),
        ("B", "3"),
        ("Set-Cookie", "a"),
        ("set-cookie", "b"),
        ("Content-Length", "2"),
    ]
    line, fields, _ = backend.connections[0].requests[0]
    assert line == b"GET //a/../%2F?b|c HTTP/1.1"
    assert fields[b"host"] == b"x" and fields[b"x-forwarded-for"] == b"127.0.0.1" and fields[b"via"] == b"1.1 duck"


class Mark:
    """Changes an answer on its way."""

    def __init__(self, sink):
        self._sink = sink

    def answer(self, head, body):
        head.fields = [*head.fields, (b"X-Mark", b"1")]
        self._sink.answer(head, body.upper())


def test_an_answer_that_is_changed_on_its_way_is_changed_for_nobody_else(front, http_backend):
    backend = http_backend(serve(lambda *request: answer(b"same")))
    front.switch(backend.upstream())

    class Marking:
        def handle(self, exchange):
            if exchange.request.path == b"/marked":
                exchange.wrap(Mark)
            front.site.handle(exchange)

    front.worker.server.handler = Marking()
    client = front.connect()
    for target in ("/", "/marked", "/", "/marked", "/"):
        found = client.ask(get(target))
        expected = (b"SAME", "1") if target == "/marked" else (b"same", None)
        assert (found.body, found.getheader("X-Mark")) == expected
        assert len(found.headers.get_all("Date")) == len(found.headers.get_all("Content-Length")) == 1


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
@pytest.mark.parametrize(
    ("said", "passed"),
    [("0", None), ("00", None), ("1", b"0"), ("10", b"9"), ("-1", b"-1"), ("some", b"some"), ("9" * 20, b"9" * 20)],
)
def test_max_forwards_is_counted(front, http_backend, method, said, passed):
    backend = http_backend(serve(lambda connection, line, fields, body: answer(b"forwarded")))
    front.switch(backend.upstream())
    client = front.connect()
    reply = client.ask(f"{method} /a?b HTTP/1.1\r\nHost: h\r\nMAX-Forwards: {said}\r\nX: y\r\n\r\n".encode())
    if passed is None:
        assert reply.status == (200 if method == "OPTIONS" else 501) and not backend.connections
    else:
        line, fields, _ = backend.connections[0].requests[0]
        assert reply.body == b"forwarded" and line == f"{method} /a?b HTTP/1.1".encode()
        assert (fields[b"max-forwards"], fields[b"x"], fields[b"host"]) == (passed, b"y", b"h")
    assert client.ask(get("/", "Max-Forwards: 0")).body == b"forwarded"


@pytest.mark.parametrize("target", ["*", "http://h"])
def test_what_is_asked_of_the_server_as_a_whole_is_answered_by_it(front, http_backend, target):
    backend = http_backend(serve(lambda connection, line, fields, body: answer(b"forwarded")))
    front.switch(backend.upstream())
    client = front.connect()
    reply = client.ask(f"OPTIONS {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    assert (reply.status, reply.body, reply.getheader("Content-Length")) == (200, b"", "0")
    assert not backend.connections
    assert client.ask(b"OPTIONS / HTTP/1.1\r\nHost: h\r\n\r\n").body == b"forwarded"


@pytest.mark.parametrize(
    "pieces",
    [[b"he", b"llo"], [], [b"x" * 65_536] * 8, [os.urandom(2_000_000)], [b"x" * 262_144], [b"x" * 262_144, b"y"]],
    ids=["short", "empty", "long", "long at once", "most in memory", "least in a file"],
)
def test_a_body_in_chunks_goes_on_with_its_length(front, http_backend, pieces):
    # Behind a WSGI server Django takes a body without CONTENT_LENGTH for an empty one.
    backend = http_backend(serve(lambda connection, line, fields, body: answer(str(len(body)).encode())))
    front.switch(backend.upstream())
    client = front.connect()
    for _ in range(2):
        assert client.ask(chunked(*pieces)).body == str(sum(map(len, pieces))).encode()
    for _, fields, body in backend.connections[0].requests:
        assert body == b"".join(pieces)
        assert (fields.get(b"content-length"), fields.get(b"transfer-encoding")) == (b"%d" % len(body), None)


def test_a_body_in_chunks_streams_to_a_server_of_ducks_own(front, http_backend):
    backend = http_backend(serve(lambda connection, line, fields, body: answer(body)))
    front.switch(backend.upstream(secret="s", identity_field="x-id"))
    assert front.ask(chunked(b"he", b"llo")).body == b"hello"
    assert backend.connections[0].requests[0][1][b"transfer-encoding"] == b"chunked"


def test_trailers_that_a_client_may_not_send_as_fields_reach_no_backend(front, http_backend):
    heard = []

    def script(connection):
        connection.read_until(b"\r\n\r\n")
        heard.append(connection.read_until(b"\r\n\r\n"))
        connection.send(answer())

    front.switch(
        http_backend(script).upstream(secret="s", identity_field="x-id"),
        secure_proxy_ssl_header=["HTTP_X_SECURE", "on"],
    )
    trailers = b"X-Sum: 1\r\nx-SECURE: on\r\nX-Private: 2\r\nX-Forwarded-Proto: https\r\nX_Secure: on\r\n"
    request = chunked(b"hello", end=b"0\r\n" + trailers + b"\r\n", fields=("Connection: x-private",))
    assert front.ask(request).status == 200
    assert heard == [b"5\r\nhello\r\n0\r\nX-Sum: 1"]


def test_a_body_in_chunks_that_waits_for_a_start_is_sent_once(front, http_backend):
    backend = http_backend(serve(lambda connection, line, fields, body: answer(str(len(body)).encode())))
    front.switch(backend.upstream())
    bodies = [chunked(b"hello"), chunked(*[b"x" * 65_536] * 8)]
    clients = [front.connect() for _ in bodies]
    for client, body in zip(clients, bodies, strict=True):
        client.sendall(body[:-8])
    wait(lambda: front.worker.server.requests == 2)
    front.call(front.site.hold, "the test")
    for client, body in zip(clients, bodies, strict=True):
        client.sendall(body[-8:])
    wait(lambda: front.site.proxy.gate.held)
    front.switch(backend.upstream())
    assert [client.answer().body for client in clients] == [b"5", b"524288"]
    assert sum(len(connection.requests) for connection in backend.connections) == 2


def test_a_long_body_in_chunks_takes_no_connection_before_it_is_complete(make_front, http_backend, tmp_path):
    backend = http_backend(serve(lambda connection, line, fields, body: answer(str(len(body)).encode())))
    front = make_front(spool_dir=str(tmp_path))
    front.switch(backend.upstream(slots=1))
    slow = front.connect()
    slow.sendall(chunked(b"x" * 500_000, end=b""))
    wait(lambda: front.site.spool.used == 500_000)
    assert front.ask(get()).body == b"0"
    assert not backend.connections[0].requests[1:]
    slow.sendall(b"0\r\n\r\n")
    assert slow.answer().body == b"500000"
    wait(lambda: not front.site.spool.used)


def test_a_long_body_in_chunks_is_held_back_by_its_server(make_front, http_backend, tmp_path, event):
    size = 20 << 20
    written = []

    def script(connection):
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        event.wait(10)
        _, _, body = read_request(connection)
        connection.send(answer(str(len(body)).encode()))
        connection.wait_end()

    front = make_front(spool_dir=str(tmp_path))
    front.switch(http_backend(script).upstream())
    client = front.connect()
    client.sendall(chunked(*[os.urandom(1 << 20)] * 20))
    wait(lambda: front.pool.busy == 1)

    def buffered():
        (connection,) = front.pool.open
        written.append(connection._transport.get_write_buffer_size())
        return written[-1]

    wait(lambda: front.call(buffered) > 0)
    assert max(written) < 1 << 20
    event.set()
    assert client.answer().body == b"%d" % size
    wait(lambda: not front.site.spool.used)


def test_a_full_spool_is_503_for_a_body_in_chunks(make_front, http_backend, tmp_path, caplog):
    backend = http_backend(serve(echo))
    front = make_front(max_spool_bytes=1_000_000, spool_dir=str(tmp_path))
    front.switch(backend.upstream())
    client = front.connect()
    client.sendall(chunked(*[b"x" * 100_000] * 20))
    found = client.answer()
    assert (found.status, found.getheader("Retry-After")) == (503, "5")
    assert "MAX_SPOOL_BYTES" in caplog.text
    wait(lambda: not front.site.spool.used)
    assert not backend.connections


def test_a_long_body_in_chunks_beyond_its_limit_is_413(make_front, http_backend, tmp_path):
    backend = http_backend(serve(echo))
    front = make_front(Limits(max_body_bytes=500_000), spool_dir=str(tmp_path))
    front.switch(backend.upstream())
    client = front.connect()
    client.sendall(chunked(*[b"x" * 100_000] * 6))
    assert client.answer().status == 413
    wait(lambda: not front.site.spool.used)
    assert not backend.connections


@pytest.mark.parametrize("how", ["answers early", "dies", "is not there", "the client leaves"])
def test_a_long_body_in_chunks_that_is_not_wanted_leaves_nothing(make_front, http_backend, tmp_path, how):
    def script(connection):
        connection.read_until(b"\r\n\r\n")
        if how == "answers early":
            connection.send(answer(b"too much", status="413 Content Too Large"))
        elif how == "dies":
            connection.reset()
            return
        connection.wait_end()

    front = make_front(spool_dir=str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        absent = Upstream("http", listener.getsockname(), 4, "absent", patient=False)
    front.switch(absent if how == "is not there" else http_backend(script).upstream())
    client = front.connect()
    client.sendall(chunked(*[os.urandom(1 << 20)] * 20))
    if how == "the client leaves":
        wait(lambda: front.site.spool.used == 20 << 20 and front.pool.busy)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    else:
        assert client.answer().status == (413 if how == "answers early" else 502)
    wait(lambda: not front.site.spool.used and front.pool.busy == 0)
    wait(lambda: not [name for _, _, names in os.walk(tmp_path) for name in names])


@pytest.mark.parametrize("data", [post(b"hello"), chunked(b"he", b"llo")], ids=["length", "chunked"])
def test_bodies_pass_both_ways(front, http_backend, data):
    front.switch(http_backend(serve(echo)).upstream())
    assert front.ask(data).body == b"POST / HTTP/1.1\nhello"


def test_answers_in_chunks_and_their_trailers_pass(front, http_backend):
    def reply(connection, line, fields, body):
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nDigest: 1\r\n\r\n"

    front.switch(http_backend(serve(reply)).upstream())
    client = front.connect()
    assert client.ask(get()).body == b"hello"
    client.sendall(get("/", "TE: trailers", "Connection: TE, close"))
    assert client.rest().endswith(b"llo\r\n0\r\nDigest: 1\r\n\r\n")


def test_an_answer_until_the_end_of_the_connection_is_complete_at_its_end(front, http_backend):
    def script(connection):
        read_request(connection)
        connection.send(b"HTTP/1.0 200 OK\r\n\r\nhello ")
        connection.send(b"world")

    backend = http_backend(script)
    front.switch(backend.upstream())
    client = front.connect()
    assert [client.ask(get()).body for _ in range(2)] == [b"hello world"] * 2
    assert len(backend.connections) == 2


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_answers_without_a_body_leave_the_connection_whole(front, http_backend, status):
    front.switch(http_backend(serve(lambda *_: f"HTTP/1.1 {status}\r\nETag: x\r\n\r\n".encode())).upstream())
    client = front.connect()
    assert [client.ask(get()).status for _ in range(3)] == [int(status[:3])] * 3
    assert client.ask(get(method="HEAD"), "HEAD").body == b""


def test_head_gets_the_length_and_no_body(front, http_backend):
    backend = http_backend(serve(lambda *_: b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"))
    front.switch(backend.upstream())
    client = front.connect()
    for _ in range(2):
        found = client.ask(get(method="HEAD"), "HEAD")
        assert (found.status, found.getheader("Content-Length")) == (200, "1000")
    assert len(backend.connections) == 1


def test_informational_answers_pass_but_not_100(front, http_backend):
    def reply(connection, line, fields, body):
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        return answer(b"x")

    front.switch(http_backend(serve(reply)).upstream())
    client = front.connect()
    client.sendall(get("/", "Connection: close"))
    assert client.rest().startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n")


# -- the pool ---------------------------------------------------------------------------------------------------------


def test_no_more_connections_than_slots_and_the_rest_in_order(front, http_backend, event):
    def reply(connection, line, fields, body):
        event.wait(10)
        return answer(line)

    backend = http_backend(serve(reply))
    front.switch(backend.upstream(slots=2))
    clients = []
    for number in range(6):
        clients.append(front.connect())
        clients[-1].sendall(get(f"/{number}"))
        wait(lambda: front.pool.busy + len(front.pool.waiting) == len(clients))
    wait(lambda: sum(len(one.requests) for one in backend.connections) == 2)
    assert len(front.pool.waiting) == 4
    event.set()
    assert [client.answer().body for client in clients] == [b"GET /%d HTTP/1.1" % number for number in range(6)]
    assert len(backend.connections) == 2
    order = [line for one in backend.connections for line, _, _ in one.requests]
    for one in backend.connections:
        assert [line for line, _, _ in one.requests] == sorted(line for line, _, _ in one.requests)
    assert len(order) == 6


def test_a_full_queue_answers_503_with_retry_after(make_front, http_backend, event, caplog):
    def reply(connection, line, fields, body):
        event.wait(10)
        return answer(b"late")

    front = make_front(queue=QueueLimits(max_queue=2))
    front.switch(http_backend(serve(reply)).upstream(slots=1))
    clients = [front.connect() for _ in range(3)]
    for count, client in enumerate(clients, 1):
        client.sendall(get())
        wait(lambda count=count: front.pool.busy + len(front.pool.waiting) == count)
    found = front.ask(get())
    assert (found.status, found.getheader("Retry-After")) == (503, "5")
    assert "2 requests wait for scripted" in caplog.text
    event.set()
    assert [client.answer().body for client in clients] == [b"late"] * 3


def test_the_wait_in_the_queue_has_a_deadline(make_front, http_backend, event):
    def reply(connection, line, fields, body):
        event.wait(10)
        return answer(b"late")

    front = make_front(queue=QueueLimits(queue_timeout_s=30))
    front.switch(http_backend(serve(reply)).upstream(slots=1))
    first, second = front.connect(), front.connect()
    first.sendall(get())
    wait(lambda: front.pool.busy == 1)
    second.sendall(get())
    wait(lambda: len(front.pool.waiting) == 1)
    front.sweep(29)
    assert len(front.pool.waiting) == 1
    front.sweep(31)
    assert second.answer().status == 503 and not front.pool.waiting
    event.set()
    assert first.answer().body == b"late"


def test_who_leaves_the_queue_frees_its_place(front, http_backend, event):
    def reply(connection, line, fields, body):
        event.wait(10)
        return answer(b"late")

    backend = http_backend(serve(reply))
    front.switch(backend.upstream(slots=1))
    first = front.connect()
    first.sendall(get())
    wait(lambda: front.pool.busy == 1)
    for _ in range(3):
        client = front.connect()
        client.sendall(get())
        wait(lambda: len(front.pool.waiting) == 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        wait(lambda: not front.pool.waiting)
    event.set()
    assert first.answer().body == b"late"
    assert len(backend.connections[0].requests) == 1


# -- replay -----------------------------------------------------------------------------------------------------------


def dying(connection):
    """Answers one request, then ends as the next arrives, without a word."""
    read_request(connection)
    connection.send(answer(b"%d" % connection.number))
    connection.read(1)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_a_request_that_may_be_repeated_is_on_a_dead_connection(front, http_backend, method):
    backend = http_backend(dying)
    front.switch(backend.upstream())
    client = front.connect()
    assert client.ask(get()).body == b"0"
    found = client.ask(get(method=method), method)
    assert found.status == 200 and found.body == (b"" if method == "HEAD" else b"1")


def test_a_post_is_never_repeated(front, http_backend):
    backend = http_backend(dying)
    front.switch(backend.upstream())
    client = front.connect()
    assert client.ask(get()).body == b"0"
    assert client.ask(post(b"pay")).status == 502
    assert client.ask(get(method="POST")).status == 200
    assert len(backend.connections) == 2


def test_a_request_is_repeated_once(front, http_backend):
    both = threading.Barrier(2, timeout=10)

    def script(connection):
        read_request(connection)
        both.wait()
        connection.send(answer(b""))
        connection.read(1)

    backend = http_backend(script)
    front.switch(backend.upstream())
    clients = [front.connect(), front.connect()]
    for client in clients:
        client.sendall(get())
    assert {client.answer().status for client in clients} == {200}
    wait(lambda: len(front.pool.idle) == 2)
    assert clients[0].ask(get()).status == 502
    assert len(backend.connections) == 2


def test_a_new_connection_that_dies_is_not_tried_again(front, http_backend):
    backend = http_backend(lambda connection: connection.read(1))
    front.switch(backend.upstream())
    assert front.ask(get()).status == 502
    assert len(backend.connections) == 1


def test_a_request_is_not_repeated_after_a_part_of_its_answer(front, http_backend):
    def script(connection):
        read_request(connection)
        connection.send(answer(b""))
        read_request(connection)
        connection.send(b"HTTP/1.1 200")

    backend = http_backend(script)
    front.switch(backend.upstream())
    client = front.connect()
    client.ask(get())
    assert client.ask(get()).status == 502 and len(backend.connections) == 1


def test_a_connection_that_says_something_unasked_is_not_used_again(front, http_backend, event):
    def script(connection):
        read_request(connection)
        connection.send(answer(b"%d" % connection.number))
        if connection.number == 0:
            event.wait(10)
            connection.send(answer(b"forged"))
        connection.wait_end()

    backend = http_backend(script)
    front.switch(backend.upstream())
    client = front.connect()
    assert client.ask(get()).body == b"0"
    wait(lambda: len(front.pool.idle) == 1)
    event.set()
    wait(lambda: not front.pool.open)
    assert client.ask(get()).body == b"1"


def test_bytes_after_an_answer_never_reach_the_next(front, http_backend):
    backend = http_backend(serve(lambda *_: answer(b"fine") + answer(b"forged")))
    front.switch(backend.upstream())
    client = front.connect()
    assert [client.ask(get()).body for _ in range(3)] == [b"fine"] * 3
    assert len(backend.connections) == 3


# -- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 10\r\n\r\n12345", b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n"],
    ids=["length", "chunked"],
)
def test_an_answer_that_is_cut_never_looks_complete(front, http_backend, head, how, caplog):
    def script(connection):
        read_request(connection)
        connection.send(b"HTTP/1.1 200 OK\r\n" + head)
        if how == "reset":
            time.sleep(0.05)
            connection.reset()

    front.switch(http_backend(script).upstream())
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        front.ask(get())
    wait(lambda: front.exchanges)
    assert front.exchanges[0].error is not None and front.exchanges[0].answer_state == "cut"
    assert "scripted" in caplog.text and "the answer was cut" in caplog.text


def test_an_answer_that_is_cut_does_not_look_complete_to_http_1_0_either(front, http_backend):
    def script(connection):
        read_request(connection)
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n")
        connection.sock.recv(1)

    backend = http_backend(script)
    front.switch(backend.upstream())
    client = front.connect()
    client.sendall(get(version="1.0"))
    data = b""
    while not data.endswith(b"12345"):
        data += client.recv(65_536)
    backend.connections[0].close()
    with pytest.raises(ConnectionResetError):
        client.recv(1)


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n" + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000,
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"",
    ],
    ids=["nonsense", "LF", "lengths", "smuggling", "endless head", "101", "SSH", "nothing"],
)
def test_what_is_no_answer_is_502(front, http_backend, said, caplog):
    def script(connection):
        read_request(connection)
        connection.send(said)

    front.switch(http_backend(script).upstream())
    client = front.connect()
    found = client.ask(get())
    assert found.status == 502 and b"did not answer" in found.body
    assert "scripted" in caplog.text
    assert client.ask(get()).status == 502  # the client's connection goes on


def test_malformed_chunks_cut_the_answer(front, http_backend):
    def script(connection):
        read_request(connection)
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\nzz\r\n")
        connection.wait_end()

    front.switch(http_backend(script).upstream())
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        front.ask(get())


def test_a_backend_that_refuses_is_502(front, caplog):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    front.switch(Upstream("http", address, 4, "absent", patient=False))
    client = front.connect()
    assert [client.ask(get()).status for _ in range(2)] == [502, 502]
    assert "absent cannot be reached" in caplog.text


def test_a_backend_that_was_not_there_is_reached_when_it_is(front, http_backend):
    backend = http_backend(serve(echo))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    front.switch(Upstream("http", address, 2, "absent", patient=False))
    client = front.connect()
    assert [client.ask(get()).status for _ in range(5)] == [502] * 5
    assert not front.pool.open and front.pool.busy == 0
    listener = socket.create_server(address)
    backend.listener, old = listener, backend.listener
    old.shutdown(socket.SHUT_RDWR)
    old.close()
    backend._accepting.join(10)
    backend._accepting = threading.Thread(target=backend._accept, daemon=True)
    backend._accepting.start()
    assert client.ask(get()).status == 200


def test_a_backend_that_is_slow_to_connect_is_504(make_front):
    front = make_front(queue=QueueLimits(connect_timeout_s=0.2))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        for _ in range(3):  # the backlog is full: a further SYN is not answered
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        time.sleep(0.05)
        front.switch(Upstream("http", listener.getsockname(), 4, "slow", patient=False))
        assert front.ask(get()).status == 504
        for filler in fillers:
            filler.close()


def test_a_backend_that_is_slow_to_answer_is_504(make_front, http_backend, caplog):
    backend = http_backend(lambda connection: (read_request(connection), connection.wait_end()))
    front = make_front(read_timeout_s=60)
    front.switch(backend.upstream())
    client = front.connect()
    client.sendall(get())
    wait(lambda: backend.connections and backend.connections[0].requests)
    front.sweep(59)
    front.sweep(61)
    assert client.answer().status == 504
    assert backend.connections[0].ended.wait(10)
    assert "scripted sent nothing" in caplog.text
    wait(lambda: front.pool.busy == 0)


def test_a_backend_that_stops_within_its_answer_is_cut(make_front, http_backend):
    def script(connection):
        read_request(connection)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        connection.wait_end()

    backend = http_backend(script)
    front = make_front(read_timeout_s=60)
    front.switch(backend.upstream())
    client = front.connect()
    client.sendall(get())
    head = client.head()
    assert head.read(5) == b"12345"
    front.sweep(61)
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        head.read()
    assert backend.connections[0].ended.wait(10)


def test_nothing_of_a_call_stays_with_the_clock(make_front, http_backend):
    for timeout in (None, 60.0):
        front = make_front(read_timeout_s=timeout)
        front.switch(http_backend(serve(echo)).upstream())
        before = len(front.worker._clock.watched)
        client = front.connect()
        for _ in range(5):
            client.ask(post(b"x" * 100))
        client.close()
        wait(lambda front=front: not front.worker.server.connections)
        assert len(front.worker._clock.watched) == before


# -- early answers, clients that leave --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["whole", "streamed"])
def test_an_answer_before_the_body_is_complete_is_passed_on(front, http_backend, how):
    def script(connection):
        connection.read_until(b"\r\n\r\n")
        if how == "whole":
            connection.send(answer(b"too much", status="413 Content Too Large"))
        else:
            connection.send(b"HTTP/1.1 413 Content Too Large\r\nTransfer-Encoding: chunked\r\n\r\n8\r\ntoo much\r\n")
            time.sleep(0.02)
            connection.send(b"0\r\n\r\n")
        connection.wait_end()

    backend = http_backend(script)
    front.switch(backend.upstream())
    client = front.connect()
    client.sendall(post(b"begun", length=1_000_000))
    found = client.answer()
    assert (found.status, found.body, found.getheader("Connection")) == (413, b"too much", "close")
    assert backend.connections[0].ended.wait(10)
    wait(lambda: front.pool.busy == 0)


def test_a_body_beyond_its_limit_is_refused_before_a_backend_hears_of_it(make_front, http_backend):
    backend = http_backend(serve(echo))
    front = make_front(Limits(max_body_bytes=10))
    front.switch(backend.upstream())
    assert front.ask(post(b"", length=11)).status == 413
    assert front.ask(post(b"x" * 11)).status == 413
    assert not backend.connections
    assert front.ask(chunked(b"x" * 11)).status == 413
    assert front.ask(post(b"x" * 10)).body.endswith(b"x" * 10)


def test_100_continue_comes_from_duck_once_the_body_is_wanted(front, http_backend):
    backend = http_backend(serve(echo))
    front.switch(backend.upstream())
    client = front.connect()
    client.sendall(post(b"", "Expect: 100-continue", length=5))
    assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.sendall(b"hello")
    assert client.answer().body.endswith(b"hello")
    assert b"expect" not in backend.connections[0].requests[0][1]


def test_a_client_that_leaves_closes_the_backends_connection(front, http_backend):
    def script(connection):
        read_request(connection)
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        connection.wait_end()

    backend = http_backend(script)
    front.switch(backend.upstream())
    client = front.connect()
    client.sendall(get())
    client.head()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    assert backend.connections[0].ended.wait(10)
    wait(lambda: front.pool.busy == 0)


def test_a_client_that_leaves_within_its_body_closes_the_backends_connection(front, http_backend):
    backend = http_backend(serve(echo))
    front.switch(backend.upstream())
    client = front.connect()
    client.sendall(post(b"begun", length=100))
    wait(lambda: backend.connections)
    client.close()
    assert backend.connections[0].ended.wait(10)
    assert not backend.connections[0].requests
    wait(lambda: front.pool.busy == 0)


def test_a_client_that_closed_its_half_is_taken_to_have_left_after_a_moment(front, http_backend, caplog):
    backend = http_backend(lambda connection: (read_request(connection), connection.wait_end()))
    front.switch(backend.upstream())
    before = len(front.worker._clock.watched)
    client = front.connect()
    client.sendall(get())
    client.shutdown(socket.SHUT_WR)
    wait(lambda: backend.connections and backend.connections[0].requests)
    wait(lambda: len(front.worker._clock.watched) == before + 2)  # the connection and the call
    front.sweep(2)
    assert backend.connections[0].ended.wait(10)
    client.rest()
    wait(lambda: not front.worker.server.connections)
    assert len(front.worker._clock.watched) == before
    assert not caplog.records


def test_a_client_that_closed_its_half_gets_an_answer_under_way(front, http_backend, event):
    def script(connection):
        read_request(connection)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        event.wait(10)
        connection.send(b"67890")

    backend = http_backend(script)
    front.switch(backend.upstream())
    client = front.connect()
    client.sendall(get("/", "Connection: close"))
    client.shutdown(socket.SHUT_WR)
    data = b""
    while not data.endswith(b"12345"):
        data += client.recv(65_536)
    front.sweep(0.5)
    event.set()
    assert client.rest() == b"67890"


def test_half_closed_clients_in_the_queue_leave_nothing_in_it(front, http_backend, event):
    def reply(connection, line, fields, body):
        event.wait(10)
        return answer(b"late")

    backend = http_backend(serve(reply))
    front.switch(backend.upstream(slots=1))
    first = front.connect()
    first.sendall(get())
    wait(lambda: front.pool.busy == 1)
    for _ in range(3):
        client = front.connect()
        client.sendall(get())
        client.shutdown(socket.SHUT_WR)
    wait(lambda: len(front.pool.waiting) == 3)
    wait(lambda: sum(1 for one in list(front.worker._clock.watched) if type(one).__name__ == "HttpCall") == 3)
    front.sweep(2)
    assert not front.pool.waiting
    event.set()
    assert first.answer().body == b"late"


def test_an_early_answer_of_a_backend_that_then_closes_is_passed_on(front, http_backend):
    def script(connection):
        connection.read_until(b"\r\n\r\n")
        connection.send(answer(b"too much", "Connection: close", status="413 Content Too Large"))

    front.switch(http_backend(script).upstream())
    statuses = []
    for _ in range(20):
        client = front.connect()
        try:
            client.sendall(post(b"x" * 5_000_000))
        except ConnectionError:
            pass
        statuses.append(client.answer().status)
    assert statuses == [413] * 20


def test_chunks_pass_at_once(front, http_backend):
    go = threading.Semaphore(0)

    def script(connection):
        read_request(connection)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(5):
            assert go.acquire(timeout=10)
            connection.send(b"9\r\ndata: %d\n\n\r\n" % number)
        connection.send(b"0\r\n\r\n")
        connection.wait_end()

    front.switch(http_backend(script).upstream())
    client = front.connect()
    client.sendall(get())
    head = client.head()
    for number in range(5):
        go.release()
        assert head.read1(100) == b"data: %d\n\n" % number
    assert head.read() == b""


def test_a_head_with_bare_line_feeds_is_502_at_once(front, http_backend):
    def bare(connection, line, fields, body):
        connection.send(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok")
        connection.fill()  # until the front has closed

    front.switch(http_backend(serve(bare)).upstream())
    started = time.monotonic()
    assert front.ask(get("/")).status == 502
    assert time.monotonic() - started < 5

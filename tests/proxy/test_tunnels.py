"""WebSocket upgrades: both directions at once, early bytes, half-closed sides, slow sides, and refusals."""

import contextlib
import hashlib
import os
import socket
import threading
import time

import pytest
import websockets.exceptions
import websockets.sync.client
import websockets.sync.server

from duck.net.limits import Limits
from duck.proxy.upstream import Upstream
from tests.net.front import get, post
from tests.proxy.backends import answer, read_request, serve
from tests.proxy.conftest import wait

UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: k", "Sec-WebSocket-Version: 13")
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: a\r\n\r\n"
)


def echo(connection):
    read_request(connection)
    connection.send(SWITCH)
    while True:
        if connection.buffer == b"reset":
            connection.reset()
            return
        if connection.buffer:
            connection.send(connection.buffer)
            connection.buffer = b""
        connection.fill()


def read(client, count):
    data = bytearray()
    while len(data) < count:
        piece = client.recv(min(65_536, count - len(data)))
        assert piece, bytes(data)
        data += piece
    return bytes(data)


def read_head(client):
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += read(client, 1)
    return data


def open_tunnel(front, early=b"", **more):
    client = front.connect(**more)
    client.sendall(get("/ws", *UPGRADE) + early)
    head = read_head(client)
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"), head
    assert b"Sec-WebSocket-Accept: a\r\n" in head
    return client


@pytest.fixture
def switched(front, http_backend):
    """A function that gives the front a backend for upgrades."""

    def switch(script, slots=8):
        backend = http_backend(script)
        front.switch(backend.upstream(), sockets=(backend.upstream(slots=slots),))
        return backend

    return switch


def test_a_tunnel_carries_bytes_both_ways(front, switched):
    backend = switched(echo)
    client = open_tunnel(front)
    for message in (b"one", b"two", b"\0" * 1000):
        client.sendall(message)
        assert read(client, len(message)) == message
    line, fields, _ = backend.connections[0].requests[0]
    assert line == b"GET /ws HTTP/1.1"
    assert (fields[b"connection"], fields[b"upgrade"], fields[b"sec-websocket-key"]) == (b"Upgrade", b"websocket", b"k")
    client.close()
    assert backend.connections[0].ended.wait(10)
    wait(lambda: not front.site.proxy.tunnels)
    wait(lambda: front.exchanges)
    assert (front.exchanges[0].status, front.exchanges[0].bytes_received, front.exchanges[0].bytes_sent) == (
        101,
        1006,
        1006,
    )


def test_open_tunnels_take_no_slot_from_others(front, http_backend):
    def script(connection):
        if b"/ws" in (request := read_request(connection))[0]:
            connection.send(SWITCH)
        else:
            connection.send(answer(request[0]))
        connection.wait_end()

    upstream = http_backend(script).upstream(slots=1)
    front.switch(upstream, sockets=(upstream,))
    clients = [open_tunnel(front) for _ in range(5)]
    assert front.ask(get("/page")).body == b"GET /page HTTP/1.1"
    for client in clients:
        client.close()
    wait(lambda: not front.site.proxy.tunnels)


def test_bytes_right_after_the_request_are_not_lost(front, switched):
    switched(echo)
    client = open_tunnel(front, early=b"early")
    assert read(client, 5) == b"early"
    client.sendall(b"late")
    assert read(client, 4) == b"late"


def test_more_early_bytes_than_are_kept_are_not_lost(front, switched):
    data = os.urandom(1_000_000)
    switched(echo)
    client = front.connect()
    sender = threading.Thread(target=client.sendall, args=(get("/ws", *UPGRADE) + data,))
    sender.start()
    read_head(client)
    assert read(client, len(data)) == data
    sender.join()


def test_bytes_right_after_101_are_not_lost(front, switched):
    def script(connection):
        read_request(connection)
        connection.send(SWITCH + b"early")
        connection.send(connection.read(4))
        connection.wait_end()

    switched(script)
    client = open_tunnel(front)
    assert read(client, 5) == b"early"
    client.sendall(b"late")
    assert read(client, 4) == b"late"


def test_a_side_that_ends_may_still_receive(front, switched):
    def script(connection):
        read_request(connection)
        connection.send(SWITCH)
        data = b""
        while piece := connection.sock.recv(65_536):
            data += piece
        connection.send(b"I heard " + data)

    switched(script)
    client = open_tunnel(front)
    client.sendall(b"you")
    client.shutdown(socket.SHUT_WR)
    assert client.rest() == b"I heard you"
    wait(lambda: not front.site.proxy.tunnels)


def test_a_backend_that_ends_may_still_receive(front, switched):
    heard = []

    def script(connection):
        read_request(connection)
        connection.send(SWITCH + b"bye")
        connection.sock.shutdown(socket.SHUT_WR)
        data = b""
        while piece := connection.sock.recv(65_536):
            data += piece
        heard.append(data)

    switched(script)
    client = open_tunnel(front)
    assert client.rest() == b"bye"
    client.sendall(b"farewell")
    client.close()
    wait(lambda: heard)
    assert heard == [b"farewell"]
    wait(lambda: not front.site.proxy.tunnels)


@pytest.mark.parametrize("who", ["client", "backend"])
def test_a_side_that_is_reset_ends_the_other(front, switched, who):
    backend = switched(echo)
    client = open_tunnel(front)
    client.sendall(b"x")
    assert read(client, 1) == b"x"
    if who == "client":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        assert backend.connections[0].ended.wait(10)
    else:
        client.sendall(b"reset")
        assert client.rest() == b""
    wait(lambda: not front.site.proxy.tunnels)
    wait(lambda: not front.worker.server.connections)


def test_big_transfers_are_held_back_by_slow_sides(front, switched):
    size = 20_000_000
    sent = hashlib.sha256()
    data = os.urandom(1 << 20)

    def script(connection):
        read_request(connection)
        connection.send(SWITCH)
        left = size
        while left:
            piece = data[: min(left, len(data))]
            connection.send(piece)
            sent.update(piece)
            left -= len(piece)
        connection.wait_end()

    switched(script)
    client = open_tunnel(front, receive_buffer=65_536)
    peaks = []

    def waiting():
        return sum(one._transport.get_write_buffer_size() for one in front.worker.server.connections)

    received = hashlib.sha256()
    left = size
    while left:
        piece = client.recv(min(left, 500_000))
        received.update(piece)
        left -= len(piece)
        if len(peaks) < 200:
            peaks.append(front.call(waiting))
    assert received.digest() == sent.digest()
    assert max(peaks) < 1_000_000


def test_what_comes_at_once_with_101_holds_the_backend_back_too(front, switched):
    stopped = threading.Event()

    def script(connection):
        read_request(connection)
        connection.sock.settimeout(0.3)
        connection.send(SWITCH + b"x" * 200_000)
        try:
            while True:
                connection.send(b"x" * 100_000)
        except TimeoutError:
            stopped.set()
        connection.sock.settimeout(10)
        connection.wait_end()

    switched(script)
    client = front.connect(receive_buffer=4096)
    client.sendall(get("/ws", *UPGRADE))
    assert stopped.wait(10)
    (connection,) = front.worker.server.connections
    assert front.call(connection._transport.get_write_buffer_size) < 1_000_000


def test_a_silent_tunnel_is_closed_and_one_that_moves_is_not(make_front, http_backend):
    backend = http_backend(echo)
    front = make_front(tunnel_idle_s=300)
    front.switch(backend.upstream(), sockets=(backend.upstream(),))
    client = open_tunnel(front)
    for seconds in (301, 602):  # each has its next deadline 300 s later
        client.sendall(b"x")
        read(client, 1)
        front.sweep(seconds)
    front.sweep(900)
    assert front.site.proxy.tunnels
    front.sweep(903)
    assert client.rest() == b""
    assert backend.connections[0].ended.wait(10)


@pytest.mark.parametrize("idle", [None, 300])
def test_a_half_closed_tunnel_that_moves_goes_on_for_its_time(make_front, http_backend, idle, event):
    def script(connection):
        read_request(connection)
        connection.send(SWITCH + b"one")
        event.wait(10)
        connection.send(b"two")

    backend = http_backend(script)
    front = make_front(tunnel_idle_s=idle)
    front.switch(backend.upstream(), sockets=(backend.upstream(),))
    client = open_tunnel(front)
    client.shutdown(socket.SHUT_WR)
    assert read(client, 3) == b"one"
    wait(lambda: [tunnel for tunnel in list(front.site.proxy.tunnels) if tunnel.deadline < 1e9])
    front.sweep(61)
    front.sweep(119)
    event.set()
    assert client.rest() == b"two"


def test_a_refused_upgrade_is_an_ordinary_answer(front, switched):
    switched(serve(lambda *_: answer(b"no", status="403 Forbidden")))
    client = front.connect()
    for _ in range(2):
        found = client.ask(get("/ws", *UPGRADE))
        assert (found.status, found.body) == (403, b"no")
    assert client.ask(get()).status == 403


@pytest.mark.parametrize(
    "fields",
    [
        ("Connection: Upgrade", "Upgrade: h2c", "Sec-WebSocket-Key: k"),
        ("Connection: Upgrade", "Upgrade: websocket"),
        ("Upgrade: websocket", "Sec-WebSocket-Key: k"),
        ("Connection: Upgrade", "Upgrade: websocket, h2c", "Sec-WebSocket-Key: k"),
    ],
)
def test_any_other_upgrade_is_an_ordinary_request(front, switched, fields):
    backend = switched(serve(lambda connection, line, fields, body: answer(fields.get(b"upgrade", b"none"))))
    assert front.ask(get("/", *fields)).body == b"none"
    assert b"sec-websocket-version" not in backend.connections[0].requests[0][1]


def test_without_a_backend_for_it_an_upgrade_is_an_ordinary_request(front, http_backend):
    backend = http_backend(serve(lambda *_: answer(b"page")))
    front.switch(backend.upstream())
    assert front.ask(get("/ws", *UPGRADE)).body == b"page"
    assert b"upgrade" not in backend.connections[0].requests[0][1]


def test_an_upgrade_over_a_connection_that_died_is_sent_again(front, switched):
    def script(connection):
        read_request(connection)
        if connection.number == 0:
            connection.send(answer(b"no"))
            connection.read(1)
        else:
            connection.send(SWITCH)
            connection.wait_end()

    backend = switched(script)
    client = front.connect()
    assert client.ask(get("/ws", *UPGRADE)).body == b"no"
    open_tunnel(front)
    assert len(backend.connections) == 2


def test_a_worker_that_ends_closes_its_tunnels(front, switched):
    backend = switched(echo)
    client = open_tunnel(front)
    front.call(front.site.close)
    assert client.rest() == b""
    assert backend.connections[0].ended.wait(10)


def test_a_drain_ends_tunnels_instead_of_waiting_for_them(front, switched):
    switched(echo)
    client = open_tunnel(front, early=b"no frames")
    assert read(client, 9) == b"no frames"
    drained = threading.Event()
    front.worker.drain(60, drained.set)
    assert drained.wait(5), "an open WebSocket held the drain up"
    assert client.recv(10) == b""
    assert str(front.exchanges[0].error) == "Duck went away"


@pytest.fixture
def sockets(front, http_backend):
    """A function that opens so many WebSockets through the front, to a server that tells how each was closed."""
    closed = []

    def serve_socket(connection):
        for message in connection:
            connection.send(message)
        closed.append(connection.protocol.close_rcvd.code)

    server = websockets.sync.server.serve(serve_socket, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    upstream = Upstream("http", server.socket.getsockname()[:2], 8, patient=False, name="websockets")
    front.switch(upstream, sockets=(upstream,))
    clients = []

    def connect(count):
        address = "ws://{}:{}/".format(*front.address)
        clients.extend(websockets.sync.client.connect(address) for _ in range(count))
        return clients, closed

    yield connect
    for client in clients:
        client.close()
    server.shutdown()
    thread.join()


def test_a_drain_says_1001_to_both_sides_of_a_websocket(front, sockets):
    (client,), closed = sockets(1)
    for message in (b"x" * 200_000, "text", b""):
        client.send(message)
        assert client.recv() == message
    drained = threading.Event()
    front.worker.drain(60, drained.set)
    with pytest.raises(websockets.exceptions.ConnectionClosed):
        client.recv(timeout=10)
    assert client.protocol.close_rcvd.code == 1001 and client.protocol.close_rcvd_then_sent
    assert drained.wait(2), "both sides had confirmed"
    wait(lambda: closed == [1001])
    wait(lambda: not front.site.proxy.backends.sockets[0].https.upgraded)


def test_a_drain_spreads_the_closings_of_websockets(front, sockets):
    clients, closed = sockets(10)
    ends = []

    def wait_end(client):
        with contextlib.suppress(websockets.exceptions.ConnectionClosed):
            client.recv(timeout=10)
        ends.append(time.monotonic())

    threads = [threading.Thread(target=wait_end, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    drained = threading.Event()
    begun = time.monotonic()
    front.worker.drain(0.1, drained.set, spread_s=1.0, sockets_s=20)
    assert drained.wait(10)
    for thread in threads:
        thread.join()
    ends = [end - begun for end in sorted(ends)]
    for index, end in enumerate(ends):
        assert end >= index / 10 - 0.01, ends
    wait(lambda: closed == [1001] * 10)


def test_websockets_outlive_the_deadline_of_requests_up_to_their_own(front, switched):
    switched(echo)
    client = open_tunnel(front)
    client.sendall(b"\x82")  # the beginning of a frame: this one cannot be closed in order
    assert read(client, 1) == b"\x82"
    busy = front.connect()
    busy.sendall(post(b"1", length=2))
    wait(lambda: front.worker.server.requests == 2)
    drained = threading.Event()
    front.worker.drain(0.1, drained.set, sockets_s=0.5)
    assert busy.rest() == b""
    wait(lambda: len(front.exchanges) == 1)
    assert not drained.is_set() and front.site.proxy.tunnels
    assert drained.wait(5)
    assert client.rest() == b""


def test_a_tunnel_that_opens_during_a_drain_is_closed_like_the_others(front, switched, event):
    def script(connection):
        read_request(connection)
        event.wait(10)
        connection.send(SWITCH)
        connection.wait_end()

    backend = switched(script)
    client = front.connect()
    client.sendall(get("/ws", *UPGRADE))
    wait(lambda: backend.connections and backend.connections[0].requests)
    drained = threading.Event()
    front.worker.drain(60, drained.set)
    event.set()
    assert read_head(client).startswith(b"HTTP/1.1 101 ")
    assert read(client, 4) == b"\x88\x02\x03\xe9"
    client.close()
    assert drained.wait(5)


def test_a_client_that_stays_after_its_backend_died_is_closed_within_seconds(front, switched):
    def script(connection):
        read_request(connection)
        connection.send(SWITCH + b"last")

    switched(script)
    client = open_tunnel(front)
    assert client.rest() == b"last"  # and does not close
    wait(lambda: [one for one in list(front.site.proxy.tunnels) if one.is_half_closed])
    front.sweep(6)
    wait(lambda: not front.worker.server.connections)
    wait(lambda: not front.site.proxy.backends.sockets[0].https.upgraded)


def test_a_backend_that_takes_nothing_keeps_no_closed_tunnel(front, switched, event):
    def script(connection):
        read_request(connection)
        connection.send(SWITCH)
        event.wait(20)

    switched(script)
    client = open_tunnel(front)
    client.setblocking(False)
    wait(lambda: front.site.proxy.tunnels)
    (tunnel,) = front.site.proxy.tunnels
    while not front.call(lambda: tunnel._backend.duplex.unsent):
        with contextlib.suppress(BlockingIOError):
            client.send(b"x" * 65_536)
    pool = front.site.proxy.backends.sockets[0].https
    front.call(lambda: [one.close() for one in list(front.site.proxy.tunnels)])
    wait(lambda: not front.worker.server.connections)
    assert pool.upgraded
    front.sweep(11)
    wait(lambda: not pool.upgraded)


def test_a_client_that_takes_nothing_of_a_tunnel_is_cut_off(make_front, http_backend):
    def script(connection):
        read_request(connection)
        connection.send(SWITCH)
        while True:  # to the end of the connection
            connection.send(b"\x82\x7d" + b"x" * 125)

    backend = http_backend(script)
    front = make_front(Limits(send_timeout_s=30))
    front.switch(backend.upstream(), sockets=(backend.upstream(),))
    client = open_tunnel(front, receive_buffer=4096)
    (connection,) = front.worker.server.connections
    wait(lambda: connection.deadline < 1e9)
    wait(lambda: not front.call(lambda: connection.unsent < connection._unsent))
    front.sweep(31)
    wait(lambda: not front.worker.server.connections)
    assert str(front.exchanges[0].error) == "the client took nothing of its bytes for 30 s and was cut off"
    client.close()

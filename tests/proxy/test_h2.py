"""HTTP/2 in front of backends: the same handler, rules and spool, and WebSockets."""

import base64
import hashlib
import threading

import httpx
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset

from tests.net.front import get
from tests.proxy.backends import answer, read_request, serve

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@pytest.fixture
def client():
    with httpx.Client(http1=False, http2=True, timeout=20) as client:
        yield client


def url(front, path="/"):
    return "http://{}:{}{}".format(*front.address, path)


def test_a_worker_is_told_what_it_is_told_under_http1(front, link_backend, client):
    calls = []

    def script(slot, items, fields, body):
        calls.append((items, fields))
        slot.answer(b"hello")

    front.switch(link_backend(script).upstream())
    headers = {"accept": "text/html", "cookie": "a=b", "x-forwarded-proto": "https", "x_forwarded_for": "9.9.9.9"}
    two = client.get(url(front, "/a?b=c"), headers=headers)
    assert two.status_code == 200 and two.content == b"hello" and two.http_version == "HTTP/2"
    with httpx.Client(headers={"user-agent": client.headers["user-agent"]}, timeout=60) as one:
        one.headers.clear()
        one.get(url(front, "/a?b=c"), headers={**dict(client.headers), **headers})
    (first, first_fields), (second, second_fields) = calls
    assert first["protocol"] == "HTTP/2.0" and second["protocol"] == "HTTP/1.1"
    for name in ("method", "path", "query", "target"):
        assert first[name] == second[name], name

    def told(fields):
        return sorted((name.lower(), value) for name, value in fields if name.lower() != "connection")

    assert told(first_fields) == told(second_fields)
    assert not any("9.9.9.9" in value for _, value in first_fields)


@pytest.mark.parametrize("size", [0, 10, 1_000_000])
def test_a_body_without_a_length_is_counted_for_a_worker(front, link_backend, client, size):
    calls = []

    def script(slot, items, fields, body):
        calls.append((items, body))
        slot.answer(b"%d" % len(body))

    front.switch(link_backend(script).upstream())

    def pieces():
        for at in range(0, size, 10_000):
            yield b"x" * min(10_000, size - at)

    said = client.post(url(front), content=pieces())
    assert said.content == b"%d" % size
    ((items, _),) = calls
    assert items["length"] == str(size) and (items["spool"] != "") == (size > 262_144)


@pytest.mark.parametrize("trusted", [True, False])
def test_bodies_for_http_backends(front, http_backend, client, trusted):
    seen = []

    def reply(connection, line, fields, body):
        seen.append((line, fields))
        return answer(body)

    backend = http_backend(serve(reply))
    more = {"identity_field": "X-Identity"} if trusted else {}
    front.switch(backend.upstream(**more))
    assert client.post(url(front), content=b"abc" * 1000).content == b"abc" * 1000
    assert client.post(url(front), content=iter([b"abc" * 1000, b"d"])).content == b"abc" * 1000 + b"d"
    assert client.get(url(front, "/x?y")).content == b""
    (_, counted), (_, streamed), (line, _) = seen
    assert counted[b"content-length"] == b"3000" and line == b"GET /x?y HTTP/1.1"
    assert (streamed.get(b"transfer-encoding") == b"chunked") is trusted
    assert streamed.get(b"content-length") == (None if trusted else b"3001")


def test_an_options_request_that_counts_its_proxies_keeps_its_body(front, http_backend, client):
    front.switch(
        http_backend(serve(lambda connection, line, fields, body: answer(fields[b"max-forwards"] + body))).upstream()
    )
    said = client.request("OPTIONS", url(front), content=iter([b"abc"]), headers={"max-forwards": "5"})
    assert said.content == b"4abc"


def test_a_backend_that_cuts_its_answer_resets_the_stream(front, http_backend, client):
    def script(connection):
        while True:
            line, _, _ = read_request(connection)
            if line.startswith(b"GET /cut"):
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
                return
            connection.send(answer(b"whole"))

    front.switch(http_backend(script).upstream())
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(url(front, "/cut"))
    assert client.get(url(front)).content == b"whole"


def test_a_client_that_gives_up_cancels_its_call(front, http_backend):
    began = threading.Event()

    def script(connection):
        read_request(connection)
        began.set()
        connection.wait_end()

    backend = http_backend(script)
    front.switch(backend.upstream())
    conversation = Conversation(front)
    stream_id = conversation.start("/")
    began.wait(20)
    conversation.h2.reset_stream(stream_id)
    conversation.flush()
    assert backend.connections[0].ended.wait(20)
    front.wait_exchanges(1)


def test_a_long_answer_passes_a_slow_client(front, http_backend):
    size = 3_000_000
    front.switch(http_backend(serve(lambda *_: answer(b"x" * size))).upstream())
    conversation = Conversation(front)
    stream_id = conversation.start("/")
    conversation.read(lambda: conversation.ended)
    assert len(conversation.body[stream_id]) == size


class Conversation:
    """A client that speaks by the `h2` library over a socket."""

    def __init__(self, front):
        self.socket = front.connect()
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.flush()
        self.body = {}
        self.heads = {}
        self.ended = set()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def start(self, path, *more, method="GET", end=True):
        stream_id = self.h2.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", path), *more]
        self.h2.send_headers(stream_id, fields, end_stream=end)
        self.flush()
        return stream_id

    def read(self, until):
        while not until():
            data = self.socket.recv(65_536)
            assert data, "the connection ended"
            for event in self.h2.receive_data(data):
                if isinstance(event, ResponseReceived):
                    self.heads[event.stream_id] = dict(event.headers)
                elif isinstance(event, DataReceived):
                    self.body[event.stream_id] = self.body.get(event.stream_id, b"") + event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, StreamEnded | StreamReset):
                    self.ended.add(event.stream_id)
            self.flush()


def websocket_backend(connection):
    _, fields, _ = read_request(connection)
    accept = base64.b64encode(hashlib.sha1(fields[b"sec-websocket-key"] + GUID).digest())
    connection.send(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    while True:
        if connection.buffer:
            connection.send(connection.buffer)
            connection.buffer = b""
        connection.fill()


def test_a_websocket_is_tunnelled_to_an_upgrade(front, http_backend):
    backend = http_backend(websocket_backend)
    front.switch(backend.upstream(), sockets=(backend.upstream(),))
    conversation = Conversation(front)
    more = (("sec-websocket-version", "13"), ("origin", "http://x"))
    # `h2` knows nothing of extended CONNECT: the order is ours.
    stream_id = conversation.h2.get_next_available_stream_id()
    fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/ws"),
        (":authority", "x"),
    ]
    conversation.h2.config.validate_outbound_headers = False
    conversation.h2.send_headers(stream_id, fields + list(more))
    conversation.flush()
    conversation.read(lambda: stream_id in conversation.heads)
    assert conversation.heads[stream_id][":status"] == "200"
    line, sent, _ = backend.connections[0].requests[0]
    assert line == b"GET /ws HTTP/1.1" and sent[b"upgrade"] == b"websocket" and sent[b"origin"] == b"http://x"
    for message in (b"one", b"x" * 100_000):
        for at in range(0, len(message), 16_384):
            conversation.h2.send_data(stream_id, message[at : at + 16_384])
        conversation.flush()
        conversation.read(lambda message=message: conversation.body.get(stream_id, b"").endswith(message))
    conversation.h2.end_stream(stream_id)
    conversation.flush()
    conversation.read(lambda: stream_id in conversation.ended)
    front.wait_exchanges(1)
    assert front.exchanges[0].status == 101 and front.exchanges[0].bytes_sent == 100_003


def test_a_websocket_that_the_backend_refuses(front, http_backend):
    backend = http_backend(serve(lambda *_: answer(b"no", status="403 Forbidden")))
    front.switch(backend.upstream(), sockets=(backend.upstream(),))
    conversation = Conversation(front)
    conversation.h2.config.validate_outbound_headers = False
    stream_id = conversation.start("/ws", (":protocol", "websocket"), method="CONNECT", end=False)
    conversation.read(lambda: stream_id in conversation.ended)
    assert conversation.heads[stream_id][":status"] == "403"


def test_http1_goes_on_beside_it(front, link_backend, client):
    front.switch(link_backend(lambda slot, items, fields, body: slot.answer(b"hello")).upstream())
    assert client.get(url(front)).content == front.ask(get("/")).body == b"hello"

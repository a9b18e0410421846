"""WebSocket over HTTP/2 (RFC 8441): an extended CONNECT becomes the handshake of HTTP/1, its stream a Duplex."""

import base64
import hashlib

import pytest

from duck.exceptions import ClientGone
from duck.net.h2_answer import HIGH_BYTES
from duck.wire import h2_frames as frames
from duck.wire.fields import get
from duck.wire.head import ResponseHead
from tests.net.front import Front, echo
from tests.net.h2_client import Client
from tests.wire.h2_peer import frame

PSEUDO = ((":protocol", "websocket"), (":scheme", "http"), (":authority", "x"))
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def switching(exchange, accept=None):
    key = get(exchange.request.fields, b"sec-websocket-key")
    accept = accept or base64.b64encode(hashlib.sha1(key + GUID).digest())
    return ResponseHead(101, [(b"Sec-WebSocket-Accept", accept), (b"Sec-WebSocket-Protocol", b"chat")])


class Receiver:
    """What a tunnel hears of its client."""

    def __init__(self):
        self.data = b""
        self.calls = []
        self.error = None

    def duplex_data(self, data):
        self.data += data

    def duplex_eof(self):
        self.calls.append("eof")

    def duplex_lost(self, error):
        self.calls.append("lost")
        self.error = error

    def duplex_pause(self):
        self.calls.append("pause")

    def duplex_resume(self):
        self.calls.append("resume")


class Socket:
    """A front that upgrades at once, and a client that has asked it to."""

    def __init__(self, *, connects=True, **more):
        self.receiver = Receiver()
        self.front = Front(self.upgrade)
        self.connects = connects
        self.client = Client(self.front, **more)
        self.client.judged = True
        self.id = self.client.start("/ws", ("sec-websocket-version", "13"), method="CONNECT", end=False, pseudo=PSEUDO)
        self.settle()

    def upgrade(self, exchange):
        self.exchange = exchange
        self.duplex = exchange.response.upgrade(switching(exchange))
        if self.connects:
            self.duplex.connect(self.receiver)

    def settle(self):
        self.front.loop.run()
        self.client.read()

    def send(self, data, *, end=False):
        self.client.raw(frame(frames.DATA, int(end), self.id, data))
        self.settle()

    @property
    def answer(self):
        return self.client.answers[self.id]

    def end(self):
        self.client.leave()
        self.front.loop.run()
        self.front.check_clean()
        assert self.front.server.snapshot()["now"]["tunnels"] == 0


def test_a_handshake():
    socket = Socket()
    assert socket.answer.fields == [(b":status", b"200"), (b"sec-websocket-protocol", b"chat")]
    request = socket.exchange.request
    assert (request.method, request.upgrade, request.target) == (b"GET", b"websocket", b"/ws")
    assert len(base64.b64decode(get(request.fields, b"sec-websocket-key"))) == 16
    assert socket.front.server.snapshot()["now"]["tunnels"] == 1
    assert socket.front.server.stats.upgraded == 1 and socket.exchange.status == 101
    socket.end()


def test_bytes_pass_both_ways_and_both_sides_end():
    socket = Socket()
    socket.send(b"up")
    socket.duplex.writer(b"down")
    socket.settle()
    assert socket.receiver.data == b"up" and socket.answer.body == b"down"
    socket.send(b"", end=True)
    assert socket.receiver.calls == ["eof"]
    socket.duplex.write(b"more")
    socket.duplex.write_eof()
    socket.duplex.write_eof()
    socket.duplex.write(b"too late")
    socket.settle()
    assert socket.answer.body == b"downmore" and socket.answer.ended and socket.answer.reset is None
    assert socket.receiver.calls == ["eof", "lost"] and socket.receiver.error is None
    assert len(socket.front.finished) == 1
    socket.end()


def test_the_other_side_may_end_first():
    socket = Socket()
    socket.duplex.write_eof()
    socket.settle()
    assert socket.answer.ended and socket.receiver.calls == []
    socket.send(b"still up")
    socket.send(b"!", end=True)
    assert socket.receiver.data == b"still up!" and socket.receiver.calls == ["eof", "lost"]
    socket.end()


@pytest.mark.parametrize("ends", ["client", "backend"])
def test_what_nobody_took_shuts_no_window_of_others(ends):
    socket = Socket()
    window = socket.client.h2.outbound_flow_control_window
    for _ in range(30):
        socket.duplex.pause_reading()
        for _ in range(3):
            socket.client.h2.send_data(socket.id, b"x" * 16_384)
        socket.client.send()
        if ends == "client":
            socket.client.h2.reset_stream(socket.id)
            socket.client.send()
        else:
            socket.duplex.abort()
        socket.settle()
        socket.id = socket.client.start("/ws", method="CONNECT", end=False, pseudo=PSEUDO)
        socket.settle()
    assert socket.client.h2.outbound_flow_control_window > window // 2
    socket.end()


def test_a_close_ends_the_stream_behind_what_was_written():
    socket = Socket(initial_window=0)
    socket.client.auto = False
    socket.duplex.write(b"bye")
    socket.duplex.close()
    socket.settle()
    assert not socket.answer.body and socket.receiver.calls == [] and socket.duplex.unsent == 3
    socket.client.open_window(100, socket.id)
    socket.settle()
    assert socket.answer.body == b"bye" and socket.answer.ended and socket.answer.reset == frames.NO_ERROR
    assert socket.receiver.calls == ["lost"] and socket.duplex.unsent == 0
    socket.duplex.close()
    socket.end()


def test_an_abort_resets_the_stream():
    socket = Socket()
    socket.duplex.abort()
    socket.duplex.abort()
    socket.settle()
    assert socket.answer.reset == frames.CANCEL and isinstance(socket.receiver.error, ClientGone)
    assert len(socket.front.finished) == 1
    socket.end()


@pytest.mark.parametrize("how", ["reset", "connection"])
def test_a_client_that_leaves(how):
    socket = Socket()
    if how == "reset":
        socket.client.raw(frame(frames.RST_STREAM, 0, socket.id, b"\0\0\0\x08"))
    else:
        socket.client.transport.lose()
    assert socket.receiver.calls == ["lost"] and isinstance(socket.receiver.error, ClientGone)
    socket.duplex.write(b"nobody")
    socket.duplex.write_eof()
    socket.duplex.resume_reading()
    if how == "reset":
        socket.end()


def test_what_comes_early_is_kept():
    socket = Socket(connects=False)
    socket.send(b"early ")
    socket.send(b"birds", end=True)
    socket.duplex.connect(socket.receiver)
    assert socket.receiver.data == b"early birds" and socket.receiver.calls == ["eof"]
    socket.duplex.write_eof()
    socket.settle()
    socket.end()


def test_nothing_is_connected_to_a_stream_that_is_gone():
    socket = Socket(connects=False)
    socket.client.transport.lose()
    socket.duplex.connect(socket.receiver)
    assert socket.receiver.calls == ["lost"]


def test_a_slow_receiver_shuts_the_window():
    socket = Socket()
    socket.duplex.pause_reading()
    sent = 0
    while (window := socket.client.h2.local_flow_control_window(socket.id)) > 0:
        socket.client.h2.send_data(socket.id, b"x" * min(window, 16_384))
        socket.client.send()
        socket.settle()
        sent += min(window, 16_384)
        assert sent <= 1 << 18
    assert not socket.receiver.data
    socket.duplex.resume_reading()
    socket.duplex.resume_reading()
    socket.settle()
    assert len(socket.receiver.data) == sent and socket.client.h2.local_flow_control_window(socket.id) > 0
    socket.end()


def test_a_slow_client_pauses_the_sender():
    socket = Socket(initial_window=10)
    socket.client.auto = False
    socket.duplex.write(b"x" * (HIGH_BYTES + 20))
    socket.settle()
    assert socket.receiver.calls == ["pause"] and len(socket.answer.body) == 10
    socket.client.open_window(HIGH_BYTES, socket.id)
    socket.client.open_window(HIGH_BYTES)
    socket.settle()
    assert socket.receiver.calls == ["pause", "resume"]
    socket.end()


def test_a_receiver_learns_that_the_client_was_slow_before():
    socket = Socket(initial_window=10, connects=False)
    socket.client.auto = False
    socket.duplex.write(b"x" * (HIGH_BYTES + 20))
    socket.duplex.connect(socket.receiver)
    assert socket.receiver.calls == ["pause"]
    socket.end()


def test_an_answer_that_belongs_to_another_key_is_refused():
    def upgrade(exchange):
        with pytest.raises(ClientGone):
            exchange.response.upgrade(switching(exchange, b"AAAA"))

    front = Front(upgrade)
    client = Client(front)
    stream_id = client.start("/ws", method="CONNECT", end=False, pseudo=PSEUDO)
    answer = client.answers[stream_id]
    assert answer.status == 502 and answer.reset == frames.NO_ERROR
    assert front.finished[0].status == 502 and "Accept" in str(front.finished[0].error)
    client.leave()
    front.check_clean()


@pytest.mark.parametrize("pieces", [False, True])
def test_an_ordinary_page_is_no_tunnel(pieces):
    def answer(exchange):
        if pieces:
            exchange.head(ResponseHead(200, [], content_length=4))
            exchange.data(b"page")
            exchange.end(None)
        else:
            exchange.answer(ResponseHead(200, []), b"page")

    front = Front(answer)
    client = Client(front)
    stream_id = client.start("/ws", method="CONNECT", end=False, pseudo=PSEUDO)
    answer = client.answers[stream_id]
    assert answer.status == 501 and b"page" not in answer.body and answer.ended
    assert front.finished[0].status == 501
    client.leave()
    front.check_clean()


def test_a_refusal_is_passed_on():
    front = Front(lambda exchange: exchange.answer(ResponseHead(403, []), b"no"))
    client = Client(front)
    stream_id = client.start("/ws", method="CONNECT", end=False, pseudo=PSEUDO)
    assert client.answers[stream_id].status == 403 and client.answers[stream_id].body == b"no"
    client.leave()
    front.check_clean()


def test_an_upgrade_of_a_client_that_has_left():
    held = []
    front = Front(held.append)
    client = Client(front)
    client.start("/ws", method="CONNECT", end=False, pseudo=PSEUDO)
    client.transport.lose()
    with pytest.raises(ClientGone):
        held[0].stream.send_upgrade(switching(held[0]))


def test_tunnels_outlast_what_is_cut_before_them():
    socket = Socket()
    socket.front._answer = lambda exchange: None
    other = socket.client.start("/")
    assert socket.front.server.cut(upgraded=False) == 1
    socket.settle()
    assert socket.client.answers[other].reset == frames.CANCEL and socket.answer.reset is None
    assert socket.front.server.cut(upgraded=False) == 0
    socket.send(b"still here")
    assert socket.receiver.data == b"still here"
    socket.front.server.cut()
    socket.front.loop.run()
    assert socket.receiver.calls == ["lost"]


def test_a_client_that_closes_its_half_loses_its_tunnels():
    socket = Socket()
    socket.client.transport.receive_eof()
    assert socket.receiver.calls == ["lost"]
    socket.front.loop.run()
    socket.front.check_clean()


def test_a_tunnel_keeps_a_connection_that_drains():
    socket = Socket()
    socket.front.server.drain(lambda: None)
    socket.settle()
    assert len(socket.client.goaways) == 2 and not socket.client.transport.wrote_eof
    socket.duplex.close()
    socket.settle()
    assert socket.client.transport.wrote_eof
    socket.end()


def test_requests_go_on_beside_a_tunnel():
    socket = Socket()
    socket.front._answer = echo
    assert socket.client.ask("/page").body == b"/page"
    socket.front.finished.sort(key=socket.front.exchanges.index)
    socket.client.leave()
    socket.front.loop.run()
    assert len(socket.front.finished) == 2

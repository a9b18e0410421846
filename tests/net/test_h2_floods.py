"""Floods over a socket: each ends with the right error, and costs the server little time and no memory.

CPU time is that of the worker's thread alone; memory is what the process has grown by. Both bounds are loose: what they
are for is a flood that costs seconds, or grows with its length.
"""

import contextlib
import socket
import time

import psutil
import pytest

from duck.net.limits import Limits
from duck.net.worker import Worker, new_loop
from duck.wire import h2_frames as frames
from duck.wire.head import ResponseHead
from tests.wire.h2_peer import frame, number, parse, setting

MAX_CPU_S = 2.0
MAX_BYTES = 24 << 20
GET = b"\x82\x86\x84\x01\x01x"
POST = b"\x83\x86\x84\x01\x01x"
CALM = frames.ENHANCE_YOUR_CALM


class Target:
    """A worker that answers with 100 bytes, and what it has cost since it was made."""

    def __init__(self, limits=None, handle=None):
        self._handle = handle
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.worker = Worker(
            "flooded", [self.listener], lambda loop, clock: self, limits or Limits(), make_loop=new_loop
        )
        self.worker.start()
        self._clock_id = time.pthread_getcpuclockid(self.worker._thread.ident)
        self._process = psutil.Process()
        self._cpu_s = time.clock_gettime(self._clock_id)
        self._rss = self._process.memory_info().rss

    def handle(self, exchange):
        if self._handle is not None:
            self._handle(exchange)
        else:
            exchange.answer(ResponseHead(200, []), b"x" * 100)

    @property
    def cpu_s(self):
        return time.clock_gettime(self._clock_id) - self._cpu_s

    @property
    def grown(self):
        return self._process.memory_info().rss - self._rss

    def sweep(self, seconds):
        clock = self.worker._clock
        self.worker.post(lambda: clock.sweep(clock.time() + seconds))

    def close(self):
        self.worker.stop()
        self.listener.close()


@pytest.fixture
def target():
    target = Target()
    yield target
    target.close()


class Attack:
    """One connection that sends and does not care; `ended_with` is the GOAWAY's code once the server has closed."""

    def __init__(self, target, settings=b""):
        self.target = target
        self.socket = socket.create_connection(target.listener.getsockname(), timeout=20)
        self.heard = b""
        self.sent = 0
        self.send(frames.PREFACE + frame(frames.SETTINGS, 0, 0, settings))

    def send(self, data):
        """False once the server takes no more."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        self.sent += len(data)
        return True

    def listen(self):
        """Take what has been sent, without waiting."""
        self.socket.setblocking(False)
        with contextlib.suppress(OSError):
            while data := self.socket.recv(1 << 16):
                self.heard = (self.heard + data)[-(1 << 16) :]
        self.socket.settimeout(20)

    def flood(self, pieces, listens=True):
        """Send until the server ends it; gives what was sent until then."""
        for piece in pieces:
            if not self.send(piece):
                break
            if listens:
                self.listen()
        return self.end()

    def end(self):
        """The code of the GOAWAY that ends the connection; None where the connection is not ended."""
        with contextlib.suppress(ConnectionError):
            while data := self.socket.recv(1 << 16):
                self.heard = (self.heard + data)[-(1 << 16) :]
        self.socket.close()
        for name, payload in last_frames(self.heard):
            if name == frames.GOAWAY:
                return int.from_bytes(payload[4:8], "big")
        return None


def last_frames(data):
    """The frames at the end of `data`, which may begin within one: GOAWAY is the last that is sent."""
    at = data.rfind(b"\x07\x00\x00\x00\x00\x00")
    if at >= 3:
        length = int.from_bytes(data[at - 3 : at], "big")
        yield frames.GOAWAY, data[at + 6 : at + 6 + length]


def many(piece, count=400, times=200):
    """`times` writes of `count` pieces."""
    return (piece * count for _ in range(times))


def streams(make, count=50, times=400):
    """`times` writes of what `make` makes of `count` stream ids."""
    return (b"".join(make(2 * (turn * count + one) + 1) for one in range(count)) for turn in range(times))


def get(stream_id, block=GET, flags=5):
    return frame(frames.HEADERS, flags, stream_id, block)


def rst(stream_id):
    return frame(frames.RST_STREAM, 0, stream_id, number(frames.CANCEL))


FLOODS = {
    "PING": many(frame(frames.PING, 0, 0, b"8" * 8)),
    "PONG": many(frame(frames.PING, 1, 0, b"8" * 8)),
    "SETTINGS": many(frame(frames.SETTINGS)),
    "long SETTINGS": many(frame(frames.SETTINGS, 0, 0, setting(4, 1000) * 2000), 2),
    "header table sizes": many(frame(frames.SETTINGS, 0, 0, setting(1, 0) + setting(1, 65_536))),
    "PRIORITY": many(frame(frames.PRIORITY, 0, 1, number(3) + b"\0")),
    "PRIORITY_UPDATE": many(frame(16, 0, 0, number(1) + b"u=1")),
    "unknown frames": many(frame(200, 0, 0, b"x" * 1000), 20),
    "windows by a byte": many(frame(frames.WINDOW_UPDATE, 0, 0, number(1))),
    "rapid reset": streams(lambda one: get(one) + rst(one)),
    "rapid reset of bodies": streams(lambda one: get(one, POST, 4) + rst(one)),
    "resets by a length": streams(lambda one: get(one, POST + b"\x0f\x0d\x011", 4) + frame(frames.DATA, 0, one, b"xx")),
    "resets by a malformed request": streams(lambda one: get(one, GET + b"\0\1A\1b")),
    "refused requests": streams(lambda one: get(one, GET + b"\x0f\x14\x01x")),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods_end(target, name):
    held = name in ("rapid reset", "rapid reset of bodies")
    target._handle = (lambda exchange: None) if held else None
    attack = Attack(target)
    assert attack.flood(FLOODS[name]) == CALM
    assert target.cpu_s < MAX_CPU_S and target.grown < MAX_BYTES


def test_a_client_that_floods_and_does_not_listen(target):
    attack = Attack(target)
    attack.flood(many(frame(frames.PING, 0, 0, b"8" * 8)), listens=False)
    assert target.cpu_s < MAX_CPU_S and target.grown < MAX_BYTES


@pytest.mark.parametrize(
    ("begin", "piece", "code"),
    [
        (get(1, POST, 4), frame(frames.DATA, 0, 1), CALM),
        (get(1, POST, 4), frame(frames.DATA, 8, 1, b"\0"), CALM),
        (get(1, POST, 4), frame(frames.DATA, 8, 1, b"\xff" + bytes(255)), CALM),
        (get(1, POST, 4), frame(frames.WINDOW_UPDATE, 0, 1, number(1)), CALM),
        (get(1, b"\x82", 0), frame(frames.CONTINUATION, 0, 1), CALM),
        (get(1, b"\x82", 0), frame(frames.CONTINUATION, 0, 1, b"\0\1a\x7f\xff\x7e" + b"x" * 16_000), CALM),
        (get(1, POST, 4), frame(frames.WINDOW_UPDATE, 0, 1, number(0)), frames.PROTOCOL_ERROR),
    ],
    ids=[
        "empty DATA",
        "empty DATA of one byte",
        "empty DATA full of padding",
        "windows of a stream",
        "empty CONTINUATION",
        "endless CONTINUATION",
        "windows by nothing",
    ],
)
def test_floods_on_one_stream_end(target, begin, piece, code):
    target._handle = lambda exchange: None
    attack = Attack(target)
    attack.send(begin)
    assert attack.flood(many(piece, max(1, 4000 // len(piece)))) == code
    assert target.cpu_s < MAX_CPU_S and target.grown < MAX_BYTES


def test_windows_of_a_byte_for_an_answer(target):
    target._handle = lambda exchange: exchange.answer(ResponseHead(200, []), b"x" * 100_000)
    attack = Attack(target, setting(4, 0))
    attack.send(get(1))
    assert attack.flood(many(frame(frames.WINDOW_UPDATE, 0, 1, number(1)))) == CALM
    assert target.cpu_s < MAX_CPU_S and target.grown < MAX_BYTES


def bombs(entry, references, count):
    """Requests, each of which is many times longer than its bytes."""
    first = GET + b"\x40\x01a" + length(entry) + b"x" * entry + b"\xbe" * references
    yield get(1, first)
    for one in range(1, count):
        yield get(2 * one + 1, GET + b"\xbe" * references)


def length(size):
    """The length of a string, as HPACK has it."""
    if size < 127:
        return bytes([size])
    size -= 127
    out = b"\x7f"
    while size >= 128:
        out += bytes([size & 127 | 128])
        size >>= 7
    return out + bytes([size])


@pytest.mark.parametrize(("entry", "references"), [(4000, 12_000), (130, 16_000), (4000, 60), (0, 7000)])
def test_header_bombs_end(target, entry, references):
    """Many times as long as their bytes: at once where nobody means it, else answered 431 for a while."""
    attack = Attack(target)
    assert attack.flood(bombs(entry, references, 100)) == CALM
    assert target.cpu_s < MAX_CPU_S and target.grown < MAX_BYTES


def test_tables_that_are_emptied_and_filled(target):
    """The decoder's work goes with the bytes, whatever they do to the table."""
    attack = Attack(target)
    block = GET + b"\x40\x01a\x01b" * 3000
    changes = b"\x20\x3f\xe1\x1f" * 2000 + GET
    begun = target.cpu_s
    for one in range(200):
        if not attack.send(get(2 * one + 1, block if one % 2 else changes)):
            break
        attack.listen()
    attack.socket.close()
    assert target.grown < MAX_BYTES
    assert (target.cpu_s - begun) / attack.sent < 1e-6


def test_a_hundred_stalled_windows(target):
    """A client that asks for much and takes nothing holds little, and not for long."""

    def handle(exchange):
        exchange.head(ResponseHead(200, []))
        while not exchange.paused:
            exchange.data(b"x" * 16_384)

    target._handle = handle
    attack = Attack(target, setting(4, 0))
    attack.send(b"".join(get(2 * one + 1) for one in range(100)))
    deadline = time.monotonic() + 20
    while target.worker.server.requests < 100:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert target.grown < 100 * 100_000 + (8 << 20)
    target.sweep(61)
    while target.worker.server.stats.ended < 100:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    resets = 0
    attack.socket.settimeout(0.5)
    heard = b""
    with contextlib.suppress(TimeoutError):
        while resets < 100:
            heard += attack.socket.recv(1 << 16)
            resets = sum(name == "RST_STREAM" for name, *_ in parse(heard))
    assert resets == 100
    attack.socket.close()


def test_a_hundred_bodies_that_stand_still(target):
    target._handle = lambda exchange: None
    attack = Attack(target)
    for one in range(100):
        attack.send(get(2 * one + 1, POST, 4))
        attack.send(b"".join(frame(frames.DATA, 0, 2 * one + 1, b"x") for _ in range(5000)))
    deadline = time.monotonic() + 20
    while target.worker.server.requests < 100:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert target.grown < MAX_BYTES
    attack.socket.close()


def test_a_hundred_uploads_that_nobody_takes(target):
    """Each holds the window that it was given and no more, and one that is read goes on beside them."""

    def handle(exchange):
        exchange.read_body(Sink(exchange))
        if exchange.request.target == b"/":
            exchange.pause_body()

    target._handle = handle
    attack = Attack(target)
    for one in range(1, 199, 2):
        piece, last = frame(frames.DATA, 0, one, b"x" * 16_384), frame(frames.DATA, 0, one, b"x" * 16_383)
        assert attack.send(get(one, POST, 4) + piece * 3 + last)
    attack.send(get(199, b"\x83\x86\x04\x02/y\x01\x01x", 4))
    heard = b""
    for turn in range(1, 101):
        assert attack.send(frame(frames.DATA, 0, 199, b"x" * 16_384) * 2)
        while sum(name == "WINDOW_UPDATE" and one == 199 for name, _, one, _ in parse(heard)) < turn:
            data = attack.socket.recv(65_536)
            assert data
            heard += data
    attack.send(frame(frames.DATA, 1, 199))
    while b"3276800" not in heard:
        heard += attack.socket.recv(65_536)
    assert target.grown < 99 * 65_535 + MAX_BYTES
    # More than the window of one of them ends the connection.
    attack.send(frame(frames.DATA, 0, 1, b"x" * 16_384) * 13)
    assert attack.end() == frames.FLOW_CONTROL_ERROR
    assert target.cpu_s < MAX_CPU_S


class Sink:
    """Counts a body, and answers with how long it was."""

    def __init__(self, exchange):
        self.exchange = exchange
        self.size = 0

    def data(self, chunk):
        self.size += len(chunk)

    def end(self, trailers):
        self.exchange.answer(ResponseHead(200, []), b"%d" % self.size)

    def abort(self, error):
        pass


def test_others_are_served_meanwhile(target):
    attack = Attack(target)
    other = Attack(target)
    for piece in many(frame(frames.PING, 0, 0, b"8" * 8), 50, 10):
        attack.send(piece)
    other.send(get(1))
    data = b""
    while b"x" * 100 not in data:
        data += other.socket.recv(65_536)
    other.socket.close()
    attack.socket.close()

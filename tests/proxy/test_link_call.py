"""An answer of a worker and its client, step by step: a test plays the worker, the client and the loop."""

import pytest

from duck.exceptions import BackendTimeout
from duck.net.clock import NEVER, Clock
from duck.net.exchange import READ_AHEAD_BYTES
from duck.net.link_connection import LinkConnection
from duck.net.server import Trust
from duck.proxy.handler import ProxyHandler
from duck.proxy.link_call import LinkCall
from duck.proxy.spool import PIECE_BYTES, Spool
from duck.testing import FakeLoop, FakeStream, FakeTransport, record_exchange
from duck.wire import link

AHEAD = READ_AHEAD_BYTES
CHUNK = bytes(range(256)) * 256  # 64 KiB


def ignore(*_):
    """The pool's part, which is none of this."""


class Answer:
    """One call under way: its link and its loop are the test's."""

    def __init__(self, tmp_path, *, room=64 << 20, read_timeout_s=60.0):
        self.loop = FakeLoop()
        self.now = 100.0
        self.clock = Clock(self.loop)
        self.clock.time = lambda: self.now
        self.spool = Spool(str(tmp_path), 64 << 20, room)
        self.proxy = ProxyHandler(self.loop, self.clock, self.spool, Trust(()), read_timeout_s=read_timeout_s)
        self.connection = LinkConnection("worker", "", ignore, ignore, ignore)
        self.link = FakeTransport(self.connection, self.loop)
        self.link.receive(link.frame(link.HELLO))
        self.exchange, self.stream = record_exchange(stream=FakeStream(high_water=65_536))
        self.call = LinkCall(self.proxy, self.exchange)
        self.exchange.producer = self.call
        self.call.ready(self.connection)
        self.link.pop_sent()
        self.link.receive(link.head_frame(200, b"OK", b"", None, b"", complete=False))
        self.sent = bytearray()

    def give(self, count):
        """The worker sends `count` chunks, as far as the link is read."""
        for _ in range(count):
            if not self.link.reading:
                return
            chunk = b"%06d" % (len(self.sent) % 1_000_000) + CHUNK[6:]
            self.sent += chunk
            self.link.receive(link.frame(link.DATA, chunk))

    def end(self):
        """The worker has sent all, and its view has ended."""
        self.link.receive(link.frame(link.END) + link.free_frame(0))

    def take_all(self):
        """The client takes what is there, again and again; how often it had to."""
        turns = 0
        while self.exchange.paused:
            turns += 1
            self.stream.drain()
            self.loop.run()
        return turns

    @property
    def is_aborted(self):
        return self.link.sent == link.frame(link.ABORT)

    def is_over(self):
        return (
            self.spool.used == 0
            and self.call not in self.clock.watched
            and self.call.deadline == NEVER
            and self.exchange.producer is None
        )


def test_a_client_that_keeps_up_gets_every_chunk_at_once_and_no_file(tmp_path):
    answer = Answer(tmp_path)
    for _ in range(100):
        answer.give(1)
        assert answer.stream.body == answer.sent
        answer.stream.drain()
    answer.end()
    assert answer.stream.ended and answer.is_over()
    assert not list(tmp_path.iterdir())


def test_memory_first_then_the_file_and_all_of_it_in_order(tmp_path):
    answer = Answer(tmp_path)
    answer.give(100)
    assert answer.link.reading
    assert len(answer.stream.body) < AHEAD + 4 * len(CHUNK)
    assert answer.spool.used == len(answer.sent) - len(answer.stream.body)
    answer.stream.drain()
    answer.loop.run()
    assert max(answer.stream.chunks) <= PIECE_BYTES
    answer.give(50)
    assert answer.take_all() > 10
    assert answer.stream.body == answer.sent and answer.spool.used == 0
    answer.give(1)
    assert answer.stream.body == answer.sent  # passes again, with no file
    answer.end()
    assert answer.stream.ended and answer.is_over()


def test_a_piece_in_each_turn_of_the_loop(tmp_path):
    answer = Answer(tmp_path)
    answer.give(100)
    answer.stream._high_water = None  # the client takes everything now
    before = len(answer.stream.body)
    answer.stream.drain()
    assert len(answer.stream.body) == before + PIECE_BYTES
    answer.loop.run()
    assert answer.stream.body == answer.sent


def test_the_end_waits_for_the_client_and_the_worker_for_nobody(tmp_path):
    answer = Answer(tmp_path)
    answer.give(100)
    answer.end()
    assert not answer.stream.ended
    assert answer.call not in answer.clock.watched
    answer.take_all()
    assert answer.stream.ended and answer.stream.body == answer.sent and answer.is_over()


@pytest.mark.parametrize("room", [0, 1 << 20])
def test_without_room_the_link_is_read_no_more_until_the_client_has_taken_all(tmp_path, room):
    answer = Answer(tmp_path, room=room)
    answer.give(1000)
    assert not answer.link.reading
    assert AHEAD + room < len(answer.sent) < AHEAD + room + 5 * len(CHUNK)
    assert answer.call.deadline == NEVER  # it is not the worker's time that passes
    answer.connection.data_received(link.frame(link.DATA, b"read already"))
    answer.sent += b"read already"
    if room:
        answer.stream.drain()
        answer.loop.run()
        assert not answer.link.reading
    answer.take_all()
    assert answer.link.reading and answer.stream.body == answer.sent
    assert answer.call.deadline == answer.now + 60
    answer.give(1)
    answer.end()
    answer.take_all()
    assert answer.stream.body == answer.sent and answer.stream.ended and answer.is_over()


def test_a_worker_that_sends_into_the_file_is_not_timed_out(tmp_path):
    answer = Answer(tmp_path)
    for _ in range(100):
        answer.give(1)
        answer.now += 50
        answer.clock.sweep(answer.now)
    assert not answer.is_aborted and answer.spool.used
    answer.clock.sweep(answer.now + 61)
    assert answer.is_aborted and isinstance(answer.stream.cut, BackendTimeout) and answer.is_over()


@pytest.mark.parametrize("ended", [True, False])
def test_a_client_that_leaves_ends_it(tmp_path, ended):
    answer = Answer(tmp_path)
    answer.give(100)
    answer.stream.drain()  # a next piece may be due
    if ended:
        answer.end()
    answer.stream.leave()
    answer.loop.run()
    assert answer.is_aborted is not ended
    assert answer.is_over()


@pytest.mark.parametrize("how", ["cut", "lost"])
def test_a_view_that_fails_cuts_what_waits(tmp_path, how):
    answer = Answer(tmp_path)
    answer.give(100)
    if how == "cut":
        answer.link.receive(link.frame(link.CUT, b"it failed"))
    else:
        answer.link.lose()
    assert answer.stream.cut is not None and answer.is_over()
    answer.loop.run()
    assert not answer.stream.ended

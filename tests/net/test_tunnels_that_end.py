"""Tunnels that end: told by RFC 6455 §7 where a frame ends, bounded in time, and with what was written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, SERVER, Protocol

from duck.net.clock import Clock
from duck.net.farewell import CONFIRM_S
from duck.net.tunnel import BACKEND_ENDED_S, FLUSH_S, HALF_CLOSED_S, Tunnel
from duck.testing import FakeLoop
from duck.wire.ws import close_frame


class Side:
    """A Duplex that the test plays; what is written stays in `unsent` while it is slow."""

    def __init__(self):
        self.receiver = None
        self.sent = bytearray()
        self.slow = False
        self.unsent = 0
        self.reading = True
        self.wrote_eof = False
        self.closed = False
        self.aborted = False

    def connect(self, receiver):
        self.receiver = receiver

    def write(self, data):
        assert not self.wrote_eof, "a write after write_eof"
        assert not self.closed, "a write after close"
        self.sent += data
        if self.slow:
            self.unsent += len(data)

    @property
    def writer(self):
        return self.write

    def write_eof(self):
        self.wrote_eof = True

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def close(self):
        self.closed = True
        self._end()

    def abort(self):
        self.aborted = True
        self.unsent = 0
        self._end()

    def take(self, count):
        self.unsent -= count
        if self.closed:
            self._end()

    def lose(self, error=None):
        receiver, self.receiver = self.receiver, None
        receiver.duplex_lost(error)

    def _end(self):
        # A transport tells of its end later, and after its last byte.
        if not self.unsent and self.receiver is not None:
            self.lose()


class Joined:
    """A tunnel between two sides, and a clock that the test moves."""

    def __init__(self, idle_s=300):
        self.clock = Clock(FakeLoop())
        self.now = 1000.0
        self.clock.time = lambda: self.now
        self.client, self.backend = Side(), Side()
        self.ended = []
        self.tunnel = Tunnel(self.client, self.backend, self.clock, idle_s, self.ended.append)

    def pass_time(self, seconds):
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 1)
            self.clock.sweep(self.now)

    def check_over(self):
        assert self.ended == [self.tunnel] and self.tunnel.has_ended
        assert self.client.closed and (self.backend.closed or self.backend.aborted)
        assert not self.clock.watched


def frame(payload, opcode=Opcode.BINARY, *, masked=False):
    return Frame(opcode, payload).serialize(mask=masked)


def messages(peer, data):
    """What `peer` makes of `data`: messages, and the code of a Close."""
    core = Protocol(peer)
    core.receive_data(bytes(data))
    assert core.parser_exc is None, core.parser_exc
    found = [bytes(event.data) for event in core.events_received() if event.opcode is not Opcode.CLOSE]
    return found, core.close_rcvd and core.close_rcvd.code


CLOSE = close_frame(1001)
ECHOED = Frame(Opcode.CLOSE, b"\x03\xe9").serialize(mask=True)


def test_both_sides_are_told_and_the_tunnel_ends_when_both_have_confirmed():
    joined = Joined()
    joined.client.receiver.duplex_data(frame(b"up", masked=True))
    joined.backend.receiver.duplex_data(frame(b"down"))
    joined.tunnel.go_away()
    assert messages(CLIENT, joined.client.sent) == ([b"down"], 1001)
    assert messages(SERVER, joined.backend.sent) == ([b"up"], 1001)
    joined.client.receiver.duplex_data(ECHOED)
    assert not joined.client.closed and not joined.ended
    joined.backend.receiver.duplex_data(CLOSE)
    joined.check_over()
    assert joined.client.sent.count(b"\x88") == 1 and str(joined.tunnel.error) == "Duck went away"


@given(
    down=st.lists(st.binary(max_size=200), max_size=5),
    up=st.lists(st.binary(max_size=200), max_size=5),
    at=st.data(),
)
def test_wherever_the_streams_are_both_sides_see_whole_messages_and_one_close(down, up, at):
    for mask in (False, True):  # what was sent before, and all of it, in any pieces
        joined = Joined()
        down_data = b"".join([frame(one) for one in down]) + frame(b"last")
        up_data = b"".join([frame(one, masked=True) for one in up]) + frame(b"last", masked=True)
        down_at = at.draw(st.integers(0, len(down_data)))
        up_at = at.draw(st.integers(0, len(up_data)))
        size = at.draw(st.integers(1, 300))
        for side, data in ((joined.backend, down_data[:down_at]), (joined.client, up_data[:up_at])):
            for begin in range(0, len(data), size):
                side.receiver.duplex_data(data[begin : begin + size])
        joined.tunnel.go_away()
        for side, data in ((joined.backend, down_data[down_at:]), (joined.client, up_data[up_at:])):
            for begin in range(0, len(data), size):
                side.receiver.duplex_data(data[begin : begin + size])
        joined.backend.receiver.duplex_data(CLOSE)
        if mask:
            joined.client.receiver.duplex_data(ECHOED)
        else:
            joined.client.receiver.duplex_eof()
        for peer, side, sent in ((CLIENT, joined.client, down), (SERVER, joined.backend, up)):
            found, code = messages(peer, side.sent)
            assert code == 1001 and found == [*sent, b"last"][: len(found)]
        joined.check_over()


def test_who_does_not_confirm_is_waited_for_no_longer_than_that():
    joined = Joined()
    joined.tunnel.go_away()
    joined.client.receiver.duplex_data(ECHOED)
    joined.pass_time(CONFIRM_S - 1)
    assert not joined.client.closed
    joined.pass_time(1)
    joined.check_over()


def test_a_frame_that_does_not_end_is_not_broken_into():
    joined = Joined()
    joined.backend.receiver.duplex_data(frame(b"x" * 1000)[:500])
    joined.tunnel.go_away()
    assert len(joined.client.sent) == 500
    joined.pass_time(CONFIRM_S)
    assert len(joined.client.sent) == 500
    joined.check_over()


def test_a_long_frame_has_all_of_the_time_and_both_sides_have_theirs_from_its_end_on():
    joined = Joined()
    whole = frame(b"x" * 1000)
    joined.backend.receiver.duplex_data(whole[:500])
    joined.tunnel.go_away(60)
    joined.pass_time(30)
    joined.backend.receiver.duplex_data(whole[500:])
    assert messages(CLIENT, joined.client.sent) == ([b"x" * 1000], 1001)
    joined.pass_time(CONFIRM_S - 1)
    assert not joined.client.closed
    joined.pass_time(1)
    joined.check_over()


def test_what_comes_after_the_close_goes_nowhere():
    joined = Joined()
    joined.tunnel.go_away()
    sent = bytes(joined.client.sent), bytes(joined.backend.sent)
    joined.backend.receiver.duplex_data(frame(b"more"))
    joined.client.receiver.duplex_data(frame(b"more", masked=True))
    assert (joined.client.sent, joined.backend.sent) == sent


def test_a_side_that_has_closed_already_is_not_closed_twice():
    joined = Joined()
    joined.client.receiver.duplex_data(ECHOED)
    joined.tunnel.go_away()
    assert joined.backend.sent == ECHOED and joined.client.sent == CLOSE
    joined.backend.receiver.duplex_data(CLOSE)
    assert joined.client.sent == CLOSE
    joined.check_over()


@pytest.mark.parametrize("who", ["client", "backend"])
def test_nothing_is_written_to_a_side_after_its_end(who):
    joined = Joined()
    side, other = (joined.client, joined.backend) if who == "client" else (joined.backend, joined.client)
    side.receiver.duplex_eof()
    assert other.wrote_eof
    joined.tunnel.go_away()
    assert other.sent == b"" and len(side.sent) in (4, 8)
    other.receiver.duplex_data(CLOSE if who == "client" else ECHOED)
    joined.check_over()


@pytest.mark.parametrize("data", [b"GET / no frames", b"\x83\0\0\0\0\0"])
def test_what_is_no_websocket_just_ends(data):
    joined = Joined()
    joined.client.receiver.duplex_data(data)
    joined.tunnel.go_away()
    assert joined.backend.sent == data and joined.client.sent == b""
    joined.check_over()


@pytest.mark.parametrize("who", ["client", "backend"])
def test_a_side_that_is_lost_meanwhile_ends_the_tunnel(who):
    joined = Joined()
    joined.tunnel.go_away()
    (joined.client if who == "client" else joined.backend).lose()
    (joined.backend if who == "client" else joined.client).closed = True
    assert joined.ended and not joined.clock.watched


def test_a_slow_side_does_not_keep_the_other_from_confirming():
    joined = Joined()
    joined.client.receiver.duplex_pause()
    assert not joined.backend.reading
    joined.tunnel.go_away()
    assert joined.backend.reading
    joined.client.receiver.duplex_pause()
    assert joined.backend.reading


def test_a_client_that_does_not_close_after_its_backend_is_closed_once_it_took_all():
    joined = Joined()
    joined.client.slow = True
    joined.backend.receiver.duplex_data(frame(b"x" * 1000))
    joined.backend.receiver.duplex_eof()
    for _ in range(5):
        joined.client.take(100)
        joined.pass_time(BACKEND_ENDED_S)
        assert not joined.client.closed
    joined.client.take(joined.client.unsent)
    joined.pass_time(BACKEND_ENDED_S)
    assert not joined.client.closed
    joined.pass_time(BACKEND_ENDED_S)
    joined.check_over()


def test_a_client_that_ended_first_has_its_minute():
    joined = Joined()
    joined.client.receiver.duplex_eof()
    joined.pass_time(HALF_CLOSED_S - 1)
    assert not joined.client.closed
    joined.pass_time(1)
    joined.check_over()
    assert joined.tunnel.error is None


def test_an_idle_tunnel_says_why_it_ended():
    joined = Joined(idle_s=20)
    joined.backend.receiver.duplex_data(frame(b"x"))
    joined.pass_time(39)
    assert not joined.client.closed
    joined.pass_time(1)
    joined.check_over()
    assert str(joined.tunnel.error) == "nothing passed for 20 s"


@pytest.mark.parametrize("how", ["closed", "lost"])
def test_a_backend_that_does_not_take_the_rest_is_cut(how):
    joined = Joined()
    joined.backend.slow = True
    joined.client.receiver.duplex_data(frame(b"x" * 1000, masked=True))
    if how == "closed":
        joined.tunnel.close()
    else:
        joined.client.lose(ConnectionResetError())
    assert joined.ended and joined.backend.closed
    for _ in range(5):
        joined.backend.take(100)
        joined.pass_time(FLUSH_S)
        assert not joined.backend.aborted
    joined.pass_time(FLUSH_S)
    assert joined.backend.aborted and not joined.clock.watched

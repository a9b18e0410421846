"""The framing and the states of a connection, by section of RFC 9113."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duck.wire import h2_frames as frames
from duck.wire.h2_account import FRAMES, RESETS, Account
from duck.wire.h2_connection import BOMB_COST, MAX_BLOCK_FRAMES
from duck.wire.h2_receiving import MAX_REMEMBERED, MAX_WIDE, STREAM_WINDOW, connection_window
from duck.wire.h2_settings import (
    ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    NO_RFC7540_PRIORITIES,
)
from tests.wire.h2_peer import POST, SETTINGS, START, Peer, frame, goaway_of, number, parse, setting

GET_BLOCK = b"\x82\x87\x84\x01\x01x"
ENDS = frames.END_HEADERS | frames.END_STREAM


def closed_by(*pieces, peer=None, **limits):
    """The code with which the connection ends."""
    peer = peer or Peer(**limits)
    heard = peer.send(*pieces)
    if peer.code is None:
        return None
    assert heard[-1][0] == "GOAWAY" and goaway_of(heard)[1] == peer.code
    assert not peer.send(peer.headers(99)), "what comes after that is ignored"
    return peer.code


def get(stream_id=1, flags=ENDS, block=GET_BLOCK):
    return frame(frames.HEADERS, flags, stream_id, block)


def post(stream_id=1):
    return get(stream_id, frames.END_HEADERS, b"\x83" + GET_BLOCK[1:])


def data(payload=b"", stream_id=1, *, end=False, flags=0):
    return frame(frames.DATA, flags | (frames.END_STREAM if end else 0), stream_id, payload)


def settings(*pairs):
    return frame(frames.SETTINGS, 0, 0, b"".join(setting(*pair) for pair in pairs))


def window(stream_id, increment):
    return frame(frames.WINDOW_UPDATE, 0, stream_id, number(increment))


def rst(stream_id=1, code=frames.CANCEL):
    return frame(frames.RST_STREAM, 0, stream_id, number(code))


# -- 3.4: the preface -------------------------------------------------------------------------------------------------


def test_duck_begins_with_its_settings_and_a_larger_window():
    peer = Peer(start=b"", max_streams=7, max_head_bytes=999)
    said = peer.hear()
    assert [name for name, *_ in said] == ["SETTINGS", "WINDOW_UPDATE"]
    payload = said[0][3]
    assert {payload[at : at + 6] for at in range(0, len(payload), 6)} == {
        setting(MAX_CONCURRENT_STREAMS, 7),
        setting(MAX_HEADER_LIST_SIZE, 999),
        setting(ENABLE_CONNECT_PROTOCOL, 1),
        setting(NO_RFC7540_PRIORITIES, 1),
    }
    assert said[1][2:] == (0, number(connection_window(7) - 65_535))


def test_the_clients_settings_are_acknowledged():
    assert Peer().greeting[2:] == [("SETTINGS", frames.ACK, 0, b"")]


@pytest.mark.parametrize("begin", [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nXX", b"\0"])
def test_another_preface_ends_the_connection(begin):
    peer = Peer(start=b"")
    assert closed_by(begin, peer=peer) == frames.PROTOCOL_ERROR


@pytest.mark.parametrize(
    "first", [frame(frames.PING, 0, 0, b"8" * 8), frame(frames.SETTINGS, frames.ACK), get(), data(b"x")]
)
def test_the_first_frame_is_settings(first):
    peer = Peer(start=frames.PREFACE)
    assert closed_by(first, peer=peer) == frames.PROTOCOL_ERROR


def conversation(cut):
    """What is heard where the input is cut as `cut` says."""
    peer = Peer(start=b"")
    sent = b"".join(
        (
            START,
            get(1),
            post(3),
            data(b"hello", 3),
            frame(frames.PING, 0, 0, b"12345678"),
            frame(frames.DATA, frames.PADDED, 3, b"\x03abcXXX"),
            data(b"", 3, end=True),
            frame(frames.HEADERS, frames.END_STREAM, 5, GET_BLOCK[:3]),
            frame(frames.CONTINUATION, frames.END_HEADERS, 5, GET_BLOCK[3:]),
            window(0, 5),
            get(6),
        )
    )
    heard = peer.hear()
    for piece in cut(sent):
        heard += peer.send(piece)
    told = [(stream.id, stream.head is not None, stream.body, stream.ended) for stream in peer.opened]
    return heard, told, peer.code


EXPECTED = conversation(lambda sent: [sent])


def test_a_conversation():
    _, told, code = EXPECTED
    assert told == [(1, True, b"", False), (3, True, b"helloabc", True), (5, True, b"", False)]
    assert code == frames.PROTOCOL_ERROR  # an even stream


def test_every_split_of_the_input_is_the_same():
    size = 300
    for at in range(1, size):
        assert conversation(lambda sent, at=at: [sent[:at], sent[at:]]) == EXPECTED
    assert conversation(lambda sent: [sent[at : at + 1] for at in range(len(sent))]) == EXPECTED


@given(st.lists(st.integers(1, 40), max_size=30))
def test_any_pieces_are_the_same(sizes):
    def cut(sent):
        at = 0
        for size in sizes:
            yield sent[at : at + size]
            at += size
        yield sent[at:]

    assert conversation(cut) == EXPECTED


# -- 4: frames --------------------------------------------------------------------------------------------------------


def test_unknown_frames_and_flags_are_ignored():
    peer = Peer()
    # PRIORITY_UPDATE (RFC 9218) is 16; 11 is unknown to all.
    assert not peer.send(frame(16, 0, 0, number(1) + b"u=1"), frame(11, 255, 9, b"x"), frame(0xFA, 0, 0))
    assert peer.send(frame(frames.PING, 0xFE, 0, b"8" * 8)) == [("PING", frames.ACK, 0, b"8" * 8)]
    assert peer.code is None


def test_the_reserved_bit_of_a_stream_is_ignored():
    peer = Peer()
    peer.send(get(1 | 1 << 31))
    assert peer.stream(1).head is not None


@pytest.mark.parametrize("kind", [frames.DATA, frames.HEADERS, frames.SETTINGS, 99])
def test_frames_longer_than_allowed(kind):
    assert closed_by(frames.frame_header(16_385, kind, 0, 1)) == frames.FRAME_SIZE_ERROR


def test_the_longest_frame_is_taken():
    peer = Peer()
    peer.send(post(), data(b"x" * 16_384))
    assert len(peer.stream(1).body) == 16_384


# -- 4.3: field blocks ------------------------------------------------------------------------------------------------


def test_a_malformed_field_block_ends_the_connection():
    assert closed_by(get(block=b"\x80")) == frames.COMPRESSION_ERROR


def test_a_malformed_block_of_trailers_ends_the_connection():
    assert closed_by(post(), get(1, ENDS, b"\x80")) == frames.COMPRESSION_ERROR


@pytest.mark.parametrize(
    "other", [data(b"x"), get(3), frame(frames.PING, 0, 0, b"8" * 8), frame(frames.CONTINUATION, 0, 3), frame(99)]
)
def test_nothing_may_come_within_a_field_block(other):
    assert closed_by(get(1, frames.END_STREAM, GET_BLOCK[:2]), other) == frames.PROTOCOL_ERROR


def test_a_continuation_of_nothing():
    assert closed_by(frame(frames.CONTINUATION, frames.END_HEADERS, 1, GET_BLOCK)) == frames.PROTOCOL_ERROR
    assert closed_by(get(), frame(frames.CONTINUATION, frames.END_HEADERS, 1)) == frames.PROTOCOL_ERROR


def test_a_block_in_many_frames():
    peer = Peer()
    peer.send(get(1, frames.END_STREAM, GET_BLOCK[:1]))
    assert peer.connection.in_block and peer.connection.is_within_head
    peer.send(*[frame(frames.CONTINUATION, 0, 1, GET_BLOCK[at : at + 1]) for at in range(1, len(GET_BLOCK))])
    peer.send(frame(frames.CONTINUATION, frames.END_HEADERS, 1))
    assert peer.stream(1).head is not None and not peer.connection.is_within_head


# -- 5.1: states ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "early", [data(b"x"), rst(), window(1, 1), frame(frames.CONTINUATION, 4, 1)], ids=["DATA", "RST", "WINDOW", "CONT"]
)
def test_only_headers_open_a_stream(early):
    assert closed_by(early) == frames.PROTOCOL_ERROR


@pytest.mark.parametrize("stream_id", [0, 2])
@pytest.mark.parametrize("make", [get, lambda one: data(b"x", one), rst])
def test_no_client_has_stream_0_or_an_even_one(stream_id, make):
    assert closed_by(make(stream_id)) == frames.PROTOCOL_ERROR


@pytest.mark.parametrize("opened", [(3,), (5,), (1, 3, 7)])
def test_ids_ascend(opened):
    # Never used, so it is an id out of order (5.1.1) and no stream that is closed (5.1).
    assert closed_by(*[get(one) for one in opened], get(opened[-1] - 2)) == frames.PROTOCOL_ERROR


@pytest.mark.parametrize("closed", [1, 7])
def test_one_beside_those_passed_over_is_closed(closed):
    assert closed_by(get(1), get(7), get(closed)) == frames.STREAM_CLOSED


@pytest.mark.parametrize("late", [get(), data(b"x"), data(b"", end=True)])
def test_nothing_comes_behind_the_end_of_a_stream(late):
    assert closed_by(get(), late) == frames.STREAM_CLOSED


@pytest.mark.parametrize("late", [get(), data(b"x")])
def test_nothing_comes_behind_a_reset(late):
    assert closed_by(get(), rst(), late) == frames.STREAM_CLOSED


@pytest.mark.parametrize("late", [rst(), window(1, 5), frame(frames.PRIORITY, 0, 1, number(0) + b"\0")])
def test_what_may_come_for_a_closed_stream_is_ignored(late):
    peer = Peer()
    peer.send(get())
    peer.connection.send_head(peer.stream(1), b"\x88", end=True)
    assert peer.stream(1).closed and not peer.connection.streams
    peer.hear()
    assert not peer.send(late) and peer.code is None


def test_what_was_on_its_way_when_duck_reset_a_stream_is_ignored():
    peer = Peer()
    stream = peer.ask(1, POST, end=False)
    peer.connection.reset(stream, frames.CANCEL)
    peer.connection.reset(stream, frames.CANCEL)
    assert peer.hear() == [("RST_STREAM", 0, 1, number(frames.CANCEL))]
    assert not peer.send(data(b"x"), frame(frames.DATA, frames.PADDED, 1, b"\1x-"), peer.headers(1, (("a", "b"),)))
    assert peer.code is None and not stream.body
    # The block was read: the table is the client's.
    assert peer.ask(3, more=(("a", "b"),)).head.fields[-1] == (b"a", b"b")


def test_resets_are_remembered_for_a_while_only():
    peer = Peer()
    for number_ in range(MAX_REMEMBERED + 1):
        peer.connection.account.refill(peer.now)
        peer.now += 1
        peer.connection.reset(peer.ask(2 * number_ + 1, POST, end=False), frames.CANCEL)
    peer.hear()
    peer.send(data(b"x", 3))
    assert peer.code is None
    assert closed_by(data(b"x", 1), peer=peer) == frames.STREAM_CLOSED


def test_too_many_streams_are_refused():
    peer = Peer(max_streams=2)
    peer.send(get(1), get(3))
    assert peer.send(get(5)) == [("RST_STREAM", 0, 5, number(frames.REFUSED_STREAM))]
    peer.connection.send_head(peer.stream(1), b"\x88", end=True)
    peer.hear()
    peer.send(get(7))
    assert peer.stream(7).head is not None


def test_both_ends_of_a_stream_close_it():
    peer = Peer()
    stream = peer.ask(1, POST, end=False)
    peer.connection.send_head(stream, b"\x88", end=True)
    assert stream.was_sent and stream.local_ended and not stream.closed
    peer.send(data(b"x", end=True))
    assert stream.ended and stream.closed and not peer.connection.streams
    stream = peer.ask(3, POST, end=False)
    peer.connection.send_head(stream, b"\x88", end=True)
    peer.send(peer.headers(3, (("a", "b"),)))
    assert stream.ended and stream.closed


def test_a_stream_that_ends_while_its_last_bytes_are_taken():
    peer = Peer()
    stream = peer.ask(1, POST, end=False)
    stream.on_data = lambda data: peer.connection.send_head(stream, b"\x88", end=True)
    peer.send(data(b"x", end=True))
    assert stream.ended and stream.closed and peer.code is None


# -- 5.2, 6.9: windows ------------------------------------------------------------------------------------------------


def test_bytes_that_nobody_keeps_any_more_open_the_window():
    peer = Peer()
    peer.ask(1, POST, end=False)
    heard = []
    for _ in range(40):
        heard += peer.send(data(b"x" * 16_384))
    assert peer.code is None
    of_stream = sum(int.from_bytes(payload, "big") for name, _, one, payload in heard if one == 1)
    of_all = sum(int.from_bytes(payload, "big") for name, _, one, payload in heard if one == 0)
    assert of_stream > 40 * 16_384 - 65_535 and of_all >= 262_144
    assert {name for name, *_ in heard} == {"WINDOW_UPDATE"}


def test_what_is_kept_shuts_the_window_of_a_stream():
    peer = Peer()
    stream = peer.ask(1, POST, end=False)
    stream.keeps = True
    assert not peer.send(*[data(b"x" * 16_384) for _ in range(3)])
    assert closed_by(data(b"x" * 16_384), peer=peer) == frames.FLOW_CONTROL_ERROR


def test_a_body_that_is_wanted_has_a_larger_window():
    peer = Peer()
    stream = peer.ask(1, POST, end=False)
    stream.keeps = True
    peer.connection.widen(stream)
    peer.connection.widen(stream)
    assert peer.hear() == [("WINDOW_UPDATE", 0, 1, number(STREAM_WINDOW - 65_535))]
    assert not peer.send(*[data(b"x" * 16_384) for _ in range(16)])
    assert peer.code is None and len(stream.body) == STREAM_WINDOW
    peer.connection.consumed(stream, STREAM_WINDOW)
    assert [one for _, _, one, _ in peer.hear()] == [0, 1]


def kept(peer, stream_id, size):
    """Send so many bytes of a stream, which nobody takes."""
    while size:
        assert peer.code is None
        peer.send(data(b"x" * min(size, 16_384), stream_id))
        size -= min(size, 16_384)


def test_what_nobody_takes_of_all_others_leaves_a_stream_its_window():
    peer = Peer(max_streams=20)
    for stream_id in range(1, 39, 2):
        stream = peer.ask(stream_id, POST, end=False)
        stream.keeps = True
        peer.connection.widen(stream)
        kept(peer, stream_id, stream.window_size)
    assert [stream.window_size for stream in peer.opened] == [STREAM_WINDOW] * MAX_WIDE + [65_535] * (19 - MAX_WIDE)
    peer.ask(39, POST, end=False)
    kept(peer, 39, 2_000_000)  # it is read, and so is never kept waiting
    assert peer.code is None and len(peer.stream(39).body) == 2_000_000


def test_larger_windows_are_for_as_many_streams_as_are_open():
    peer = Peer()
    for turn in range(3):
        ids = range(1 + 16 * turn, 17 + 16 * turn, 2)
        for stream_id in ids:
            stream = peer.ask(stream_id, POST, end=False)
            peer.connection.widen(stream)
            assert stream.window_size == STREAM_WINDOW
        for stream_id in ids:
            if turn:
                peer.send(rst(stream_id))
            else:
                peer.send(data(end=True, stream_id=stream_id))
                peer.connection.send_head(peer.stream(stream_id), b"\x88", end=True)
    assert peer.connection.wide == 0 and peer.code is None


def test_streams_that_were_answered_and_not_taken_share_the_window_of_the_connection():
    """They are none of the open ones any more, and what is kept of them is bounded all the same."""
    peer = Peer(max_streams=2)
    for turn in range(40):
        stream = peer.ask(2 * turn + 1, POST, end=False)
        stream.keeps = True
        peer.connection.send_head(stream, b"\x88", end=True)
        for number_of in range(4):
            peer.send(data(b"x" * (16_383 if number_of == 3 else 16_384), stream.id, end=number_of == 3))
            if peer.code is not None:
                assert peer.code == frames.FLOW_CONTROL_ERROR
                assert turn * 65_535 < connection_window(2) < (turn + 1) * 65_535
                return
    raise AssertionError("it took everything")


def test_padding_counts_and_is_given_back_at_once():
    peer = Peer()
    stream = peer.ask(1, POST, end=False)
    heard = []
    for _ in range(300):
        heard += peer.send(frame(frames.DATA, frames.PADDED, 1, b"\xff" + b"x" + b"\0" * 255))
    assert stream.body == b"x" * 300
    assert sum(int.from_bytes(payload, "big") for _, _, one, payload in heard if one == 1) > 65_535 // 2


def test_a_partial_frame_is_passed_on_and_counted_once():
    peer = Peer()
    stream = peer.ask(1, POST, end=False)
    whole = data(b"0123456789", end=True)
    peer.send(whole[:9])
    peer.send(whole[9:12])
    assert stream.body == b"012" and not stream.ended and not peer.connection.is_within_head
    peer.send(whole[12:15])
    peer.send(whole[15:] + get(3))
    assert stream.body == b"0123456789" and stream.ended and peer.stream(3).head is not None


def test_a_partial_frame_of_a_stream_that_is_reset_meanwhile():
    peer = Peer()
    stream = peer.ask(1, POST, end=False)
    whole = data(b"0123456789")
    peer.send(whole[:12])
    peer.connection.reset(stream, frames.CANCEL)
    peer.send(whole[12:], get(3))
    assert stream.body == b"012" and peer.stream(3).head is not None and peer.code is None


def test_a_fault_behind_a_partial_frame():
    peer = Peer()
    stream = peer.ask(1, POST, end=False, more=(("content-length", "3"),))
    whole = data(b"0123456789")
    heard = peer.send(whole[:11], whole[11:])
    assert [name for name, *_ in heard] == ["RST_STREAM"] and stream.error is not None
    peer = Peer()
    stream = peer.ask(1, POST, end=False)
    stream.on_data = lambda data: peer.connection.fail("no", frames.INTERNAL_ERROR)
    assert closed_by(data(b"0123"), get(3), peer=peer) == frames.INTERNAL_ERROR
    peer = Peer()
    stream = peer.ask(1, POST, end=False)
    peer.send(whole[:9])
    stream.on_data = lambda data: peer.connection.fail("no", frames.INTERNAL_ERROR)
    assert closed_by(whole[9:] + get(3), peer=peer) == frames.INTERNAL_ERROR


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ([window(0, 0)], frames.PROTOCOL_ERROR),
        ([get(), window(1, 0)], frames.PROTOCOL_ERROR),
        ([window(0, frames.MAX_WINDOW)], frames.FLOW_CONTROL_ERROR),
        ([get(), window(1, frames.MAX_WINDOW)], frames.FLOW_CONTROL_ERROR),
        ([frame(frames.WINDOW_UPDATE, 0, 0, b"123")], frames.FRAME_SIZE_ERROR),
        ([get(), window(1, frames.MAX_WINDOW - 65_535), settings((INITIAL_WINDOW_SIZE, 65_536))], 3),
    ],
)
def test_windows_that_may_not_be(pieces, code):
    assert closed_by(*pieces) == code


def answered(peer, *chunks, stream_id=1, end=True):
    stream = peer.ask(stream_id)
    peer.connection.send_head(stream, b"\x88")
    for index, chunk in enumerate(chunks):
        peer.connection.send_data(stream, chunk, end=end and index == len(chunks) - 1)
    return stream


def sizes(heard):
    return [(one, len(payload)) for name, _, one, payload in heard if name == "DATA"]


def test_a_small_answer_goes_at_once():
    peer = Peer()
    stream = answered(peer, b"hello")
    assert stream.closed and stream.was_sent
    assert peer.hear() == [("HEADERS", 4, 1, b"\x88"), ("DATA", frames.END_STREAM, 1, b"hello")]


def whole(peer, body, block=b"\x88", stream_id=1):
    stream = peer.ask(stream_id)
    peer.connection.send_whole(stream, block, body)
    return stream


def test_a_whole_answer_goes_in_one_piece():
    peer = Peer()
    stream = whole(peer, b"hello")
    assert stream.closed and stream.was_sent and len(peer.connection.out) == 1
    assert peer.hear() == [("HEADERS", 4, 1, b"\x88"), ("DATA", frames.END_STREAM, 1, b"hello")]
    assert peer.connection.send_window == 65_530


def test_a_whole_answer_that_does_not_fit_waits():
    peer = Peer()
    assert whole(peer, b"x" * 20_000).pending_bytes == 20_000
    assert sizes(peer.hear()) == [(1, 16_384), (1, 3616)]
    peer.connection.held = True
    assert whole(peer, b"y", stream_id=3).pending_bytes == 1
    assert sizes(peer.hear()) == [(3, 1)]
    peer = Peer()
    long = b"\x88" + b"\x00\x01a\x7f\x81\x9d\x02" + b"x" * 36_736
    assert whole(peer, b"z", long).closed and sizes(peer.hear()) == [(1, 1)]
    peer = Peer()
    peer.send(settings((INITIAL_WINDOW_SIZE, 3)))
    assert sizes(peer.hear()) == [] and whole(peer, b"hello").pending_bytes == 5
    assert sizes(peer.hear()) == [(1, 3)]


def test_no_more_is_sent_than_the_window_of_a_stream():
    peer = Peer()
    stream = answered(peer, b"x" * 70_000, b"y" * 10)
    assert sum(size for _, size in sizes(peer.hear())) == 65_535 and stream.pending_bytes == 4475
    assert sizes(peer.send(window(1, 1))) == []  # the connection's is shut, too
    assert sizes(peer.send(window(0, 100_000))) == [(1, 1)]
    heard = peer.send(window(1, 100_000))
    assert sizes(heard) == [(1, 4474)] and heard[-1][1] == frames.END_STREAM and stream.closed


def test_windows_may_be_a_byte():
    peer = Peer()
    peer.send(settings((INITIAL_WINDOW_SIZE, 1)))
    answered(peer, b"abc")
    assert sizes(peer.hear()) == [(1, 1)]
    assert sizes(peer.send(settings((INITIAL_WINDOW_SIZE, 2)))) == [(1, 1)]


def test_windows_may_become_negative():
    peer = Peer()
    stream = answered(peer, b"x" * 50_000, end=False)
    peer.hear()
    peer.connection.send_data(stream, b"y" * 30_000)
    assert sizes(peer.hear()) == [(1, 15_535)]
    peer.send(settings((INITIAL_WINDOW_SIZE, 0)))
    assert stream.send_window == -65_535
    assert not sizes(peer.send(window(0, 100_000), window(1, 65_535)))
    assert sizes(peer.send(window(1, 3))) == [(1, 3)]


def test_a_stream_that_waits_may_lose_its_window():
    peer = Peer()
    peer.connection.held = True
    stream = answered(peer, b"x" * 100)
    assert stream.queued
    peer.connection.feed(settings((INITIAL_WINDOW_SIZE, 0)), 0)
    assert not sizes(peer.hear()) and stream.pending_bytes == 100
    assert sizes(peer.send(settings((INITIAL_WINDOW_SIZE, 100)))) == [(1, 100)]


def test_streams_take_turns():
    peer = Peer()
    peer.send(window(0, 1 << 20))
    for stream in [peer.ask(stream_id) for stream_id in (1, 3, 5)]:
        peer.connection.send_head(stream, b"\x88")
        peer.connection.send_data(stream, b"x" * 40_000)
    order = [one for one, _ in sizes(peer.hear())]
    assert order == [1, 3, 5, 1, 3, 5, 1, 3, 5]


def test_a_turn_ends_where_it_was_told():
    peer = Peer()
    answered(peer, b"x" * 60_000)
    peer.connection.emit(20_000)
    assert sizes(parse(b"".join(peer.connection.out))) == [(1, 16_384), (1, 16_384)]
    assert peer.connection.has_work
    assert peer.stream(1).emits == 2


def test_bodies_wait_while_they_are_held():
    peer = Peer()
    peer.connection.held = True
    answered(peer, b"hello")
    assert sizes(parse(b"".join(peer.connection.out))) == []
    peer.connection.out.clear()
    assert sizes(peer.hear()) == [(1, 5)]


def test_a_closed_stream_sends_nothing_more():
    peer = Peer()
    stream = answered(peer, b"x" * 20_000)
    peer.connection.feed(rst(), 0)
    assert sizes(peer.hear()) == [] and stream.error is not None and stream.pending is None


def test_what_is_read_only_when_it_can_be_sent():
    peer = Peer()
    peer.send(window(0, 1 << 20))
    stream = answered(peer, end=False)
    stream.source = [b"a" * 30_000, b"b" * 10]
    stream.refills = True
    peer.connection.enqueue(stream)
    heard = peer.hear()
    assert b"".join(payload for name, _, _, payload in heard if name == "DATA") == b"a" * 30_000 + b"b" * 10
    peer.connection.send_end(stream)
    assert peer.hear() == [("DATA", frames.END_STREAM, 1, b"")]


@pytest.mark.parametrize("trailers", [b"", b"\x00\x01a\x01b"])
@pytest.mark.parametrize("waits", [False, True])
def test_the_end_comes_behind_what_waits(trailers, waits):
    peer = Peer()
    peer.connection.held = waits
    stream = answered(peer, b"hello", end=False)
    peer.connection.send_end(stream, trailers)
    heard = peer.hear()[1:]
    assert stream.closed and stream.was_sent
    if trailers:
        assert heard == [("DATA", 0, 1, b"hello"), ("HEADERS", 5, 1, trailers)]
    elif waits:
        assert heard == [("DATA", 1, 1, b"hello")]
    else:
        assert heard == [("DATA", 0, 1, b"hello"), ("DATA", 1, 1, b"")]


def test_a_long_head_goes_in_many_frames():
    peer = Peer()
    stream = peer.ask()
    block = b"\x88" + b"\x00\x01a\x7f\x81\x9d\x02" + b"x" * 36_736
    peer.connection.send_head(stream, block, end=True)
    heard = peer.hear()
    assert [(name, flags, len(payload)) for name, flags, _, payload in heard] == [
        ("HEADERS", frames.END_STREAM, 16_384),
        ("CONTINUATION", 0, 16_384),
        ("CONTINUATION", frames.END_HEADERS, len(block) - 32_768),
    ]
    assert b"".join(payload for *_, payload in heard) == block


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=10), st.lists(st.integers(1, 60), max_size=30))
def test_whatever_is_taken_at_once_is_what_was_put(chunks, amounts):
    peer = Peer()
    stream = peer.ask()
    for chunk in chunks:
        stream.put(chunk)
    whole = b"".join(chunks)
    taken = b""
    for amount in amounts:
        amount = min(amount, stream.pending_bytes)
        if amount:
            taken += stream.take(amount)
    if stream.pending_bytes:
        taken += stream.take(stream.pending_bytes)
    assert taken == whole and stream.pending_bytes == 0


# -- 6: each kind of frame --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ([data(b"x", 0)], frames.PROTOCOL_ERROR),
        ([post(), frame(frames.DATA, frames.PADDED, 1, b"\x05abc")], frames.PROTOCOL_ERROR),
        ([post(), frame(frames.DATA, frames.PADDED, 1)], frames.FRAME_SIZE_ERROR),
        ([frame(frames.HEADERS, ENDS | frames.PADDED, 1, b"\xff" + GET_BLOCK)], frames.PROTOCOL_ERROR),
        ([frame(frames.HEADERS, ENDS | frames.WITH_PRIORITY, 1, b"123")], frames.FRAME_SIZE_ERROR),
        ([frame(frames.HEADERS, ENDS | frames.WITH_PRIORITY, 1, number(1) + b"\0" + GET_BLOCK)], 1),
        ([frame(frames.PRIORITY, 0, 0, b"12345")], frames.PROTOCOL_ERROR),
        ([frame(frames.PRIORITY, 0, 1, b"1234")], frames.FRAME_SIZE_ERROR),
        ([frame(frames.PRIORITY, 0, 1, number(1) + b"\0")], frames.PROTOCOL_ERROR),
        ([get(), frame(frames.RST_STREAM, 0, 1, b"123")], frames.FRAME_SIZE_ERROR),
        ([frame(frames.SETTINGS, 0, 1)], frames.PROTOCOL_ERROR),
        ([frame(frames.SETTINGS, 0, 0, b"12345")], frames.FRAME_SIZE_ERROR),
        ([frame(frames.SETTINGS, frames.ACK, 0, b"123456")], frames.FRAME_SIZE_ERROR),
        ([settings((ENABLE_PUSH, 2))], frames.PROTOCOL_ERROR),
        ([settings((ENABLE_CONNECT_PROTOCOL, 2))], frames.PROTOCOL_ERROR),
        ([settings((INITIAL_WINDOW_SIZE, 1 << 31))], frames.FLOW_CONTROL_ERROR),
        ([settings((MAX_FRAME_SIZE, 16_383))], frames.PROTOCOL_ERROR),
        ([settings((MAX_FRAME_SIZE, 1 << 24))], frames.PROTOCOL_ERROR),
        ([frame(frames.PUSH_PROMISE, 4, 1, number(2) + GET_BLOCK)], frames.PROTOCOL_ERROR),
        ([frame(frames.PING, 0, 1, b"8" * 8)], frames.PROTOCOL_ERROR),
        ([frame(frames.PING, 0, 0, b"7" * 7)], frames.FRAME_SIZE_ERROR),
        ([frame(frames.GOAWAY, 0, 1, b"8" * 8)], frames.PROTOCOL_ERROR),
        ([frame(frames.GOAWAY, 0, 0, b"7" * 7)], frames.FRAME_SIZE_ERROR),
    ],
)
def test_frames_that_may_not_be(pieces, code):
    assert closed_by(*pieces) == code


def test_headers_with_padding_and_priority():
    peer = Peer()
    peer.send(frame(frames.HEADERS, ENDS | frames.PADDED, 3, b"\x02" + GET_BLOCK + b"\0\0"))
    assert peer.stream(3).head is not None
    peer = Peer()
    flags = ENDS | frames.PADDED | frames.WITH_PRIORITY
    peer.send(frame(frames.HEADERS, flags, 1, b"\x02" + number(0) + b"\x10" + GET_BLOCK + b"\0\0"))
    assert peer.stream(1).head is not None


def test_settings_that_may_be():
    peer = Peer()
    pairs = [(ENABLE_PUSH, 1), (ENABLE_PUSH, 0), (INITIAL_WINDOW_SIZE, 5), (MAX_FRAME_SIZE, 20_000), (77, 5), (1, 0)]
    assert peer.send(settings(*pairs)) == [("SETTINGS", frames.ACK, 0, b"")]
    assert peer.ask().send_window == 5


def test_an_acknowledgement_is_taken():
    peer = Peer()
    assert not peer.send(frame(frames.SETTINGS, frames.ACK), frame(frames.PING, frames.ACK, 0, b"8" * 8))
    assert peer.code is None and not peer.goodbyes


def test_a_reset_is_told():
    peer = Peer()
    stream = peer.ask(1, POST, end=False)
    assert not peer.send(rst())
    assert stream.closed and "gave its request up" in str(stream.error) and not peer.connection.streams


def test_error_codes_that_nobody_knows_are_none_the_worse():
    peer = Peer()
    stream = peer.ask(1, POST, end=False)
    peer.send(rst(1, 0xFFFF), frame(frames.GOAWAY, 0, 0, number(0) + number(0xFFFF)))
    assert stream.error is not None and peer.code is None


def test_the_clients_goaway_is_remembered():
    peer = Peer()
    assert not peer.send(frame(frames.GOAWAY, 0, 0, number(0) + number(0) + b"bye"))
    assert peer.connection.peer_leaves
    assert peer.ask().head is not None


def test_a_body_is_as_long_as_it_was_said():
    for pieces in ([data(b"1234")], [data(b"12", end=True)], [data(b"12"), data(b"34")]):
        peer = Peer()
        stream = peer.ask(1, POST, end=False, more=(("content-length", "3"),))
        heard = peer.send(*pieces)
        assert heard == [("RST_STREAM", 0, 1, number(frames.PROTOCOL_ERROR))]
        assert stream.error is not None and not stream.ended and peer.code is None
    peer = Peer()
    stream = peer.ask(1, POST, end=False, more=(("content-length", "3"),))
    peer.send(data(b"12"), data(b"3"), data(end=True))
    assert stream.body == b"123" and stream.ended


# -- 6.8: the end -----------------------------------------------------------------------------------------------------


def test_an_end_in_two_steps():
    peer = Peer()
    peer.connection.go_away()
    peer.connection.go_away()
    heard = peer.hear()
    assert [name for name, *_ in heard] == ["GOAWAY", "PING"]
    assert goaway_of(heard) == (frames.MAX_WINDOW, frames.NO_ERROR)
    stream = peer.ask(1, POST, end=False)  # was on its way
    assert stream.head is not None and not peer.goodbyes
    peer.send(frame(frames.PING, frames.ACK, 0, heard[1][3]))
    assert peer.goodbyes == 1
    peer.connection.stop("bye")
    assert goaway_of(peer.hear()) == (1, frames.NO_ERROR)
    # What comes now was promised not to be served; its fields are read all the same.
    assert not peer.send(peer.headers(3, POST, end=False, more=(("a", "b"),)), data(b"x", 3))
    peer.send(data(b"x", end=True))
    assert stream.ended and len(peer.opened) == 1 and peer.code is None


def test_the_last_stream_that_is_served_stays_the_last():
    peer = Peer()
    peer.send(get(1))
    peer.connection.stop()
    assert goaway_of(peer.hear()) == (1, frames.NO_ERROR)
    peer.send(get(3))
    peer.connection.stop()
    assert not peer.hear()
    assert goaway_of(peer.send(frame(frames.PING, 0, 1, b"8" * 8))) == (1, frames.PROTOCOL_ERROR)


def test_nothing_is_said_to_whom_nothing_was_heard_of():
    peer = Peer(start=b"")
    peer.hear()
    peer.connection.go_away()
    assert not peer.hear()


def test_a_fault_within_a_callback_ends_the_connection():
    peer = Peer()
    peer.connection.fail("too slow", frames.ENHANCE_YOUR_CALM)
    heard = peer.hear()
    assert goaway_of(heard) == (0, frames.ENHANCE_YOUR_CALM) and heard[0][3].endswith(b"too slow")


# -- 10.5: floods -----------------------------------------------------------------------------------------------------


def flood(piece, count=FRAMES + 50, peer=None, code=frames.ENHANCE_YOUR_CALM):
    peer = peer or Peer()
    for index in range(count):
        peer.send(piece(index) if callable(piece) else piece)
        if peer.code is not None:
            assert peer.code == code
            return index
    raise AssertionError("it was let pass")


@pytest.mark.parametrize(
    "piece",
    [
        frame(frames.PING, 0, 0, b"8" * 8),
        frame(frames.PING, frames.ACK, 0, b"8" * 8),
        SETTINGS,
        settings((INITIAL_WINDOW_SIZE, 10)),
        settings(*[(77, 1)] * 2000),
        frame(frames.SETTINGS, frames.ACK),
        frame(frames.PRIORITY, 0, 1, number(3) + b"\0"),
        frame(16, 0, 0, number(1) + b"u=1"),
        frame(99, 0, 0, b"x" * 100),
        window(0, 1),
        frame(frames.GOAWAY, 0, 0, b"8" * 8),
    ],
    ids=[
        "PING",
        "PONG",
        "SETTINGS",
        "window sizes",
        "long SETTINGS",
        "ACK",
        "PRIORITY",
        "PRIORITY_UPDATE",
        "unknown",
        "WINDOW",
        "GOAWAY",
    ],
)
def test_floods_of_frames_that_carry_nothing(piece):
    assert flood(piece) <= FRAMES


@pytest.mark.parametrize(
    "piece", [data(b""), data(b"\0", flags=frames.PADDED), window(1, 1)], ids=["DATA", "padded DATA", "WINDOW"]
)
def test_floods_on_a_stream(piece):
    peer = Peer()
    peer.ask(1, POST, end=False)
    assert flood(piece, peer=peer) <= FRAMES + 10


def test_windows_of_a_byte_end():
    peer = Peer()
    peer.send(settings((INITIAL_WINDOW_SIZE, 0)))
    stream = answered(peer, b"x" * 10_000)
    assert flood(window(1, 1), peer=peer) <= FRAMES + 10
    assert stream.pending_bytes >= 10_000 - FRAMES - 10


def test_empty_continuation_ends():
    peer = Peer()
    peer.send(get(1, 0, GET_BLOCK[:1]))
    assert flood(frame(frames.CONTINUATION, 0, 1), peer=peer) < MAX_BLOCK_FRAMES


def test_endless_continuation_ends():
    peer = Peer()
    peer.send(get(1, 0, GET_BLOCK[:1]))
    assert flood(frame(frames.CONTINUATION, 0, 1, b"\x00\x01a\x7f\xff\x7e" + b"x" * 16_370), peer=peer) < 5


def test_rapid_reset_ends():
    peer = Peer()
    assert flood(lambda index: get(2 * index + 1) + rst(2 * index + 1), peer=peer) <= RESETS
    assert len(peer.opened) <= RESETS + 1


def test_resets_that_duck_is_made_to_send_end():
    """MadeYouReset: the client does wrong on its own streams."""
    assert flood(lambda index: post(2 * index + 1) + window(2 * index + 1, 0), code=frames.PROTOCOL_ERROR) == 0
    bad = b"\x83" + GET_BLOCK[1:] + b"\x0f\x0d\x011"  # content-length: 1
    peer = Peer()
    assert flood(lambda index: get(2 * index + 1, 4, bad) + data(b"xx", 2 * index + 1), peer=peer) <= RESETS
    assert flood(lambda index: get(2 * index + 1, ENDS, GET_BLOCK + b"\x00\x01A\x01b")) <= RESETS
    assert flood(lambda index: get(2 * index + 1), peer=Peer(max_streams=1)) <= RESETS + 1


def test_refused_requests_are_counted_too():
    entry = b"\x40\x01a\x7f\x81\x1e" + b"x" * 3968
    peer = Peer()
    for index in range(3):
        peer.send(get(2 * index + 1, ENDS, GET_BLOCK + (entry if index == 0 else b"") + b"\xbe" * 20))
        assert peer.stream(2 * index + 1).refused.status == 431
    assert peer.connection.account.resets == RESETS - 3 * BOMB_COST
    assert flood(lambda index: get(2 * index + 7, ENDS, GET_BLOCK + b"\xbe" * 20), peer=peer) < RESETS / BOMB_COST


def test_header_bombs_end():
    entry = b"\x40\x01a\x7f\x81\x1e" + b"x" * 3968
    assert closed_by(get(1, ENDS, GET_BLOCK + entry + b"\xbe" * 100)) == frames.ENHANCE_YOUR_CALM


def test_who_transfers_much_may_send_many_window_updates():
    peer = Peer()
    stream = peer.ask()
    peer.connection.send_head(stream, b"\x88")
    for _ in range(3 * FRAMES):
        peer.connection.send_data(stream, b"x" * 1024)
        heard = peer.send(window(1, 1024), window(0, 1024))
        assert sizes(heard) == [(1, 1024)]
    assert peer.code is None


def test_time_fills_the_account():
    account = Account(0.0)
    for _ in range(FRAMES):
        account.frame()
    for _ in range(RESETS):
        account.reset()
    account.refill(0.9)
    assert account.frames == account.resets == 0
    account.refill(2.5)
    assert account.frames == 200 and account.resets == 60
    account.refill(1000)
    assert (account.frames, account.resets) == (FRAMES, RESETS)
    account.frame()
    account.useful(5)
    assert account.frames == FRAMES


# -- anything ---------------------------------------------------------------------------------------------------------

ANY = st.one_of(
    st.builds(
        frame,
        st.integers(0, 10),
        st.sampled_from([0, 1, 4, 5, 8, 32, 45]),
        st.sampled_from([0, 1, 2, 3, 5, 7]),
        st.one_of(st.binary(max_size=20), st.sampled_from([GET_BLOCK, number(1), number(70_000), b"8" * 8])),
    ),
    st.builds(get, st.sampled_from([1, 3, 5, 7, 9])),
    st.builds(post, st.sampled_from([1, 3, 5, 7, 9])),
    st.builds(data, st.binary(max_size=9), st.sampled_from([1, 3, 5, 7]), end=st.booleans()),
)


@given(st.lists(ANY, max_size=25), st.integers(1, 50))
def test_whatever_comes_states_stay_sound(pieces, size):
    peer = Peer()
    whole = b"".join(pieces)
    for at in range(0, len(whole), size):
        peer.send(whole[at : at + size])
        for state in list(peer.connection.streams.values()):
            assert not state.closed
            stream = peer.stream(state.id)
            if stream.head is not None and not stream.local_ended and stream.id % 4 == 1:
                peer.connection.send_head(stream, b"\x88")
                peer.connection.send_data(stream, b"x" * 100, end=True)
    peer.hear()
    ids = [stream.id for stream in peer.opened]
    assert ids == sorted(set(ids))
    for stream in peer.opened:
        assert stream.closed or stream.id in peer.connection.streams
        assert not (stream.ended and stream.error)
        if stream.head is not None and stream.head.content_length is not None and stream.ended:
            assert len(stream.body) == stream.head.content_length

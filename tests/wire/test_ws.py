"""Frames that pass by (RFC 6455 §5.2): where they begin, however they are split."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import CTRL_OPCODES, Frame, Opcode
from websockets.protocol import CLIENT, SERVER, Protocol

from duck.wire.ws import GOING_AWAY, FrameFollower, close_frame

LENGTHS = (0, 1, 125, 126, 127, 65_535, 65_536, 70_000)


def frame(length: int = 0, opcode: Opcode = Opcode.BINARY, *, masked: bool = False, fin: bool = True) -> bytes:
    return Frame(opcode, b"x" * length, fin).serialize(mask=masked)


def follow(pieces: list[bytes], *, masked: bool = False) -> FrameFollower:
    follower = FrameFollower(masked=masked)
    for piece in pieces:
        follower.feed(piece)
    return follower


@st.composite
def streams(draw: st.DrawFn) -> tuple[bool, list[bytes], list[bytes]]:
    """Whether masked, frames, and the same bytes in pieces."""
    masked = draw(st.booleans())
    opcodes = st.sampled_from([Opcode.CONT, Opcode.TEXT, Opcode.BINARY, Opcode.PING, Opcode.PONG])
    lengths = st.one_of(st.integers(0, 140), st.sampled_from(LENGTHS))
    frames = [
        frame(min(draw(lengths), 125 if opcode in CTRL_OPCODES else 70_000), opcode, masked=masked)
        for opcode in draw(st.lists(opcodes, max_size=6))
    ]
    data = b"".join(frames)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=30)))
    return masked, frames, [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@given(streams())
def test_the_boundaries_are_those_of_the_frames(stream: tuple[bool, list[bytes], list[bytes]]) -> None:
    masked, frames, pieces = stream
    boundaries = {0}
    for one in frames:
        boundaries.add(max(boundaries) + len(one))
    follower = FrameFollower(masked=masked)
    for piece in pieces:
        follower.feed(piece)
        assert follower.is_between_frames is (follower.received in boundaries)
        assert not follower.is_lost and not follower.is_closed


@given(streams(), st.data())
def test_a_frame_under_way_is_fed_to_its_end_and_no_further(
    stream: tuple[bool, list[bytes], list[bytes]], data: st.DataObject
) -> None:
    masked, frames, _ = stream
    whole = b"".join(frames)
    boundaries = {0}
    for one in frames:
        boundaries.add(max(boundaries) + len(one))
    at = data.draw(st.integers(0, len(whole)))
    follower = follow([whole[:at]], masked=masked)
    end = min(boundary for boundary in boundaries if boundary >= at)
    size = data.draw(st.integers(1, 40))
    for piece in (whole[at : at + size] for _ in range(20)):
        taken = follower.feed_frame(piece)
        if taken >= 0:
            break
        at += len(piece)
    else:  # no head is as long as that: what is left is payload
        taken = follower.feed_frame(whole[at:])
    assert at + taken == end and follower.received == end and follower.is_between_frames


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("masked", [False, True])
def test_every_split_of_a_head(length: int, masked: bool) -> None:
    data = frame(3, masked=masked) + frame(length, masked=masked)
    head = len(data) - length
    for at in range(head + 1):
        follower = follow([data[:at], data[at:]], masked=masked)
        assert follower.is_between_frames and follower.received == len(data)
    assert follow([bytes((byte,)) for byte in data[:300]], masked=masked).is_between_frames is (len(data) <= 300)


def test_frames_of_the_wrong_side_lose_it() -> None:
    for masked in (False, True):
        follower = follow([frame(2, masked=not masked) * 2], masked=masked)
        assert follower.is_lost and not follower.is_between_frames
        follower.feed(frame(2, masked=masked))
        assert follower.is_lost and not follower.is_between_frames


def test_opcodes_that_mean_nothing_lose_it() -> None:
    follower = follow([b"\x83\x00"])
    assert follower.is_lost and not follower.is_between_frames


def test_a_length_that_no_frame_has_is_never_over() -> None:
    follower = follow([b"\x82\x7f" + b"\xff" * 8 + b"x" * 100])
    assert not follower.is_between_frames and follower.feed_frame(b"x" * 1000) == -1


def test_a_close_is_known_once_it_is_whole() -> None:
    data = frame(5) + close_frame(1000)
    follower = follow([data[:-1]])
    assert not follower.is_closed
    follower.feed(data[-1:])
    assert follower.is_closed and follower.is_between_frames


@pytest.mark.parametrize("mask", [b"", b"\x01\x02\x03\x04", b"\0\0\0\0"])
def test_the_close_frame_is_understood_by_both_sides(mask: bytes) -> None:
    peer = Protocol(SERVER if mask else CLIENT)
    peer.receive_data(close_frame(GOING_AWAY, mask))
    assert peer.close_rcvd is not None and peer.close_rcvd.code == 1001
    assert peer.parser_exc is None
    assert follow([close_frame(GOING_AWAY, mask)], masked=bool(mask)).is_closed

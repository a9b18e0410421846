"""When each of many is ended."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duck.net.farewell import BEFORE_THE_CUT_S, Farewell

TIMES = st.floats(0, 600, allow_nan=False)


def test_websockets_are_told_evenly_and_have_what_is_left_of_their_time():
    farewell = Farewell(spread_s=4, sockets_s=10)
    assert farewell.sockets(4) == [(0, 10), (1, 9), (2, 8), (3, 7)]
    assert farewell.sockets(0) == []


def test_streams_are_ended_when_their_deadline_is_near():
    assert Farewell(spread_s=4, streams_s=10).streams(4) == pytest.approx([5.75, 6.75, 7.75, 8.75])
    assert Farewell(streams_s=10).streams(2) == pytest.approx([9.75, 9.75])
    assert Farewell(spread_s=4, streams_s=10).streams(0) == []


@given(TIMES, TIMES, st.integers(1, 50))
def test_nobody_is_left_out_whatever_the_times(spread_s, deadline_s, count):
    farewell = Farewell(spread_s, deadline_s, deadline_s)
    sockets, streams = farewell.sockets(count), farewell.streams(count)
    assert len(sockets) == len(streams) == count
    for delay_s, within_s in sockets:
        assert 0 <= delay_s <= deadline_s / 2
        assert delay_s + within_s == pytest.approx(deadline_s)
    assert streams == sorted(streams)
    assert all(0 <= delay_s <= max(deadline_s - min(BEFORE_THE_CUT_S, deadline_s / 2), 0) + 1e-9 for delay_s in streams)

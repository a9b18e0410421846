"""When one call at a time is enough for a Django process."""

from __future__ import annotations

from itertools import pairwise

import pytest

from duck.proxy.pace import FIRST_PENALTY_S, IDLE_S, Pace

MS = 0.001


class Load:
    """Calls that end one after the other, `every` seconds, each told as `took` and `computed` seconds."""

    def __init__(self) -> None:
        self.pace = Pace()
        self.now = 1000.0

    def run(self, seconds: float, *, every: float, computed: float, took: float, crowded: bool = True) -> bool:
        end = self.now + seconds
        while self.now < end:
            self.now += every
            self.pace.ended(self.now, computed, took, crowded)
        return self.pace.narrow


def test_short_views_that_compute_all_the_time_are_run_one_after_the_other() -> None:
    load = Load()
    assert not load.run(0.015, every=0.15 * MS, computed=0.14 * MS, took=0.6 * MS)
    assert load.run(0.006, every=0.15 * MS, computed=0.14 * MS, took=0.6 * MS)
    load.run(0.0006, every=0.15 * MS, computed=0.14 * MS, took=0.6 * MS)  # those that were under way
    assert load.run(5.0, every=0.15 * MS, computed=0.11 * MS, took=0.13 * MS)


@pytest.mark.parametrize(
    ("every", "computed", "crowded"),
    [
        pytest.param(0.15 * MS, 0.05 * MS, True, id="it waits for something most of the time"),
        pytest.param(5 * MS, 5 * MS, True, id="long views"),
        pytest.param(0.15 * MS, 0.14 * MS, False, id="nobody waits, nothing runs beside it"),
        pytest.param(150 * MS, 149 * MS, True, id="a call now and then"),
    ],
)
def test_other_views_run_side_by_side(every: float, computed: float, crowded: bool) -> None:
    assert not Load().run(10.0, every=every, computed=computed, took=every, crowded=crowded)


def test_views_that_begin_to_wait_run_side_by_side_again_within_two_windows() -> None:
    load = Load()
    assert load.run(1.0, every=0.15 * MS, computed=0.14 * MS, took=0.15 * MS)
    assert not load.run(0.05, every=1 * MS, computed=0.2 * MS, took=1 * MS)


def test_a_pause_begins_anew_with_all_threads() -> None:
    load = Load()
    assert load.run(1.0, every=0.15 * MS, computed=0.14 * MS, took=0.15 * MS)
    load.now += IDLE_S + MS
    load.pace.ended(load.now, 0.14 * MS, 0.15 * MS, False)
    assert not load.pace.narrow


def test_a_narrow_pace_that_was_wrong_is_tried_ever_more_seldom() -> None:
    load = Load()
    tried = []
    was = False
    for _ in range(60_000):  # a minute of views that compute all the time when wide, and half of it when narrow
        if load.pace.narrow:
            load.run(1 * MS, every=0.5 * MS, computed=0.25 * MS, took=0.5 * MS)
        else:
            load.run(1 * MS, every=0.5 * MS, computed=0.49 * MS, took=1 * MS)
        if load.pace.narrow and not was:
            tried.append(load.now)
        was = load.pace.narrow
    gaps = [after - before for before, after in pairwise(tried)]
    assert gaps[0] == pytest.approx(FIRST_PENALTY_S, abs=0.2)
    assert all(after > 1.8 * before for before, after in pairwise(gaps))
    assert 5 <= len(tried) <= 9

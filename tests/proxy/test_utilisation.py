"""How busy a Django process is, as the ends of calls tell it."""

from __future__ import annotations

import pytest

from duck.proxy.utilisation import FULL, STALE_S, WINDOW_S, Utilisation
from duck.wire.link import MAX_U32

MS = 0.001


def told(share: float, *, start: int = 0, every: float = 1 * MS, seconds: float = 0.1) -> tuple[Utilisation, float]:
    """A process that computes for `share` of the time, told of every so many seconds; and when it was told last."""
    utilisation = Utilisation()
    now = 500.0
    for number in range(round(seconds / every) + 1):
        now = 500.0 + number * every
        utilisation.told(now, (start + round(number * every * share * 1e6)) & MAX_U32)
    return utilisation, now


@pytest.mark.parametrize(("share", "full"), [(1.0, True), (FULL + 0.05, True), (FULL - 0.05, False), (0.0, False)])
def test_a_process_that_computes_all_the_time_is_full(share: float, full: bool) -> None:
    utilisation, now = told(share)
    assert utilisation.is_full(now) is full


def test_nothing_is_known_before_a_window_is_over() -> None:
    utilisation, now = told(1.0, seconds=WINDOW_S / 2)
    assert not utilisation.is_full(now)


def test_what_was_seen_is_stale_soon() -> None:
    utilisation, now = told(1.0)
    assert utilisation.is_full(now + STALE_S / 2)
    assert not utilisation.is_full(now + STALE_S)


def test_one_call_after_a_pause_finds_out_what_others_have_had_meanwhile() -> None:
    utilisation, now = told(1.0)
    utilisation.told(now + 1.0, round((0.1 + 0.99) * 1e6))
    assert utilisation.is_full(now + 1.0)
    utilisation.told(now + 2.0, round((0.1 + 0.99 + 0.1) * 1e6))
    assert not utilisation.is_full(now + 2.0)


def test_computed_time_is_told_since_the_last_call_and_the_counter_may_wrap() -> None:
    utilisation = Utilisation()
    assert utilisation.told(1.0, MAX_U32 - 99) == 0.0
    assert utilisation.told(1.1, 900) == pytest.approx(0.001)
    full, now = told(1.0, start=MAX_U32 - 50_000)
    assert full.is_full(now)

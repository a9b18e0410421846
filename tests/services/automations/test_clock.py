"""What a node makes of its own clock and the store's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from duck.services.automations.clock import ClockWatch, MachineClock

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


class World(MachineClock):
    """A machine and a store; an answer takes `out_s` to the store and `back_s` from it."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self.machine_off_s = self.store_off_s = 0.0
        self.out_s = self.back_s = 0.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.passed_s + self.machine_off_s)

    def monotonic(self) -> float:
        return self.passed_s

    def ask(self) -> datetime:
        self.passed_s += self.out_s
        shown = NOON + timedelta(seconds=self.passed_s + self.store_off_s)
        self.passed_s += self.back_s
        return shown


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    ("off_s", "excludes"), [(0.0, False), (1.9, False), (-29.0, False), (30.1, True), (-3600.0, True)]
)
def test_the_way_to_the_store_is_halved(world: World, off_s: float, excludes: bool) -> None:
    watch = ClockWatch(world.ask, world)
    world.machine_off_s = off_s
    world.out_s = world.back_s = 0.4
    watch.measure()
    assert watch.ahead_s == pytest.approx(off_s) and watch.excludes is excludes


def test_an_answer_that_took_long_says_nothing(world: World) -> None:
    watch = ClockWatch(world.ask, world)
    world.back_s, world.machine_off_s = 70.0, 3.0
    watch.measure()
    assert watch.ahead_s == 0.0


@pytest.mark.parametrize("jump_s", [86_400.0, -3600.0, 3.0, -3.0])
def test_a_jump_is_seen_once_and_by_how_much(world: World, jump_s: float) -> None:
    watch = ClockWatch(world.ask, world)
    watch.look()
    world.passed_s += 10.0
    world.store_off_s = jump_s
    assert watch.look() == NOON + timedelta(seconds=10.0 + jump_s)
    assert watch.jumped_s == pytest.approx(jump_s)
    world.passed_s += 10.0
    watch.look()
    assert watch.jumped_s == 0.0


def test_a_store_that_answers_slowly_has_not_jumped(world: World) -> None:
    watch = ClockWatch(world.ask, world)
    for out_s, back_s in ((0.0, 9.0), (9.0, 0.0), (0.0, 0.0), (9.0, 0.0), (0.0, 9.0)):
        world.out_s, world.back_s = out_s, back_s
        watch.look()
        assert watch.jumped_s == 0.0
        world.passed_s += 1.0

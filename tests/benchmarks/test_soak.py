"""A soak shows a leak where there is one, and none where there is none; short, as in continuous integration."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest

from tests.benchmarks.soak import SLACK_BYTES, TOLERANCE, Soaked, Track, Trend, judge, soak, trend
from tests.load.attribution import Report
from tests.load.clients import Load
from tests.load.http1 import Request
from tests.load.project import make_project
from tests.load.served import Served

MIB = 1 << 20
SECONDS = 100.0


def track(memory: list[float], descriptors: list[float] | None = None) -> Track:
    times = [SECONDS * number / (len(memory) - 1) for number in range(len(memory))]
    handles = descriptors or [20.0] * len(memory)
    return Track("front", 7, times, [int(each * MIB) for each in memory], [int(each) for each in handles])


def noise(seed: int = 1) -> Iterator[float]:
    generator = random.Random(seed)
    while True:
        yield generator.uniform(-0.2, 0.2)


def verdict(each: Track) -> list[str]:
    return judge([each], SECONDS, TOLERANCE, SLACK_BYTES)


class TestTrend:
    def test_a_straight_rise_is_measured_over_the_second_half(self) -> None:
        rising = track([30 + 0.1 * number for number in range(101)])
        found = trend(rising.times, rising.memory)
        assert found.rise / MIB == pytest.approx(5.0, rel=0.02)
        assert found.mean / MIB == pytest.approx(37.5, rel=0.01)

    def test_what_fills_in_the_first_half_is_flat(self) -> None:
        filling = track([min(30 + number, 60) for number in range(101)])
        assert verdict(filling) == []

    def test_noise_is_flat(self) -> None:
        assert verdict(track([40 + each for each, _ in zip(noise(), range(200), strict=False)])) == []

    def test_a_leak_within_the_noise_is_found(self) -> None:
        leaking = track([40 + 0.03 * number + each for each, number in zip(noise(), range(200), strict=False)])
        (sentence,) = verdict(leaking)
        assert "the memory of front 7 rose by" in sentence

    def test_descriptors_that_rise_are_found(self) -> None:
        leaking = track([40.0] * 101, [20 + number / 4 for number in range(101)])
        (sentence,) = verdict(leaking)
        assert "the descriptors of front 7 rose by" in sentence

    def test_one_that_falls_is_flat(self) -> None:
        assert Trend(40 * MIB, -10 * MIB).is_flat(TOLERANCE, SLACK_BYTES)

    def test_one_that_was_replaced_was_not_there_all_the_time(self) -> None:
        short = track([40.0] * 101)
        short.times = [at / 2 for at in short.times]
        assert verdict(short) == ["front 7 was not there all the time"]


def test_a_table_of_a_soak_names_every_process() -> None:
    text = str(Soaked([track([40.0] * 101)], SECONDS, Report(), ["something"]))
    assert "| front 7 | 101 | 40.0 | +0.00 | 20.0 | +0.0 |" in text
    assert text.endswith("something")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One for both, in their order. It has one process of pages, which gives all their answers."""
    served = Served(make_project(tmp_path_factory.mktemp("soak") / "site"), django_workers=1)
    served.start()
    yield served
    served.stop()


def test_memory_and_descriptors_of_every_process_are_flat_under_load(served: Served) -> None:
    # What Django does for the first time, each of its threads for itself, takes memory for more than half a minute, and
    # up to 3 MiB in the second half: hence more slack than an hour's. 4 MiB are 1 KiB for each of its answers then.
    soaked = asyncio.run(soak(served, 40, sample_every_s=0.5, slack_bytes=4 * MIB))
    assert not soaked.wrong, str(soaked)
    assert len(soaked.tracks) >= 5, str(soaked)
    assert soaked.report.total > 40 * 40, str(soaked)
    # All others have what they need after a few seconds: to them TOLERANCE applies, 0.8 MiB of a front process.
    others = [each for each in soaked.tracks if not each.role.startswith("django pages")]
    assert len(others) >= 4
    assert judge(others, soaked.seconds, TOLERANCE, MIB / 2) == [], str(soaked)


def test_a_view_that_leaks_is_found(served: Served) -> None:
    async def run() -> Soaked:
        leak = Load(served.port)
        leak.add(leak.keep_asking(lambda: Request("GET", "/leak?mb=1"), every_s=0.4))
        soaked = await soak(served, 8, sample_every_s=0.25, slack_bytes=4 * MIB)
        await leak.stop()
        return soaked

    soaked = asyncio.run(run())
    assert any("the memory of django pages" in sentence for sentence in soaked.wrong), str(soaked)

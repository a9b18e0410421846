"""`bench soak`: steady load on `duck serve` for an hour; memory and descriptors of every process have to stay flat.

Flat is judged on the second half alone, for caches and pools fill in the first: a straight line is fitted to what each
process held (least squares), and its rise over that half may not be more than TOLERANCE of the process's mean, and
SLACK_BYTES where that is more. So short a run as the tests make cannot show a slow leak, and is given more slack.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.benchmarks.servers import Failed
from tests.load.attribution import Report, Verdict, read_journal, report
from tests.load.clients import Load
from tests.load.project import make_project
from tests.load.served import Served

HOUR_S = 3600.0
TOLERANCE = 0.03
SLACK_BYTES = 1 << 20
DESCRIPTORS = 8.0  # what connections that come and go may differ by
_CLEAR_EVERY_S = 30.0


@dataclass
class Track:
    """What one process held, sample by sample.

    Attributes:
        times: seconds since the start of the load.
        memory: bytes that the process holds alone (USS).
    """

    role: str
    pid: int
    times: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Trend:
    """What became of it in the second half."""

    mean: float
    rise: float

    def is_flat(self, tolerance: float, slack: float) -> bool:
        """Whether it rose by no more than this part of its mean, or than `slack`."""
        return self.rise <= max(tolerance * self.mean, slack)


@dataclass
class Soaked:
    """What a run came to."""

    tracks: list[Track]
    seconds: float
    report: Report
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.report}", "", "| process | samples | memory MiB | rise MiB | descriptors | rise |"]
        lines.append("|---|--:|--:|--:|--:|--:|")
        for track in self.tracks:
            memory, descriptors = trend(track.times, track.memory), trend(track.times, track.descriptors)
            lines.append(
                f"| {track.role} {track.pid} | {len(track.times)} | {memory.mean / (1 << 20):.1f} "
                f"| {memory.rise / (1 << 20):+.2f} | {descriptors.mean:.1f} | {descriptors.rise:+.1f} |"
            )
        return "\n".join([*lines, "", *self.wrong])


def trend(times: Sequence[float], values: Sequence[float]) -> Trend:
    """The mean of the second half of `values`, and how far a straight line through it rises from begin to end."""
    half = times[-1] / 2 if times else 0.0
    chosen = [(at, value) for at, value in zip(times, values, strict=True) if at >= half]
    mean = statistics.fmean(value for _, value in chosen) if chosen else 0.0
    if len(chosen) < 3:
        return Trend(mean, 0.0)
    slope = statistics.linear_regression([at for at, _ in chosen], [value for _, value in chosen]).slope
    return Trend(mean, slope * (chosen[-1][0] - chosen[0][0]))


def judge(tracks: Sequence[Track], seconds: float, tolerance: float, slack_bytes: float) -> list[str]:
    """What is not flat, or was not there all the time, in a sentence each."""
    wrong = []
    for track in tracks:
        name = f"{track.role} {track.pid}"
        if not track.times or track.times[-1] < 0.9 * seconds or track.times[0] > 0.1 * seconds:
            wrong.append(f"{name} was not there all the time")
            continue
        memory, descriptors = trend(track.times, track.memory), trend(track.times, track.descriptors)
        if not memory.is_flat(tolerance, slack_bytes):
            wrong.append(
                f"the memory of {name} rose by {memory.rise / (1 << 20):.2f} MiB of {memory.mean / (1 << 20):.1f} MiB"
                f" in the second half"
            )
        if not descriptors.is_flat(0.0, DESCRIPTORS):
            wrong.append(f"the descriptors of {name} rose by {descriptors.rise:.1f} in the second half")
    return wrong


async def soak(
    served: Served,
    seconds: float,
    *,
    pause: float = 1.0,
    sample_every_s: float = 1.0,
    tolerance: float = TOLERANCE,
    slack_bytes: float = SLACK_BYTES,
    say: Callable[[str], None] = lambda sentence: None,
) -> Soaked:
    """Put steady load on `served`, and watch its processes.

    Args:
        pause: as of `Load.start_steady`.
    """
    load = Load(served.port)
    load.start_steady(pause)
    kept: list[Report] = []
    tracks: dict[int, Track] = {}
    began = cleared = time.monotonic()
    sampled_s = 0.0  # a busy machine may take long over the last sample
    try:
        while (at := time.monotonic() - began) < seconds:
            sampled_s = at
            await asyncio.to_thread(sample, served, tracks, at)
            load.check()
            if time.monotonic() - cleared > _CLEAR_EVERY_S:
                cleared = time.monotonic()
                kept.append(collect(load, served))
                say(f"{at:.0f} s: {sum(each.total for each in kept)} answered, {len(tracks)} processes")
            await asyncio.sleep(sample_every_s)
        await load.stop()
    except BaseException:
        await load.abandon()
        raise
    load.check()
    kept.append(collect(load, served))
    whole = add(kept)
    found = list(tracks.values())
    soaked = Soaked(found, sampled_s, whole, judge(found, sampled_s, tolerance, slack_bytes))
    if whole.faults:
        soaked.wrong.append(f"{len(whole.faults)} requests failed")
    return soaked


def sample(served: Served, tracks: dict[int, Track], at: float) -> None:
    """Note what each process holds now."""
    for each in served.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(each["pid"])
            track = tracks.setdefault(each["pid"], Track(str(each["role"]), each["pid"]))
            memory, descriptors = process.memory_full_info().uss, process.num_fds()
            track.times.append(at)
            track.memory.append(memory)
            track.descriptors.append(descriptors)


def collect(load: Load, served: Served) -> Report:
    """Judge what has ended, and forget it: an hour of outcomes is not kept."""
    ended, load.outcomes = load.outcomes, []
    journal = read_journal(served.project)
    for path in (served.project / "journal").iterdir():
        path.write_text("")  # its process appends, so goes on at the new end
    return report(ended, [], journal)


def add(reports: Sequence[Report]) -> Report:
    """All of them as one."""
    whole = Report()
    for each in reports:
        for verdict in Verdict:
            whole.counts[verdict] += each.counts[verdict]
        whole.faults += each.faults
        whole.excused += each.excused
    return whole


def main(arguments: list[str], say: Callable[[str], None]) -> int:
    """Run it; 0 where every process stayed flat and no request failed."""
    parser = argparse.ArgumentParser(
        prog="manage_duck.py bench soak",
        description="Put steady load on `duck serve` and watch the memory and the descriptors of its processes."
        " The exit code is 1 where one of them rises in the second half, or a request fails.",
    )
    parser.add_argument("--seconds", type=float, default=HOUR_S, help="how long (an hour)")
    parser.add_argument("--workers", type=int, default=2, help="front processes (2)")
    parser.add_argument("--django-workers", type=int, default=2, help="Django processes (2)")
    parser.add_argument(
        "--tolerance", type=float, default=TOLERANCE, help=f"what part of its memory a process may rise ({TOLERANCE})"
    )
    chosen = parser.parse_args(arguments)
    with contextlib.ExitStack() as cleanup:
        directory = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="duck-bench-")))
        served = Served(make_project(directory / "site"), workers=chosen.workers, django_workers=chosen.django_workers)
        cleanup.callback(served.stop)
        try:
            served.start()
            soaked = asyncio.run(soak(served, chosen.seconds, tolerance=chosen.tolerance, say=say))
        except Failed as failed:
            say(str(failed))
            return 1
        say(f"\n{soaked}")
        return 1 if soaked.wrong else 0

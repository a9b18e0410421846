"""One row measured: all its stacks in turn, round after round."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.benchmarks import load
from tests.benchmarks.servers import Failed, Missing, cpu_seconds, peak_bytes

if TYPE_CHECKING:
    from tests.benchmarks.rows import Row, Site
    from tests.benchmarks.stacks import Stack

MAX_MEMORY_ROUNDS = 3  # each starts the stack anew, and the figures hardly differ


@dataclass
class Series:
    """What one stack gave, one figure a round.

    Attributes:
        value: CPU microseconds per request of all its processes, or bytes of memory added.
        per_second, p50_us, p99_us: of requests; empty for rows of memory.
        errors: answers with another status than 2xx or 3xx, and connections that broke, in all rounds.
        peak: the most memory its processes held, in bytes; 0 for rows of memory.
    """

    version: str = ""
    value: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)
    p50_us: list[float] = field(default_factory=list)
    p99_us: list[float] = field(default_factory=list)
    errors: int = 0
    peak: int = 0


@dataclass(frozen=True)
class Ratio:
    """A wanted value, and what it was in each round.

    Attributes:
        beside: the stack that `stack` is divided by; empty where the value of `stack` itself counts.
        of_rate: requests per second were divided, of which more is better.
    """

    stack: str
    beside: str
    wanted: float
    rounds: list[float]
    of_rate: bool = False

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.rounds)

    @property
    def is_met(self) -> bool:
        """Whether the median is not above what is wanted, or for a rate not below."""
        return self.median >= self.wanted if self.of_rate else self.median <= self.wanted


@dataclass
class Outcome:
    """One row of the table.

    Attributes:
        missing: why a stack was left out, by its name.
        failed: how a stack failed, by its name; it has no figures then.
    """

    row: Row
    access_log: bool
    stacks: dict[str, Series] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    ratios: list[Ratio] = field(default_factory=list)


def measure(
    row: Row,
    site: Site,
    *,
    rounds: int,
    seconds: int,
    access_log: bool,
    only: Collection[str] = (),
    warm_up: int = 1,
    say: Callable[[str], None],
) -> Outcome:
    """Measure `row`, or of its stacks `only` some; those that cannot be had, or fail, are named in the outcome.

    Args:
        warm_up: seconds for which each stack is asked before the first round.
    """
    outcome = Outcome(row, access_log)
    made: dict[str, Stack] = {}
    for name, make in row.make.items():
        if only and name not in only:
            continue
        try:
            made[name] = make(site, access_log)
        except Missing as missing:
            outcome.missing[name] = str(missing)
            say(f"{row.name}: {name} is left out: {missing}")
        else:
            outcome.stacks[name] = Series(made[name].version)
    if row.load:
        _measure_cpu(row, made, outcome, site, rounds, seconds, warm_up, say)
    else:
        _measure_memory(row, made, outcome, min(rounds, MAX_MEMORY_ROUNDS), say)
    for name, why in outcome.failed.items():
        del outcome.stacks[name]
        say(f"{row.name}: {name} failed: {why}")
    for wanted in row.wanted:
        above = outcome.stacks.get(wanted.stack)
        below = outcome.stacks.get(wanted.beside)
        if above and below:
            pair = (above.per_second, below.per_second) if wanted.of_rate else (above.value, below.value)
            each = [a / b for a, b in zip(*pair, strict=True)]
            outcome.ratios.append(Ratio(wanted.stack, wanted.beside, wanted.value, each, wanted.of_rate))
        elif above and not wanted.beside:
            outcome.ratios.append(Ratio(wanted.stack, "", wanted.value, above.value))
    return outcome


def _measure_cpu(
    row: Row,
    made: dict[str, Stack],
    outcome: Outcome,
    site: Site,
    rounds: int,
    seconds: int,
    warm_up: int,
    say: Callable[[str], None],
) -> None:
    assert row.load is not None
    with contextlib.ExitStack() as running:
        for name, stack in made.items():
            running.callback(stack.stop)
            try:
                stack.start()
                if warm_up:
                    load.run(row.load, stack.port, warm_up, site.directory, stack.scheme)
            except Missing as missing:
                outcome.missing[name] = str(missing)
                say(f"{row.name}: {name} is left out: {missing}")
            except Failed as failed:
                outcome.failed[name] = str(failed)
        for name in outcome.missing:
            made.pop(name, None)
            outcome.stacks.pop(name, None)
        for number in range(rounds):
            names = [name for name in made if name not in outcome.failed]
            # Each round begins with another stack: none always follows the same neighbour.
            turn = number % len(names) if names else 0
            for name in names[turn:] + names[:turn]:
                try:
                    _measure_once(row.load, made[name], outcome.stacks[name], site, seconds)
                except Failed as failed:
                    outcome.failed[name] = str(failed)
            figures = [f"{name} {outcome.stacks[name].value[-1]:.1f}" for name in names if name not in outcome.failed]
            say(f"{row.name}, round {number + 1} of {rounds}: {', '.join(figures)} CPU us a request")
        for name, stack in made.items():
            outcome.stacks[name].peak = peak_bytes(stack.family())


def _measure_once(asked: load.Load, stack: Stack, series: Series, site: Site, seconds: int) -> None:
    before = cpu_seconds(stack.family())
    answers = load.run(asked, stack.port, seconds, site.directory, stack.scheme)
    used = cpu_seconds(stack.family()) - before
    stack.check()
    series.value.append(used / answers.requests * 1e6)
    series.per_second.append(answers.requests / answers.seconds)
    series.p50_us.append(answers.p50_us)
    series.p99_us.append(answers.p99_us)
    series.errors += answers.errors


def _measure_memory(
    row: Row, made: dict[str, Stack], outcome: Outcome, rounds: int, say: Callable[[str], None]
) -> None:
    assert row.grow is not None
    for number in range(rounds):
        figures = []
        for name, stack in made.items():
            if name in outcome.failed:
                continue
            try:
                stack.start()
                outcome.stacks[name].value.append(row.grow(stack))
                stack.check()
            except (Failed, OSError) as failed:
                outcome.failed[name] = str(failed)
            else:
                figures.append(f"{name} {outcome.stacks[name].value[-1]:,.0f}")
            finally:
                stack.stop()
        say(f"{row.name}, round {number + 1} of {rounds}: {', '.join(figures)} bytes")

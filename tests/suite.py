"""The tests in several processes at once; a few that failed are run once more, alone, and are named in the totals.

So a failure that only chance or a busy machine made is neither a failure of the whole, nor hidden.
Standard library only.
"""

from __future__ import annotations

import compileall
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# More tests than these do not fail by chance.
MOST_AGAIN = 5
# A variable: nothing is left out for the sake of time.
FULL = "DUCK_TEST_FULL"
_SOME_FAILED = 1  # pytest's exit code, where the run itself was in order


@dataclass(frozen=True)
class Outcomes:
    """What one run of pytest came to.

    Attributes:
        code: pytest's exit code.
        outcomes: `passed`, `skipped` or `failed`, by the test's node ID.
        failures: what was printed of those that failed.
        left_out: sentences of tests that did a part only.
    """

    code: int
    outcomes: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def count(self, outcome: str) -> int:
        """How many tests had that outcome."""
        return sum(1 for each in self.outcomes.values() if each == outcome)

    @property
    def may_be_chance(self) -> bool:
        """Whether so few failed that they are worth a second run."""
        return self.code == _SOME_FAILED and 1 <= len(self.failures) <= MOST_AGAIN


@dataclass(frozen=True)
class Totals:
    """What the tests came to.

    Attributes:
        second: node IDs of the tests that failed at first, and passed when they were run once more.
    """

    passed: int
    failed: int
    skipped: int
    second: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def is_green(self) -> bool:
        """Whether no test failed, or none but at first."""
        return self.failed == 0

    def __str__(self) -> str:
        """`N passed, N failed[, N skipped][, N passed only on a second run: NODE ID, ...]`: each test counts once."""
        text = f"{self.passed} passed, {self.failed} failed"
        if self.skipped:
            text += f", {self.skipped} skipped"
        if self.second:
            text += f", {len(self.second)} passed only on a second run: {', '.join(self.second)}"
        return text


def run(directory: Path, arguments: Sequence[str], say: Callable[[str], None], *, again: bool) -> Totals:
    """Run pytest in `directory`; `again`: a few that fail are run once more, one after the other and nothing beside."""
    first = run_pytest(directory, arguments)
    if not again or not first.may_be_chance:
        return judge(first, None)
    say(f"{len(first.failures)} failed: run once more, alone: {', '.join(first.failures)}")
    second = run_pytest(directory, ["-n", "0", *first.failures])
    totals = judge(first, second)
    for name in totals.second:
        say(f"{name} failed at first, and passed when it was run once more, alone. How it failed:")
        sys.stdout.write(first.failures[name] + "\n")
        sys.stdout.flush()
    return totals


def compile_sources(directory: Path) -> None:
    """Leave the bytecode of Duck beside its sources, where the environment keeps Python from doing so as it runs.

    Else each of the hundreds of processes that tests start compiles all of it, which takes as long as all else it does.
    """
    compileall.compile_dir(directory / "duck", quiet=2)


def collect_command() -> list[str]:
    """Collect all tests once, so that the bytecode of their asserts is there when several processes do the same."""
    program = "import sys, pytest; sys.dont_write_bytecode = False; sys.exit(pytest.main(['--collect-only', '-qq']))"
    return [sys.executable, "-c", program]


def run_pytest(directory: Path, arguments: Sequence[str]) -> Outcomes:
    """One run of pytest; its output is this process's."""
    with tempfile.TemporaryDirectory() as private:
        file = Path(private) / "outcomes.json"
        plugin = ["-p", "tests.outcomes", "--outcomes", str(file)]
        command = [sys.executable, "-m", "pytest", *plugin, *arguments]
        code = subprocess.call(command, cwd=directory, stdin=subprocess.DEVNULL)
        try:
            return Outcomes(code, **json.loads(file.read_text()))
        except (OSError, ValueError):
            return Outcomes(code)


def judge(first: Outcomes, second: Outcomes | None) -> Totals:
    """What a run and, where there was one, the second run of what failed in it came to.

    A run that failed without a test that did (nothing could be collected, it was interrupted) counts as one failure.
    """
    again: tuple[str, ...] = ()
    if second is not None and second.code in (0, _SOME_FAILED):
        again = tuple(name for name in first.failures if second.outcomes.get(name) == "passed")
    failed = len(first.failures) - len(again)
    if first.code not in (0, _SOME_FAILED) or (first.code and not first.failures):
        failed = max(failed, 1)
    return Totals(first.count("passed"), failed, first.count("skipped"), again, tuple(dict.fromkeys(first.left_out)))


def spread_out() -> list[str]:
    """For pytest: two processes for each processor, for most tests wait; each file stays in one, in order."""
    return ["-n", str(2 * (os.cpu_count() or 1)), "--dist", "loadfile", "--no-loadscope-reorder", "tests"]

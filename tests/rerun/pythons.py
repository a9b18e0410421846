"""Duck itself on a newer Python: an environment with what it needs, and the tests of the front there."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

from tests import suite
from tests.environments import environment
from tests.outcomes import LEFT_OUT
from tests.rerun.front import ROOT, run_front_tests


def requirements() -> tuple[str, ...]:
    """What Duck and these tests need, as pyproject.toml says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = ("h11", "h2", "hpack", "httptools", "hypothesis", "pytest")
    tests = [line for line in project["dependency-groups"]["test"] if line.startswith(needed)]
    return (*project["project"]["dependencies"], *tests)


# It takes bytes and gives values, on every Python alike: there is no socket, no loop and no clock in it.
PURE = "tests/wire"


def run_on(python: str, suites: Sequence[str], directory: Path, record_property: Callable[[str, object], None]) -> None:
    """Run tests of the front on that version (`3.13`); skips the test where the machine has no such Python.

    Of those that touch nothing of the system a third, unless all was asked for; the totals of the run say so.
    """
    is_full = bool(os.environ.get(suite.FULL))
    third_of = [PURE] if PURE in suites and not is_full else []
    count = run_front_tests(environment(python, requirements()), suites, ROOT, directory, third_of)
    if third_of:
        sentence = f"Python {python} ran {count} tests of {' and '.join(suites)}, and two thirds of {PURE} not"
        record_property(LEFT_OUT, f"{sentence}: `manage_duck.py test --full` runs all.")

"""Duck itself on a newer Python: an environment with what it needs, and the tests of the front there."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.environments import environment
from tests.rerun.front import ROOT, Part, run_front_tests


def requirements() -> tuple[str, ...]:
    """What Duck and these tests need, as pyproject.toml says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = ("h11", "h2", "hpack", "httptools", "hypothesis", "pytest")
    tests = [line for line in project["dependency-groups"]["test"] if line.startswith(needed)]
    return (*project["project"]["dependencies"], *tests)


def run_on(
    python: str, part: Part, suites: Sequence[str], directory: Path, record_property: Callable[[str, object], None]
) -> None:
    """Run tests of the front on that version (`3.13`); skips the test where the machine has no such Python."""
    interpreter = environment(python, requirements())
    run_front_tests(interpreter, suites, ROOT, directory, part, f"Python {python}", record_property)

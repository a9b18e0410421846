"""The tests of the front, run once more elsewhere: on another Python, or on the compiled form.

They have passed here on every loop and are asked again what may differ there: all of what is pure, what moves bytes on
the loop that Duck takes by itself, and a real project that is served and loaded again.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import suite
from tests.outcomes import LEFT_OUT

ROOT = Path(__file__).resolve().parents[2]
# Two parts, each a test of its own: a process of the test run that has two tests to do is given no third.
PURE = ("tests/wire", "tests/net")
WHOLE = ("tests/proxy", "tests/app/test_runserver.py::TestServing", "tests/app/test_runserver.py::TestReload")
PARTS = pytest.mark.parametrize("suites", [PURE, WHOLE], ids=["bytes", "projects"])
# All have passed here. Each place runs another part of what takes bytes and gives values.
SAMPLED = ("tests/wire", "tests/net", "tests/proxy")
# On a machine that is busy with two more.
LONGEST_S = 900


@dataclass(frozen=True)
class Part:
    """A fixed part of the tests of SAMPLED.

    Attributes:
        number: from 0 to `parts` - 1.
        left: what the others are of all, as it is said.
    """

    number: int
    parts: int
    left: str


# Another Python differs in its library, and gets a sixth; what mypyc makes of the sources is another program.
ON_3_12 = Part(0, 6, "five sixths")
ON_3_13 = Part(1, 6, "five sixths")
COMPILED = Part(2, 3, "two thirds")


def run_front_tests(
    python: str,
    suites: Sequence[str],
    package: Path,
    directory: Path,
    part: Part,
    name: str,
    record_property: Callable[[str, object], None],
) -> None:
    """Run `suites` with the interpreter `python` on the Duck in `package`; hypothesis notes its finds in `directory`.

    Of SAMPLED that part, unless all was asked for; the totals of the run say so.

    Args:
        part: of what is sampled.
        name: of what the tests are run on, for that sentence.

    Raises:
        AssertionError: one of them failed; with the end of what pytest said.
    """
    sampled = [] if os.environ.get(suite.FULL) else [each for each in suites if each in SAMPLED]
    # Of the tests that call this, nothing else is to be seen.
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("VIRTUAL_ENV", "PYTEST_"))}
    variables |= {
        "PYTHONPATH": str(package),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(directory),
    }
    # The Ducks that are started there would each compile all of it.
    subprocess.run([python, "-m", "compileall", "-q", "duck"], cwd=package, check=True, timeout=LONGEST_S)
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "-k", "not asyncio"]
    command += ["-p", "tests.rerun.sample", "--part", str(part.number), "--parts", str(part.parts)]
    # Asserts that explain themselves take most of a collection, and have done so here.
    command += ["--assert=plain", *(f"--of={each}" for each in sampled), *suites]
    done = subprocess.run(command, cwd=package, env=variables, capture_output=True, text=True, timeout=LONGEST_S)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout.splitlines()[-1])
    assert passed is not None, done.stdout[-4000:]
    if sampled:
        sentence = f"{name} ran {passed[1]} tests of {', '.join(suites)}, and {part.left} of {', '.join(sampled)} not"
        record_property(LEFT_OUT, f"{sentence}: `manage_duck.py test --full` runs all.")

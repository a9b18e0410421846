"""Duck itself on the newer Pythons: the tests of its lower layers, and of the App with a real project, run there."""

import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.environments import environment

ROOT = Path(__file__).resolve().parent.parent


def requirements() -> tuple[str, ...]:
    """What Duck and these tests need, as pyproject.toml says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = ("h11", "h2", "hpack", "httptools", "hypothesis", "pytest")
    tests = [line for line in project["dependency-groups"]["test"] if line.startswith(needed)]
    return (*project["project"]["dependencies"], *tests)


@pytest.mark.timeout(1000)
@pytest.mark.parametrize("python", ["3.12", "3.13"])
def test_the_tests_of_the_front_pass_on(python: str, tmp_path: Path) -> None:
    executable = environment(python, requirements())
    command = [executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    suites = ["tests/wire", "tests/net", "tests/proxy", "tests/app/test_runserver.py"]
    # Its own PYTHONPATH: of the tests that call this one, nothing else is to be seen.
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("VIRTUAL_ENV", "PYTEST_"))}
    variables |= {
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path),
    }
    done = subprocess.run([*command, *suites], cwd=ROOT, env=variables, capture_output=True, text=True, timeout=980)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout.splitlines()[-1]

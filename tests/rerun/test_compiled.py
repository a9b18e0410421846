"""The compiled form is the plain one, only faster: the same tests hold for it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.benchmarks.servers import Missing
from tests.rerun.front import COMPILED, LONGEST_S, PARTS, ROOT, run_front_tests
from tests.rerun.native import native_duck


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with Duck as native modules, and with the tests."""
    try:
        made = native_duck(tmp_path_factory.mktemp("compiled"))
    except Missing as missing:
        pytest.skip(f"Duck cannot be compiled here: {missing}")
    shutil.copytree(ROOT / "tests", made / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", made)
    where = "import duck.net.server_connection as module; print(module.__file__)"
    variables = {**os.environ, "PYTHONPATH": str(made)}
    found = subprocess.run(
        [sys.executable, "-c", where], cwd=made, env=variables, capture_output=True, text=True, timeout=60
    ).stdout
    assert found.startswith(str(made)) and found.strip().endswith((".so", ".pyd")), found
    return made


@PARTS
@pytest.mark.timeout(LONGEST_S + 600)
def test_the_tests_of_the_hot_code_pass_on_native_modules(
    suites: Sequence[str], compiled: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    run_front_tests(sys.executable, suites, compiled, tmp_path, COMPILED, "The compiled form", record_property)

"""The compiled form is the plain one, only faster: the same tests hold for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.again.front import LONGEST_S, ROOT, run_front_tests
from tests.benchmarks.servers import Missing
from tests.benchmarks.stacks import compile_duck


@pytest.mark.timeout(LONGEST_S + 600)
def test_the_tests_of_the_hot_code_pass_on_native_modules(tmp_path: Path) -> None:
    try:
        compiled = compile_duck(tmp_path, optimised=False)
    except Missing as missing:
        pytest.skip(f"Duck cannot be compiled here: {missing}")
    shutil.copytree(ROOT / "tests", compiled / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", compiled)
    where = "import duck.net.server_connection as module; print(module.__file__)"
    variables = {**os.environ, "PYTHONPATH": str(compiled)}
    found = subprocess.run(
        [sys.executable, "-c", where], cwd=compiled, env=variables, capture_output=True, text=True, timeout=60
    ).stdout
    assert found.startswith(str(compiled)) and found.strip().endswith((".so", ".pyd")), found
    run_front_tests(sys.executable, compiled, tmp_path)

"""The compiled form is the plain one, only faster: the same tests hold for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.servers import Missing
from tests.benchmarks.stacks import compile_duck

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.timeout(1500)
def test_the_tests_of_the_hot_code_pass_on_native_modules(tmp_path: Path) -> None:
    try:
        compiled = compile_duck(tmp_path)
    except Missing as missing:
        pytest.skip(f"Duck cannot be compiled here: {missing}")
    shutil.copytree(ROOT / "tests", compiled / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", compiled)
    variables = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    variables["PYTHONPATH"] = str(compiled)
    run = {"cwd": compiled, "env": variables, "capture_output": True, "text": True, "timeout": 1000}
    where = "import duck.net.server_connection as module; print(module.__file__)"
    found = subprocess.run([sys.executable, "-c", where], **run).stdout
    assert found.startswith(str(compiled)) and found.strip().endswith((".so", ".pyd")), found
    suites = ["tests/wire", "tests/net", "tests/proxy", "tests/app/test_runserver.py"]
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *suites], **run)
    assert done.returncode == 0, done.stdout[-4000:]

"""Duck built as native modules."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.servers import Failed, Missing
from tests.benchmarks.stacks import ROOT


def compile_duck(directory: Path, *, optimised: bool = True) -> Path:
    """A directory with Duck built as native modules (pyproject.toml, the mypyc hook), to be put on PYTHONPATH.

    What is not optimised does the same, and is built in a fraction of the time.

    Raises:
        Missing: there is no compiler.
        Failed: it failed.
    """
    if not (shutil.which("cc") or shutil.which("gcc")):
        raise Missing("no C compiler is installed")
    target = directory / "compiled"
    # From a copy: the build leaves its modules beside the sources, where they would go before them.
    source = directory / "source"
    source.mkdir()
    for name in ("duck", "project_template"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    if not optimised:
        project = source / "pyproject.toml"
        project.write_text(project.read_text().replace('opt_level = "3"', 'opt_level = "0", debug_level = "0"'))
    # By pip: in the environments that uv builds in, mypy finds nothing of what Duck imports.
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(source)]
    # mypyc indents without end: that warning alone takes gcc three quarters of its time (115 s of a processor, or 29).
    flags = f"{os.environ.get('CFLAGS', '')} -Wno-misleading-indentation".strip()
    environment = {**os.environ, "CFLAGS": flags, "HATCH_BUILD_HOOK_ENABLE_MYPYC": "1"}
    built = subprocess.run(command, env=environment, capture_output=True, text=True)
    if built.returncode != 0 or not list(target.glob("*mypyc*")):
        raise Failed(f"Duck could not be compiled:\n{built.stderr.strip() or 'no native module came of it'}")
    return target

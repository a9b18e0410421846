"""A machine to start Ducks on, and Django projects."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.app.conftest import ask, environ, made_project, own_whole_project, project, run_dir, start, whole_project
from tests.cli.here import run_here
from tests.cli.machine import Machine

__all__ = [
    "ask",
    "environ",
    "machine",
    "made_project",
    "own_whole_project",
    "project",
    "run_dir",
    "start",
    "whole_project",
]


@pytest.fixture
def machine() -> Iterator[Machine]:
    # A short path: the control socket lies in it.
    with tempfile.TemporaryDirectory(prefix="duck-") as base:
        os.chmod(base, 0o700)
        made = Machine(Path(base))
        try:
            yield made
        finally:
            made.close()


@pytest.fixture
def ask_here(environ: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """As `ask`, without a process for it."""

    def run(cwd: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return run_here(cwd, arguments, environ | variables)

    return run

"""A machine to start Ducks on, and Django projects."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.conftest import (
    ask,
    ask_here,
    environ,
    made_project,
    own_whole_project,
    project,
    run_dir,
    start,
    whole_project,
)
from tests.cli.machine import Machine

__all__ = [
    "ask",
    "ask_here",
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

"""A project, and Ducks that serve it and end with the test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.load.project import make_project
from tests.load.served import Served


@pytest.fixture(scope="session")
def made_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("made") / "site")


@pytest.fixture
def project(made_project: Path, tmp_path: Path) -> Path:
    """A project of its own for the test."""
    return Path(shutil.copytree(made_project, tmp_path / "site"))


@pytest.fixture(scope="module")
def shared_project(made_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests of a module."""
    return Path(shutil.copytree(made_project, tmp_path_factory.mktemp("shared") / "site"))


@pytest.fixture
def serve(project: Path) -> Iterator[Callable[..., Served]]:
    """Start `duck serve`; it is ready when this returns."""
    running: list[Served] = []

    def begin(**options: Any) -> Served:
        served = Served(project, **options)
        running.append(served)
        served.start()
        return served

    yield begin
    for served in running:
        served.stop()

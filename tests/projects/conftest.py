"""Pairs of sites for the tests: a project made by its own tools, served straight and by Duck."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.projects.pair import Pair
from tests.projects.site import contents, serve_by_duck, serve_straight

if TYPE_CHECKING:
    from tests.projects.recipes import Project

Serve = Callable[..., Pair]
RUNSERVER = ("manage.py", "runserver", "--noreload", "127.0.0.1:{port}")


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    """Serve copies of a project straight and by Duck.

    At the end both copies are held against the project as it was made: files that the project wrote itself, uploads,
    are the same in both; all others are as they were.
    """
    with ExitStack() as ends:

        def begin(
            project: Project,
            *arguments: str,
            straight: tuple[str, ...] = RUNSERVER,
            below: str = ".",
            duck_below: str | None = None,
            normal: list[tuple[str, str]] | None = None,
            spares: bool = True,
        ) -> Pair:
            where = Path(tempfile.mkdtemp(prefix="duck-projects-"))
            ends.callback(shutil.rmtree, where)
            before = contents(project.directory)
            command = [project.python, *straight]
            one = serve_straight(command, project.directory, where, project.python, project.variables, below)
            ends.callback(one.close)
            there = below if duck_below is None else duck_below
            variables = project.variables | {"DUCK_AUTO_RELOAD_SPARES": str(spares).lower()}
            other = serve_by_duck(project.directory, where, project.python, variables, *arguments, below=there)
            ends.callback(other.close)
            pair = Pair(one, other, normal or [])
            ends.callback(check_unchanged, pair, before)
            ends.callback(pair.close)
            return pair

        yield begin


def check_unchanged(pair: Pair, before: dict[str, str]) -> None:
    straight, duck = contents(pair.straight.directory), contents(pair.duck.directory)
    assert duck == straight
    assert {name: duck.get(name) for name in before} == before

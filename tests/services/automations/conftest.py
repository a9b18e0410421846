"""Stores of automations for the tests of what all engines promise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.automation_project import KeptStore
from tests.automation_stores import ENGINES, Open, django_store, local_store, postgres_store

if TYPE_CHECKING:
    from duck.services.automations.engine import Engine
    from tests.postgres import Postgres


@pytest.fixture(scope="session")
def in_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeptStore]:
    """A project's store in its SQLite file."""
    kept = KeptStore(tmp_path_factory.mktemp("sqlite"))
    yield kept
    kept.close()


@pytest.fixture(scope="session")
def in_postgres(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[KeptStore]:
    """A project's store in its PostgreSQL."""
    kept = KeptStore(tmp_path_factory.mktemp("postgres"), postgres)
    yield kept
    kept.close()


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """One of each engine."""
    if request.param == "local":
        opened = local_store(tmp_path)
    elif request.param == "postgres":
        opened = postgres_store(request.getfixturevalue("postgres"))
    else:
        opened = django_store(request.getfixturevalue(f"in_{request.param.split()[-1]}"))
    with opened as opens:
        yield opens


@pytest.fixture
def engine(store: Open) -> Engine:
    """A node's."""
    return store()

"""Servers that several directories of tests share: each is started once in a process, by the first test that asks.

What they need is imported then: tests also run where only some of their dependencies are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.postgres import Postgres
    from tests.redis_server import RedisServer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what keeps processors busy for minutes (tests/rerun) behind what measures memory and reloads under load.

    Then the rest is there to be run beside it.
    """
    again = [item for item in items if item.nodeid.startswith("tests/rerun/")]
    others = [item for item in items if not item.nodeid.startswith("tests/rerun/")]
    place = max((number for number, item in enumerate(others, 1) if item.nodeid.startswith("tests/load/")), default=0)
    items[:] = others[:place] + again + others[place:]


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """An App that ran within a test has Duck's messages written to the console; the tests after it look for them."""
    logger = logging.getLogger("duck")
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logger.propagate = propagate


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL; `make_database` gives a test one of its own."""
    from tests.postgres import Postgres

    server = Postgres.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis."""
    from tests.redis_server import RedisServer

    server = RedisServer.start()
    yield server
    server.stop()

"""Servers that several directories of tests share: each is started once in a process, by the first test that asks.

What they need is imported then: tests also run where only some of their dependencies are.
"""

from __future__ import annotations

import gc
import logging
import os
import ssl
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from duck.services.inbox import Inbox
    from tests.postgres import Postgres
    from tests.redis_server import RedisServer


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Eleven thousand tests stay to the end: they are not looked at for garbage, neither now nor by any collection."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what keeps processors busy for minutes (tests/rerun) behind what measures memory and reloads under load.

    Then the rest is there to be run beside it.
    """
    again = [item for item in items if item.nodeid.startswith("tests/rerun/")]
    others = [item for item in items if not item.nodeid.startswith("tests/rerun/")]
    place = max((number for number, item in enumerate(others, 1) if item.nodeid.startswith("tests/load/")), default=0)
    items[:] = others[:place] + again + others[place:]


@pytest.fixture(autouse=True)
def settings_as_before() -> Iterator[None]:
    """A command, or an App, that a test runs in its own process installs settings; the next App would take them."""
    from duck import settings

    before = settings.current()
    yield
    settings.install(before)


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """An App that ran within a test has Duck's messages written to the console; the tests after it look for them."""
    logger = logging.getLogger("duck")
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logger.propagate = propagate


@pytest.fixture(scope="session", autouse=True)
def authorities_read_once() -> Iterator[None]:
    """httpx reads all authorities for each client: 36 ms of a processor for a request that takes 2."""
    make = ssl.create_default_context
    made: dict[str, ssl.SSLContext] = {}

    def create(*arguments: Any, **more: Any) -> ssl.SSLContext:
        path = str(more.get("cafile"))
        is_of_all = path.endswith("certifi/cacert.pem") or path == os.environ.get("SSL_CERT_FILE")
        if arguments or set(more) != {"cafile"} or not is_of_all:
            return make(*arguments, **more)
        if path not in made:
            made[path] = make(cafile=path)
        return made[path]

    ssl.create_default_context = create
    yield
    ssl.create_default_context = make


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    """An inbox that the test serves."""
    from duck.services.inbox import Inbox

    made = Inbox()
    yield made
    made.close()


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

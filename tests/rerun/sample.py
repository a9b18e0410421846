"""For pytest (`-p tests.rerun.sample --third-of DIRECTORY`): a fixed third of the tests there, and all elsewhere."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--third-of", action="append", default=[], help="run a third of the tests in this directory")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen, left = [], []
    for item in items:
        whole = not any(item.nodeid.startswith(f"{each}/") for each in config.getoption("--third-of"))
        (chosen if whole or zlib.crc32(item.nodeid.encode()) % 3 == 0 else left).append(item)
    if left:
        items[:] = chosen
        config.hook.pytest_deselected(items=left)

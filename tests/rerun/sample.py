"""For pytest (`-p tests.rerun.sample --third N [--of DIRECTORY ...]`): a fixed third of the tests there, all elsewhere.

The thirds 0, 1 and 2 have no test in common, and together they are all.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--third", type=int, choices=(0, 1, 2), default=0, help="which third")
    parser.addoption("--of", action="append", default=[], help="run that third of the tests in this directory")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen, left = [], []
    for item in items:
        whole = not any(item.nodeid.startswith(f"{each}/") for each in config.getoption("--of"))
        (chosen if whole or zlib.crc32(item.nodeid.encode()) % 3 == config.getoption("--third") else left).append(item)
    if left:
        items[:] = chosen
        config.hook.pytest_deselected(items=left)

"""For pytest (`-p tests.rerun.sample --part N --parts M [--of DIRECTORY ...]`): a fixed part of the tests there.

All elsewhere. The parts 0 to M - 1 have no test in common, and together they are all.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--part", type=int, default=0, help="which part, from 0")
    parser.addoption("--parts", type=int, default=1, help="of how many")
    parser.addoption("--of", action="append", default=[], help="run that part of the tests in this directory")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    part, parts = config.getoption("--part"), config.getoption("--parts")
    chosen, left = [], []
    for item in items:
        whole = not any(item.nodeid.startswith(f"{each}/") for each in config.getoption("--of"))
        (chosen if whole or zlib.crc32(item.nodeid.encode()) % parts == part else left).append(item)
    if left:
        items[:] = chosen
        config.hook.pytest_deselected(items=left)

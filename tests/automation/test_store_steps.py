"""What the store in the project's database asks it for, and what others may do in between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.automation_project import SQLITE, database_of, migrate, write_project

if TYPE_CHECKING:
    from tests.postgres import Postgres

STEPS = Path(__file__).with_name("store_steps.py")
# On PostgreSQL, where a transaction begins with its bounds and the clock.
MOST = {
    "claim": 6,
    "take": 6,
    "idle take": 1,
    "beat": 3,
    "finish": 3,
    "enqueue": 4,
    "cancel": 4,
    "join": 3,
    "paused": 2,
    "standings": 2,
    "crowded": 2,
    "look": 2,
    "beat that tells": 5,
}


def steps(root: Path, *arguments: str) -> Any:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO", "DUCK"))}
    done = subprocess.run(
        [sys.executable, str(STEPS), *arguments], cwd=root, env=environ, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> tuple[Path, str]:
    """A project in PostgreSQL, and the address of its database."""
    name = postgres.make_database()
    root = write_project(tmp_path_factory.mktemp("shop"), database=database_of(postgres, name))
    migrate(root)
    return root, postgres.url(name)


def test_an_operation_asks_no_more_than_it_needs(shop: tuple[Path, str]) -> None:
    found = steps(shop[0], "count")
    assert {name: found[name] for name in MOST if found[name] > MOST[name]} == {}


def test_nor_on_sqlite(tmp_path: Path) -> None:
    root = write_project(tmp_path, database=SQLITE)
    migrate(root)
    found = steps(root, "count")
    # BEGIN is a statement there, and a change of nothing takes the write lock; the clock is this machine's.
    assert {name: found[name] for name in MOST if found[name] > MOST[name] + 1} == {}


def test_a_run_that_is_queued_again_while_it_is_cancelled_is_cancelled(shop: tuple[Path, str]) -> None:
    assert steps(shop[0], "between", shop[1]) == {
        "told": True,
        "other": "has to wait",
        "state": "running",
        "cancels": True,
    }


def test_what_is_forgotten_is_bounded_and_gone_on_with_where_it_was_left(shop: tuple[Path, str]) -> None:
    assert steps(shop[0], "prune") == [
        [0, 1, 601, 601],
        [500, 1, 101, 601],
        [100, 1, 1, 601],
        [500, 1, 1, 101],
        [100, 1, 1, 1],
        [3, 1, 1, 1],
    ]

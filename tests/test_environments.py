"""Environments of other Pythons, made once by tests that run in several processes."""

from __future__ import annotations

from pathlib import Path

from tests.environments import lock_of


def test_each_environment_has_a_lock_of_its_own() -> None:
    names = ("3.10-0c", "3.10-1d", "3.11-0c")
    assert len({lock_of(Path("/cache") / name) for name in names}) == len(names)

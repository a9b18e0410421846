"""Where an entry of a setting stands: its line where the text tells it, else its file, else the settings."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from duck.backend.django.worker.settings_file import entries_of


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that imports a settings module with this text; its value of JOBS, and its file."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "settings_of_a_test")

    def made(text: str, name: str = "settings_of_a_test") -> tuple[Any, Path]:
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        importlib.invalidate_caches()
        monkeypatch.delitem(sys.modules, name, raising=False)
        module = importlib.import_module(name)
        monkeypatch.setitem(sys.modules, name, module)
        return module.JOBS, path

    return made


def test_lines_of_what_is_written_and_added(settings: Any) -> None:
    value, path = settings('JOBS = {\n    "a": {},\n    "b": {},\n}\nJOBS["c"] = {}\nJOBS |= {"d": {}}\n')
    place = entries_of("JOBS", value)
    assert [place(name) for name in "abcd"] == [f"{path}:{line}" for line in (2, 3, 5, 6)]


def test_without_a_line_it_is_the_file(settings: Any) -> None:
    value, path = settings('JOBS = dict(a={}, **{f"b{n}": {} for n in range(3)})\n')
    assert entries_of("JOBS", value)("a") == entries_of("JOBS", value)("b1") == str(path)


def test_what_comes_from_another_module_is_told_with_that(settings: Any) -> None:
    _, shared = settings('JOBS = {"a": {}}\n', "shared_of_a_test")
    value, own = settings('from shared_of_a_test import *\nJOBS["b"] = {}\n')
    assert entries_of("JOBS", value)("a") == f"{shared}:1" and entries_of("JOBS", value)("b") == f"{own}:2"
    assert entries_of("JOBS", value)("nowhere") == str(own)


def test_without_a_file_it_is_the_setting() -> None:
    assert entries_of("JOBS", {"a": {}})("a") == "JOBS of the settings"

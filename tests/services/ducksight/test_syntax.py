"""Whether Python files can be compiled."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from duck.services.ducksight import syntax_error
from duck.services.ducksight.syntax import first_that_fails


def test_an_error_is_found_without_running_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("raise SystemExit\ndef f(:\n")
    error = syntax_error(str(path))
    assert error is not None
    assert error.lineno == 2
    assert error.filename == str(path)


@pytest.mark.parametrize("source", [b"raise SystemExit", b"'\\d'", b"# coding: latin-1\nx = '\xe9'\n", b""])
def test_what_compiles_is_no_error(tmp_path: Path, source: bytes) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(source)
    assert syntax_error(str(path)) is None


@pytest.mark.parametrize("source", [b"x = '\xff'", b"x = 1\0"])
def test_bytes_that_are_no_source_are_an_error(tmp_path: Path, source: bytes) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(source)
    assert syntax_error(str(path)) is not None


def test_a_file_that_is_gone_is_no_error(tmp_path: Path) -> None:
    assert syntax_error(str(tmp_path / "gone.py")) is None


def test_a_file_that_may_not_be_read_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)  # root may read whatever its mode is
    error = syntax_error(str(tmp_path / "a.py"))
    assert error is not None
    assert "cannot be read (Permission denied)" in error.msg


def test_of_many_files_another_process_finds_the_first_that_fails(tmp_path: Path) -> None:
    paths = []
    for name, source in [("a.py", "x = 1"), ("ü b.py", "def f(:"), ("c.py", "x =")]:
        paths.append(str(tmp_path / name))
        Path(paths[-1]).write_text(source)
    assert first_that_fails(sys.executable, paths, os.environ) == paths[1]
    assert first_that_fails(sys.executable, [paths[0], str(tmp_path / "gone.py")], os.environ) == ""
    assert first_that_fails("/nowhere/python", paths, os.environ) == ""

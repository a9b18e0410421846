"""Attaching an existing Django project by reference."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from duck.cli.django_add import django_add
from duck.cli.makeproject import make_project
from duck.exceptions import ProjectError
from duck.settings.load import load


@pytest.fixture(autouse=True)
def clean_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    sys.modules.pop("settings", None)
    yield
    sys.modules.pop("settings", None)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A Django project that nobody may write to."""
    directory = tmp_path / "shop"
    directory.mkdir()
    (directory / "manage.py").write_text("# not run\n")
    return directory


def add(cwd: Path, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(cwd)
    result = CliRunner().invoke(django_add, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    sys.modules.pop("settings", None)
    return result.output


@pytest.mark.parametrize("given", ["../shop", "../shop/manage.py"])
def test_only_the_duck_project_is_written(
    tmp_path: Path, shop: Path, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pond = make_project("pond", tmp_path)
    before = (pond / "settings.py").read_text()
    output = add(pond, given, monkeypatch=monkeypatch)
    assert "../shop/manage.py stands behind this project now" in output
    assert "was migrate --noinput; it is empty now" in output
    after = (pond / "settings.py").read_text()
    assert after == before.replace('"backend"', '"../shop"').replace('["migrate --noinput"]', "[]")
    assert load({}, {}, pond)["DJANGO_PROJECT"] == pond / "../shop"
    assert [file.name for file in shop.iterdir()] == ["manage.py"]
    assert (shop / "manage.py").read_text() == "# not run\n"


def test_a_setting_that_is_not_there_comes_at_the_end(
    tmp_path: Path, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pond = tmp_path / "deep" / "pond"
    pond.mkdir(parents=True)
    (pond / "main.py").write_text("from duck.app import App\n")
    (pond / "settings.py").write_text("PORT = 1\nUSE_DJANGO = False")
    output = add(pond, str(shop), "--json", monkeypatch=monkeypatch)
    assert json.loads(output)["written"] == {"DJANGO_PROJECT": str(shop)}
    assert (pond / "settings.py").read_text() == f'PORT = 1\nUSE_DJANGO = False\n\nDJANGO_PROJECT = "{shop}"\n'
    output = add(pond, str(shop), monkeypatch=monkeypatch)
    assert f"USE_DJANGO is False in {pond}/settings.py:2; see whether that still holds." in output


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", 'django_project = "../shop"\n'),
        ("port = 1", 'port = 1\ndjango_project = "../shop"\n'),
        ("django-project = 'x' # old\nport = 1\n", 'django_project = "../shop"\nport = 1\n'),
        ('port = 1\n[body_limits]\n"/a" = 1\n', 'port = 1\ndjango_project = "../shop"\n\n[body_limits]\n"/a" = 1\n'),
    ],
)
def test_a_duck_toml_is_written_above_its_tables(
    tmp_path: Path, shop: Path, before: str, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pond = tmp_path / "pond"
    pond.mkdir()
    (pond / "duck.toml").write_text(before)
    add(pond, "../shop", monkeypatch=monkeypatch)
    assert (pond / "duck.toml").read_text() == after
    assert load({}, {}, pond)["DJANGO_PROJECT"] == pond / "../shop"


def test_there_has_to_be_a_django_project_and_a_duck_project(
    tmp_path: Path, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ProjectError, match=r"There is no Duck project in .*; make one with `duck makeproject`"):
        add(tmp_path, "shop", monkeypatch=monkeypatch)
    with pytest.raises(ProjectError, match=r"absent is no Django project: give its manage\.py"):
        add(tmp_path, "absent", monkeypatch=monkeypatch)

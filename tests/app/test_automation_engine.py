"""Which engine is opened, and where the database of one that needs it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from duck.app.automation_engine import database_address, open_engine
from duck.app.automation_project import ProjectSide
from duck.exceptions import SettingsError, StoreError
from duck.services.automations.engines.local import LocalEngine
from duck.services.automations.engines.postgres import PostgresEngine
from duck.settings.load import Settings, load

if TYPE_CHECKING:
    from tests.postgres import Postgres


def told(directory: Path, **values: Any) -> tuple[Settings, ProjectSide]:
    state = directory.parent / "state"
    state.mkdir(mode=0o700, exist_ok=True)
    settings = load({"STATE_DIR": str(state), **values}, {}, directory)
    return settings, ProjectSide(settings)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "shop"
    directory.mkdir()
    subprocess.run([sys.executable, "-m", "django", "startproject", "shop", "."], cwd=directory, check=True)
    return directory


def use(project: Path, database: str) -> None:
    with (project / "shop" / "settings.py").open("a") as file:
        file.write(f"DATABASES = {{'default': {database}}}\n")


def test_by_default_it_is_the_file_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    engine = open_engine(*told(tmp_path / "site", USE_DJANGO=False))
    assert isinstance(engine, LocalEngine)
    engine.close()


def test_the_database_is_the_projects_own(project: Path, postgres: Postgres) -> None:
    name = postgres.make_database()
    use(
        project,
        f"{{'ENGINE': 'django.db.backends.postgresql', 'NAME': '{name}', 'USER': 'duck', 'PASSWORD': 'geheim',"
        f" 'HOST': '127.0.0.1', 'PORT': {postgres.port}, 'OPTIONS': {{'sslmode': 'disable', 'isolation_level': 1}}}}",
    )
    settings, side = told(project, AUTOMATION_ENGINE="postgres")
    address = database_address(settings, side)
    assert f"dbname={name}" in address and "sslmode=disable" in address and "isolation" not in address
    engine = open_engine(settings, side)
    assert isinstance(engine, PostgresEngine) and engine.register([]) == {}
    engine.close()


def test_one_that_is_no_postgresql_is_a_sentence(project: Path) -> None:
    settings, side = told(project, AUTOMATION_ENGINE="postgres")
    engine = open_engine(settings, side)
    # Of the store, as one that is away: what asks it goes on.
    with pytest.raises(StoreError, match="is sqlite: give AUTOMATION_DATABASE a URL such as"):
        engine.now()
    engine.close()


def test_a_url_that_is_given_goes_before(tmp_path: Path) -> None:
    url = "postgresql://ada:geheim@db/shop"
    settings, side = told(tmp_path, AUTOMATION_ENGINE="postgres", AUTOMATION_DATABASE=url, USE_DJANGO=False)
    assert database_address(settings, side) == url


def test_a_url_that_is_wrong_is_not_repeated(tmp_path: Path) -> None:
    sentence = "AUTOMATION_DATABASE cannot be used as it is: give a URL such as"
    with pytest.raises(SettingsError, match=sentence) as error:
        told(tmp_path, AUTOMATION_DATABASE="mysql://ada:geheim@db/shop")
    assert "geheim" not in str(error.value)


def test_what_is_not_installed_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("duck.services.automations.engines.postgres")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "procrastinate.connector", None)
    settings, side = told(tmp_path, AUTOMATION_ENGINE="postgres", USE_DJANGO=False)
    with pytest.raises(
        SettingsError, match=r'is "postgres", which needs .*: run pip install "duck-server\[postgres\]"'
    ):
        open_engine(settings, side)

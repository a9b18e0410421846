"""The worker under every Python and Django that it is for, each in an environment with nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.backend.conftest import VIEWS, change_project, start_project
from tests.environments import environment

if TYPE_CHECKING:
    from tests.backend.conftest import MakeWorker

Made = Callable[[str], Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """What the Django of a Python makes, made once, to be copied."""
    return cache(lambda executable: start_project(executable, tmp_path_factory.mktemp("made")))


@pytest.mark.timeout(180)  # the first run makes the environment
@pytest.mark.parametrize(
    ("python", "django"), [("3.10", "4.2"), ("3.10", "5.2"), ("3.11", "5.2"), ("3.12", "6.0"), ("3.13", "6.0")]
)
@pytest.mark.parametrize("mode", ["runserver", "serve"])
def test_a_project_is_served(
    make_worker: MakeWorker, made: Made, tmp_path: Path, python: str, django: str, mode: str
) -> None:
    executable = environment(python, (f"Django=={django}.*",))
    project = Path(shutil.copytree(made(executable), tmp_path / "project"))
    change_project(project, VIEWS, settings="ALLOWED_HOSTS = ['*']")
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    worker = make_worker(project, python=executable, mode=mode).wait_ready()
    assert worker.ready["python"].startswith(python + ".")
    assert worker.ready["django"].startswith(django)
    assert worker.ready["settings"] == "mysite.settings"
    with worker.client() as client:
        assert client.get("/hello").body == b"hello"
        assert client.get("/numbers").chunks == [b"0", b"1", b"2"]
        assert client.get("/boom").status == 500
        told = json.loads(client.get("/meta?a=b", [("Cookie", "c=d")], scheme="https").body)
        assert (told["secure"], told["get"], told["cookies"]) == (True, {"a": "b"}, {"c": "d"})
        assert client.request("HEAD", "/hello").content_length == 5
        assert client.find("admin/css/base.css").endswith(b"base.css")
    assert worker.stop() == 0
    after = {
        path: path.read_bytes()
        for path in project.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != "db.sqlite3"
    }
    assert after == before

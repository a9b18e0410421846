"""`duck.automation` in a project's interpreter: there in every process of Duck's, that name alone, unless Duck is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from duck.backend.django.discover import Interpreter, Project
from duck.backend.django.managing import LENT, manage_command
from tests.automation_project import write_project
from tests.environments import environment

if TYPE_CHECKING:
    from tests.backend.conftest import MakeWorker

ROOT = Path(__file__).resolve().parent.parent.parent
SAYS = """
import duck.automation, importlib.util
print(duck.__name__, getattr(duck, "__version__", None), importlib.util.find_spec("duck.app") is not None)
"""


def run(*paths: Path) -> str:
    """What `SAYS` prints in a bare interpreter with these on its path."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {[str(path) for path in paths]}\n{SAYS}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_is_lent_is_that_name_and_no_other() -> None:
    assert run(LENT) == "duck None False"


def test_where_duck_is_installed_that_is_used() -> None:
    from duck import __version__

    assert run(LENT, ROOT) == run(ROOT, LENT) == f"duck {__version__} True"


def test_manage_lends_it_to_another_interpreter_behind_what_is_on_its_path() -> None:
    project = Project(Path("/nowhere"), Path("/nowhere/manage.py"))

    def path(interpreter: str, **environ: str) -> str | None:
        found = Interpreter(interpreter, "--python", "3.10.0", "4.2")
        return manage_command(project, found, None, ("migrate",), environ).environ.get("PYTHONPATH")

    assert path(sys.executable) is None
    assert path("/elsewhere/python") == str(LENT)
    assert path("/elsewhere/python", PYTHONPATH="/mine") == os.pathsep.join(("/mine", str(LENT)))


@pytest.mark.timeout(180)  # the first run makes the environment
@pytest.mark.parametrize("mode", ["runserver", "serve"])
def test_pages_have_it_where_duck_is_not_installed(make_worker: MakeWorker, tmp_path: Path, mode: str) -> None:
    root = write_project(tmp_path, has_admin=True)
    worker = make_worker(root, python=environment("3.10", ("Django==4.2.*",)), mode=mode).wait_ready()
    with worker.client() as client:
        assert client.get("/admin/login/").status == 200
    assert worker.stop() == 0

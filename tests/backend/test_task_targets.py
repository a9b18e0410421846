"""Tasks of Django's framework as targets: put into its queue once the run is claimed, under every place it lives at."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from duck.services.automations.declaration import read_declaration
from duck.services.automations.run import State
from tests.backend.test_jobs import Works
from tests.environments import environment

PACKAGES = ("Django==4.2.*", "django-tasks>=0.12,<1", "django-tasks-db>=0.12,<1")

TASKS = """
from {module} import task

@task()
def send(to, *, urgent=False):
    with open("sent", "a") as file:
        file.write(f"{{to}} {{urgent}}\\n")
"""

SETTINGS = """
INSTALLED_APPS += {applications}
TASKS = {{"default": {{"BACKEND": "{backend}", "OPTIONS": {{}}}}}}
"""

Make = Callable[..., tuple[Works, str]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(python: str, module: str, backend: str, applications: list[str]) -> tuple[Works, str]:
        root = tmp_path / "site"
        root.mkdir()
        subprocess.run([python, "-m", "django", "startproject", "shop", "."], cwd=root, check=True)
        (root / "mail.py").write_text(TASKS.format(module=module))
        with open(root / "shop" / "settings.py", "a") as settings:
            settings.write(SETTINGS.format(backend=backend, applications=applications))
        if "django_tasks_db" in applications:
            subprocess.run([python, "manage.py", "migrate", "-v0", "django_tasks_database"], cwd=root, check=True)
        return Works(root, python), python

    return made


def run(works: Works, target: str = "mail:send") -> tuple[State, str, str]:
    table = {"task": target, "args": ["ada"], "kwargs": {"urgent": True}}
    works.jobs.begin()
    works.serve(lambda: works.found)
    _, ended = works.begin(read_declaration("mail", table, "test", ZoneInfo("UTC")))
    works.serve(lambda: ended)
    works.jobs.kill()
    works.serve(lambda: not works.jobs.pids)
    works.inbox.close()
    return ended[0].state, ended[0].reason, ended[0].output


@pytest.mark.parametrize(
    ("python", "requirements", "module", "backend", "applications"),
    [
        pytest.param(
            "3.10",
            PACKAGES,
            "django_tasks",
            "django_tasks.backends.immediate.ImmediateBackend",
            ["django_tasks"],
            id="django-tasks",
        ),
        pytest.param(
            "3.12",
            ("Django==6.0.*",),
            "django.tasks",
            "django.tasks.backends.immediate.ImmediateBackend",
            [],
            id="django-6",
        ),
    ],
)
def test_a_task_is_enqueued_with_what_the_declaration_says_and_history_has_its_id(
    make: Make, python: str, requirements: tuple[str, ...], module: str, backend: str, applications: list[str]
) -> None:
    works, _ = make(environment(python, requirements), module, backend, applications)
    state, reason, _ = run(works)
    assert state == State.SUCCEEDED, reason
    assert re.fullmatch(r"enqueued as [\w-]{16,}", reason)
    assert (works.jobs._of.project.root / "sent").read_text() == "ada True\n"


def test_with_a_queue_in_the_database_its_worker_finds_it(make: Make) -> None:
    python = environment("3.10", PACKAGES)
    works, python = make(python, "django_tasks", "django_tasks_db.DatabaseBackend", ["django_tasks", "django_tasks_db"])
    state, reason, output = run(works)
    assert state == State.SUCCEEDED, (reason, output)
    root = works.jobs._of.project.root
    assert not (root / "sent").exists(), "it is only queued"
    worker = [python, "manage.py", "db_worker", "--batch"]
    done = subprocess.run(worker, cwd=root, check=False, capture_output=True, text=True, timeout=60)
    assert (root / "sent").exists(), done.stderr
    assert reason.removeprefix("enqueued as ") in done.stdout + done.stderr


def test_what_is_no_task_fails_with_a_sentence(make: Make) -> None:
    python = environment("3.10", PACKAGES)
    works, _ = make(python, "django_tasks", "django_tasks.backends.immediate.ImmediateBackend", ["django_tasks"])
    (works.jobs._of.project.root / "mail.py").write_text("def send(): pass\n")
    state, reason, _ = run(works)
    assert state == State.FAILED
    assert "mail:send is no task: give one that is decorated with @task" in reason

"""`manage.py migrate` beside a Duck that runs: shown, one at a time, Django loaded again after it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from duck.services.instance import running_instances
from duck.services.ipc import ControlError, call
from tests.app.conftest import DEADLINE_S, Duck
from tests.waiting import wait_until

Start = Callable[..., Duck]

MODELS = "from django.db import models\n\nclass Pond(models.Model):\n    depth = models.IntegerField()\n"
MIGRATION = """
from django.db import migrations, models

def operate(apps, schema_editor):
    {operate}

class Migration(migrations.Migration):
    dependencies = []
    operations = [
        migrations.CreateModel("Pond", [
            ("id", models.BigAutoField(primary_key=True)), ("depth", models.IntegerField()),
        ]),
        migrations.RunPython(operate),
    ]
"""


@pytest.fixture
def pond(project: Path) -> Path:
    """A project with an app whose migration has not been applied, and does what a file beside it says."""
    (project / "pond" / "migrations").mkdir(parents=True)
    for path in ("pond/__init__.py", "pond/migrations/__init__.py"):
        (project / path).touch()
    (project / "pond" / "models.py").write_text(MODELS)
    (project / "pond" / "migrations" / "0001_initial.py").write_text(MIGRATION.format(operate="print('filled')"))
    with open(project / "site1" / "settings.py", "a") as file:
        file.write("\nINSTALLED_APPS += ['pond']\n")
    (project / "site1" / "urls.py").write_text(
        "import os\n"
        "from django.http import HttpResponse\n"
        "from django.urls import path\n"
        "from pond.models import Pond\n"
        "urlpatterns = [path('', lambda request: HttpResponse(f'{os.getpid()} {Pond.objects.count()}'))]\n"
    )
    return project


def migrate(run_dir: Path, progress: list[str] | None = None) -> dict[str, Any]:
    (instance,) = running_instances(run_dir / "duck")
    told = progress.append if progress is not None else None
    return call(instance.control, "migrate", deadline_s=3 * DEADLINE_S, on_progress=told)


def test_missing_migrations_are_applied_and_django_is_loaded_again(start: Start, pond: Path, run_dir: Path) -> None:
    duck = start(pond, "--no-reload")
    duck.wait_for("unapplied migration(s)")
    duck.wait_for("is ready after")
    assert duck.get().status_code == 500
    progress: list[str] = []
    result = migrate(run_dir, progress)
    assert result["migrated"] is True and result["took_s"] > 0
    assert progress == ["Applying migrations."]
    duck.wait_for("Running manage.py migrate --noinput.")
    duck.wait_for("manage.py |   Applying pond.0001_initial...filled")
    duck.wait_for("Migrations are applied; loading Django again.")
    answer = duck.get()
    assert answer.status_code == 200 and answer.text.endswith(" 0")
    duck.wait_for("is ready after", times=2)


def test_one_that_fails_says_why_and_what_runs_goes_on(start: Start, pond: Path, run_dir: Path) -> None:
    failing = MIGRATION.format(operate="raise ValueError('too shallow')")
    (pond / "pond" / "migrations" / "0001_initial.py").write_text(failing)
    duck = start(pond, "--no-reload")
    duck.wait_for("is ready after")
    with pytest.raises(ControlError, match=r"(?s)manage\.py migrate --noinput ended with exit code 1.*too shallow"):
        migrate(run_dir)
    duck.wait_for("error: manage.py migrate --noinput ended with exit code 1; nothing was loaded again.")
    assert duck.get().status_code == 500
    assert duck.text.count("is ready after") == 1


def test_there_is_one_at_a_time_and_it_ends_with_duck(start: Start, pond: Path, run_dir: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "gate"
    os.mkfifo(pipe)
    waiting = MIGRATION.format(operate=f"print('waits', flush=True); open({str(pipe)!r}).read()")
    (pond / "pond" / "migrations" / "0001_initial.py").write_text(waiting)
    duck = start(pond, "--no-reload")
    duck.wait_for("is ready after")
    told: list[str] = []

    def first() -> None:
        try:
            migrate(run_dir)
        except ControlError as error:
            told.append(str(error))

    thread = threading.Thread(target=first)
    thread.start()
    duck.wait_for("waits")
    with pytest.raises(ControlError, match="is under way already"):
        migrate(run_dir)
    children = duck.children()
    duck.signal(15)
    assert duck.wait() == 143
    thread.join(DEADLINE_S)
    assert told == ["Duck is about to end."]
    wait_until(lambda: all(not one.is_running() or one.status() == psutil.STATUS_ZOMBIE for one in children))


def test_in_production_it_is_left_to_who_deploys(start: Start, pond: Path, run_dir: Path) -> None:
    user = {"DUCK_USER": "root"} if os.geteuid() == 0 else {}
    duck = start(pond, "--allow-debug", command="serve", **user)
    duck.wait_for("is ready after")
    with pytest.raises(ControlError, match="`duck serve` leaves migrations to whoever deploys"):
        migrate(run_dir)

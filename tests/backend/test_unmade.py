"""Models that have changed without a migration are told of, once the page is served, and as long as it is so."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.backend.pond import MODELS, MakePond

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is looked at in spares, on Linux alone")

MODEL = """
from django.db import models


class Boat(models.Model):
    id = models.BigAutoField(primary_key=True)
    name = models.TextField()
"""
MIGRATION = """
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            "Boat", [("id", models.BigAutoField(primary_key=True, serialize=False)), ("name", models.TextField())]
        ),
    ]
"""
ADDED = """
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("{app}", "0001_initial")]
    operations = [migrations.AddField("boat", "length", models.IntegerField(default=0))]
"""
LENGTH = "    length = models.IntegerField(default=0)\n"


def test_a_changed_model_is_told_of_until_its_migration_is_made(
    make_pond: MakePond, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site-packages" / "harbour"
    for name, text in {
        "__init__.py": "",
        "models.py": MODEL + LENGTH,  # an installed package's is nobody's here to make
        "migrations/__init__.py": "",
        "migrations/0001_initial.py": MIGRATION,
    }.items():
        (installed / name).parent.mkdir(parents=True, exist_ok=True)
        (installed / name).write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(installed.parent))
    files = {
        "pond/models.py": MODELS + MODEL,
        "pond/migrations/__init__.py": "",
        "pond/migrations/0001_initial.py": MIGRATION,
    }
    pond = make_pond("INSTALLED_APPS.append('harbour')\n", files)
    pond.start()
    pond.until(lambda: pond.unmade)
    assert pond.unmade == [[]]
    pond.spare("urls")

    # A view: models are as they were looked at.
    pond.replace(pond.change("pond/views.py", "MARK = 'one'", "MARK = 'two'"))
    pond.until(lambda: len(pond.checked) == 1)
    pond.spare("urls")
    pond.replace(pond.write("pond/models.py", MODELS + MODEL + LENGTH))
    pond.until(lambda: len(pond.unmade) == 2)
    assert pond.unmade[-1] == ["pond: Add field length to boat"]

    # While it is so it is looked again after whatever changes.
    pond.spare("urls")
    pond.replace(pond.change("pond/views.py", "MARK = 'two'", "MARK = 'three'"))
    pond.until(lambda: len(pond.unmade) == 3)
    assert pond.unmade[-1] == pond.unmade[-2]
    pond.spare("urls")
    pond.replace(pond.write("pond/migrations/0002_length.py", ADDED.format(app="pond")))
    pond.until(lambda: len(pond.unmade) == 4)
    assert pond.unmade[-1] == []

    # And a migration that goes, as with another branch.
    pond.spare("urls")
    (pond.project / "pond" / "migrations" / "0002_length.py").unlink()
    pond.replace(str(pond.project / "pond" / "migrations" / "0002_length.py"))
    pond.until(lambda: len(pond.unmade) == 5)
    assert pond.unmade[-1] == ["pond: Add field length to boat"]


def test_what_has_to_be_merged_first_is_nothing(make_pond: MakePond) -> None:
    files = {
        "pond/models.py": MODELS + MODEL + LENGTH,
        "pond/migrations/__init__.py": "",
        "pond/migrations/0001_initial.py": MIGRATION,
        "pond/migrations/0002_one.py": ADDED.format(app="pond"),
        "pond/migrations/0002_other.py": ADDED.format(app="pond"),
    }
    pond = make_pond("", files)
    pond.start()
    pond.until(lambda: pond.unmade)
    assert pond.unmade == [[]]

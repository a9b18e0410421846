"""The application `duck.automation.django` under each Django that it is for: its migrations, and its admin pages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from duck.backend.django.managing import LENT
from tests.automation_project import write_project
from tests.environments import environment

SUITE = Path(__file__).with_name("admin_suite.py")
VERSIONS = [("3.10", "4.2"), ("3.11", "5.2"), ("3.12", "6.0")]

SETTINGS = """
TIME_ZONE = "Europe/Berlin"
USE_TZ = bool(int(os.environ.get("SITE_TZ", "1")))
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
LOGGING_CONFIG = None
"""


def manage(root: Path, python: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """`manage.py` where Duck is not installed, as `duck manage` runs it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DJANGO", "DUCK"))}
    return subprocess.run(
        [python, "-W", "error::DeprecationWarning:duck", "manage.py", *arguments],
        cwd=root,
        env={**kept, "PYTHONPATH": str(LENT), "PYTHONDONTWRITEBYTECODE": "1", **environ},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.timeout(180)  # the first run makes the environment
@pytest.mark.parametrize(("python", "django"), VERSIONS)
class TestEachDjango:
    def test_no_migration_is_missing_whatever_the_project_has_for_its_keys(
        self, tmp_path: Path, python: str, django: str
    ) -> None:
        executable = environment(python, (f"Django=={django}.*",))
        root = write_project(tmp_path, settings='DEFAULT_AUTO_FIELD = os.environ["SITE_KEYS"]\n')
        for field in ("AutoField", "BigAutoField"):
            keys = f"django.db.models.{field}"
            done = manage(
                root, executable, "makemigrations", "--check", "--dry-run", "duck_automations", SITE_KEYS=keys
            )
            assert done.returncode == 0, done.stdout + done.stderr
            # The command runs all checks before, and tells of a warning, too.
            assert done.stderr == "", done.stderr

    def test_the_admin_pages_do_what_they_are_for(self, tmp_path: Path, python: str, django: str) -> None:
        executable = environment(python, (f"Django=={django}.*",))
        root = write_project(tmp_path, settings=SETTINGS, has_admin=True)
        shutil.copy(SUITE, root / "site1" / "test_admin.py")
        done = manage(root, executable, "test", "site1", SITE_TZ="0" if django == "5.2" else "1")
        assert done.returncode == 0, done.stdout + done.stderr
        ran = re.search(r"Ran (\d+) tests", done.stderr)
        assert ran is not None and int(ran[1]) == SUITE.read_text().count("    def test_"), done.stderr

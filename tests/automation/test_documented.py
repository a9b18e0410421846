"""The examples of "Test automations" are tests, under pytest and under Django's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "automation-tests.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_passes_as_it_stands(number: int, tmp_path: Path) -> None:
    path = tmp_path / f"test_example_{number}.py"
    path.write_text(EXAMPLES[number])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert f"{EXAMPLES[number].count('def test_')} passed" in done.stdout


DJANGO = """
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()

import sys
from django.contrib.auth.models import User
from django.test import TestCase
from django.test.runner import DiscoverRunner
from duck.automation import automation

@automation()
def counts(ctx):
    return User.objects.count()

@automation()
async def counts_on_a_loop(ctx):
    return await User.objects.acount()

class Case(TestCase):
    def test_it_sees_the_rows_of_the_test(self):
        User.objects.create(username="ada")
        self.assertEqual(counts.run_for_test().result, 1)
        self.assertEqual(counts_on_a_loop.run_for_test().result, 1)

if __name__ == "__main__":
    sys.exit(DiscoverRunner(verbosity=0).run_tests(["case"]))
"""


def test_under_djangos_test_case_the_transaction_of_the_test_is_seen(tmp_path: Path) -> None:
    (tmp_path / "case.py").write_text(DJANGO)
    code = "import case, sys; sys.exit(case.DiscoverRunner(verbosity=1).run_tests(['case']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "Ran 1 test" in done.stderr, done.stderr

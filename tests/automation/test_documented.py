"""The examples of "Test automations" are tests, under pytest and under Django's; what runs are told is written down."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from duck.automation import Automation, Context, at, every
from duck.services.automations.executors import shell

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to"
PAGE = HOW_TO / "automation-tests.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_passes_as_it_stands(number: int, tmp_path: Path) -> None:
    path = tmp_path / f"test_example_{number}.py"
    path.write_text(EXAMPLES[number])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert f"{EXAMPLES[number].count('def test_')} passed" in done.stdout


def test_all_that_a_run_is_told_stands_on_the_page() -> None:
    page = (HOW_TO / "automations.md").read_text()
    environ = set(re.findall(r'"(DUCK_[A-Z_]+)"', inspect.getsource(shell)))
    assert len(environ) == 5
    for name in (*(f"ctx.{each}" for each in Context.__slots__), *environ):
        assert f"`{name}`" in page, name


def test_objects_are_what_their_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    page = (HOW_TO / "automation-objects.md").read_text()
    made: dict[str, Any] = {}
    exec(compile(re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[0], "page", "exec"), made)
    assert made["report"].report("jobs:report", "jobs.py") == {
        "name": "Daily-report",
        "table": {"every": 86400, "call": "jobs:report", "run_in": "thread", "description": "Sums up the day."},
        "origin": "jobs.py",
    }
    table = made["hello"].report("jobs:hello", "jobs.py")["table"]
    assert (table["on"], table["run_in"]) == ("start", "process")
    made["hello"].run_for_test()
    assert capsys.readouterr().out == "hello\n"
    for name in inspect.signature(Automation).parameters:
        assert f"`{name}`" in page, name
    three = Automation(print, schedules=3, interval=60).trigger().table["any_of"]
    first, second = (datetime.fromisoformat(each) for each in three[1]["at"])
    assert three[0] == {"on": "start"} and second - first == timedelta(seconds=60)
    moment = "2026-05-01T06:00:00"
    assert Automation(print, start_time=moment).trigger() == at(moment)
    assert Automation(print, start_time=moment, schedules=-1, interval=60).trigger() == every(60, start=moment)
    assert Automation(print, start_time=moment, schedules=2, interval=60).trigger() == at(moment, "2026-05-01T06:01:00")


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

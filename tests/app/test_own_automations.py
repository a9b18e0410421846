"""What a Duck project itself declares: `automations.py` beside its settings, and dotted names in these."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from duck.app.automation_project import discover
from duck.settings.load import load

if TYPE_CHECKING:
    from duck.app.automation_declarations import Found

ROOT = Path(__file__).resolve().parents[2]
MAIN = "from duck.app import App\napp = App()\n"
AUTOMATIONS = '''
from duck.automation import Automation, automation, every

@automation(every("1h"))
def hourly():
    """Each hour."""

class Report(Automation):
    def execute(self):
        print("reported")

_report = Report(name="report", schedules=-1, interval=3600)
'''


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Duck project without Django."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    directory = tmp_path / "site"
    directory.mkdir()
    (directory / "main.py").write_text(MAIN)
    (directory / "settings.py").write_text("")
    (directory / "automations.py").write_text(AUTOMATIONS)
    yield directory
    sys.modules.pop("settings", None)


def found_in(site: Path, settings: str) -> Found:
    (site / "settings.py").write_text(settings)
    return discover(load({}, {}, site))


def test_its_own_module_and_objects_that_settings_name_are_found(site: Path) -> None:
    found = found_in(site, 'AUTOMATIONS = {"automations._report": {"trigger": "duck.automation.NoTrigger"}}\n')
    assert found.problems == ()
    told = {each.name: each for each in found.declarations}
    assert set(told) == {"hourly", "report"}
    assert (told["report"].target, told["report"].when) == ("automations:_report", "every 1h")
    assert told["report"].origin == f"{site / 'settings.py'}:1: automations._report"


def test_a_class_may_be_named_and_a_wrong_name_is_told(site: Path) -> None:
    settings = """AUTOMATIONS = {
    "automations.Report": {"trigger": "duck.automation.NoTrigger"},
    "automations.Nobody": {"trigger": "duck.automation.NoTrigger"},
    "automations.hourly": {"trigger": "duck.automation.NoTrigger"},
    "plain": {"call": "automations.hourly", "every": "1d"},
}
"""
    found = found_in(site, settings)
    assert {each.name for each in found.declarations} == {"Report", "hourly", "plain"}
    place = site / "settings.py"
    assert found.problems == (
        f"{place}:3: automations.Nobody cannot be imported: AttributeError: module 'automations' has no attribute"
        " 'Nobody'.",
        f"{place}:4: automations.hourly cannot be imported: TypeError: automations.hourly is no Automation.",
    )


def test_times_of_an_object_that_are_none_are_told_with_its_file_and_the_others_are_found(site: Path) -> None:
    with open(site / "automations.py", "a") as file:
        file.write('wrong = Report(name="wrong", schedules=3, interval="1h")\nlast = Report(name="last")\n')
    found = found_in(site, "")
    assert {each.name for each in found.declarations} == {"hourly", "last"}
    (problem,) = found.problems
    assert problem == (
        f"{site / 'automations.py'}: the automation 'wrong' cannot be used: ValueError: interval is '1h': give seconds"
        " as a number where schedules is not -1."
    )


def test_without_django_what_needs_it_is_told(site: Path) -> None:
    found = found_in(
        site, 'AUTOMATIONS = {"a": {"command": "x"}, "b": {"task": "automations.hourly"}, "c": {"call": "nowhere.x"}}\n'
    )
    first, second, third = found.problems
    assert "the automation 'a' cannot be run: `command` needs a Django project, and there is none here" in first
    assert "the automation 'b' cannot be run: `task` needs a Django project, and there is none here" in second
    assert "the automation 'c' cannot be run: there is no module 'nowhere'" in third


def test_a_command_is_one_of_a_project_also_where_no_process_would_be_started(site: Path) -> None:
    (site / "automations.py").unlink()
    (problem,) = found_in(site, 'AUTOMATIONS = {"a": {"command": "x"}}\n').problems
    assert problem.endswith(
        "the automation 'a' is a command, which needs a Django project, and there is none here; go to it, or say"
        " --django."
    )


def test_it_is_run_in_ducks_own_python_where_there_is_no_django(site: Path) -> None:
    (site / "settings.py").write_text(
        'AUTOMATIONS = {"automations._report": {"trigger": "duck.automation.NoTrigger"}}\n'
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "duck", "automations", "run", "report", "--wait"]
    done = subprocess.run(command, cwd=site, env=environ, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "reported\n"), done.stderr


def test_where_nothing_needs_a_process_none_is_started(site: Path) -> None:
    (site / "automations.py").unlink()
    found = found_in(site, 'AUTOMATIONS = {"a": {"shell": "true"}}\n')
    assert [each.name for each in found.declarations] == ["a"]


def test_what_starts_itself_without_end_is_a_warning(site: Path) -> None:
    (site / "automations.py").unlink()
    found = found_in(
        site,
        """AUTOMATIONS = {
    "a": {"shell": "true", "on": "automation", "name": "c"},
    "b": {"shell": "true", "on": "automation", "name": "a"},
    "c": {"shell": "true", "any_of": [{"on": "automation", "name": "b"}, {"every": "1d"}]},
    "own": {"shell": "true", "on": "automation", "name": "own", "outcome": "ended"},
    "last": {"shell": "true", "on": "automation", "name": "a"},
}
""",
    )
    place = site / "settings.py"
    assert found.problems == ()
    assert found.warnings == (
        f"{place}:2: a -> b -> c -> a start one another without end, once one of them has begun.",
        f"{place}:5: own -> own start one another without end, once one of them has begun.",
    )


def test_a_module_that_cannot_be_imported_shows_where_once_however_many_objects_are_named_in_it(site: Path) -> None:
    (site / "broken.py").write_text("import sys\n\n\nraise RuntimeError('quack')\n")
    names = [f'    "broken.job{number}": {{"trigger": "duck.automation.NoTrigger"}},\n' for number in range(10)]
    found = found_in(site, f"AUTOMATIONS = {{\n{''.join(names)}}}\n")
    assert len([each for each in found.problems if "quack" in each]) == 10
    assert len(found.tracebacks) == 1 and "line 4" in found.tracebacks[0]

"""`duck manage`, `duck shell`, `duck test`: Django's commands where, and as, `duck runserver` runs the project."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.app.conftest import DEADLINE_S

Ask = Callable[..., subprocess.CompletedProcess[str]]

TOLD = """
import json, os, sys
from django.conf import settings
from django.core.management.base import BaseCommand

class Command(BaseCommand):
    help = "Tells of itself."

    def add_arguments(self, parser):
        parser.add_argument("words", nargs="*")
        parser.add_argument("--python", dest="python")
        parser.add_argument("--exit", type=int, default=0)

    def handle(self, *args, **options):
        said = {"pid": os.getpid(), "cwd": os.getcwd(), "python": sys.executable, "argv": sys.argv,
                "settings": os.environ["DJANGO_SETTINGS_MODULE"], "marked": getattr(settings, "MARKED", False),
                "duck": sorted(name for name in os.environ if name.startswith("_DUCK_")),
                "kept": os.environ.get("KEPT"), "terminal": sys.stdin.isatty(), "option": options["python"],
                "main": sys.modules["__main__"].__file__}
        print(json.dumps(said), flush=True)
        if "wait" in options["words"]:
            import signal
            signal.pause()
        sys.exit(options["exit"])
"""

TESTS = """
from django.test import SimpleTestCase

class Reeds(SimpleTestCase):
    def test_it_grows(self):
        self.assertTrue(True)

    def test_it_sinks(self):
        self.fail("the reeds sink")
"""


@pytest.fixture(scope="module")
def made(made_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a command of its own, other settings and tests."""
    root = Path(shutil.copytree(made_project, tmp_path_factory.mktemp("managed") / "project"))
    commands = root / "site1" / "management" / "commands"
    commands.mkdir(parents=True)
    for directory in (commands.parent, commands):
        (directory / "__init__.py").touch()
    (commands / "told.py").write_text(TOLD)
    (root / "site1" / "tests.py").write_text(TESTS)
    with (root / "site1" / "settings.py").open("a") as file:
        file.write('\nINSTALLED_APPS = [*INSTALLED_APPS, "site1"]\n')
    (root / "site1" / "other.py").write_text("from site1.settings import *\nMARKED = True\n")
    return root


def told(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    assert done.stdout, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


class TestManage:
    def test_a_command_runs_in_the_projects_directory_interpreter_and_environment(self, ask: Ask, made: Path) -> None:
        done = ask(made.parent, "manage", "told", "one", "--exit", "7", KEPT="kept", _DUCK_WORKER="{}")
        said = told(done)
        assert done.returncode == 7
        assert said["cwd"] == str(made)
        assert said["python"] == sys.executable
        assert said["argv"] == ["manage.py", "told", "one", "--exit", "7"]
        assert said["settings"] == "site1.settings"
        assert said["duck"] == []
        assert said["kept"] == "kept"
        assert said["main"] == str(made / "manage.py")

    def test_ducks_options_come_before_the_command_and_the_rest_is_its_own(self, ask: Ask, made: Path) -> None:
        options = ("--django", str(made), "--python", sys.executable, "--django-settings", "site1.other")
        said = told(ask(made.parent.parent, "manage", *options, "told", "--python", "mine", "--verbosity", "2"))
        assert said["cwd"] == str(made)
        assert said["marked"] is True
        assert said["option"] == "mine"
        assert said["argv"] == [
            "manage.py",
            "told",
            "--settings=site1.other",
            "--python",
            "mine",
            "--verbosity",
            "2",
        ]

    def test_the_settings_are_those_of_runserver_whatever_manage_py_says(
        self, ask: Ask, made: Path, tmp_path: Path
    ) -> None:
        root = Path(shutil.copytree(made, tmp_path / "set"))
        manage = (root / "manage.py").read_text()
        manage = manage.replace("os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site1.settings')", "SET")
        manage = manage.replace('os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site1.settings")', "SET")
        assert "SET" in manage
        (root / "manage.py").write_text(
            manage.replace("SET", "os.environ['DJANGO_SETTINGS_MODULE'] = 'site1.settings'")
        )
        assert told(ask(root, "manage", "--django-settings", "site1.other", "told"))["marked"] is True
        named = ask(root, "manage", "--django-settings", "site1.other", "told", "--settings", "site1.settings")
        assert told(named)["marked"] is False

    def test_duck_toml_counts_as_it_does_for_runserver(self, ask: Ask, made: Path, tmp_path: Path) -> None:
        (tmp_path / "duck.toml").write_text(f'django_project = "{made}"\ndjango_settings_module = "site1.other"\n')
        said = told(ask(tmp_path, "manage", "told"))
        assert (said["cwd"], said["marked"]) == (str(made), True)

    def test_a_duck_project_manages_the_django_project_behind_it(self, ask: Ask, made: Path, tmp_path: Path) -> None:
        (tmp_path / "main.py").write_text("from duck.app import App\napp = App()\n")
        (tmp_path / "settings.py").write_text(f'DJANGO_PROJECT = "{made}"\nDJANGO_SETTINGS_MODULE = "site1.other"\n')
        said = told(ask(tmp_path, "manage", "told"))
        assert (said["cwd"], said["marked"]) == (str(made), True)
        (tmp_path / "settings.py").write_text("USE_DJANGO = False\n")
        done = ask(tmp_path, "manage", "told")
        assert done.returncode == 1
        assert done.stderr.startswith("duck: USE_DJANGO is off (")
        assert done.stderr.count("\n") == 1

    def test_help_of_a_command_is_the_commands_own(self, ask: Ask, made: Path) -> None:
        assert "Tells of itself." in ask(made, "manage", "told", "--help").stdout
        assert "Run a management command" in ask(made, "manage", "--help").stdout
        listed = ask(made, "manage")
        assert "told" in listed.stdout
        assert "[django]" in listed.stdout

    def test_without_manage_py_it_is_python_m_django(self, ask: Ask, made: Path, tmp_path: Path) -> None:
        shutil.copytree(made / "site1", tmp_path / "site1")
        said = told(ask(tmp_path, "manage", "--django-settings", "site1.other", "told"))
        assert said["cwd"] == str(tmp_path)
        assert said["marked"] is True
        assert str(said["main"]).endswith(os.path.join("django", "__main__.py"))
        assert told(ask(tmp_path, "manage", "told", DJANGO_SETTINGS_MODULE="site1.settings"))["marked"] is False

    def test_what_is_missing_is_said_in_one_sentence(self, ask: Ask, made: Path, tmp_path: Path) -> None:
        for arguments, sentence in (
            (["manage", "check"], "No manage.py is in"),
            (["manage", "--django", "nowhere", "check"], "There is no Django project at"),
            (["manage", "--django", str(made), "--python", "/nowhere", "check"], "--python '/nowhere' cannot run"),
        ):
            done = ask(tmp_path, *arguments)
            assert done.returncode == 1
            assert done.stderr.startswith(f"duck: {sentence}")
            assert done.stderr.count("\n") == 1

    def test_the_command_has_the_process_so_signals_and_exit_codes_are_its_own(
        self, environ: dict[str, str], made: Path
    ) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "duck", "manage", "told", "wait"],
            cwd=made,
            env=environ,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        try:
            assert json.loads(process.stdout.readline())["pid"] == process.pid
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE_S) == -signal.SIGTERM
        finally:
            process.kill()
            process.wait(DEADLINE_S)
            process.stdout.close()

    def test_the_command_has_the_terminal(self, environ: dict[str, str], made: Path) -> None:
        ours, theirs = pty.openpty()
        try:
            done = subprocess.run(
                [sys.executable, "-m", "duck", "manage", "told"],
                cwd=made,
                env=environ,
                stdin=theirs,
                stdout=subprocess.PIPE,
                text=True,
                timeout=DEADLINE_S,
                check=True,
            )
        finally:
            os.close(ours)
            os.close(theirs)
        assert told(done)["terminal"] is True

    def test_names_are_completed_by_the_project(self, environ: dict[str, str], made: Path) -> None:
        def complete(line: str) -> list[str]:
            words = line.split(" ")
            asked = {"_DUCK_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
            done = subprocess.run(
                [sys.executable, "-m", "duck"],
                cwd=made,
                env=environ | asked,
                capture_output=True,
                text=True,
                timeout=DEADLINE_S,
                check=True,
            )
            return [entry.partition(",")[2] for entry in done.stdout.splitlines() if entry]

        assert complete("duck manage tol") == ["told"]
        assert "site1" in complete("duck test sit")
        assert complete("duck manage --django nowhere tol") == []


class TestShell:
    def test_it_is_djangos_shell_with_its_options(self, ask: Ask, made: Path) -> None:
        done = ask(made, "shell", "-c", "from django.conf import settings; print('>', settings.ROOT_URLCONF)")
        assert "> site1.urls" in done.stdout.splitlines()
        other = ask(
            made,
            "shell",
            "--django-settings",
            "site1.other",
            "-c",
            "from django.conf import settings; print(settings.MARKED)",
        )
        assert "True" in other.stdout.splitlines()


class TestTest:
    def test_it_runs_the_projects_tests_with_their_options_and_exit_code(self, ask: Ask, made: Path) -> None:
        done = ask(made, "test", "site1", "-k", "test_it_grows")
        assert done.returncode == 0, done.stderr
        assert "Ran 1 test" in done.stderr
        done = ask(made, "test", "-v", "2", "site1")
        assert done.returncode == 1
        assert "the reeds sink" in done.stderr

"""manage_duck.py: what it decides without an environment, and that it starts on every Python."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from tests import steps, suite

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "manage_duck.py"


@pytest.fixture
def manage() -> ModuleType:
    """The program, loaded anew: tests change its paths."""
    specification = importlib.util.spec_from_file_location("manage_duck_tested", PROGRAM)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


SKIPPED = "@pytest.mark.skip\ndef test_left(): pass\n"


class SmallSuite:
    """A directory of tests in the place of the checkout's own, and what `manage_duck.py test` says of it."""

    def __init__(self, manage: ModuleType, directory: Path, capture: pytest.CaptureFixture[str]) -> None:
        self._manage = manage
        self._directory = directory
        self._capture = capture

    def run(self, name: str, *text: str, arguments: Sequence[str] = ()) -> tuple[int, str]:
        """The exit code, and the output."""
        (self._directory / name).write_text("".join(text))
        code = self._manage.test(list(arguments))
        return code, self._capture.readouterr().out


@pytest.fixture
def small_suite(
    manage: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> SmallSuite:
    for variable in [each for each in os.environ if each.startswith("PYTEST_")]:
        monkeypatch.delenv(variable)
    # Of other plugins, some take a second to be imported.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "xdist.plugin")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv(suite.FULL, "")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.setattr(manage, "ROOT", tmp_path)
    monkeypatch.setattr(manage, "install_servers", lambda: None)
    monkeypatch.setattr(manage, "lint_steps", lambda: [])
    monkeypatch.setattr(manage, "docs_command", lambda: [sys.executable, "-c", ""])
    monkeypatch.setattr(suite, "collect_command", lambda: [sys.executable, "-c", ""])
    monkeypatch.setattr(suite, "spread_out", lambda: ["-n", "0"])
    return SmallSuite(manage, tmp_path, capfd)


def fails_once(name: str, why: str) -> str:
    """A test `test_NAME` that fails the first time."""
    return (
        f"def test_{name}():\n"
        "    import pathlib\n"
        f"    mark = pathlib.Path(__file__).with_name({name!r})\n"
        "    first = not mark.exists()\n"
        "    mark.touch()\n"
        "    print('captured by it')\n"
        f"    assert not first, {why!r}\n"
    )


def an_older_python() -> str | None:
    """An interpreter below 3.11 of this machine."""
    places = [*os.environ.get("PATH", "").split(os.pathsep), *map(str, Path.home().glob(".pyenv/versions/*/bin"))]
    for place in places:
        for minor in range(10, 5, -1):
            found = shutil.which(f"python3.{minor}", path=place)
            if found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:
                return found
    return None


def test_an_old_python_is_told_in_one_sentence() -> None:
    python = an_older_python()
    if python is None:
        pytest.skip("no Python below 3.11 on this machine")
    result = subprocess.run([python, str(PROGRAM), "test"], capture_output=True, text=True)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "needs 3.11 or newer" in result.stderr


def test_help_needs_no_environment(tmp_path: Path) -> None:
    copy = shutil.copy(PROGRAM, tmp_path)
    result = subprocess.run([sys.executable, "-I", copy, "--help"], capture_output=True, text=True, check=True)
    assert "runserver" in result.stdout
    assert list(tmp_path.iterdir()) == [tmp_path / "manage_duck.py"]


@pytest.mark.parametrize(
    ("version", "bounds", "fits"),
    [
        ("8.1", ">=8.1,<9", True),
        ("8.1.0", ">=8.1,<9", True),
        ("8.0.9", ">=8.1,<9", False),
        ("9.0", ">=8.1,<9", False),
        ("8.10", ">=8.9,<9", True),
        ("0.23.0", ">=0.21,<0.24", True),
        ("0.24.0rc1", ">=0.21,<0.24", False),
        ("2025.12.19", ">=2024.8", True),
        ("1.0", "", True),
    ],
)
def test_a_version_is_held_against_its_bounds(manage: ModuleType, version: str, bounds: str, fits: bool) -> None:
    assert manage.satisfies(version, bounds) is fits


def test_a_missing_distribution_is_named(manage: ModuleType) -> None:
    assert "no-such-distribution" in manage.unmet(["no-such-distribution>=1,<2"])
    assert "pytest" in manage.unmet(["pytest>=999,<1000"])
    assert "pytest" not in manage.unmet(["pytest>=1,<1000"])
    assert "pytest" in manage.unmet(["pytest[extra]>=999,<1000"])


def test_every_requirement_has_the_form_that_is_understood(manage: ModuleType) -> None:
    for requirement in manage.requirements(("test", "docs", "bench")):
        form = r"[A-Za-z0-9._-]+(\[[a-z,]+\])?(>=[\d.]+)?(,<[\d.]+)?(; sys_platform != 'win32')?"
        assert re.fullmatch(form, requirement), requirement


def test_an_environment_that_is_not_ours_is_not_removed(
    manage: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = tmp_path / ".venv"
    environment.mkdir()
    kept = environment / "precious"
    kept.touch()
    monkeypatch.setattr(manage, "ENVIRONMENT", environment)
    monkeypatch.setattr(manage, "MAKING", environment / ".duck-making")
    monkeypatch.setattr(manage, "STAMP", environment / ".duck-installed.json")
    with pytest.raises(SystemExit, match="remove it"):
        manage.make_environment(environment / "bin" / "python")
    assert kept.exists()


def test_a_half_made_environment_is_made_anew(
    manage: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = tmp_path / ".venv"
    environment.mkdir()
    (environment / ".duck-making").touch()
    (environment / "rubbish").touch()
    monkeypatch.setattr(manage, "ENVIRONMENT", environment)
    monkeypatch.setattr(manage, "MAKING", environment / ".duck-making")
    monkeypatch.setattr(manage, "STAMP", environment / ".duck-installed.json")
    made = []
    monkeypatch.setattr(manage.venv, "create", lambda path, **options: made.append(path))
    manage.make_environment(environment / "bin" / "python")
    assert made == [environment]
    assert [path.name for path in environment.iterdir()] == [".duck-making"]


def test_an_environment_is_stale_when_the_project_file_has_changed(
    manage: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamp = tmp_path / "stamp"
    monkeypatch.setattr(manage, "STAMP", stamp)
    assert manage.is_stale(())
    stamp.write_text(manage.json.dumps({"pyproject": manage.pyproject_hash(), "groups": ["test"]}))
    assert not manage.is_stale(("test",))
    assert manage.is_stale(("bench",))
    monkeypatch.setattr(manage, "pyproject_hash", lambda: "another")
    assert manage.is_stale(("test",))


@pytest.mark.parametrize(
    ("groups", "quickly", "programs"),
    [
        ((), True, ["pip", "compileall"]),
        (("test",), True, ["uv", "compileall"]),
        (("test",), False, ["uv", "pip", "compileall"]),
    ],
    ids=["to serve a project", "tests", "tests without uv"],
)
def test_what_tests_need_is_installed_quickly_where_it_can_be(
    manage: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    groups: tuple[str, ...],
    quickly: bool,
    programs: list[str],
) -> None:
    started: list[str] = []
    monkeypatch.setattr(manage, "ENVIRONMENT", tmp_path)
    monkeypatch.setattr(manage, "MAKING", tmp_path / ".duck-making")
    monkeypatch.setattr(manage, "STAMP", tmp_path / ".duck-installed.json")
    monkeypatch.setattr(manage, "installs_quickly", lambda python, arguments: started.append("uv") or quickly)
    monkeypatch.setattr(manage.subprocess, "call", lambda command, **options: started.append(command[2]) or 0)
    manage.install(tmp_path / "bin" / "python", groups, manage.requirements(groups))
    assert started == programs
    assert not manage.is_stale(groups) and not (tmp_path / ".duck-making").exists()


def test_two_at_once_wait_for_each_other(
    manage: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = tmp_path / "lock"
    order: list[str] = []
    said = threading.Event()
    manage.say = lambda sentence: (order.append("waits"), said.set())

    def second() -> None:
        with manage.locked(lock, "preparing"):
            order.append("second")

    with manage.locked(lock, "preparing"):
        thread = threading.Thread(target=second)
        thread.start()
        assert said.wait(10)
        order.append("first is done")
    thread.join(10)
    assert order == ["waits", "first is done", "second"]


def test_a_test_that_fails_once_is_named_and_is_no_failure_of_the_whole(
    small_suite: SmallSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "spread_out", lambda: ["-n", "2", "--dist", "loadfile"])
    code, output = small_suite.run(
        "test_chance.py", fails_once("chance", "stale state") + "def test_good(): pass\n", "import pytest\n", SKIPPED
    )
    assert code == 0, output
    name = "test_chance.py::test_chance"
    assert output.splitlines()[-1] == f"1 passed, 0 failed, 1 skipped, 1 passed only on a second run: {name}"
    first, _, rest = output.partition(f"{name} failed at first, and passed when it was run once more, alone.")
    assert "stale state" in first.partition("== FAILURES ==")[0], "it was not told as it happened"
    assert "stale state" in rest and "test_chance.py:" in rest
    assert "captured by it" in rest


def test_a_test_that_fails_twice_is_a_failure(small_suite: SmallSuite) -> None:
    text = fails_once("chance", "stale state") + "def test_bad(): assert not 'always wrong'\n"
    code, output = small_suite.run("test_bad.py", text)
    assert code == 1
    last = output.splitlines()[-2:]
    assert last[0] == "manage_duck: failed: pytest"
    assert last[1] == "0 passed, 1 failed, 1 passed only on a second run: test_bad.py::test_chance"


def test_more_than_a_few_that_fail_are_no_chance(small_suite: SmallSuite) -> None:
    code, output = small_suite.run("test_many.py", "".join(fails_once(f"n{number}", "once") for number in range(6)))
    assert (code, output.splitlines()[-1]) == (1, "0 passed, 6 failed")
    assert "run once more" not in output


def test_what_is_named_to_the_command_is_run_once(small_suite: SmallSuite) -> None:
    code, output = small_suite.run("test_chance.py", fails_once("chance", "stale state"), arguments=["test_chance.py"])
    assert (code, output.splitlines()[-1]) == (1, "0 passed, 1 failed")


@pytest.mark.parametrize(
    "text", ["import no_such_module\n", "import os\nos._exit(3)\n"], ids=["not collected", "no report"]
)
def test_a_run_that_came_to_nothing_is_a_failure(small_suite: SmallSuite, text: str) -> None:
    code, output = small_suite.run("test_broken.py", text, arguments=["test_broken.py"])
    assert (code, output.splitlines()[-1]) == (1, "0 passed, 1 failed")


def test_what_a_test_left_out_is_told_before_the_totals(small_suite: SmallSuite) -> None:
    text = (
        "import os\n"
        "def test_part(record_property):\n"
        "    if not os.environ['DUCK_TEST_FULL']:\n"
        "        record_property('left out', 'half of it; say --full')\n"
    )
    code, output = small_suite.run("test_part.py", text)
    assert code == 0
    assert output.splitlines()[-2:] == ["manage_duck: half of it; say --full", "1 passed, 0 failed"]
    code, output = small_suite.run("test_part.py", text, arguments=["--full"])
    assert "say --full" not in output
    assert (code, output.splitlines()[-1]) == (0, "1 passed, 0 failed")


def test_missing_servers_are_installed_by_root_and_not_started(
    manage: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "policy-rc.d"
    calls: list[tuple[str, bool]] = []
    codes = iter((100, 0, 0))  # no list of packages yet; the list is fetched; installed

    def call(command: list[str], **options: object) -> int:
        calls.append((command[1], policy.exists()))
        return next(codes)

    monkeypatch.setattr(manage, "POLICY", policy)
    monkeypatch.setattr(manage.shutil, "which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None)
    monkeypatch.setattr(manage.subprocess, "call", call)
    monkeypatch.setattr(manage.os, "geteuid", lambda: 1000)
    manage.install_servers()
    assert calls == []
    assert "redis-server are not installed: what needs them is skipped" in capsys.readouterr().out
    monkeypatch.setattr(manage.os, "geteuid", lambda: 0)
    manage.install_servers()
    assert calls == [("install", True), ("update", True), ("install", True)]
    assert not policy.exists()


def test_servers_beside_the_path_are_found(manage: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manage.shutil, "which", lambda name: None)
    monkeypatch.setattr(manage, "BESIDE_PATH", tmp_path)
    assert "postgresql" in manage.missing_servers()
    program = tmp_path / "15" / "bin" / "postgres"
    program.parent.mkdir(parents=True)
    program.touch()
    assert "postgresql" not in manage.missing_servers() and "redis-server" in manage.missing_servers()


def test_a_failed_step_is_named_and_the_others_run(manage: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    python = sys.executable
    both = [("bad", [python, "-c", "raise SystemExit(3)"]), ("good", [python, "-c", ""])]
    assert steps.run_steps(ROOT, both, manage.say) == ["bad"]
    output = capsys.readouterr().out
    assert "bad: failed with exit code 3 in" in output
    assert "good: passed in" in output


def test_steps_beside_each_other_are_each_shown_in_one_piece(
    manage: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    python = sys.executable
    bad = "print('first'); print('second'); raise SystemExit(3)"
    lanes = [[("bad", [python, "-c", bad]), ("next", [python, "-c", ""])], [("good", [python, "-c", "print('quiet')"])]]
    assert steps.run_lanes(ROOT, lanes, manage.say) == ["bad"]
    output = capsys.readouterr().out
    assert re.search(r"bad: failed with exit code 3 in [\d.]+ s\nfirst\nsecond\n", output)
    assert "next: passed in" in output and "good: passed in" in output
    assert "quiet" not in output


@pytest.mark.parametrize(
    ("files", "arguments", "found"),
    [
        ([], [], False),
        (["manage.py"], [], True),
        (["site/manage.py"], [], True),
        (["main.py"], [], True),
        (["duck.toml"], [], True),
        (["README.md"], [], False),
        ([], ["--django", "elsewhere"], True),
        ([], ["--django=elsewhere"], True),
        ([], ["--port", "8001"], False),
    ],
)
def test_a_project_here_is_served_instead_of_the_demonstration(
    manage: ModuleType, tmp_path: Path, files: list[str], arguments: list[str], found: bool
) -> None:
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert manage.has_project(tmp_path, arguments) is found


def test_the_checkout_itself_is_no_project(manage: ModuleType) -> None:
    assert not manage.has_project(ROOT, [])


def test_continuous_integration_runs_the_same_command() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-1] == "exec python3 manage_duck.py test </dev/null"


def test_the_demonstration_is_made_once_and_an_unfinished_one_anew(
    manage: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = tmp_path / ".demo" / "demo"
    monkeypatch.setattr(manage, "DEMO", demo)
    assert manage.make_demo() == demo
    assert (demo / "main.py").exists()
    assert list(demo.rglob("*.sqlite3")), "its database was not made"
    (demo / "mine").touch()
    manage.make_demo()
    assert (demo / "mine").exists()
    assert capsys.readouterr().out.count("making a project") == 1
    (demo.parent / "made-from").unlink()
    manage.make_demo()
    assert not (demo / "mine").exists()
    (demo.parent / "made-from").write_text("another template")
    manage.make_demo()
    assert "project_template has changed" in capsys.readouterr().out

"""Finding the project and its interpreter: real directories, real virtual environments."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from duck.backend.django.discover import child_environment, find_interpreter, find_project, probe
from duck.exceptions import ProjectError
from tests.environments import environment, find_python

BARE = {"PATH": os.defpath}


def project_in(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "manage.py").write_text("")
    return directory


def make_environment(directory: Path, *, django: str | None = "5.2.1") -> Path:
    """A virtual environment with a Django that only tells its version, or none."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory)], check=True)
    if django is not None:
        (site,) = directory.glob("lib/python*/site-packages")
        (site / "django").mkdir()
        (site / "django" / "__init__.py").write_text(f"def get_version():\n    return {django!r}\n")
    return directory / "bin" / "python"


@pytest.fixture(scope="module")
def django_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("with-django") / "venv"
    make_environment(directory)
    return directory


@pytest.fixture(scope="module")
def bare_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bare") / "venv"
    make_environment(directory, django=None)
    return directory


def test_the_project_is_where_manage_py_is(tmp_path: Path) -> None:
    project_in(tmp_path)
    project_in(tmp_path / "below")
    project = find_project(tmp_path)
    assert (project.root, project.manage) == (tmp_path, tmp_path / "manage.py")


def test_one_level_below_is_looked_at(tmp_path: Path) -> None:
    project_in(tmp_path / "site")
    project_in(tmp_path / ".hidden")
    project_in(tmp_path / "venv")
    assert find_project(tmp_path).root == tmp_path / "site"


def test_one_that_lies_above_is_named(tmp_path: Path) -> None:
    project_in(tmp_path)
    (tmp_path / "app" / "views").mkdir(parents=True)
    with pytest.raises(ProjectError, match=rf"one level below it; one is in {tmp_path}: go to the project's directory"):
        find_project(tmp_path / "app" / "views")


def test_two_levels_below_are_not(tmp_path: Path) -> None:
    project_in(tmp_path / "a" / "b")
    with pytest.raises(ProjectError, match=r"No manage\.py is in"):
        find_project(tmp_path)


def test_several_projects_are_listed_and_refused(tmp_path: Path) -> None:
    project_in(tmp_path / "one")
    project_in(tmp_path / "two")
    with pytest.raises(ProjectError, match="one, two; say which with --django"):
        find_project(tmp_path)


@pytest.mark.parametrize("named", ["far/away", "far/away/manage.py"])
def test_a_project_can_be_named(tmp_path: Path, named: str) -> None:
    project_in(tmp_path / "far" / "away")
    assert find_project(tmp_path, named).root == tmp_path / "far" / "away"
    assert find_project(Path("/"), tmp_path / named).root == tmp_path / "far" / "away"


def test_a_named_project_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"no Django project at .*nowhere: it does not exist;"):
        find_project(tmp_path, "nowhere")


def test_python_named_on_the_command_line_wins(tmp_path: Path, django_environment: Path) -> None:
    project = find_project(project_in(tmp_path))
    python = str(django_environment / "bin" / "python")
    for named in (python, str(django_environment)):
        found = find_interpreter(project, named, {**BARE, "VIRTUAL_ENV": "/elsewhere"})
        assert (found.path, found.origin) == (python, "--python")
        assert found.django_version == "5.2.1"
        assert found.python_version == ".".join(map(str, sys.version_info[:3]))


def test_a_named_python_without_django_is_refused(tmp_path: Path, bare_environment: Path) -> None:
    project = find_project(project_in(tmp_path))
    with pytest.raises(ProjectError, match=r"--python .* cannot run the project: Django is not installed"):
        find_interpreter(project, str(bare_environment / "bin" / "python"), BARE)


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "CONDA_PREFIX"])
def test_an_active_environment_is_used(tmp_path: Path, django_environment: Path, variable: str) -> None:
    project = find_project(project_in(tmp_path))
    found = find_interpreter(project, None, {**BARE, variable: str(django_environment)})
    assert (found.path, found.origin) == (str(django_environment / "bin" / "python"), variable)


def test_environments_are_looked_for_up_to_the_repository(tmp_path: Path, django_environment: Path) -> None:
    project = find_project(project_in(tmp_path / "repository" / "backend"))
    (tmp_path / "repository" / ".git").mkdir()
    (tmp_path / "repository" / "venv").symlink_to(django_environment)
    found = find_interpreter(project, None, BARE)
    assert found.origin == str(tmp_path / "repository" / "venv")
    assert found.path == str(tmp_path / "repository" / "venv" / "bin" / "python")


def test_environments_above_the_repository_are_not_used(tmp_path: Path, django_environment: Path) -> None:
    project = find_project(project_in(tmp_path / "repository" / "backend"))
    (tmp_path / "repository" / ".git").mkdir()
    (tmp_path / "venv").symlink_to(django_environment)
    assert find_interpreter(project, None, BARE).path == sys.executable


def test_an_environment_without_django_is_passed_over(
    tmp_path: Path, bare_environment: Path, django_environment: Path
) -> None:
    project = find_project(project_in(tmp_path))
    (tmp_path / ".venv").symlink_to(bare_environment)
    (tmp_path / "env").symlink_to(django_environment)
    found = find_interpreter(project, None, BARE)
    assert found.origin == str(tmp_path / "env")
    bare, taken = tmp_path / ".venv" / "bin" / "python", tmp_path / "env" / "bin" / "python"
    assert found.passed_over == (
        f"{bare} (from {tmp_path / '.venv'}) was passed over: Django is not installed there; {taken} is taken instead.",
    )


def test_an_active_environment_that_cannot_be_used_is_told_of(
    tmp_path: Path, bare_environment: Path, django_environment: Path
) -> None:
    project = find_project(project_in(tmp_path))
    (tmp_path / ".venv").symlink_to(django_environment)
    taken = f"; {tmp_path / '.venv' / 'bin' / 'python'} is taken instead."
    found = find_interpreter(project, None, {**BARE, "VIRTUAL_ENV": str(bare_environment)})
    why = "was passed over: Django is not installed there"
    assert found.passed_over == (f"{bare_environment / 'bin' / 'python'} (from VIRTUAL_ENV) {why}{taken}",)
    found = find_interpreter(project, None, {**BARE, "VIRTUAL_ENV": str(tmp_path / "moved")})
    assert found.passed_over == (f"{tmp_path / 'moved'} (from VIRTUAL_ENV) was passed over: no Python is in it{taken}",)
    # Duck's own, activated to run `duck`, or none at all, is no reason for a word.
    assert find_interpreter(project, None, BARE).passed_over == ()


def test_duck_s_own_python_is_the_last(tmp_path: Path) -> None:
    found = find_interpreter(find_project(project_in(tmp_path)), None, BARE)
    assert (found.path, found.origin) == (sys.executable, "Duck's own environment")


def test_poetry_is_asked_where_the_project_is_poetrys(tmp_path: Path, django_environment: Path) -> None:
    project = find_project(project_in(tmp_path / "project"))
    (tmp_path / "project" / "pyproject.toml").write_text("[tool.poetry]\nname = 'x'\n")
    tools = tmp_path / "tools"
    tools.mkdir()
    poetry = tools / "poetry"
    poetry.write_text(f"#!/bin/sh\n[ \"$*\" = 'env info -p' ] && echo {django_environment}\n")
    poetry.chmod(0o755)
    found = find_interpreter(project, None, {"PATH": f"{tools}:{os.defpath}"})
    assert found.origin == "poetry"


def test_all_that_were_tried_are_listed(
    tmp_path: Path, bare_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    project = find_project(project_in(tmp_path))
    (tmp_path / ".venv").symlink_to(bare_environment)
    with pytest.raises(ProjectError) as raised:
        find_interpreter(project, None, BARE)
    text = str(raised.value)
    assert f"{tmp_path}/.venv/bin/python (from {tmp_path}/.venv): Django is not installed there" in text
    assert "/no/such/python (from Duck's own environment): it does not exist" in text
    assert "--python" in text


@pytest.mark.parametrize(("version", "fits"), [("4.1.13", False), ("4.2", True), ("4.2rc1", True), ("6.0", True)])
def test_an_old_django_is_refused(tmp_path: Path, version: str, fits: bool) -> None:
    project = find_project(project_in(tmp_path))
    make_environment(tmp_path / ".venv", django=version)
    if fits:
        assert find_interpreter(project, None, BARE).django_version == version
    else:
        with pytest.raises(ProjectError, match=r"has Django 4\.1\.13; Duck runs projects on Django 4\.2 or newer"):
            find_interpreter(project, None, BARE)


def test_an_old_python_is_refused(tmp_path: Path) -> None:
    old = find_python("3.8")
    if old is None:
        pytest.skip("Python 3.8 is not on this machine")
    project = find_project(project_in(tmp_path))
    subprocess.run([old, "-m", "venv", "--without-pip", str(tmp_path / ".venv")], check=True)
    (site,) = (tmp_path / ".venv").glob("lib/python*/site-packages")
    (site / "django.py").write_text("def get_version(): return '4.2'")
    with pytest.raises(ProjectError, match=r"is Python 3\.8\.\d+; Duck runs projects on Python 3\.10 or newer"):
        find_interpreter(project, None, BARE)


def test_an_environment_of_another_python_is_asked_by_itself() -> None:
    found, problem = probe(environment("3.10", ("Django==4.2.*",)), "a test")
    assert found is not None, problem
    assert found.python_version.startswith("3.10.")
    assert found.django_version.startswith("4.2")


def test_variables_of_ducks_own_environment_go(monkeypatch: pytest.MonkeyPatch, django_environment: Path) -> None:
    own = os.path.realpath(sys.prefix)
    monkeypatch.setattr(sys, "prefix", own)
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    environ = {
        "VIRTUAL_ENV": own,
        "PATH": f"{own}/bin:/usr/bin",
        "PYTHONHOME": "/x",
        "PYTHONPATH": "/kept",
        "_DUCK_X": "1",
        "OTHER": "1",
    }
    child = child_environment(environ, str(django_environment / "bin" / "python"))
    assert child == {
        "VIRTUAL_ENV": str(django_environment),
        "PATH": f"{django_environment}/bin:/usr/bin",
        "PYTHONPATH": "/kept",
        "OTHER": "1",
    }
    system = child_environment(environ, "/usr/bin/python3")
    assert system == {"PATH": "/usr/bin", "PYTHONPATH": "/kept", "OTHER": "1"}


def test_variables_stay_where_the_project_runs_in_ducks_environment() -> None:
    environ = {"VIRTUAL_ENV": sys.prefix, "PATH": f"{sys.prefix}/bin:/usr/bin"}
    assert child_environment(environ, sys.executable) == environ

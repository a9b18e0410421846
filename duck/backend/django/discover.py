"""Which Django project is meant, and which Python runs it.

The project is manage.py's directory: here, one level below, or as named. The interpreter is the first of the usual
places that imports Django; every candidate is asked by running it, never by guessing from directory names.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from duck.exceptions import ProjectError

MINIMUM_PYTHON = (3, 10)
MINIMUM_DJANGO = (4, 2)

_PROBE_TIMEOUT_S = 20.0
_POETRY_TIMEOUT_S = 15.0
_VARIABLES = ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")
_ENVIRONMENT_NAMES = (".venv", "venv", "env")
# `-I` keeps this file's environment and directory out; the path that the project will have is not needed for Django.
_PROBE = (
    "import json, sys\n"
    "try:\n"
    "    import django\n"
    "    version, error = django.get_version(), ''\n"
    "except BaseException as raised:\n"
    "    version, error = '', type(raised).__name__ + ': ' + str(raised)\n"
    "print(json.dumps({'python': sys.version_info[:3], 'django': version, 'error': error}))\n"
)


@dataclass(frozen=True)
class Project:
    """A Django project on disk.

    Attributes:
        root: directory of manage.py: its working directory, and first on its path.
        manage: path of manage.py.
    """

    root: Path
    manage: Path


@dataclass(frozen=True)
class Interpreter:
    """A Python that imports Django.

    Attributes:
        path: the executable, not resolved: an environment's `python` is a link that says which environment it is.
        origin: where it was found, for people: `--python`, `VIRTUAL_ENV`, `/srv/site/.venv` ...
        python_version, django_version: as it says itself, like `3.12.1` and `5.2.3`.
        passed_over: a sentence for each environment that comes before it in order, and why it was not taken.
    """

    path: str
    origin: str
    python_version: str
    django_version: str
    passed_over: tuple[str, ...] = ()


def find_project(start: Path, django: str | Path | None = None) -> Project:
    """The project that `django` names (a directory or a manage.py), else the one at `start`, else one level below.

    Raises:
        ProjectError: there is none, or more than one.
    """
    if django is not None:
        named = Path(start, Path(django).expanduser())
        manage = named / "manage.py" if named.is_dir() else named
        if not manage.is_file():
            why = "it holds no manage.py" if named.is_dir() else "it does not exist"
            raise ProjectError(
                f"There is no Django project at {os.path.abspath(named)}: {why}; "
                "name manage.py or the directory that holds it."
            )
        return _project(manage)
    if (start / "manage.py").is_file():
        return _project(start / "manage.py")
    below = sorted(path for path in start.glob("*/manage.py") if path.is_file() and not _is_hidden(path.parent.name))
    if not below:
        above = next((path for path in Path(os.path.abspath(start)).parents if (path / "manage.py").is_file()), None)
        where = f"; one is in {above}:" if above is not None else ";"
        remedy = "go to the project's directory or say --django PATH."
        raise ProjectError(f"No manage.py is in {start} or one level below it{where} {remedy}")
    if len(below) > 1:
        names = ", ".join(str(path.parent.relative_to(start)) for path in below)
        raise ProjectError(f"Several Django projects are below {start}: {names}; say which with --django PATH.")
    return _project(below[0])


def find_interpreter(project: Project, explicit: str | None, environ: Mapping[str, str]) -> Interpreter:
    """The first interpreter that imports Django, in the documented order; only `explicit`, where one is named.

    Raises:
        ProjectError: none does, or the one that does is too old for Duck; all that were tried are named.
    """
    tried: list[str] = []
    passed = _without_python(project, environ) if explicit is None else []
    problem = ""
    asked: set[str] = set()
    for path, origin in _candidates(project, explicit, environ):
        if path in asked:
            continue
        asked.add(path)
        found, problem = probe(path, origin)
        if found is not None:
            _check_versions(found)
            return replace(found, passed_over=tuple(f"{one}; {path} is taken instead." for one in passed))
        # Duck's own, activated for `duck` itself, is nobody's wish for the project.
        if not _is_own(path):
            passed.append(f"{path} (from {origin}) was passed over: {problem}")
        tried.append(f"  {path} (from {origin}): {problem}")
    if explicit is not None:
        raise ProjectError(
            f"--python {explicit!r} cannot run the project: {problem}; "
            "name the python of the environment that has the project's packages."
        )
    raise ProjectError(
        "No Python that imports Django was found; activate the project's environment or say --python PATH. Tried:\n"
        + "\n".join(tried)
    )


def probe(path: str, origin: str) -> tuple[Interpreter | None, str]:
    """Ask the interpreter at `path` for its versions; what is wrong where it cannot tell them."""
    environ = child_environment(os.environ, path)
    try:
        done = subprocess.run(
            [path, "-c", _PROBE], capture_output=True, env=environ, cwd="/", timeout=_PROBE_TIMEOUT_S, check=False
        )
        lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
        answer = json.loads(lines[-1]) if lines else {}
    except FileNotFoundError:
        return None, "it does not exist"
    except (OSError, ValueError) as error:
        return None, f"it cannot be run ({error})"
    except subprocess.TimeoutExpired:
        return None, f"it did not answer in {_PROBE_TIMEOUT_S:.0f} s"
    if "python" not in answer:
        return None, "it is no Python 3"
    if not answer["django"]:
        problem: str = answer["error"]
        return None, "Django is not installed there" if "No module named 'django'" in problem else problem
    version = ".".join(map(str, answer["python"]))
    return Interpreter(path, origin, version, answer["django"]), ""


def child_environment(environ: Mapping[str, str], interpreter: str) -> dict[str, str]:
    """The environment for a process of the project: without the variables of Duck's own environment.

    VIRTUAL_ENV and the entry of PATH go only where they point at Duck's environment, and only when the project runs in
    another; the project's environment comes first on PATH instead, as its `activate` would put it.
    """
    child = {key: value for key, value in environ.items() if not key.startswith("_DUCK_") and key != "PYTHONHOME"}
    child.pop("__PYVENV_LAUNCHER__", None)  # macOS: would make the child believe that it is Duck's Python
    home = _environment_of(interpreter)
    own = sys.prefix if sys.prefix != sys.base_prefix else ""
    if not own or (home and os.path.realpath(home) == os.path.realpath(own)):
        return child
    if child.get("VIRTUAL_ENV") and _same(child["VIRTUAL_ENV"], own):
        del child["VIRTUAL_ENV"]
        child.pop("VIRTUAL_ENV_PROMPT", None)
    paths = [path for path in child.get("PATH", "").split(os.pathsep) if not _same(path, os.path.join(own, "bin"))]
    if home:
        child["VIRTUAL_ENV"] = home
        paths.insert(0, os.path.dirname(interpreter))
    child["PATH"] = os.pathsep.join(paths)
    return child


def _project(manage: Path) -> Project:
    manage = Path(os.path.abspath(manage))
    return Project(manage.parent, manage)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in ("node_modules", "__pycache__", *_ENVIRONMENT_NAMES)


def _candidates(project: Project, explicit: str | None, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Executables in the order in which they are asked, each with where it comes from."""
    if explicit is not None:
        path = os.path.expanduser(explicit)
        if os.path.isdir(path):
            path = _python_in(path) or path
        yield shutil.which(path) or os.path.abspath(path), "--python"
        return
    for variable in _VARIABLES:
        value = environ.get(variable)
        # uv reads its variable relative to the project.
        python = _python_in(os.path.join(project.root, value)) if value else None
        if python:
            yield python, variable
    for directory in _upward(project.root):
        for name in _ENVIRONMENT_NAMES:
            python = _python_in(os.path.join(directory, name))
            if python:
                yield python, os.path.join(directory, name)
    poetry = _poetry_environment(project.root, environ)
    python = _python_in(poetry) if poetry else None
    if python:
        yield python, "poetry"
    conda = environ.get("CONDA_PREFIX")
    python = _python_in(conda) if conda else None
    if python:
        yield python, "CONDA_PREFIX"
    yield sys.executable, "Duck's own environment"


def _without_python(project: Project, environ: Mapping[str, str]) -> list[str]:
    """What is wrong with the environments that variables name and that hold no Python at all."""
    said = []
    for variable in _VARIABLES:
        value = environ.get(variable)
        if value and not _python_in(os.path.join(project.root, value)):
            said.append(f"{value} (from {variable}) was passed over: no Python is in it")
    return said


def _is_own(python: str) -> bool:
    home = _environment_of(python)
    return home is not None and _same(home, sys.prefix)


def _upward(root: Path) -> Iterator[Path]:
    """`root` and the directories above it up to the repository's root; without a repository `root` alone."""
    chain = [root, *root.parents]
    for index, directory in enumerate(chain):
        if (directory / ".git").exists():
            yield from chain[: index + 1]
            return
    yield root


def _python_in(environment: str) -> str | None:
    for name in ("bin/python", "bin/python3", "Scripts/python.exe", "python.exe"):
        path = os.path.join(environment, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def _poetry_environment(root: Path, environ: Mapping[str, str]) -> str | None:
    """The environment poetry keeps for the project, when the project is poetry's and poetry is there to be asked."""
    for directory in _upward(root):
        try:
            with open(directory / "pyproject.toml", "rb") as file:
                is_poetrys = "poetry" in tomllib.load(file).get("tool", {})
        except (OSError, tomllib.TOMLDecodeError):
            continue
        command = shutil.which("poetry", path=environ.get("PATH"))
        if not is_poetrys or command is None:
            return None
        try:
            done = subprocess.run(
                [command, "env", "info", "-p"],
                cwd=directory,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_POETRY_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.decode("utf-8", "replace").strip() or None
    return None


def _check_versions(found: Interpreter) -> None:
    where = f"{found.path} (from {found.origin})"
    if _numbers(found.python_version) < MINIMUM_PYTHON:
        raise ProjectError(
            f"{where} is Python {found.python_version}; Duck runs projects on Python 3.10 or newer: "
            "upgrade the project's environment or say --python PATH."
        )
    if _numbers(found.django_version) < MINIMUM_DJANGO:
        raise ProjectError(
            f"{where} has Django {found.django_version}; Duck runs projects on Django 4.2 or newer: "
            "upgrade Django there or say --python PATH."
        )


def _numbers(version: str) -> tuple[int, ...]:
    """The first two numbers of a version; `5.2rc1` is 5.2."""
    numbers: list[int] = []
    for part in version.split(".")[:2]:
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        numbers.append(int(digits or 0))
    return tuple(numbers)


def _environment_of(interpreter: str) -> str | None:
    """The virtual environment that `interpreter` belongs to."""
    home = os.path.dirname(os.path.dirname(os.path.abspath(interpreter)))
    return home if os.path.isfile(os.path.join(home, "pyvenv.cfg")) else None


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def bundle_directory() -> str | None:
    """The directory from which the ASGI server is taken that Duck brings for projects without one."""
    spec = importlib.util.find_spec("uvicorn")
    return str(Path(spec.origin).parent.parent) if spec is not None and spec.origin is not None else None

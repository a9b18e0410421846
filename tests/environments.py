"""Virtual environments for tests that need another Python or Django: made once, kept in a cache, absent ones named."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NoReturn

from tests.installing import install_by_uv

_NEVER_IMPORTED = "|".join(
    (
        "/(tests?|locale|gis|pip)/",
        "/backends/(mysql|oracle)/",
        "/contrib/postgres/",
        "/hypothesis/extra/",
        "/pygments/(lexers|styles)/",
    )
)


class Absent(Exception):
    """An environment that this machine has no Python for; the text says which."""


class NotInstalled(Exception):
    """Packages that could not be installed; the text says why."""


def cache_directory() -> Path:
    """Where environments are kept: DUCK_TEST_CACHE, else the user's cache directory."""
    named = os.environ.get("DUCK_TEST_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "duck-tests"


@cache
def find_python(version: str) -> str | None:
    """An interpreter of that version (`3.10`), on PATH or among pyenv's."""
    candidates = [shutil.which(f"python{version}"), shutil.which("python3")]
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates += [str(path) for path in sorted(root.glob(f"versions/{version}.*/bin/python"))]
    for path in filter(None, candidates):
        try:
            done = subprocess.run(
                [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
        except OSError:
            continue
        if done.stdout.strip() == version:
            return path
    return None


def environment(python: str = "3.10", requirements: tuple[str, ...] = ()) -> str:
    """The Python of an environment with `requirements` and nothing else; skips the test where that Python is absent."""
    try:
        return made(python, requirements)
    except Absent as why:
        _skip(str(why))
    except NotInstalled as why:
        _fail(str(why))


def made(python: str, requirements: tuple[str, ...]) -> str:
    """The Python of an environment with `requirements` and nothing else.

    Raises:
        Absent: there is no such Python.
        NotInstalled: neither uv nor pip could install them.
    """
    base = find_python(python)
    if base is None:
        raise Absent(f"Python {python} is not on this machine")
    key = hashlib.sha256("\n".join((base, *requirements)).encode()).hexdigest()[:12]
    directory = cache_directory() / f"{python}-{key}"
    executable = directory / "bin" / "python"
    directory.parent.mkdir(parents=True, exist_ok=True)
    # Tests run in several processes, which may want the same one.
    with open(lock_of(directory), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / ".complete").exists():
            _make(base, directory, executable, python, requirements)
    return str(executable)


def lock_of(directory: Path) -> Path:
    """The file that whoever makes the environment in `directory` holds: to wait for another one would be in vain.

    Not by `with_suffix`: the name of all of `3.10-2f` but its first digit is a suffix.
    """
    return directory.with_name(f"{directory.name}.lock")


def _make(base: str, directory: Path, executable: Path, python: str, requirements: tuple[str, ...]) -> None:
    """Make it with the uv or the pip of the tests' own environment, and compile what may be imported.

    A pip of its own takes 6 s of a processor, and packages bring tests: those of Twisted are half of it.
    """
    shutil.rmtree(directory, ignore_errors=True)
    subprocess.run([base, "-m", "venv", "--without-pip", str(directory)], check=True, capture_output=True)
    if requirements:
        if not install_by_uv(executable, requirements):
            _install_by_pip(directory, executable, python, requirements)
        # Its answer is of no matter: a package may have files for other Pythons, or templates.
        compiling = [str(executable), "-m", "compileall", "-qq", "-x", _NEVER_IMPORTED, str(directory)]
        subprocess.run(compiling, capture_output=True, check=False)
    (directory / ".complete").touch()


def _install_by_pip(directory: Path, executable: Path, python: str, requirements: tuple[str, ...]) -> None:
    # pip is run by that Python, which has to compile it the first time.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "pip", "--python", str(executable), "install", "-q", "--no-compile"]
    done = subprocess.run([*command, *requirements], env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(directory, ignore_errors=True)
        raise NotInstalled(
            f"{', '.join(requirements)} could not be installed for Python {python}: {done.stderr.strip()}"
        )


def _skip(why: str) -> NoReturn:
    import pytest  # benchmarks do without it

    pytest.skip(why)


def _fail(why: str) -> NoReturn:
    import pytest

    pytest.fail(why)

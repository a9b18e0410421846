#!/usr/bin/env python3
"""The one-file entry of a checkout: `python3 manage_duck.py runserver|test|bench|docs|lint|...`.

    runserver [OPTION...]   serve the Django project here, or else the project made from project_template/
    test [ARGUMENT...]      ruff, mypy, the documentation and pytest, where up to five tests that failed are run once
                            more, alone: one that then passes is named in the totals, and is no failure of the whole;
                            with arguments only pytest, once, which gets them
    test --full             all that is otherwise tested by a part: every test of the front on every other Python
    lint                    ruff and mypy
    docs                    build the documentation into docs/_build/html
    bench [ARGUMENT...]     measure Duck beside nginx, gunicorn and granian (`bench --help`)
    COMMAND ...             any other command of `duck`

Standard library only, until Duck's dependencies can be imported. Where they cannot, `.venv` is made beside this file,
the checkout is installed there, and the same command goes on inside it. Nothing else on the machine is changed, with
one exception: `test` run as root on a Debian system installs the servers that tests need and that are missing.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):
    sys.exit("This is Python %d.%d, and Duck needs 3.11 or newer: run manage_duck.py with that." % sys.version_info[:2])

import contextlib
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import time
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
LOCK = ROOT / ".venv.lock"
MAKING = ENVIRONMENT / ".duck-making"  # there while an environment of ours is incomplete
STAMP = ENVIRONMENT / ".duck-installed.json"  # what an environment of ours holds
DEMO = ROOT / ".demo" / "demo"
INSTALLED_MARK = "_DUCK_MANAGE_INSTALLED"  # set across the exec into .venv, so that it is tried once

GROUPS = {"test": ("test", "docs", "bench"), "lint": ("test",), "docs": ("docs",), "bench": ("bench", "test")}
# Debian packages of the servers, clients and tools that tests run, by a program that each brings.
SERVERS = {
    "nginx": "nginx-light",
    "wrk": "wrk",
    "curl": "curl",
    "h2load": "nghttp2-client",
    "chromium": "chromium",
    "pebble": "pebble",
    "certutil": "libnss3-tools",
    "openssl": "openssl",
    "postgres": "postgresql",
    "redis-server": "redis-server",
}
# Where Debian keeps the programs of PostgreSQL, which are not in the PATH.
BESIDE_PATH = Path("/usr/lib/postgresql")
POLICY = Path("/usr/sbin/policy-rc.d")
# What .venv need not have as bytecode: it is native, or is run once at most.
SELDOM_IMPORTED = r"/tests?/|/locale/|/(mypyc?|pip|pkg_resources|setuptools|pygments/lexers|pygments/styles)/"
FULL = "--full"


def main(arguments: list[str]) -> int:
    """Run one command; its exit code."""
    command, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if command in ("-h", "--help"):
        print(__doc__)
        return 0
    ensure_environment(GROUPS.get(command, ()))
    commands = {"runserver": runserver, "test": test, "lint": lint, "docs": docs, "bench": bench}
    if command in commands:
        return commands[command](rest)
    return run_duck([command, *rest])


# -- commands ---------------------------------------------------------------------------------------------------------


def runserver(arguments: list[str]) -> int:
    """`duck runserver` where a project is; else in the demonstration project, made the first time."""
    directory = None if has_project(Path.cwd(), arguments) else make_demo()
    return run_duck(["runserver", *arguments], directory)


def test(arguments: list[str]) -> int:
    """Every check; the last line has the totals of the tests (tests/suite.py)."""
    from tests import steps, suite  # not there beside a lone copy of this file

    install_servers()
    if FULL in arguments:
        arguments = [each for each in arguments if each != FULL]
        os.environ[suite.FULL] = "1"
    suite.compile_sources(ROOT)
    failed = []
    if not arguments:
        others = [[("documentation", docs_command())], [("collection", suite.collect_command())]]
        failed = steps.run_lanes(ROOT, [lint_steps(), *others], say)
    say("pytest ...")
    started = time.monotonic()
    totals = suite.run(ROOT, arguments or suite.spread_out(), say, again=not arguments)
    say(f"pytest: {'passed' if totals.is_green else 'failed'} in {time.monotonic() - started:.1f} s")
    for sentence in totals.left_out:
        say(sentence)
    if not totals.is_green:
        failed.append("pytest")
    if failed:
        say(f"failed: {', '.join(failed)}")
    print(totals, flush=True)
    return 1 if failed else 0


def lint(arguments: list[str]) -> int:
    """ruff and mypy."""
    from tests import steps

    return 1 if steps.run_steps(ROOT, lint_steps(), say) else 0


def docs(arguments: list[str]) -> int:
    """The documentation, every warning an error."""
    from tests import steps

    failed = steps.run_steps(ROOT, [("documentation", docs_command())], say)
    if not failed:
        say(f"the documentation is at {ROOT / 'docs/_build/html/index.html'}")
    return 1 if failed else 0


def bench(arguments: list[str]) -> int:
    """Become the benchmarks of tests/benchmarks: who ends this process means them, and what they started."""
    os.chdir(ROOT)
    return become([sys.executable, "-m", "tests.benchmarks", *arguments])


def run_duck(arguments: list[str], directory: Path | None = None) -> int:
    """Become `duck`: the same process, so that signals, terminal and exit code are its own."""
    if directory is not None:
        os.chdir(directory)
    return become([sys.executable, "-m", "duck", *arguments])


def become(command: list[str]) -> int:
    """Run `command` in the place of this process, where the system can."""
    if sys.platform == "win32":
        return subprocess.call(command)
    sys.stdout.flush()
    os.execv(sys.executable, command)


def lint_steps() -> list[tuple[str, list[str]]]:
    """The names and commands of what looks at the source without running it."""
    python = sys.executable
    return [
        ("ruff check", [python, "-m", "ruff", "check", "."]),
        ("ruff format", [python, "-m", "ruff", "format", "--check", "."]),
        ("mypy", [python, "-m", "mypy"]),
    ]


def docs_command() -> list[str]:
    """Sphinx; -W and --keep-going: all warnings are shown, and any is a failure."""
    return [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html"]


def install_servers() -> None:
    """As root on a Debian system: install the servers that tests need and that are missing, without starting them."""
    missing = missing_servers()
    if not missing:
        return
    if not shutil.which("apt-get") or not hasattr(os, "geteuid") or os.geteuid() != 0:
        say(f"{' '.join(missing)} are not installed: what needs them is skipped")
        return
    say(f"installing {' '.join(missing)} with apt-get")
    command = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *missing]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with services_not_started():
        for attempt in (command, ["apt-get", "update", "-qq"], command):
            code = subprocess.call(attempt, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            if attempt is command and code == 0:
                return
    say(f"{' '.join(missing)} could not be installed: what needs it is skipped")


def missing_servers() -> list[str]:
    """The packages of those of SERVERS that are not here."""
    return [
        package
        for program, package in SERVERS.items()
        if not shutil.which(program) and not any(BESIDE_PATH.glob(f"*/bin/{program}"))
    ]


@contextlib.contextmanager
def services_not_started() -> Iterator[None]:
    """A policy that keeps Debian from starting what it installs, unless the machine has a policy already."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


# -- the demonstration project ----------------------------------------------------------------------------------------


def has_project(directory: Path, arguments: list[str]) -> bool:
    """Whether `duck runserver` with these arguments is meant for a project of the user's."""
    if any(argument == "--django" or argument.startswith("--django=") for argument in arguments):
        return True
    if directory == ROOT:
        return False
    return any((directory / name).exists() for name in ("manage.py", "main.py", "duck.toml")) or any(
        directory.glob("*/manage.py")
    )


def make_demo() -> Path:
    """`.demo/demo`, made as `duck makeproject` does, its database migrated; one that was not finished is made anew."""
    template = hash_tree(ROOT / "project_template")
    stamp = DEMO.parent / "made-from"
    DEMO.parent.mkdir(exist_ok=True)
    with locked(DEMO.parent / "lock", f"making {DEMO}"):
        if DEMO.exists() and stamp.exists():
            if stamp.read_text() != template:
                say(f"project_template has changed since {DEMO} was made: remove {DEMO} to have it made anew")
            return DEMO
        if DEMO.exists():
            shutil.rmtree(DEMO)
        say(f"making a project in {DEMO} from project_template")
        command = [sys.executable, "-m", "duck", "makeproject", DEMO.name, "--dest", str(DEMO.parent)]
        run_quietly(command, "made")
        for manage in sorted(DEMO.rglob("manage.py")):
            run_quietly([sys.executable, str(manage), "migrate", "--no-input", "-v", "0"], "migrated", manage.parent)
        stamp.write_text(template)
    return DEMO


def hash_tree(directory: Path) -> str:
    """One hash of the names and contents of all files below `directory`."""
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(directory)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()


# -- the environment --------------------------------------------------------------------------------------------------


def ensure_environment(groups: tuple[str, ...]) -> None:
    """Return where this checkout and what it needs are installed; else install them into .venv, and go on there."""
    needed = requirements(groups)
    missing = unmet(needed)
    installed_before = os.environ.pop(INSTALLED_MARK, "")
    inside = Path(sys.prefix).resolve() == ENVIRONMENT.resolve()
    if not missing and not (inside and STAMP.exists() and is_stale(groups)):
        return
    if missing and installed_before:
        sys.exit(f"{ENVIRONMENT} was installed and still lacks {', '.join(missing)}: remove it and try again.")
    python = environment_python()
    with locked(LOCK, f"preparing {ENVIRONMENT}"):
        # Another one may have prepared it while this one waited for the lock.
        if MAKING.exists() or not is_usable(python):
            make_environment(python)
        if MAKING.exists() or is_stale(groups) or inside:
            install(python, groups, needed)
            os.environ[INSTALLED_MARK] = "1"
    command = [str(python), str(Path(__file__).resolve()), *sys.argv[1:]]
    if sys.platform == "win32":
        sys.exit(subprocess.call(command))
    sys.stdout.flush()
    os.execv(python, command)


def requirements(groups: tuple[str, ...]) -> list[str]:
    """What the package and these dependency groups of pyproject.toml name. pip knows groups from 25.1 on only."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = list(project["project"]["dependencies"])
    for group in groups:
        wanted += project["dependency-groups"][group]
    return wanted


def unmet(wanted: list[str]) -> list[str]:
    """What this interpreter lacks, or has in another version, of `wanted`; and Duck, unless it has this checkout."""
    missing = [] if is_installed_here() else ["duck-server"]
    for requirement in wanted:
        specification, _, marker = requirement.partition(";")
        if "win32" in marker and sys.platform == "win32":
            continue
        found = re.match(r"([A-Za-z0-9._-]+)(\[[A-Za-z0-9,._-]*\])?", specification.strip())
        assert found is not None, requirement
        try:
            version = importlib.metadata.version(found[1])
        except importlib.metadata.PackageNotFoundError:
            missing.append(found[1])
            continue
        if not satisfies(version, specification.strip()[found.end() :]):
            missing.append(found[1])
    return missing


def satisfies(version: str, bounds: str) -> bool:
    """Whether `version` lies in bounds such as `>=8.1,<9`: release numbers only, which is all that pyproject uses."""
    have = release(version)
    for bound in filter(None, (part.strip() for part in bounds.split(","))):
        if bound.startswith(">=") and have < release(bound[2:]):
            return False
        if bound.startswith("<") and have >= release(bound[1:]):
            return False
    return True


def release(version: str) -> tuple[int, ...]:
    """`1.10.0rc1` as (1, 10): trailing zeros do not count."""
    found = re.match(r"[\d.]+", version.strip())
    numbers = [int(part) for part in found[0].strip(".").split(".")] if found else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def is_installed_here() -> bool:
    """Whether this interpreter has Duck installed from this very checkout."""
    try:
        origin = importlib.metadata.distribution("duck-server").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return False
    return origin is not None and json.loads(origin).get("url") == ROOT.as_uri()


def environment_python() -> Path:
    """Where .venv has its interpreter."""
    return ENVIRONMENT / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def is_usable(python: Path) -> bool:
    """Whether .venv has a Python that starts, that Duck runs on, and that has pip."""
    probe = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    return python.exists() and runs([str(python), "-c", probe])


def make_environment(python: Path) -> None:
    """Make .venv anew. A mark lies in it until everything is installed: an interrupted one is not taken for whole.

    One that this program did not make is never removed: it gets pip where only that is missing.
    """
    if ENVIRONMENT.exists():
        if not (MAKING.exists() or STAMP.exists()) and any(ENVIRONMENT.iterdir()):
            if runs([str(python), "-m", "ensurepip"]) and is_usable(python):
                return
            sys.exit(
                f"{ENVIRONMENT} is no environment of Python 3.11 or newer with pip: remove it, to have it made anew."
            )
        shutil.rmtree(ENVIRONMENT)
        say(f"remaking {ENVIRONMENT}, which was not whole")
    else:
        say(f"making {ENVIRONMENT}, where Duck's dependencies go")
    ENVIRONMENT.mkdir()
    MAKING.touch()
    try:
        venv.create(ENVIRONMENT, with_pip=True, symlinks=sys.platform != "win32")
    except (subprocess.CalledProcessError, OSError) as error:
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        sys.exit(f"{sys.executable} cannot make {ENVIRONMENT} ({error}): on Debian or Ubuntu install {package}.")


def runs(command: list[str]) -> bool:
    """Whether `command` can be started and succeeds; it says nothing."""
    null = subprocess.DEVNULL
    try:
        return subprocess.call(command, stdin=null, stdout=null, stderr=null) == 0
    except OSError:
        return False


def install(python: Path, groups: tuple[str, ...], needed: list[str]) -> None:
    """The checkout, editable, and `needed` into .venv; what is there already and fits stays."""
    groups = tuple(sorted({*groups, *read_stamp().get("groups", ())}))
    if STAMP.exists():
        MAKING.touch()  # an environment of our own, which an interruption would leave half installed
    STAMP.unlink(missing_ok=True)
    purpose = f" for {', '.join(groups)}" if groups else ""
    say(f"installing Duck and what it needs{purpose} into {ENVIRONMENT}")
    arguments = ["-e", str(ROOT), *dict.fromkeys([*needed, *requirements(groups)])]
    if not ("test" in groups and installs_quickly(python, arguments)):
        command = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-compile"]
        if subprocess.call([*command, *arguments], cwd=ROOT, stdin=subprocess.DEVNULL) != 0:
            sys.exit(f"pip could not install Duck's dependencies into {ENVIRONMENT}: its message above says why.")
    # pip would compile one file after the other; all processors do it in half the time. What cannot be compiled is
    # imported by nobody.
    packages = [*ENVIRONMENT.glob("lib/*/site-packages"), *ENVIRONMENT.glob("Lib/site-packages")]
    runs([str(python), "-m", "compileall", "-qq", "-j", "0", "-x", SELDOM_IMPORTED, *map(str, packages)])
    STAMP.write_text(json.dumps({"pyproject": pyproject_hash(), "groups": groups}))
    MAKING.unlink(missing_ok=True)


def installs_quickly(python: Path, arguments: list[str]) -> bool:
    """Whether uv has installed `arguments`; the many packages of the tests take pip a minute, most of it waiting."""
    from tests import installing  # not there beside a lone copy of this file

    return installing.get_uv(python) and installing.install_by_uv(python, ["--link-mode", "copy", *arguments], python)


def is_stale(groups: tuple[str, ...]) -> bool:
    """Whether .venv was installed for another pyproject.toml, or without one of `groups`."""
    stamp = read_stamp()
    return stamp.get("pyproject") != pyproject_hash() or not set(groups) <= set(stamp.get("groups", ()))


def read_stamp() -> dict[str, Any]:
    """What .venv holds; empty when it is not known."""
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def pyproject_hash() -> str:
    """The hash of what decides which packages are needed."""
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock `path`, which the system gives back when this process ends in any way."""
    with path.open("a") as file:
        if not try_lock(file.fileno()):
            say(f"another manage_duck.py is {what}: waiting for it")
            while not try_lock(file.fileno()):
                time.sleep(0.1)
        yield


def try_lock(descriptor: int) -> bool:
    """Take the lock on an open file, unless another process has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def run_quietly(command: list[str], done: str, directory: Path = ROOT) -> None:
    """Run `command`; its output is shown only if it fails, which ends this program."""
    result = subprocess.run(
        command, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if result.returncode != 0:
        sys.exit(f"{result.stdout}\n{DEMO} could not be {done}: the message above says why.")


def say(sentence: str) -> None:
    """A line of this program's own, told apart from what it runs."""
    print(f"manage_duck: {sentence}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)

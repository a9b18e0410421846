"""`duck makeproject`: a new project from the template, with secrets of its own."""

from __future__ import annotations

import importlib.util
import json
import keyword
import os
import secrets
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Literal

import click

import duck
from duck.exceptions import ProjectError

Kind = Literal["mini", "normal", "full"]

# `test` is no standard module by `sys.stdlib_module_names`, and is one all the same.
_TAKEN = frozenset({"test", "django", "duck"})
_LEFT_OUT_OF_MINI = frozenset({"automations.py", "README.md"})


@click.command()
@click.argument("name")
@click.option("--mini", is_flag=True, help="Without README and automations.")
@click.option("--full", is_flag=True, help="With every setting in settings.py, commented out.")
@click.option("-d", "--dest", default=".", metavar="DIR", help="Where to make it.  [default: this directory]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def makeproject(name: str, mini: bool, full: bool, dest: str, as_json: bool) -> int:
    """Make a new project with a Django project in it, in a new directory NAME.

    For example: duck makeproject shop --dest ~/code
    """
    if mini and full:
        raise click.UsageError("--mini and --full are two kinds of project; keep one of them.")
    kind: Kind = "mini" if mini else "full" if full else "normal"
    path = make_project(name, Path(dest), kind)
    if as_json:
        click.echo(json.dumps({"path": str(path), "kind": kind}))
    else:
        shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        click.echo(f"Made {shown}, with secrets of its own. Serve it: cd {shlex.quote(str(shown))} && duck runserver")
    return 0


def make_project(name: str, dest: Path, kind: Kind = "normal") -> Path:
    """Make `dest`/`name` and return its absolute path; it is there complete, or not at all.

    Raises:
        ProjectError: the name cannot be used, the directory exists, or cannot be written.
    """
    check_name(name)
    target = dest.absolute() / name
    if os.path.lexists(target):
        raise ProjectError(f"{target} exists already; choose another name or --dest.")
    source = template_directory()
    try:
        dest.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=target.parent))
    except OSError as error:
        raise ProjectError(f"{target} cannot be made: {error.strerror or error}; choose another --dest.") from error
    try:
        _fill(source, making, name, kind)
        # mkdtemp makes what only its owner may enter; a project is an ordinary directory.
        umask = os.umask(0)
        os.umask(umask)
        making.chmod(0o777 & ~umask)
        making.rename(target)
    except OSError as error:
        raise ProjectError(f"{target} cannot be made: {error.strerror or error}; choose another --dest.") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return target


def check_name(name: str) -> None:
    """Refuse a name that Python could not import, or that would hide a module.

    Raises:
        ProjectError: it is such a name.
    """
    if not name.isidentifier() or not name.isascii():
        raise ProjectError(
            f"{name!r} is no name for a project: use letters from a to z, digits and underscores, "
            "and begin with a letter."
        )
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise ProjectError(f"{name!r} is no name for a project: it is a keyword of Python; choose another.")
    if name in _TAKEN or name in sys.stdlib_module_names or _is_installed(name):
        raise ProjectError(f"{name!r} is no name for a project: it would hide the module {name}; choose another.")


def template_directory() -> Path:
    """Where the template lies: in the installed package, or beside it in a checkout.

    Raises:
        ProjectError: in neither.
    """
    package = Path(duck.__file__).resolve().parent
    for directory in (package / "_project_template", package.parent / "project_template"):
        if (directory / "main.py").is_file():
            return directory
    raise ProjectError(f"The project template is missing from {package}; install Duck again.")


def _is_installed(name: str) -> bool:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    # Any directory that happens to lie on the path makes a namespace package.
    return spec is not None and spec.origin is not None


def _fill(source: Path, target: Path, name: str, kind: Kind) -> None:
    words = {
        "{{ name }}": name,
        "{{ duck_secret_key }}": secrets.token_urlsafe(48),
        "{{ django_secret_key }}": secrets.token_urlsafe(48),
    }
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if "__pycache__" in relative.parts or path.is_dir():
            continue
        if kind == "mini" and relative.parts[0] in _LEFT_OUT_OF_MINI:
            continue
        content = path.read_text(encoding="utf-8")
        # The words are also those of Django's templates, which stay as they are.
        if path.suffix in (".py", ".md"):
            for word, value in words.items():
                content = content.replace(word, value)
        if kind == "full" and relative == Path("settings.py"):
            from duck.settings.page import settings_as_comments

            content += settings_as_comments(content)
        copy = target / (".gitignore" if relative == Path("gitignore") else relative)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(content, encoding="utf-8")
        if content.startswith("#!"):
            copy.chmod(copy.stat().st_mode | 0o111)

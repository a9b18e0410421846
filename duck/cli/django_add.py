"""`duck django-add`: another Django project behind this Duck project, by reference."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import click

from duck.exceptions import ProjectError
from duck.settings.load import Settings, load


@click.command()
@click.argument("path", type=click.Path())
@click.option("-s", "--settings", "module", metavar="MODULE", help="The settings module of the Duck project.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def django_add(path: str, module: str | None, as_json: bool) -> int:
    """Put an existing Django project behind this Duck project.

    PATH is its manage.py or the directory that holds it. Only the Duck project's settings are written; the Django
    project stays where and as it is.

    For example: duck django-add ../shop
    """
    loaded = load({"SETTINGS_MODULE": module}, os.environ, Path.cwd())
    manage = find_manage(Path(path))
    written = attach(loaded, manage)
    if as_json:
        click.echo(json.dumps({"file": str(loaded.file), "manage": str(manage), "written": written}))
        return 0
    click.echo(f"{os.path.relpath(manage)} stands behind this project now; {loaded.file} says so.")
    if "DJANGO_COMMANDS_ON_STARTUP" in written:
        was = ", ".join(loaded["DJANGO_COMMANDS_ON_STARTUP"])
        click.echo(f"DJANGO_COMMANDS_ON_STARTUP was {was}; it is empty now, so that nothing runs there unasked.")
    for name in ("USE_DJANGO", "DJANGO_SETTINGS_MODULE", "DJANGO_ADDR"):
        if loaded.origin(name).source == "file" and (loaded[name] if name != "USE_DJANGO" else loaded[name] is False):
            click.echo(f"{name} is {loaded[name]} in {loaded.origin(name)}; see whether that still holds.", err=True)
    return 0


def find_manage(path: Path) -> Path:
    """The absolute path of the manage.py that `path` is or holds.

    Raises:
        ProjectError: it is none, and holds none.
    """
    manage = path / "manage.py" if path.is_dir() else path
    if not manage.is_file() or manage.suffix != ".py":
        raise ProjectError(f"{path} is no Django project: give its manage.py, or the directory that holds it.")
    return manage.resolve()


def attach(loaded: Settings, manage: Path) -> dict[str, Any]:
    """Write into the Duck project's settings that `manage` is its Django project; returns what was written.

    The file is replaced as a whole, so that it is never half written.

    Raises:
        ProjectError: there is no Duck project here, or its file cannot be written.
    """
    file = loaded.file
    if file is None:
        raise ProjectError(
            f"There is no Duck project in {loaded.project_dir}; make one with `duck makeproject`, "
            "or serve the Django project alone with `duck runserver --django PATH`."
        )
    written: dict[str, Any] = {"DJANGO_PROJECT": _reference(manage.parent, loaded.base_dir)}
    if loaded["DJANGO_COMMANDS_ON_STARTUP"] and loaded.origin("DJANGO_COMMANDS_ON_STARTUP").source == "file":
        # `migrate` was meant for the project's own database.
        written["DJANGO_COMMANDS_ON_STARTUP"] = []
    try:
        text = file.read_text(encoding="utf-8")
        for name, value in written.items():
            text = _set_python(text, name, value) if file.suffix == ".py" else _set_toml(text, name, value)
        _replace(file, text)
    except OSError as error:
        raise ProjectError(f"{file} cannot be written: {error.strerror or error}.") from error
    return written


def _reference(directory: Path, base: Path) -> str:
    """`directory` as seen from `base` where it lies below or beside it, else its absolute path."""
    base = base.resolve()
    if directory.is_relative_to(base.parent):
        return Path(os.path.relpath(directory, base)).as_posix()
    return str(directory)


def _set_python(source: str, name: str, value: Any) -> str:
    """`source` with `name` assigned once at its top level: where it was, else at its end."""
    statement = f"{name} = {json.dumps(value)}\n"
    spans = [
        (node.lineno, node.end_lineno or node.lineno)
        for node in ast.parse(source).body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        and any(
            isinstance(target, ast.Name) and target.id == name
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        )
    ]
    lines = source.splitlines(keepends=True)
    if not spans:
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        return "".join([*lines, "\n", statement])
    start, end = spans[-1]
    return "".join([*lines[: start - 1], statement, *lines[end:]])


def _set_toml(text: str, name: str, value: Any) -> str:
    """`text` with the key for `name` set above all tables; a value over several lines is not understood."""
    statement = f"{name.lower()} = {json.dumps(value)}\n"
    key = re.compile(rf"^\s*[\"']?{name.replace('_', '[-_]')}[\"']?\s*=.*$", re.IGNORECASE)
    lines = text.splitlines(keepends=True)
    for index, line in enumerate(lines):
        if line.lstrip().startswith("["):
            return "".join([*lines[:index], statement, "\n", *lines[index:]])
        if key.match(line.rstrip("\n")):
            if line.rstrip().endswith(("[", "{", '"""', "'''", ",")):
                raise ProjectError(f"{name} spans several lines in this duck.toml; write it on one, and try again.")
            return "".join([*lines[:index], statement, *lines[index + 1 :]])
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    return "".join([*lines, statement])


def _replace(file: Path, text: str) -> None:
    real = file.resolve()
    descriptor, name = tempfile.mkstemp(prefix=f".{real.name}-", dir=real.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        shutil.copymode(real, name)
        os.replace(name, real)
    except BaseException:
        os.unlink(name)
        raise

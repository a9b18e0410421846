"""`duck automations import-crontab`: from cron to Duck."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from duck.cli.automations.place import options
from duck.cli.main import FAILED, OK
from duck.cli.options import load_settings
from duck.exceptions import ApplicationError

if TYPE_CHECKING:
    from duck.services.automations.imported import Job

_SYSTEM = ("/etc/crontab", "/etc/cron.d/")


@click.command("import-crontab")
@click.argument("file", required=False, type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--system/--user",
    "has_users",
    default=None,
    help="Whether lines name the user who runs them; by default those of /etc do.",
)
@click.option("--write", is_flag=True, help="Put the tables behind what duck.toml has, instead of printing them.")
@options
def import_crontab(file: Path | None, has_users: bool | None, write: bool, as_json: bool, **given: Any) -> int:
    """Read a crontab as tables of duck.toml.

    Without FILE your own, as `crontab -l` prints it; - for standard input. What is otherwise under Duck, and what
    cannot be carried over, is said. Cron's own lines are left as they are: take them out when you have looked at the
    tables.

    Returns 1 where a line cannot be carried over.

    For example: duck automations import-crontab /etc/cron.d/shop --write
    """
    from duck.app.automation_declarations import system_zone
    from duck.services.automations.imported import read_crontab
    from duck.services.automations.toml import automation_table

    settings = load_settings(given)
    text = _read(file)
    asked = has_users
    if has_users is None:
        has_users = file is not None and str(file.absolute()).startswith(_SYSTEM)
    read = read_crontab(text, has_users=has_users, home=str(Path.home()), zone=system_zone())
    hint = _users_hint(read.jobs) if has_users is False and asked is None else ""
    target = (
        settings.file if settings.file is not None and settings.file.suffix == ".toml" else Path.cwd() / "duck.toml"
    )
    jobs, there = _new(read.jobs, settings["AUTOMATIONS"])
    tables = [automation_table(job.name, job.table, (f"line {job.line} of the crontab", *job.notes)) for job in jobs]
    problems = [
        *([hint] if hint else []),
        *read.problems,
        *(f"{name} is declared already, as it is here." for name in there),
    ]
    if write and tables:
        _append(target, tables)
    if as_json:
        rows = [
            {"line": job.line, "name": job.name, "table": dict(job.table), "notes": list(job.notes)} for job in jobs
        ]
        click.echo(
            json.dumps({"jobs": rows, "problems": problems, "written": str(target) if write else None}, indent=2)
        )
    elif write:
        click.echo(f"{len(tables)} automation{'' if len(tables) == 1 else 's'} written to {target}.")
        for job in jobs:
            for note in job.notes:
                click.echo(f"{job.name}: {note}", err=True)
    else:
        click.echo("\n".join(tables), nl=False)
    if not as_json:
        for problem in problems:
            click.echo(problem, err=True)
        if not read.jobs and not problems:
            click.echo("There are no jobs in it.", err=True)
    return FAILED if read.problems else OK


def _read(file: Path | None) -> str:
    if file is None:
        try:
            done = subprocess.run(["crontab", "-l"], capture_output=True, text=True, errors="replace", timeout=30)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ApplicationError(f"`crontab -l` cannot be run ({error}); give a file.") from error
        if done.returncode:
            raise ApplicationError(f"`crontab -l` says: {done.stderr.strip() or done.returncode}; give a file.")
        return done.stdout
    if str(file) == "-":
        return sys.stdin.read()
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ApplicationError(f"{file} cannot be read: {error.strerror}; give another.") from error


def _users_hint(jobs: tuple[Job, ...]) -> str:
    """What to say where each line seems to name a user, and none was expected to."""
    try:
        import pwd
    except ImportError:  # Windows
        return ""
    first = {job.command.split()[0] for job in jobs}
    users = {each.pw_name for each in pwd.getpwall()}
    if not first or not first <= users or any(shutil.which(each) for each in first):
        return ""  # `mail` is a user, too
    names = ", ".join(sorted(first))
    return f"Each line begins with the name of a user ({names}): give --system where it says who runs it."


def _new(jobs: tuple[Job, ...], declared: dict[str, Any]) -> tuple[list[Job], list[str]]:
    """Jobs with names that are free, and the names of those that stand there as they are."""
    found: list[Job] = []
    there: list[str] = []
    taken = {*declared}
    for job in jobs:
        same = [name for name, table in declared.items() if table == dict(job.table)]
        if same:
            there.append(same[0])
            continue
        name, number = job.name, 2
        while name in taken:
            name, number = f"{job.name}-{number}", number + 1
        taken.add(name)
        found.append(dataclasses.replace(job, name=name))
    return found, there


def _append(target: Path, tables: list[str]) -> None:
    """Write what `target` has, and the tables behind it; all or nothing."""
    try:
        before = target.read_text(encoding="utf-8") if target.exists() else ""
        text = (
            before
            + ("" if before.endswith("\n") or not before else "\n")
            + ("\n" if before else "")
            + "\n".join(tables)
        )
        try:
            tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ApplicationError(
                f"The tables cannot be put behind what {target} has: {error}; write [automations.NAME] there instead of"
                " `automations = {...}`."
            ) from error
        new = target.with_name(f"{target.name}.{os.getpid()}.new")
        try:
            # What the file has may be secret, and is nobody's before it has the rights of the file.
            mode = 0o600 if target.exists() else 0o666
            with open(new, "x", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, mode)) as file:
                file.write(text)
            if target.exists():
                new.chmod(target.stat().st_mode & 0o7777)
            os.replace(new, target)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        raise ApplicationError(f"{target} cannot be written: {error.strerror}; see to its rights.") from error

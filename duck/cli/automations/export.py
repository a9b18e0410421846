"""`duck automations export`: for those who let another scheduler start what Duck runs."""

from __future__ import annotations

import getpass
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from duck.cli.automations.place import found_in, given_options, offer_automations, options, the_one
from duck.cli.automations.shown import print_problems, problem_values
from duck.cli.main import OK
from duck.cli.options import load_settings
from duck.exceptions import ApplicationError

if TYPE_CHECKING:
    from duck.services.automations.exports.export import Export


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=offer_automations)
@click.option("--systemd", "kind", flag_value="systemd", help="Timers and services.")
@click.option("--crontab", "kind", flag_value="crontab", help="Lines of crontab.")
@click.option("--k8s", "kind", flag_value="k8s", help="Kubernetes CronJobs.")
@click.option(
    "--dest", type=click.Path(file_okay=False, path_type=Path), help="Write the files here, instead of printing."
)
@click.option("--user", "who", metavar="NAME", help="Who runs them under systemd; by default you.")
@click.option("--image", metavar="IMAGE", help="The container image of the CronJobs.")
@options
def export(
    names: tuple[str, ...],
    kind: str | None,
    dest: Path | None,
    who: str | None,
    image: str | None,
    as_json: bool,
    **given: Any,
) -> int:
    """Write automations for systemd, cron or Kubernetes.

    Each calls `duck automations run NAME --wait`. What cannot be said there is said in a comment, and on standard
    error. No dispatcher of Duck is to run beside them.

    For example: duck automations export --systemd --dest /etc/systemd/system
    """
    from duck.services.automations.exports import crontab, k8s, systemd
    from duck.services.automations.exports.export import Command

    if kind is None:
        raise click.UsageError("Give one of --systemd, --crontab and --k8s.")
    for option, value, of in (("--user", who, "systemd"), ("--image", image, "k8s")):
        if value is not None and kind != of:
            raise click.UsageError(f"{option} goes with --{of}.")
    settings = load_settings(given)
    found = found_in(settings)
    declarations = [the_one(found, name) for name in names] or list(found.declarations)
    command = Command(_duck() if kind != "k8s" else ("duck",), Path.cwd(), given_options(given))
    made: Export
    if kind == "systemd":
        made = systemd.systemd(declarations, command, datetime.now(UTC), who or getpass.getuser())
    elif kind == "crontab":
        made = crontab.crontab(declarations, command, found.zone.key)
    else:
        made = k8s.k8s(declarations, command, image or k8s.IMAGE)
    if dest is not None:
        _write(dest, made)
    if as_json:
        click.echo(json.dumps({"files": dict(made.files), "left": list(made.left), **problem_values(found)}, indent=2))
        return OK
    if dest is None:
        for name, text in made.files.items():
            click.echo(f"# ---- {name}\n{text}" if len(made.files) > 1 else text, nl=len(made.files) > 1)
    else:
        click.echo(f"{len(made.files)} file{'' if len(made.files) == 1 else 's'} written to {dest}.")
    for sentence in made.left:
        click.echo(sentence, err=True)
    print_problems(found)
    return OK


def _write(dest: Path, made: Export) -> None:
    try:
        dest.mkdir(parents=True, exist_ok=True)
        for name, text in made.files.items():
            (dest / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ApplicationError(
            f"{error.filename or dest} cannot be written: {error.strerror}; give another --dest."
        ) from error


def _duck() -> tuple[str, ...]:
    """How this Duck is called by somebody with another PATH."""
    program = os.path.abspath(sys.argv[0])
    if os.path.basename(program) == "duck" and os.access(program, os.X_OK) and os.path.isfile(program):
        return (program,)
    return (sys.executable, "-m", "duck")

"""`duck status` and `duck stop`: the Ducks that run, asked over their control sockets."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from duck.cli.main import NOT_RUNNING, OK
from duck.cli.processes import table, uptime
from duck.exceptions import ApplicationError

if TYPE_CHECKING:
    from duck.services.instance import InstanceInfo

_F = TypeVar("_F", bound=Callable[..., Any])

_STATUS_DEADLINE_S = 10.0


def which(function: _F) -> _F:
    """The argument and options that say which of the Ducks that run is meant."""
    function = click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)
    function = click.option("--all", "everywhere", is_flag=True, help="Those of every directory.")(function)
    function = click.option("--name", metavar="NAME", help="The one that was started with this --name.")(function)
    return click.argument("directory", required=False, type=click.Path(exists=True, file_okay=False))(function)


@click.command()
@which
def status(directory: str | None, name: str | None, everywhere: bool, as_json: bool) -> int:
    """Show the Duck that runs for this directory.

    Returns 0 where one runs and 3 where none does.

    For example: duck status ~/code/shop --json
    """
    from duck.services.ipc import NotRunning, call

    reports = []
    for instance in find_instances(directory, name, everywhere):
        try:
            reports.append(base_of(instance) | call(instance.control, "status", deadline_s=_STATUS_DEADLINE_S))
        except NotRunning:
            # Its lock is held and its socket is not there: it is starting or about to end.
            reports.append(base_of(instance) | {"state": "starting or stopping"})
    if as_json:
        click.echo(json.dumps({"instances": reports}, indent=2))
    elif not reports:
        click.echo(none_runs(directory, name, everywhere), err=True)
    else:
        click.echo("\n\n".join("\n".join(_lines(report)) for report in reports))
    return OK if reports else NOT_RUNNING


@click.command()
@which
@click.option(
    "--timeout", default=60.0, show_default=True, metavar="SECONDS", help="How long to wait until it is gone."
)
def stop(directory: str | None, name: str | None, everywhere: bool, as_json: bool, timeout: float) -> int:
    """Stop the Duck that runs for this directory.

    What runs is finished first, up to SHUTDOWN_TIMEOUT. Returns when the process is gone: 0, or 3 where none ran.

    For example: duck stop --all
    """
    from duck.services.ipc import NotRunning, call

    # Of every directory is not of every user.
    found = find_instances(directory, name, everywhere, of_all=not everywhere)
    if len(found) > 1 and not everywhere:
        listed = ", ".join(f"{instance.name} (process id {instance.pid})" for instance in found)
        raise ApplicationError(f"Several run here: {listed}; choose one with --name, or stop them with --all.")
    stopped = []
    for instance in found:
        deadline = time.monotonic() + timeout
        try:
            call(instance.control, "stop", deadline_s=timeout)
        except NotRunning as error:
            if _is_held(instance):
                raise ApplicationError(
                    f"The Duck with process id {instance.pid} is starting or about to end; try again."
                ) from error
        while _is_held(instance):
            if time.monotonic() > deadline:
                raise ApplicationError(
                    f"The Duck with process id {instance.pid} has not ended within {timeout:g} seconds; "
                    f"give it longer with --timeout, or end it with `kill {instance.pid}`."
                )
            time.sleep(0.05)
        stopped.append(instance)
        if not as_json:
            click.echo(f"Stopped the Duck of {instance.project} (process id {instance.pid}).")
    if as_json:
        click.echo(json.dumps({"stopped": [base_of(instance) for instance in stopped]}, indent=2))
    elif not found:
        click.echo(none_runs(directory, name, everywhere), err=True)
    return OK if found else NOT_RUNNING


def find_instances(
    directory: str | None, name: str | None, everywhere: bool, *, of_all: bool = True
) -> list[InstanceInfo]:
    """The running instances that are meant: of this directory, of one that it lies in, or of one that lies in it.

    Root finds those of other users, too, which it may have started for them; without `of_all` its own alone.
    """
    here = os.path.realpath(directory or os.getcwd())
    found = [info for info in _running(of_all) if name is None or info.name == name]
    if everywhere:
        return found
    exactly = [info for info in found if info.project == here]
    around = [info for info in found if here.startswith(os.path.join(info.project, ""))]
    below = [info for info in found if os.path.dirname(info.project) == here]
    return exactly or around or below


def _is_held(instance: InstanceInfo) -> bool:
    return any(info.pid == instance.pid for info in _running())


def _running(of_all: bool = True) -> list[InstanceInfo]:
    from duck.services.instance import running_instances
    from duck.services.state import run_directory

    own = run_directory()
    found = running_instances(own)
    if of_all and getattr(os, "geteuid", lambda: 1)() == 0:
        for place in _of_others():
            if place != own:
                found += running_instances(place)
    return sorted(found, key=lambda info: info.started)


def _of_others() -> list[Path]:
    """The run directories of other users; none that somebody has put in the place of another's."""
    places = [(path, path.name.removeprefix("duck-")) for path in Path("/tmp").glob("duck-*")]
    places += [(path, path.parent.name) for path in Path("/run/user").glob("*/duck")]
    private = [
        path for path, user in places if user.isdecimal() and int(user) != 0 and _is_directory_of(path, int(user))
    ]
    # RUNTIME_DIRECTORY of a systemd service: only root makes a directory here.
    services = [path for path in Path("/run").glob("*/duck") if path.is_dir() and not path.is_symlink()]
    return sorted({*private, *services})


def _is_directory_of(path: Path, user: int) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == user


def none_runs(directory: str | None, name: str | None, everywhere: bool) -> str:
    """The sentence for somebody who asks where none is."""
    where = "" if everywhere else f" for {os.path.realpath(directory or os.getcwd())}"
    called, option = ("", "") if name is None else (f" named {name!r}", f" --name {name}")
    return f"No Duck{called} runs{where}; start one with `duck runserver{option}`."


def base_of(instance: InstanceInfo) -> dict[str, Any]:
    """What is known of it without asking."""
    return {
        "pid": instance.pid,
        "project": instance.project,
        "settings": instance.settings,
        "name": instance.name,
        "addresses": list(instance.addresses),
        "started": instance.started,
    }


def _lines(report: dict[str, Any], indent: str = "") -> list[str]:
    """A report as aligned lines; nested tables are indented below their name."""
    width = max((len(key) for key in report), default=0)
    lines = []
    for key, value in report.items():
        label = key.removesuffix("_s").replace("_", " ")
        if key == "uptime_s":
            value = uptime(value)
        if key == "started" and isinstance(value, (int, float)):
            value = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value)) if value else None
        if isinstance(value, dict) and value:
            lines += [f"{indent}{label}:", *_lines(value, indent + "  ")]
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            lines.append(f"{indent}{label}:")
            lines += [f"{indent}  {line}" for line in table(value)]
        elif value not in (None, "", [], {}):
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            lines.append(f"{indent}{label:<{width}}  {text}")
    return lines

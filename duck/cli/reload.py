"""`duck reload`: new code in the place of the old, with nobody interrupted."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from duck.cli.main import NOT_RUNNING, OK
from duck.exceptions import ApplicationError

_POLL_S = 0.1


@click.command()
@click.argument("directory", required=False, type=click.Path(exists=True, file_okay=False))
@click.option(
    "--self", "is_self", is_flag=True, help="Replace Duck's own code, too, not Django: same process, same port."
)
@click.option("--name", metavar="NAME", help="The one that was started with this --name.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--timeout", default=120.0, show_default=True, metavar="SECONDS", help="How long to wait until it serves."
)
def reload(directory: str | None, is_self: bool, name: str | None, as_json: bool, timeout: float) -> int:
    """Load the project again in the Duck that runs for this directory.

    New Django processes come up beside the old ones, have to be ready, and take over; the old ones finish what they
    began. Where the new ones fail nothing changes, and the reason is shown. Returns 0 when the new code serves, 1 when
    it does not, 3 where no Duck runs.

    For example: git pull && duck reload
    """
    from duck.cli.instances import find_instances, none_runs

    found = find_instances(directory, name, False)
    if not found:
        click.echo(none_runs(directory, name, False), err=True)
        return NOT_RUNNING
    if len(found) > 1:
        listed = ", ".join(f"{one.name} (process id {one.pid})" for one in found)
        raise ApplicationError(f"Several run here: {listed}; choose one with --name.")
    instance = found[0]
    deadline = time.monotonic() + timeout
    from duck.services.ipc import call

    result = call(
        instance.control,
        "reload",
        deadline_s=timeout,
        on_progress=None if as_json else lambda sentence: click.echo(sentence, err=True),
        **({"self": True} if is_self else {}),
    )
    if is_self:
        result = _wait_for_next(instance.control, result["run"], deadline)
    if as_json:
        click.echo(json.dumps(result))
    elif is_self:
        click.echo(f"Duck {result['version']} has taken over (process id {result['pid']}).")
    else:
        what = f"Generation {result['generation']} serves" if "generation" in result else "The automations are there"
        click.echo(f"{what} after {result['took_s']:g} s.")
    return OK


def _wait_for_next(control: str, run: int, deadline: float) -> dict[str, Any]:
    """Wait until the Duck after `run` serves."""
    from duck.services.ipc import ControlError, call

    while time.monotonic() < deadline:
        time.sleep(_POLL_S)
        try:
            said = call(control, "status", deadline_s=5.0)
        except ControlError:
            continue  # its socket is made anew
        if said["run"] == run and said.get("not_replaced"):
            raise ApplicationError(f"{said['not_replaced']} What ran before serves on.")
        fronts = [process for process in said["processes"] if process["role"] == "front"]
        if said["run"] > run and said["state"] == "running" and all(one["state"] == "serving" for one in fronts):
            app = next(process for process in said["processes"] if process["role"] == "app")
            return {"run": said["run"], "version": said["version"], "pid": app["pid"]}
    raise ApplicationError("The new Duck does not serve yet; `duck status` shows how far it is.")

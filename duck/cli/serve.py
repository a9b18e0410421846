"""`duck serve`: serve a project to others."""

from __future__ import annotations

from typing import Any

import click

from duck.cli.options import load_settings, setting_options


@click.command()
@setting_options("serve")
def serve(**given: Any) -> int:
    """Serve the Django or Duck project of this directory in production.

    Front workers and Django processes are started, watched and replaced; `duck reload` brings up new code beside the
    old, and SIGHUP does the same. Nothing is loaded again by itself.

    For example: duck serve --listen http://0.0.0.0:80 --user www-data
    """
    from duck import settings as installed

    refuse_own_code_as_root(given["user"])
    settings = load_settings(given, MODE="serve")
    installed.install(settings)
    from duck.app.run import runserver

    return runserver(settings)


def refuse_own_code_as_root(user: str | None) -> None:
    """Settings and main.py of a Duck project are its code, which is run before anything can be dropped.

    Raises:
        ApplicationError: root has started one, and does not want to be who serves.
    """
    import os
    from pathlib import Path

    from duck.exceptions import ApplicationError
    from duck.settings.load import is_duck_project

    if getattr(os, "geteuid", lambda: 1)() != 0 or not is_duck_project(Path.cwd()):
        return
    if (user or os.environ.get("DUCK_USER", "")).partition(":")[0] not in ("root", "0"):
        raise ApplicationError(
            "Root has started a Duck project, whose settings.py and main.py are code of its own: start it as the user"
            " who shall serve (`sudo -u www-data duck serve`), with a socket unit of systemd or setcap for ports below"
            " 1024; --user root runs it as root."
        )

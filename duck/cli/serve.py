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

    settings = load_settings(given, MODE="serve")
    installed.install(settings)
    from duck.app.run import runserver

    return runserver(settings)

"""`duck runserver`: serve a project while it is worked on."""

from __future__ import annotations

from typing import Any

import click

from duck.cli.options import load_settings, setting_options


@click.command()
@click.argument("addrport", required=False)
@setting_options("runserver")
def runserver(addrport: str | None, **given: Any) -> int:
    """Serve the Django or Duck project of this directory.

    ADDRPORT is what Django's own runserver takes: 8001, 0.0.0.0:8000 or [::1]:8000.

    For example: duck runserver 0.0.0.0:8001 --django ../shop
    """
    from duck import settings as installed
    from duck.settings.listen import parse_addrport

    address, port = None, None
    if addrport is not None:
        try:
            address, port = parse_addrport(addrport)
        except ValueError as error:
            raise click.BadArgumentUsage(f"{error}.") from error
        if (given["address"] is not None and address is not None) or given["port"] is not None or given["listen"]:
            raise click.UsageError(
                f"{addrport} and --address, --port or --listen say where to listen; keep one of them."
            )
    settings = load_settings(given, ADDRESS=address, PORT=port)
    installed.install(settings)
    from duck.app.run import runserver as serve

    return serve(settings)

"""What an App says on the console when it has started."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import duck
from duck.app.banner import BannerFacts, banner
from duck.logs import to_console
from duck.settings import views

if TYPE_CHECKING:
    from duck.app.lifecycle import Lifecycle

logger = logging.getLogger("duck.app")


def show_banner(lifecycle: Lifecycle) -> None:
    """Show the banner, or its facts as log lines where the log is for programs."""
    facts = _facts(lifecycle)
    if lifecycle.settings["LOG_FORMAT"] == "json":
        logger.info("listening at %s", ", ".join(facts.addresses))
        for sentence in facts.warnings:
            logger.warning("%s", sentence)
    else:
        to_console(banner(facts) + "\n")


def _facts(lifecycle: Lifecycle) -> BannerFacts:
    django, settings = lifecycle.django, lifecycle.settings
    own_side = ""
    if settings.is_duck_project:
        own_side = "its own urlpatterns" + (", which cannot be loaded" if lifecycle.unloaded is not None else "")
    return BannerFacts(
        version=duck.__version__,
        addresses=lifecycle.addresses,
        duck_side=own_side,
        reload="on changes" if lifecycle.watched_directories is not None else "",
        prefix=views.listening(settings).prefix or "",
        processes=[("Duck", os.getpid()), *(("Django", pid) for pid in (django.pids if django is not None else ()))],
        warnings=[*settings.warnings, *(django.warnings if django is not None else ())],
        workers=_workers(lifecycle),
        admin=", ".join(f"{address}/readyz and /metrics" for address in lifecycle.overview.addresses),
        reload_command=views.production(settings).serves and django is not None and django.root is not None,
        **(django.banner() if django is not None and lifecycle.unloaded is None else {}),
    )


def _workers(lifecycle: Lifecycle) -> str:
    """How many processes there are, and what that may cost a database: each thread keeps a connection of its own."""
    settings, django = lifecycle.settings, lifecycle.django
    if not views.production(settings).serves:
        return ""
    said = f"{lifecycle.front.count} front"
    if django is None or django.root is None:
        return said
    processes, threads = django.workers, views.django(settings).threads
    return (
        f"{said}, {processes} Django with {threads} threads each: up to {processes * threads} connections to a database"
    )

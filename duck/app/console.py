"""What an App says on the console when it has started."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Final

import duck
from duck.app.banner import BannerFacts, banner
from duck.app.qr import qr_code
from duck.app.recorded import page_url
from duck.logs import to_console, wants_colour
from duck.settings import views

if TYPE_CHECKING:
    from duck.app.lifecycle import Lifecycle

logger = logging.getLogger("duck.app")

_NAMES: Final = 3  # of a certificate


def show_banner(lifecycle: Lifecycle) -> None:
    """Show the banner, or its facts as log lines where the log is for programs."""
    facts = _facts(lifecycle)
    if lifecycle.settings["LOG_FORMAT"] == "json":
        logger.info("listening at %s", ", ".join(facts.addresses))
        for sentence in facts.warnings:
            logger.warning("%s", sentence)
    else:
        to_console(banner(facts, colour=wants_colour(sys.stderr)) + "\n")
        if lifecycle.settings["QR"]:
            _show_qr(facts)


def _show_qr(facts: BannerFacts) -> None:
    """The address for another device, to be read by its camera."""
    address = next(iter(facts.network or ()), "")
    if not address:
        logger.warning("--qr is for other devices, and none can reach this address; say --lan, too.")
        return
    url = f"{address}{facts.prefix}/"
    picture = qr_code(url)
    if picture:
        to_console(f"\n{picture}\n")
    else:
        logger.warning("This console cannot show a QR code of %s; its encoding has no blocks.", url)


def _facts(lifecycle: Lifecycle) -> BannerFacts:
    django, settings = lifecycle.django, lifecycle.settings
    own_side = ""
    if settings.is_duck_project:
        own_side = "its own urlpatterns" + (", which cannot be loaded" if lifecycle.unloaded is not None else "")
    network = lifecycle.network
    return BannerFacts(
        version=duck.__version__,
        addresses=[address for address in lifecycle.addresses if address not in network],
        network=network if views.listening(settings).lan else None,
        https=_https(lifecycle),
        requests=page_url(lifecycle),
        keys=lifecycle.keys.are_taken,
        duck_side=own_side,
        frontend=lifecycle.frontend.words,
        reload="on changes" if lifecycle.watched_directories is not None else "",
        prefix=views.listening(settings).prefix or "",
        processes=[("Duck", os.getpid()), *(("Django", pid) for pid in (django.pids if django is not None else ()))],
        warnings=[*settings.warnings, *(django.warnings if django is not None else ())],
        workers=_workers(lifecycle),
        admin=", ".join(f"{address}/readyz and /metrics" for address in lifecycle.overview.addresses),
        reload_command=views.production(settings).serves and django is not None and django.root is not None,
        **(django.banner() if django is not None and lifecycle.unloaded is None else {}),
    )


def _https(lifecycle: Lifecycle) -> str:
    """What is served where HTTPS is on; in development, how to have it where it is not."""
    https = lifecycle.https
    if https.enabled and https.certificates:
        certificate = https.certificates[0]
        names = ", ".join(certificate.names[:_NAMES])
        more = f" and {len(certificate.names) - _NAMES} more" if len(certificate.names) > _NAMES else ""
        return f"a certificate for {names}{more}, until {certificate.not_after:%Y-%m-%d}"
    return "" if views.production(lifecycle.settings).serves else "off; --https serves it"


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

"""The application."""

from __future__ import annotations

import contextlib
import logging
import sys
from importlib import import_module
from typing import Any

from django.apps import AppConfig


class DuckAutomations(AppConfig):
    """Runs of automations and how each automation stands; `duck manage migrate duck_automations` makes its tables."""

    name = "duck.automation.django"
    label = "duck_automations"
    verbose_name = "Scheduled work"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Where Celery is loaded, have its workers carry automations out; nobody else loads more for it."""
        if "celery" in sys.modules:
            from celery import signals

            signals.celeryd_after_setup.connect(_in_worker, weak=False)
            signals.worker_process_init.connect(_in_worker_process, weak=False)


def _in_worker(instance: Any, **said: Any) -> None:
    """Before the worker makes its processes."""
    try:
        # It has all of Duck, which nothing else here needs.
        import_module("duck.automation.celery").watch_tasks(instance.app)
    except ImportError as error:
        logging.getLogger("duck.automations").error(
            "This worker carries no automations out, for Duck is not installed for it (%s): install duck-server there.",
            error,
        )


def _in_worker_process(**said: Any) -> None:
    """In one of them, which was not made by a fork where it knows nothing yet."""
    with contextlib.suppress(ImportError):  # as the worker has said
        import_module("duck.automation.celery").watch_fresh()

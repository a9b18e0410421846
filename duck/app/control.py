"""The commands of the control socket: ping, status, reload, migrate, stop, settings, requests."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import duck
from duck.app.recorded import commanded
from duck.app.status import describe_process

if TYPE_CHECKING:
    from duck.app.lifecycle import Lifecycle
    from duck.services.ipc import Request


def commands(lifecycle: Lifecycle) -> dict[str, Callable[[Request], None]]:
    """The commands of one App, by name."""
    return {
        "ping": lambda request: request.reply({"pid": os.getpid(), "version": duck.__version__}),
        "status": lambda request: lifecycle.refresh(lambda: request.reply(report(lifecycle))),
        "reload": lifecycle.reload_asked,
        "migrate": lifecycle.migration.asked,
        "stop": lifecycle.ending.commanded,
        "settings": lambda request: request.reply({"settings": _settings(lifecycle)}),
        "requests": lambda request: commanded(lifecycle, request),
    }


def report(lifecycle: Lifecycle) -> dict[str, Any]:
    """All that `duck status` shows, as plain values.

    `state` is `starting`, `running`, `broken` (Django cannot be started), `holding` (it is being replaced) or
    `stopping`; times in seconds, memory in bytes. `not_replaced` is there where `duck reload --self` has failed last,
    and says why.
    """
    front = lifecycle.front.status()
    django = lifecycle.django
    processes = [
        describe_process(
            "app",
            os.getpid(),
            name=lifecycle.process_name,
            requests=front.get("requests", 0),
            connections=front.get("connections", 0),
        )
    ]
    processes += [describe_process(**process) for process in lifecycle.front.processes()]
    said: dict[str, Any] = {
        "version": duck.__version__,
        "run": lifecycle.succession.run,
        "state": lifecycle.state,
        "addresses": lifecycle.addresses,
        "uptime_s": round(time.time() - lifecycle.began, 1),
        "front": front,
    }
    if django is not None:
        told = dict(django.status())
        processes += [describe_process(**process) for process in told.pop("processes", ())]
        said["django"] = told
    frontend = lifecycle.frontend.report()
    if frontend:
        said["frontend"] = frontend
        processes += [describe_process("front end", pid, name=frontend["name"]) for pid in lifecycle.frontend.pids]
    automations = lifecycle.automations.report()
    if automations:
        processes += [describe_process(**process) for process in automations.pop("processes")]
        said["automations"] = automations
    said["processes"] = processes
    certificates = lifecycle.certificates.status() if lifecycle.certificates is not None else None
    if certificates:
        said["certificates"] = certificates
    if lifecycle.watched_directories is not None:
        said["reload"] = {"directories": lifecycle.watched_directories}
    if lifecycle.succession.failure:
        said["not_replaced"] = lifecycle.succession.failure
    if lifecycle.unloaded is not None:
        said["failure"] = lifecycle.unloaded.message
    return said


def _settings(lifecycle: Lifecycle) -> dict[str, Any]:
    from duck.settings.schema import SETTINGS

    told: dict[str, Any] = {}
    for name, value in lifecycle.settings.items():
        shown = "(hidden)" if SETTINGS[name].secret and value is not None else _plain(value)
        told[name] = {"value": shown, "origin": str(lifecycle.settings.origin(name))}
    return told


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return str(value)

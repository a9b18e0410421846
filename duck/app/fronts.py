"""Which front an App has: threads of its own process, or worker processes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from duck.app.front import Front
from duck.app.front_processes import FrontProcesses
from duck.app.front_worker import is_front_worker
from duck.services import machine
from duck.settings import views

if TYPE_CHECKING:
    from collections.abc import Callable

    from duck.app.app import App
    from duck.services.inbox import Inbox
    from duck.settings.load import Settings


def make_front(app: App, settings: Settings, inbox: Callable[[], Inbox]) -> Front | FrontProcesses:
    """Processes under `duck serve`, or where the App was made with `force_worker_processes`; threads otherwise."""
    view = views.production(settings)
    if is_front_worker() or not (view.serves or app.force_worker_processes):
        return Front(lambda callback: inbox().post(callback))
    return FrontProcesses(inbox, front_count(app, settings))


def thread_count(app: App, settings: Settings) -> int:
    """Worker threads of a front that is no set of processes."""
    if views.production(settings).serves or app.force_worker_processes:
        return 1
    return front_count(app, settings)


def front_count(app: App, settings: Settings) -> int:
    """How many front workers are wanted."""
    said = views.production(settings).workers
    if app.workers is not None and not settings.is_given("WORKERS"):
        return app.workers
    return machine.workers(said, os.environ)  # type: ignore[arg-type]

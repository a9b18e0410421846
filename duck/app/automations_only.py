"""`duck serve --automations-only`: an App whose dispatcher of automations is all that it starts.

It is found, asked, reloaded and stopped as any other: control socket, instance lock, `duck status`, SIGHUP, systemd.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import duck
from duck.app.control import commands
from duck.app.dispatcher_member import RUNNING
from duck.app.lifecycle import Lifecycle
from duck.app.reloads import Reloads
from duck.app.trial import end_if_on_trial
from duck.backend.django.discover import find_project
from duck.exceptions import ProjectError, SettingsError
from duck.logs import paint, to_console, wants_colour
from duck.services.state import state_directory
from duck.settings import views

if TYPE_CHECKING:
    from duck.app.app import App
    from duck.settings.load import Settings

logger = logging.getLogger("duck.app")


class AutomationsOnly(Lifecycle):
    """A `Lifecycle` without servers and Django."""

    def __init__(self, app: App, settings: Settings) -> None:
        super().__init__(app, settings)
        self._root = settings.base_dir

    def prepare(self) -> None:
        """Find the project, take the instance lock; nothing is started.

        Raises:
            DuckError: one sentence; call `abandon` then.
        """
        settings = self.settings
        if not settings["RUN_AUTOMATIONS"]:
            raise SettingsError(
                f"{settings.origin('RUN_AUTOMATIONS')}: RUN_AUTOMATIONS is off, and --automations-only runs nothing"
                " else; leave one of them out."
            )
        self.succession.begin()
        inherited = self.succession.inherited
        self.host.begin()
        if self.host.is_root and inherited is None:
            self.host.drop([])
        self._root = _project_of(settings)
        if settings["STATE_DIR"] is not None:
            state_directory(settings["STATE_DIR"], project=self.project_dir)
        end_if_on_trial()
        self.presence.take(
            project=self.project_dir,
            settings=views.django(settings).settings_module or os.environ.get("DJANGO_SETTINGS_MODULE", ""),
            name=views.listening(settings).name,
            started=self.began,
            inherited=self.succession.lock,
        )
        if settings.is_given("ADMIN_LISTEN"):  # by default that address is the site's, which may be served beside
            left = self.succession.more("overview").get("listeners")
            self.overview.open(settings, 0, left if inherited is not None else self.host.admin_sockets)
        self.presence.publish([])

    def start(self, *, with_banner: bool = True) -> None:
        """Start the dispatcher and the control socket.

        Raises:
            DuckError: one of them cannot be started; call `abandon` then.
        """
        self._thread = threading.current_thread()
        self.started = True
        self.reloads = Reloads(self)
        self.presence.open(self.inbox, commands(self))
        self.overview.start(duck.__version__, self.succession.more("overview").get("counts"))
        self.host.start(self.inbox, self._is_ours, lambda: True, takes_orphans=False)
        self.automations.take_over(self.succession.more("automations"))
        self._app.record_metadata()
        if self.succession.inherited is not None:
            logger.info("Duck %s has taken over.", duck.__version__)
        elif with_banner:
            self._show_banner()
        self.automations.begin()
        self.tidings.announce("running automations")

    @property
    def state(self) -> str:
        """`starting`, `running` or `stopping`."""
        if self.ending.has_begun:
            return "stopping"
        return "running" if self.automations.state == RUNNING else "starting"

    @property
    def not_ready(self) -> str:
        """Why nothing would be run, in words; empty where it would be. For any thread."""
        if self.ending.is_near:
            return "stopping"
        return "" if self.automations.state == RUNNING else "no dispatcher of automations runs yet"

    @property
    def project_dir(self) -> Path:
        """The Django project's directory, else that of Duck's settings."""
        return self.settings.base_dir if self.settings.is_duck_project else self._root

    def _restored(self) -> None:
        """Nothing lies in the directory of the sockets but this Duck's own."""

    def _show_banner(self) -> None:
        if views.logs(self.settings).format == "json":
            logger.info("running automations of %s", self.project_dir)
            return
        colour = wants_colour(sys.stderr)
        rows = [("Project", str(self.project_dir))]
        if self.overview.addresses:
            rows.append(("Health", ", ".join(f"{one}/readyz and /metrics" for one in self.overview.addresses)))
        rows.append(("Reload", "`duck reload`, or SIGHUP"))
        rows.append(("Stop", "Ctrl-C here, or `duck stop` from elsewhere"))
        width = max(len(name) for name, _ in rows)
        lines = [f"{paint(f'Duck {duck.__version__}', '1;33', colour)} runs automations, and listens nowhere"]
        lines += [f"  {paint(f'{name:<{width}}', '2', colour)}  {text}" for name, text in rows]
        to_console("\n".join(lines) + "\n")


def make_lifecycle(app: App, settings: Settings) -> Lifecycle:
    """That of an App with these settings."""
    alone = views.production(settings).serves and settings["AUTOMATIONS_ONLY"]
    return AutomationsOnly(app, settings) if alone else Lifecycle(app, settings)


def _project_of(settings: Settings) -> Path:
    view = views.django(settings)
    if view.use is False:
        return settings.base_dir
    try:
        return find_project(settings.project_dir, view.project).root
    except ProjectError:
        if view.use or view.project is not None:
            raise
        return settings.base_dir

"""The front-end server of an App: found by its settings, started beside Django, told of by name."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from duck.backend.django.discover import child_environment, find_project
from duck.exceptions import ProjectError
from duck.http.frontend import FrontendConfig
from duck.logs import ProcessOutput, to_console, wants_colour
from duck.services.frontend.plan import find_frontend
from duck.services.frontend.service import FrontendService, url_of
from duck.settings import views
from duck.settings.frontend import frontend

if TYPE_CHECKING:
    from duck.app.lifecycle import Lifecycle
    from duck.services.frontend.address import FrontendAddress
    from duck.services.frontend.plan import FrontendPlan
    from duck.settings.load import Settings

logger = logging.getLogger("duck.app")

_END_S: Final = 2.0


def frontend_plan(settings: Settings) -> FrontendPlan | None:
    """The front-end server that a start with `settings` has beside Django.

    Raises:
        ProjectError: one is meant, and cannot be started.
    """
    view = frontend(settings)
    if view.wanted is False:
        return None
    directory = settings.base_dir
    django = views.django(settings)
    if django.use is not False and django.address is None:
        try:
            directory = find_project(settings.project_dir, django.project).root
        except ProjectError:
            pass  # who starts it says so
    return find_frontend(directory, view)


def frontend_config(settings: Settings) -> FrontendConfig | None:
    """What a site is told of it."""
    try:
        plan = frontend_plan(settings)
    except ProjectError:
        return None
    return None if plan is None else FrontendConfig(plan.name, plan.root, frontend(settings).paths)


class FrontEnd:
    """Of one run. For the inbox's thread.

    Attributes:
        service: None where there is none, or its start was not tried yet.
    """

    def __init__(self, lifecycle: Lifecycle) -> None:
        self.service: FrontendService | None = None
        self._lifecycle = lifecycle
        self._is_off = False

    def start(self, inherited: Mapping[str, Any]) -> None:
        """Start it, or go on with that of the Duck before; what keeps it from starting is said."""
        lifecycle = self._lifecycle
        try:
            plan = frontend_plan(lifecycle.settings)
        except ProjectError as error:
            logger.warning("%s", error)
            plan = None
        if plan is None:
            FrontendService.forget(lifecycle.inbox, inherited)
            return
        interpreter = lifecycle.django.interpreter if lifecycle.django is not None else ""
        environ = child_environment(os.environ, interpreter or sys.executable)
        colour = wants_colour(sys.stderr)
        if colour:
            environ.setdefault("FORCE_COLOR", "1")
        output = ProcessOutput(plan.name, to_console, style=views.logs(lifecycle.settings).format, colour=colour)
        self.service = FrontendService(
            lifecycle.inbox,
            plan,
            environ,
            tell=lifecycle.front.turn_frontend,
            write=lambda text: output.feed(text.encode("utf-8", "replace")),
            ready=self._ready,
        )
        if not self.service.take_over(inherited):
            self.service.start()

    def project_told(self, facts: Mapping[str, Any]) -> None:
        """Django has come up and told these facts: with DEBUG off nobody is to see sources."""
        service = self.service
        if service is None or "debug" not in facts:
            return
        was_off, self._is_off = self._is_off, not facts["debug"]
        if self._is_off and not was_off:
            logger.warning("DEBUG is off, so that %s is not served; it is ended.", service.plan.name)
            service.stop(_END_S, lambda: None)
        elif was_off and not self._is_off and service.pid is None:
            service.start()

    def hand_over(self) -> dict[str, Any]:
        """What the Duck that this process becomes needs to go on with it."""
        return self.service.hand_over() if self.service is not None else {}

    def kill(self) -> None:
        """End it now."""
        if self.service is not None:
            self.service.kill()

    @property
    def pids(self) -> list[int]:
        """Processes whose exit status somebody waits for here."""
        pid = self.service.pid if self.service is not None else None
        return [] if pid is None else [pid]

    @property
    def directory(self) -> str:
        """Of the files that are its own to watch; empty for none."""
        return self.service.plan.root if self.service is not None else ""

    @property
    def words(self) -> str:
        """What the banner says of it; empty for none."""
        service = self.service
        if service is None:
            return ""
        plan = service.plan
        if plan.argv is None:
            return f"the server at {plan.url}, at the same addresses"
        program = " ".join([os.path.basename(plan.argv[0]), *plan.argv[1:]])
        return f"{program} in {os.path.relpath(plan.cwd, self._lifecycle.project_dir)}, at the same addresses"

    def report(self) -> dict[str, Any]:
        """What `duck status` shows of it."""
        return dict(self.service.status()) if self.service is not None else {}

    def _ready(self, took_s: float, address: FrontendAddress) -> None:
        assert self.service is not None
        after = f" after {took_s:.1f} s" if took_s else ""
        logger.info(
            "%s is ready%s at %s, and is served at Duck's own addresses too.",
            self.service.plan.name,
            after,
            url_of(address),
        )

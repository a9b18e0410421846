"""Tidings: what Django tells of itself, and which parts of the App hear of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from duck.app.readiness import Readiness

if TYPE_CHECKING:
    from duck.app.app import App
    from duck.app.lifecycle import Lifecycle
    from duck.proxy.upstream import Generation

logger = logging.getLogger("duck.app")


class Tidings:
    """Of one run; for the thread that serves the inbox.

    Attributes:
        took_over: what serves was told of by the Duck that this process was: its first generation is no news.
    """

    def __init__(self, app: App, lifecycle: Lifecycle) -> None:
        self.took_over = False
        self._app = app
        self._lifecycle = lifecycle
        self._readiness = Readiness(lifecycle)
        self._announced = False
        self._told_generation = 0

    def generation(self, generation: Generation, acknowledged: Callable[[], None], left: Callable[[], None]) -> None:
        """One is ready (see `DjangoService.attach`), or goes on serving because its successor failed."""
        lifecycle = self._lifecycle
        facts = generation.facts
        lifecycle.front.switch(generation, acknowledged, left)
        lifecycle.frontend.project_told(facts)
        is_another = generation.number != self._told_generation
        if is_another or self.took_over:
            lifecycle.automations.project_told(facts)
        if facts and lifecycle.certificates is not None:
            lifecycle.certificates.hosts_known(facts)
        if facts and is_another and not self.took_over:
            if lifecycle.changes is not None:
                lifecycle.changes.came(facts)
            self._readiness.tell(generation)
        self._told_generation = generation.number
        self.took_over = False
        self.announce()

    def broken(self, failure: Mapping[str, Any]) -> None:
        """Nothing serves, and the start failed with this (see `DjangoService.attach`)."""
        self._lifecycle.front.broken(failure)
        if failure["stage"] == "refused" and not self._announced:
            self._lifecycle.ending.approach(1, at_once=True)  # nothing that happens later would mend it
        else:
            self._lifecycle.automations.project_failed()

    def announce(self, what: str = "") -> None:
        """It does `what`, or serves: the service manager is told, and once the App's own hook."""
        self._lifecycle.host.ready(what or f"serving {', '.join(self._lifecycle.addresses)}")
        if self._announced:
            return
        self._announced = True
        try:
            self._app.on_app_start()
        except Exception:
            logger.exception("on_app_start failed; serving all the same")

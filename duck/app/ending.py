"""Ending: how an App ends, or ends to start again, and who wanted it.

near ──DRAIN_DELAY──> begun ──drained, or the deadline──> all that was started has ended ──> given back
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import TYPE_CHECKING, Final

from duck.app.front_processes import FrontProcesses
from duck.app.shutdown import Drained, Shutdown
from duck.services.django import STARTING
from duck.settings import views

if TYPE_CHECKING:
    from duck.app.app import App
    from duck.app.lifecycle import Lifecycle
    from duck.services.ipc import Request
    from duck.services.service import Service

logger = logging.getLogger("duck.app")

# How long an end waits for requests that Django is not going to answer, in seconds.
_VAIN_S: Final = 0.5


class Ending:
    """Of one run of `app`. For the inbox's thread, unless it says otherwise.

    Attributes:
        is_near: who asks whether this Duck is ready should go elsewhere.
        has_begun: nothing new is begun any more.
        restarts: a new Duck comes after it, in the same process.
        status: of the exit.
        ended: set at the very end.
    """

    def __init__(self, app: App, lifecycle: Lifecycle) -> None:
        self.is_near = False
        self.has_begun = False
        self.restarts = False
        self.status = 0
        self.ended = threading.Event()
        self._app = app
        self._run = lifecycle
        self._shutdown: Shutdown | None = None
        self._requests: list[Request] = []
        self._quiet = False
        self._call_hook = True
        self._flush_logs = True

    @property
    def longest_s(self) -> float:
        """How long what is under way may go on, in seconds; worker threads have one deadline for all of it."""
        view = views.closing(self._run.settings)
        return view.longest_s if isinstance(self._run.front, FrontProcesses) else view.deadline_s

    def signalled(self, number: int) -> None:
        """SIGINT or SIGTERM has come: stop; the second one skips to the deadline."""
        if self._shutdown is not None:
            self.status = 128 + number
            self.hurry()
        elif not self.has_begun:
            # Ctrl-C is somebody who waits; SIGTERM may come from an orchestrator whose balancer does not know yet.
            self.approach(128 + number, at_once=self.is_near or number == signal.SIGINT)

    def hurry(self) -> None:
        """End what is under way, where the end has begun, without waiting for it."""
        if self._shutdown is not None:
            logger.info("Stopping now, without waiting for what runs.")
            self.restarts = False
            self._shutdown.hurry()

    def ask(
        self,
        status: int = 0,
        *,
        quiet: bool = False,
        call_hook: bool = True,
        stop_reloader: bool = True,
        flush_logs: bool = True,
    ) -> None:
        """Have it stop soon. For any thread; what is said first counts."""

        def soon() -> None:
            if self.has_begun:
                return
            self._quiet, self._call_hook, self._flush_logs = quiet, call_hook, flush_logs
            self.begin(status, stop_reloader=stop_reloader)

        if self._run.started:
            self._run.inbox.post(soon)

    def ask_restart(self) -> None:
        """Have it stop soon, and become a new Duck in the same process. For any thread."""

        def soon() -> None:
            if not self.has_begun:
                self.restarts = True
                self.begin(0)

        if self._run.started:
            self._run.inbox.post(soon)

    def commanded(self, request: Request) -> None:
        """The command `stop`: told of the progress, answered when all has ended but this process."""
        self._requests.append(request)
        request.progress(f"Stopping, within {self.longest_s:g} seconds.")
        if not self.has_begun:
            self.approach(0, at_once=self.is_near or bool(request.arguments.get("now")))
        elif request.arguments.get("now") and self._shutdown is not None:
            self._shutdown.hurry()

    def stop_servers(self, *, quiet: bool, wait: bool) -> None:
        """End servers and Django, and go on without them. For any thread; `wait` only on others than the inbox's."""
        finished = threading.Event()

        def begin() -> None:
            if not quiet:
                logger.info("Stopping the servers.")
            Shutdown(
                self._run.inbox,
                self._servers(),
                self._services(),
                self._run.settings["SHUTDOWN_TIMEOUT"],
                finished.set,
                longest_s=self.longest_s,
            ).begin()

        if not self._run.started:
            return
        self._run.inbox.post(begin)
        if wait and not self._run.on_own_thread():
            finished.wait(self.longest_s + 12.0)

    def approach(self, status: int, *, at_once: bool) -> None:
        """Stop, after DRAIN_DELAY in which all goes on as before but that `/readyz` says no."""
        delay_s = views.production(self._run.settings).drain_delay_s
        self.is_near = True
        if at_once or not delay_s:
            self.begin(status)
            return
        logger.info("Stopping in %g s, so that who sends requests can learn of it.", delay_s)

        def late() -> None:
            if not self.has_begun:
                self.begin(status)

        self._run.inbox.call_later(delay_s, late)

    def begin(self, status: int, *, stop_reloader: bool = True) -> None:
        """Stop now: drain, and end all within its deadlines; then become a new Duck where it `restarts`."""
        self.has_begun = self.is_near = True
        self.status = status
        if self.restarts:
            self._run.host.reloading()
        else:
            self._run.host.stopping()
        if not self._quiet:
            logger.info("%s; finishing what runs.", "Restarting" if self.restarts else "Stopping")
        if self._call_hook:
            try:
                self._app.on_pre_stop()
            except Exception:
                logger.exception("on_pre_stop failed; stopping all the same")
        if self._run.changes is not None:
            self._run.changes.stop(watching=stop_reloader)
        if self._run.reloads is not None:
            self._run.reloads.stop()
        self._run.migration.stop()
        if not self.restarts:
            # For a restart they stay open: who connects meanwhile waits in the backlog.
            self._run.listening.close()
            self._run.redirect.close()
        deadline_s, longest_s = self._run.settings["SHUTDOWN_TIMEOUT"], self.longest_s
        if self._run.django is not None and (
            # The keys that asked for the end were typed at a debugger's prompt: nobody will let the request go on.
            self._run.django.is_debugging
            # What waits for a project that loads for a minute, or hangs, would hold up who wants to mend it.
            or (self._run.django.state == STARTING and not self.restarts)
        ):
            deadline_s = longest_s = min(deadline_s, _VAIN_S)
        self._shutdown = Shutdown(
            self._run.inbox,
            self._servers(),
            self._services(),
            deadline_s,
            self._stopped,
            longest_s=longest_s,
            is_last=not self.restarts,
        )
        self._shutdown.begin()

    def _stopped(self) -> None:
        for request in self._requests:
            request.reply({"stopped": True, "pid": os.getpid()})
        if not self._quiet and not self.restarts:
            logger.info("Stopped.")
        self.give_back()
        self._run.inbox.stop()

    def _servers(self) -> list[Drained]:
        server = self._run.front.server
        servers: list[Drained] = [server] if server is not None else []
        if self._run.automations.pids and not self.restarts:  # the next Duck lets their runs end
            servers.append(self._run.automations)
        return [*servers, *(microapp.server for microapp in self._app.microapps)]

    def _services(self) -> list[Service]:
        django, frontend = self._run.django, self._run.frontend.service
        services: list[Service] = []
        if django is not None and self._run.futures["django-server"] is not None:
            services.append(django)
        if frontend is not None and not self.restarts:  # the next Duck goes on with it
            services.append(frontend)
        return services

    def give_back(self) -> None:
        """Give back what the kernel does not take by itself; for a restart lock and listeners are kept."""
        self._run.keys.stop()
        self._run.presence.close(keep_lock=self.restarts)
        if self._run.changes is not None:
            self._run.changes.stop()
        self._run.overview.close()
        if self._run.certificates is not None:
            self._run.certificates.stop()
        self._run.https.stop()
        self._run.host.stop()
        if not self.restarts:
            self._run.listening.close()
            self._run.listening.addresses = []
            self._run.redirect.close()
        self._app.background.stop(wait=False)
        for future in self._run.futures.values():
            if future is not None and not future.done():
                future.set_result(None)
        self.flush()
        self.ended.set()

    def flush(self) -> None:
        """Have what was logged written, unless whoever asked for the end said no."""
        if not self._flush_logs:
            return
        for handler in logging.getLogger("duck").handlers:
            handler.flush()

"""Lifecycle: what an App starts, in which order, and how it ends.

    prepare   project and interpreter -> instance lock -> listeners bound        (nothing has been started yet)
    start     worker threads -> Django spawned -> control socket -> reloader -> banner
    serve     the inbox, until the shutdown is complete
    stopping  on_pre_stop -> reloader -> listeners close, workers drain -> deadline: cut -> Django -> control socket

Everything is for the thread that serves the inbox, unless it says otherwise.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duck
from duck.app.browsers import Browsers
from duck.app.changes import Changes
from duck.app.console import show_banner
from duck.app.control import commands
from duck.app.dispatching import Dispatching
from duck.app.ending import Ending
from duck.app.force_https import Redirect
from duck.app.front_processes import FrontProcesses
from duck.app.frontend import FrontEnd
from duck.app.fronts import make_front, thread_count
from duck.app.host import Host
from duck.app.https import Https, challenge_directory
from duck.app.keys import Keys
from duck.app.listening import Listening
from duck.app.migrate import Migration
from duck.app.overview import Overview
from duck.app.own_side import OwnSide
from duck.app.presence import Presence
from duck.app.refusal import refusal
from duck.app.reloads import Reloads
from duck.app.succession import Succession
from duck.app.tidings import Tidings
from duck.app.trial import end_if_on_trial
from duck.backend.django.terminal import Terminal
from duck.exceptions import SettingsError
from duck.services.django import BROKEN, DjangoService
from duck.services.inbox import Inbox
from duck.services.state import state_directory
from duck.settings import views

if TYPE_CHECKING:
    from duck.app.app import App
    from duck.app.certificates import Certificates
    from duck.app.inheritance import Inheritance
    from duck.app.unloaded import Unloaded
    from duck.services.ipc import Request
    from duck.settings.load import Settings

logger = logging.getLogger("duck.app")


class Lifecycle:
    """One run of an App.

    Attributes:
        inbox: takes every cause: signals, commands, changes, Django's reports; its `post` is for any thread.
        front: the main server and the sites of its workers.
        browsers: those that look at its pages, in development.
        django: None where no Django stands behind.
        frontend: the development server of a front end, where there is one.
        listening: where it listens.
        https: the certificates of it.
        certificates: where these come from; None where the settings name them, or there is no HTTPS.
        redirect: from plain HTTP, where it is wanted.
        overview: health and figures, on an address of their own.
        host: rights, sockets of systemd's, orphans.
        succession: what the Duck before has left, and how this one is replaced.
        own: Duck's own side, in a Duck project.
        automations: their dispatcher, where some are declared.
        ending: how it ends, and whether that has begun.
        started: whether it has been started.
        presence: how others find it.
        changes, reloads: what leads to new code; None before the start.
        migration: `manage.py migrate`, when it is asked for.
        keys: those typed at the console, in development.
        tidings: who hears of what Django tells.
        futures: what runs, by name; done when it has ended.
    """

    def __init__(self, app: App, settings: Settings) -> None:
        self.settings = settings
        self.front = make_front(app, settings, lambda: self.inbox)
        self.browsers = Browsers(settings, self.front, lambda: self.inbox)
        self.django: DjangoService | None = None
        self.frontend = FrontEnd(self)
        self.listening = Listening()
        self.https = Https(settings)
        self.certificates: Certificates | None = None
        self.redirect = Redirect(app, settings)
        self.overview = Overview(self)
        self.host = Host(settings)
        self.succession = Succession()
        self.own = OwnSide(app, self)
        self.automations = Dispatching(app, self)
        self.began = time.time()
        self.started = False
        self.ending = Ending(app, self)
        self.futures: dict[str, Future[Any] | None] = dict.fromkeys(
            ("duck-server", "django-server", "force-https-server", "automations-dispatcher")
        )
        self._app = app
        self._thread: threading.Thread | None = None
        self.presence = Presence(self._restored)
        self.changes: Changes | None = None
        self.reloads: Reloads | None = None
        self.migration = Migration(self)
        self.browsers.commands["migrate"] = self.migration.wanted
        self.keys = Keys(self)
        self.tidings = Tidings(app, self)

    @cached_property
    def inbox(self) -> Inbox:
        """Made when it is first asked for, so that an App which is only made holds nothing open."""
        return Inbox()

    # -- start ----------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Find the project, take the instance lock, bind the listeners; nothing is started.

        Raises:
            DuckError: one sentence; call `abandon` then.
        """
        self.succession.begin()
        inherited = self.succession.inherited
        self.browsers.begin(self.succession.more("browsers"))
        self.host.begin()
        if self.host.is_root and inherited is None:
            self._bind(None)
            self.host.drop([path for path in self.listening.paths if path])
        self._provide_certificates()
        self.https.check()
        self.front.tls = self.https.config()
        view = views.django(self.settings)
        self.django = DjangoService.find(self.settings, self.inbox)
        self.own.load()
        if self.settings["STATE_DIR"] is not None:
            state_directory(self.settings["STATE_DIR"], project=self.project_dir)
        end_if_on_trial()
        listening = views.listening(self.settings)
        self.presence.take(
            project=self.project_dir,
            settings=view.settings_module or os.environ.get("DJANGO_SETTINGS_MODULE", ""),
            name=listening.name,
            started=self.began,
            inherited=self.succession.lock,
            keeps_directory=self.succession.has_children,
        )
        if not self.listening.sockets:
            self._bind(inherited)
        self.presence.publish(self.listening.addresses)

    def _provide_certificates(self) -> None:
        if self.https.enabled and not views.https(self.settings).pairs:
            # Nobody else pays for its libraries.
            from duck.app.certificates import Certificates

            self.certificates = Certificates(self.settings)
            self.certificates.prepare()
            self.https.provide(self.certificates.pairs)

    def _bind(self, inherited: Inheritance | None) -> None:
        view, host = views.listening(self.settings), self.host
        secure = self.settings["ENABLE_HTTPS"] or view.is_site
        given = host.sockets if not self.settings["LISTEN"] else None
        site = [(descriptor, secure) for descriptor in given] if given is not None else None
        admin = host.admin_sockets
        if inherited is not None:
            site = list(inherited.listeners)
            admin = self.succession.more("overview").get("listeners")
        self.listening.open(view, site)
        self.overview.open(self.settings, self.listening.port, admin)
        left = self.succession.more("redirect").get("listeners")
        self.redirect.open(left if inherited is not None else host.redirect_sockets, is_handed=given is not None)

    def start(self, *, with_banner: bool = True) -> None:
        """Start the workers, Django, the control socket and the reloader.

        Raises:
            DuckError: one of them cannot be started; call `abandon` then.
        """
        self._thread = threading.current_thread()
        self.started = True
        self.changes = Changes(
            self.inbox, self.project_dir, self.django, self.ending.ask_restart, self.own.untried, self.browsers.tell
        )
        self.reloads = Reloads(self)
        self.browsers.attach(self.project_dir, self.django, self.migration)
        self.changes.on_syntax_error = self.browsers.uncompiled
        self.presence.open(self.inbox, commands(self))
        self.overview.start(duck.__version__, self.succession.more("overview").get("counts"))
        if isinstance(self.front, FrontProcesses):
            self.front.on_ended = self.overview.worker_ended
        spares = views.reload(self.settings).spares
        self.host.start(self.inbox, self._is_ours, lambda: True, takes_orphans=spares)
        handed = self.succession.more("https")
        self.https.start(self.inbox, self.front.reload_tls, self.front.share_sessions, handed)
        self.start_server()
        self.start_redirect(tell=with_banner and not self.succession.has_children)
        self.frontend.start(self.succession.more("frontend"))
        self.automations.take_over(self.succession.more("automations"))
        if self.unloaded is not None:
            self.own.show(self.unloaded)
        elif self.django is not None:
            self.start_django()
        if self.certificates is not None:
            own_django = self.django is not None and self.django.root is not None
            self.certificates.start(self.inbox, self.https, waits_for_hosts=own_django)
        if views.reload(self.settings).enabled:
            self.start_reloader()
        self._app.record_metadata()
        if not views.production(self.settings).serves:
            self.keys.start()
        if self.succession.has_children:
            logger.info("Duck %s has taken over.", duck.__version__)
        elif with_banner:
            show_banner(self)
        if self.django is None and self.unloaded is None:
            self.automations.project_told({})
            self.tidings.announce()

    def start_server(self) -> None:
        """Serve the listeners on worker threads."""
        if self.front.server is None or not self.front.server.running:
            self.front.start(self._app, self.settings, self.listening.sockets, thread_count(self._app, self.settings))
            self.futures["duck-server"] = _running()
            if self.succession.inherited is not None and isinstance(self.front, FrontProcesses):
                self.front.take_over(self.succession.inherited.fronts)

    def start_redirect(self, *, tell: bool = True) -> None:
        """Redirect plain HTTP to HTTPS, where that is wanted."""
        if self.redirect.sockets and not self._app.force_https_server_up:
            names = [name for certificate in self.https.certificates for name in certificate.names]
            names += views.certificates(self.settings).domains
            self.redirect.start(self.listening.secure_port, names, challenge_directory(self.settings), tell=tell)
            self.futures["force-https-server"] = _running()

    def start_django(self) -> None:
        """Spawn the Django process, or take the server that runs already."""
        if self.django is None:
            raise SettingsError("USE_DJANGO is off, so there is no Django to start.")
        if self.futures["django-server"] is None:
            self.futures["django-server"] = _running()
            left = self.succession.more("django")
            self.django.has_run, self.django.remarks.looked = left.get("has_run", []), left.get("looked", "")
            self.django.attach(
                self.presence.directory,
                on_generation=self.tidings.generation,
                on_broken=self.tidings.broken,
                on_hold=self.front.hold,
                on_debugged=self.changes.undebugged if self.changes is not None else lambda: None,
                refuse=lambda facts: refusal(self.settings, self.listening, facts),
                terminal=Terminal(on_lent=self.keys.step_aside, on_returned=self.keys.step_in),
                has_frontend=self.frontend.service is not None,
            )
            inherited = self.succession.inherited
            values = inherited.django if inherited is not None else None
            self.tidings.took_over = values is not None
            if values is None or not self.django.take_over(values):
                self.tidings.took_over = False
                self.django.start()

    def start_reloader(self) -> None:
        """Watch the project's files, and act on what changes."""
        if self.changes is None or self.ending.has_begun:
            return
        self.changes.watch(self.settings, views.reload(self.settings), self.frontend.directory)

    def abandon(self) -> None:
        """Give everything back at once, after a start that failed."""
        self.front.kill()
        self.frontend.kill()
        self.automations.kill()
        if self.django is not None:
            self.django.kill()
        self.ending.give_back()

    # -- serve ----------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Serve the inbox until the shutdown is complete."""
        self.inbox.run()

    @property
    def unloaded(self) -> Unloaded | None:
        """Why Duck's own side cannot be loaded; None where it is, or there is none."""
        return self.own.unloaded

    def on_own_thread(self) -> bool:
        """Whether the caller is on the thread that serves the inbox."""
        return threading.current_thread() is self._thread

    @property
    def state(self) -> str:
        """`starting`, `running`, `broken`, `holding` or `stopping`, for people and programs."""
        if self.ending.has_begun:
            return "stopping"
        if self.unloaded is not None:
            return BROKEN
        return self.django.state if self.django is not None else "running"

    def refresh(self, done: Callable[[], None]) -> None:
        """Ask the other processes for their figures; `done` is called when they have come, or after a short while."""
        self.front.refresh(lambda: self.automations.refresh(done))

    @property
    def not_ready(self) -> str:
        """Why requests would not be answered, in words; empty where they would be. For any thread."""
        if self.ending.is_near:
            return "stopping"
        server = self.front.server
        if server is None or not server.running:
            return "no front worker serves yet"
        state = self.state
        return "" if state == "running" else {"holding": "Django is being replaced"}.get(state, f"Django is {state}")

    @property
    def addresses(self) -> list[str]:
        """Where it listens, as a user writes it; empty before and after."""
        return self.listening.addresses

    @property
    def network(self) -> list[str]:
        """Those of `addresses` that are for other devices in the network; none without --lan."""
        return self.addresses[1:] if views.listening(self.settings).lan else []

    @property
    def port(self) -> int:
        """Of the first TCP listener, 0 where there is none."""
        return self.listening.port

    @property
    def watched_directories(self) -> int | None:
        """How many directories are watched for changes; None where none is."""
        return self.changes.directories if self.changes is not None else None

    @property
    def process_name(self) -> str:
        """As the App was named."""
        return self._app.process_name

    @property
    def project_dir(self) -> Path:
        """What the instance stands for: the Django project's directory, else the Duck project's."""
        if self.settings.is_duck_project or self.django is None or self.django.root is None:
            return self.settings.base_dir
        return self.django.root

    # -- stop -----------------------------------------------------------------------------------------------------

    def replace_self(self) -> None:
        """Become a new Duck in the same process, whose code is read anew, with nobody interrupted.

        Worker processes and Django go on meanwhile; the new Duck takes them over. Threads cannot: with these it is a
        restart. Where it fails this Duck serves on, and `succession` says why.
        """
        if self.ending.has_begun:
            return
        if not isinstance(self.front, FrontProcesses):
            self.ending.restarts = True
            self.ending.begin(0)
            return
        logger.info("Replacing Duck; its workers and Django go on.")
        self.ending.flush()
        run = self.listening.sockets, self.presence, self.host
        more = self.overview, self.redirect, self.https
        self.succession.replace(*run, self.front, self.django, *more, self.frontend, self.automations)

    def signalled(self, number: int) -> None:
        """SIGINT or SIGTERM has come: stop; the second one skips to the deadline. SIGHUP loads Django again, in
        production.
        """
        if number == getattr(signal, "SIGHUP", None) and views.production(self.settings).serves:
            self.hung_up()
        else:
            self.ending.signalled(number)

    def hung_up(self) -> None:
        """Load Django again, as `duck reload` does."""
        if self.reloads is not None:
            self.reloads.hung_up()

    def reload_asked(self, request: Request) -> None:
        """The command `reload`."""
        if self.reloads is None:
            request.refuse("Duck is starting; try again.")
        else:
            self.reloads.asked(request)

    def close(self) -> None:
        """Give the inbox's descriptors back; what is posted later is dropped."""
        if "inbox" in self.__dict__:
            self.inbox.close()

    def finish(self) -> int:
        """After `serve`: the exit status; or, for a restart, become the new Duck and never return.

        Raises:
            ApplicationError: there is no restart to be had.
        """
        if self.ending.restarts:
            more = {
                "browsers": self.browsers.hand_over(),
                "https": self.https.hand_over(),
                "frontend": self.frontend.hand_over(),
                "automations": self.automations.hand_over(),
                "django": {"has_run": self.django.has_run, "looked": self.django.remarks.looked} if self.django else {},
            }
            self.succession.start_again(self.listening.sockets, self.presence, self.host, self.redirect, more)
        return self.ending.status

    # -- what happens meanwhile -----------------------------------------------------------------------------------

    def _is_ours(self, pid: int) -> bool:
        """Whether somebody in this process waits for the exit status of `pid`."""
        fronts = self.front.pids if isinstance(self.front, FrontProcesses) else []
        asking = self.certificates.pids if self.certificates is not None else []
        own = (*fronts, *asking, *self.frontend.pids, *self.automations.pids)
        return pid in own or (self.django is not None and self.django.owns_process(pid))

    def _restored(self) -> None:
        """The directory of the sockets was cleaned away: those of Django's processes have gone with it."""
        if self.django is not None and self.unloaded is None and not self.ending.has_begun:
            self.django.replace()


def _running() -> Future[Any]:
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future

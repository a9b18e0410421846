"""App: the one main application of a process, by its public surface; what runs is the `Lifecycle` behind it.

As long as that surface, whose names and parameters are given: each method hands on to what does the work.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar

from duck import settings as installed
from duck.app.address import absolute_url, check_address
from duck.app.automations_only import make_lifecycle
from duck.app.force_https import NEEDS_HTTPS
from duck.app.front import Front
from duck.app.https import read_pairs
from duck.app.runner import Runner, name_process
from duck.app.untold import tell_in_one_sentence
from duck.exceptions import ApplicationError, SettingsError, SSLError
from duck.meta import Meta
from duck.services.background import BackgroundWorkers
from duck.settings import load, views

if TYPE_CHECKING:
    from duck.app.microapp import MicroApp
    from duck.net.clock import Clock
    from duck.net.interfaces import Handler
    from duck.settings.load import Settings


class App:
    """The main application: an HTTP server in front of a Django project, a Duck project, or both.

    Making one starts nothing; `run` serves until it is stopped. What an argument leaves at its default is taken from
    the settings; the command line and the environment go before arguments.

    Args:
        addr: IP address or host name to listen at.
        port: to listen at; 0 takes a free one.
        domain: the public name; `addr` by default.
        uses_ipv6: resolve a host name to IPv6.
        no_checks: skip `run_checks`.
        disable_signal_handler: leave SIGINT and SIGTERM as they are.
        disable_ipc_handler: `run` returns once everything is started, and a thread goes on with it; for tests.
        skip_setup: do not import the Duck project's urlpatterns.
        enable_force_https_logs: show the requests of the HTTPS redirect.
        start_bg_eventloop_if_wsgi: start a background event loop where the settings name a WSGI class to run views.
        process_name: as `ps` and `top` show it, where the system can.
        workers: worker threads; None is one.
        force_https_workers: those of the HTTPS redirect.
        force_worker_processes, force_https_force_worker_processes: processes instead of threads; this version has none
            and says so when `workers` is more than one.

    Raises:
        ApplicationError: the address is none, or this process has an App already.
        SettingsError: a setting is wrong.

    Attributes:
        microapps: MicroApps that end with this App.
        DJANGO_ADDR: host and port of the Django server that runs already, or None for Duck's own process.
        DJANGO_SERVER_WAIT_TIME: seconds that a Django process may take until it is ready.
        DOMAIN: the public name.
    """

    __instances__: ClassVar[int] = 0
    __mainapp__: ClassVar[App | None] = None
    # How many runs this process has seen begin: tells whether a main.py ran its App.
    _runs: ClassVar[int] = 0

    DJANGO_ADDR: tuple[str, int] | str | None = None
    DJANGO_SERVER_WAIT_TIME: float = 60.0
    DOMAIN: str | None = None

    def __init__(
        self,
        addr: str = "localhost",
        port: int = 8000,
        domain: str = None,  # type: ignore[assignment]  # noqa: RUF013 - the documented signature
        uses_ipv6: bool = False,
        no_checks: bool = False,
        disable_signal_handler: bool = False,
        disable_ipc_handler: bool = False,
        skip_setup: bool = False,
        enable_force_https_logs: bool = False,
        start_bg_eventloop_if_wsgi: bool = True,
        process_name: str = "duck-server",
        workers: int | None = None,
        force_https_workers: int | None = None,
        force_worker_processes: bool = False,
        force_https_force_worker_processes: bool = False,
    ) -> None:
        if App.__instances__ >= 1:
            raise ApplicationError(
                "This process has an App already, and only one is allowed; use a MicroApp for a further server."
            )
        check_address(addr, port, uses_ipv6=uses_ipv6)
        if workers is not None and workers < 1:
            raise ApplicationError(f"workers is {workers}; give 1 or more, or None for one.")
        # Installed already where `duck runserver` runs the main.py that makes this App.
        tell_in_one_sentence()
        settings = installed.current() or load.load({}, os.environ, Path.cwd())
        given = {"ADDRESS": addr, "PORT": port, "DOMAIN": domain, "IPV6": uses_ipv6}
        defaults = {"ADDRESS": "localhost", "PORT": 8000, "DOMAIN": None, "IPV6": False}
        self.settings: Settings = settings.with_values(
            **{
                name: value
                for name, value in given.items()
                if value != defaults[name] and settings.origin(name).source not in ("command line", "environment")
            }
        )
        self.addr: str = self.settings["ADDRESS"]
        self.port: int = self.settings["PORT"]
        self.domain: str = self.settings["DOMAIN"] or self.addr
        self.uses_ipv6: bool = self.settings["IPV6"]
        self.no_checks = no_checks
        self.disable_signal_handler = disable_signal_handler
        self.disable_ipc_handler = disable_ipc_handler
        self.skip_setup = skip_setup
        self.enable_force_https_logs = enable_force_https_logs
        self.start_bg_eventloop_if_wsgi = start_bg_eventloop_if_wsgi
        self.process_name = process_name
        self.workers = workers
        self.force_https_workers = force_https_workers
        self.force_worker_processes = force_worker_processes
        self.force_https_force_worker_processes = force_https_force_worker_processes
        view = views.django(self.settings)
        self.DJANGO_ADDR = view.address
        self.DJANGO_SERVER_WAIT_TIME = view.wait_s
        self.DOMAIN = self.domain
        self.background = BackgroundWorkers()
        self.microapps: list[MicroApp] = []
        self.force_https_app: MicroApp | None = None
        self.lifecycle = make_lifecycle(self, self.settings)
        self._runner = Runner(self)
        installed.install(self.settings)
        App.__instances__ += 1
        App.__mainapp__ = self

    # -- instances ------------------------------------------------------------------------------------------------

    @classmethod
    def instances(cls) -> int:
        """How many Apps this process has: 0 or 1. One that has ended is not counted."""
        return App.__instances__

    @classmethod
    def get_main_app(cls) -> App | None:
        """The App of this process, None where there is none."""
        return App.__mainapp__

    @property
    def process_id(self) -> int:
        """The process id of the App."""
        return os.getpid()

    # -- addresses ------------------------------------------------------------------------------------------------

    @property
    def absolute_uri(self) -> str:
        """Where the App is reached, by its public name: `http://localhost:8000`, or `https://...`."""
        return self._absolute("https" if self.lifecycle.https.enabled else "http")

    @property
    def absolute_ws_uri(self) -> str:
        """Where its WebSockets are reached: `ws://localhost:8000`, or `wss://...`."""
        return self._absolute("wss" if self.lifecycle.https.enabled else "ws")

    def build_absolute_uri(self, path: str) -> str:
        """The URL of `path` at this App."""
        return f"{self.absolute_uri}/{path.lstrip('/')}"

    def build_absolute_ws_uri(self, path: str) -> str:
        """The WebSocket URL of `path` at this App."""
        return f"{self.absolute_ws_uri}/{path.lstrip('/')}"

    # -- state ----------------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether the main server serves."""
        server = self.lifecycle.front.server
        return server is not None and server.running

    @property
    def server_up(self) -> bool:
        """Whether the main server accepts connections."""
        return self.running and bool(self.lifecycle.addresses) and not self.lifecycle.ending.has_begun

    @property
    def django_server_up(self) -> bool:
        """Whether a Django is ready for requests."""
        return self.lifecycle.django is not None and self.lifecycle.django.ready

    @property
    def force_https_server_up(self) -> bool:
        """Whether the HTTPS redirect runs."""
        return self.force_https_app is not None and self.force_https_app.server_up

    @property
    def meta(self) -> dict[str, Any]:
        """What `record_metadata` has published."""
        return Meta.compile()

    def get_threadpool_futures(self) -> dict[str, Future[Any] | None]:
        """What runs, as futures that are done when it has ended; None where it was not started."""
        return {**self.lifecycle.futures, **self.background.futures}

    # -- control --------------------------------------------------------------------------------------------------

    def run(self, print_ansi_art: bool = True) -> None:
        """Serve until stopped; the process ends with 0, or 128 and the number of the signal that stopped it.

        With `disable_ipc_handler` it returns once everything is started.

        Raises:
            DuckError: what kept it from starting; nothing stays open.
            SystemExit: at the end, when the exit status is not 0.
        """
        status = self._run(print_ansi_art)
        if status:
            raise SystemExit(status)

    def _run(self, print_ansi_art: bool = True) -> int:
        """`run`, giving the exit status instead of ending the process.

        `print_ansi_art` is whether the banner is printed.
        """
        App._runs += 1
        return self._runner.run(with_banner=print_ansi_art)

    def stop(
        self,
        log_to_console: bool = True,
        no_exit: bool = False,
        call_on_pre_stop_handler: bool = True,
        kill_ducksight_reloader: bool = True,
        wait_for_thread_pool_executor_shutdown: bool = True,
        close_log_file: bool = True,
    ) -> None:
        """Stop: finish what runs, up to the deadline, then end all processes. For any thread.

        Called on another thread than the App's it returns when all has ended; on the App's own, at once, and `run`
        returns afterwards.

        Args:
            log_to_console: say that it stops.
            no_exit: keep the program: `run` returns instead of ending the process.
            call_on_pre_stop_handler: call `on_pre_stop` first.
            kill_ducksight_reloader: stop watching files; without it the watcher ends with the process.
            wait_for_thread_pool_executor_shutdown: with `no_exit`, wait for background calls that run.
            close_log_file: flush the log at the end.
        """
        self.lifecycle.ending.ask(
            0,
            quiet=not log_to_console,
            call_hook=call_on_pre_stop_handler,
            stop_reloader=kill_ducksight_reloader,
            flush_logs=close_log_file,
        )
        if self.lifecycle.on_own_thread() or not self.lifecycle.started:
            return
        self.lifecycle.ending.ended.wait(self.lifecycle.ending.longest_s + 15.0)
        self._runner.join(15.0)
        self.background.stop(wait=no_exit and wait_for_thread_pool_executor_shutdown)
        if not no_exit and self.disable_ipc_handler:
            raise SystemExit(0)

    def restart(self) -> None:
        """Stop as `stop` does, then start again in the same process: same id, same listeners, nobody is refused."""
        self.lifecycle.ending.ask_restart()

    def stop_servers(
        self, stop_force_https_server: bool = True, log_to_console: bool = True, wait: bool = True
    ) -> None:
        """Stop the servers and Django, and leave the App: it can be asked for its state, and ends with `stop`.

        Args:
            stop_force_https_server: the HTTPS redirect, too.
            log_to_console: say so.
            wait: return when they have ended, within the deadline; otherwise at once.
        """
        if stop_force_https_server and self.force_https_app is not None:
            self.force_https_app.stop()
        self.lifecycle.ending.stop_servers(quiet=not log_to_console, wait=wait)

    def start_server(self) -> None:
        """Start the main server on its worker threads; nothing happens where it runs."""
        self.lifecycle.start_server()

    def start_django_server(self) -> None:
        """Start the Django process, in front of which Duck then stands.

        Raises:
            SettingsError: the settings say that there is no Django.
        """
        self.lifecycle.start_django()

    def start_force_https_server(self, log_message: bool = True) -> None:
        """Start the redirect from HTTP to HTTPS; nothing happens where it runs. Conditions: ENABLE_HTTPS, FORCE_HTTPS.

        Raises:
            SettingsError: HTTPS is not enabled: then there is nothing to redirect to; or FORCE_HTTPS is off.
        """
        view = views.https(self.settings)
        if not view.enabled:
            raise SettingsError(NEEDS_HTTPS)
        if not view.redirect:
            raise SettingsError("FORCE_HTTPS is off, so there is no redirect to start; set it, or say --force-https.")
        self.lifecycle.start_redirect(tell=log_message)

    def start_ducksight_reloader(self) -> None:
        """Watch the project's files, and act on what changes; once is enough. For any thread, while the App runs.

        `run` does it by itself where AUTO_RELOAD is on. Conditions: development.

        Raises:
            SettingsError: under `duck serve`.
        """
        if views.production(self.settings).serves:
            raise SettingsError("`duck serve` loads no changed file by itself; `duck reload` loads them.")
        if self.lifecycle.on_own_thread():
            self.lifecycle.start_reloader()
        else:
            self.lifecycle.inbox.post(self.lifecycle.start_reloader)

    def start_automations_dispatcher(self, log_message: bool = True) -> None:
        """Have automations run beside this App; once is enough. For any thread, while the App runs.

        `run` does it by itself where some are declared. Conditions: RUN_AUTOMATIONS.

        Raises:
            SettingsError: RUN_AUTOMATIONS is off.
        """
        if not self.settings["RUN_AUTOMATIONS"]:
            raise SettingsError("RUN_AUTOMATIONS is off, so that no automations are run; set it, or say --automations.")
        self.lifecycle.automations.ask(tell=log_message)

    @staticmethod
    def start_background_workers(
        application: App | MicroApp,
        start_request_handling_threadpool_manager: bool,
        start_request_handling_eventloop_manager: bool,
        start_component_threadpool_manager: bool = True,
        start_automations_eventloop_manager: bool = False,
        recreate_managers: bool = False,
    ) -> None:
        """Start the background pool and event loop of `application`; what runs already goes on.

        Args:
            application: an App or a MicroApp.
            start_request_handling_threadpool_manager, start_component_threadpool_manager: start the pool.
            start_request_handling_eventloop_manager, start_automations_eventloop_manager: start the event loop.
            recreate_managers: stop what runs, and start anew.
        """
        if recreate_managers:
            application.background.stop(wait=False)
            application.background = BackgroundWorkers()
        if start_request_handling_threadpool_manager or start_component_threadpool_manager:
            application.background.start_pool()
        if start_request_handling_eventloop_manager or start_automations_eventloop_manager:
            application.background.loop.start()

    # -- events ---------------------------------------------------------------------------------------------------

    def on_app_start(self) -> None:
        """Called once, on the App's thread, when the server serves and Django, where there is one, is ready."""

    def on_pre_stop(self) -> None:
        """Called once, on the App's thread, before anything is stopped."""

    def register_signals(self) -> None:
        """Have SIGINT and SIGTERM call `handle_signal`, and SIGHUP unless it is ignored, as `nohup` does.

        Only where this is the main thread and it was not disabled.
        """
        if not self.disable_signal_handler:
            self._runner.take_signals(self.handle_signal)

    def handle_signal(self, sig: int, frame: FrameType | None) -> None:
        """Have the App stop in order; the second time, without waiting for what runs. Touches nothing but the inbox."""
        self.lifecycle.inbox.post(lambda: self.lifecycle.signalled(sig))

    def handle_ipc_messages(self) -> None:
        """Serve the App's inbox (signals, commands, changes, Django's reports) until it is stopped."""
        self.lifecycle.serve()

    # -- checks and facts -----------------------------------------------------------------------------------------

    def run_checks(self) -> None:
        """Check what can be checked before the start.

        Raises:
            SettingsError, ApplicationError: one sentence each.
        """
        if self.force_worker_processes and (self.workers or 1) > 1:
            raise ApplicationError(
                f"This version of Duck runs its {self.workers} workers as threads; leave force_worker_processes off."
            )

    @staticmethod
    def check_ssl_credentials() -> None:
        """Check the certificates and keys that the settings name.

        Raises:
            SSLError: one of them is missing, unreadable, expired, or not for the other; or none is named.
        """
        settings = installed.current()
        pairs = views.https(settings).pairs if settings is not None else ()
        if settings is None or not pairs:
            raise SSLError("SSL_CERTFILE_LOCATION is not set, so there is no certificate to serve HTTPS with.")
        read_pairs(settings, pairs)

    def set_process_name(self) -> None:
        """Show `process_name` as the name of this process, where the system can (Linux: its first 15 bytes)."""
        name_process(self.process_name)

    def record_metadata(self) -> None:
        """Publish what runs in `duck.meta.Meta`."""
        Meta.update_meta(
            {
                "DUCK_SERVER_NAME": self.domain,
                "DUCK_SERVER_PORT": self.lifecycle.port or self.port,
                "DUCK_SERVER_DOMAIN": self.domain,
                "DUCK_SERVER_PROTOCOL": "https" if self.lifecycle.https.enabled else "http",
                "DUCK_SERVER_URL": self.absolute_uri,
                "DUCK_USES_IPV6": self.uses_ipv6,
                "DUCK_DJANGO_ADDR": self.DJANGO_ADDR,
                "DUCK_WORKERS": self.workers,
                "DUCK_PROCESS_ID": self.process_id,
            }
        )

    def make_handler(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> Handler:
        """What answers the exchanges of one worker; called on its loop."""
        front = self.lifecycle.front
        assert isinstance(front, Front)  # processes ask an App of their own
        return front.make_handler(loop, clock)

    # -- below ----------------------------------------------------------------------------------------------------

    def _absolute(self, scheme: str) -> str:
        return absolute_url(scheme, self.domain, self.lifecycle.port or self.port)

    def _forget(self) -> None:
        if App.__mainapp__ is self:
            App.__mainapp__ = None
            App.__instances__ -= 1
            self.lifecycle.close()
            Meta.clear()
            installed.install(None)

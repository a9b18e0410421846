"""The ASGI side: the project's own server, or the one that Duck brings, driven on the socket that the front dials.

Uvicorn, Daphne and Hypercorn are used through their public classes; each is wrapped in a small driver that knows how to
begin, when it is ready, and how to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import socket
import sys
import threading
import time
from abc import ABC, abstractmethod
from importlib.machinery import ModuleSpec, PathFinder
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Sequence, Union

from .facts import static_finder
from .failure import StartError
from .identity import Identified
from .measured import MeasuredIdentified
from .wsgi import WSGIServer, listen

if TYPE_CHECKING:
    from .control import Control
    from .debugger import Debugger
    from .entry import Choice
    from .spec import Spec

# Requests at once. An ASGI server has no fixed number of its own, and what waits for events (server-sent ones, long
# polls) is no work; tunnels are not counted.
SLOTS = 1024
KEEP_ALIVE_S = 75

_BUNDLED = ("uvicorn", "h11", "websockets", "click", "typing_extensions")


class _BundleFinder:
    """Finds the modules of Duck's ASGI server, and nothing else, in Duck's environment; asked last of all finders."""

    def __init__(self, directory: str) -> None:
        self._path = [directory]

    def find_spec(self, name: str, path: Optional[Sequence[str]] = None, target: Any = None) -> Optional[ModuleSpec]:
        return PathFinder.find_spec(name, self._path) if name in _BUNDLED else None


class Driver(ABC):
    """One ASGI server. `name` is for people, like `uvicorn 0.54.0`."""

    name = ""

    def __init__(self, spec: Spec, application: Identified, on_ready: Callable[[], None]) -> None:
        self.spec = spec
        self.application = application
        self.on_ready = on_ready
        self.deadline_s = 10.0

    @abstractmethod
    def run(self) -> None:
        """Serve until `stop`."""

    @abstractmethod
    def stop(self, deadline_s: float) -> None:
        """From any thread: take no more, finish within `deadline_s` seconds, and have `run` return."""


class UvicornDriver(Driver):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        import uvicorn

        self.name = f"uvicorn {uvicorn.__version__}"
        on_ready = self.on_ready

        class Server(uvicorn.Server):
            async def startup(self, sockets: Optional[List[socket.socket]] = None) -> None:
                await super().startup(sockets=sockets)
                if self.started:
                    on_ready()

            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield  # SIGTERM keeps its meaning, Ctrl-C is the App's

            def install_signal_handlers(self) -> None:
                """The same, for older versions."""

        unix = isinstance(self.spec.address, str)
        for logger in ("uvicorn", "uvicorn.error"):
            logging.getLogger(logger).setLevel(logging.WARNING)
        config = uvicorn.Config(
            self.application,
            uds=self.spec.address if isinstance(self.spec.address, str) else None,
            interface="asgi3",
            lifespan="auto",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        self._server = Server(config)
        self._sockets = None if unix else [_listen_tcp(self.spec)]

    def run(self) -> None:
        self._server.run(sockets=self._sockets)

    def stop(self, deadline_s: float) -> None:
        self._server.config.timeout_graceful_shutdown = max(1, int(deadline_s))
        self._server.should_exit = True


class DaphneDriver(Driver):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        import daphne
        from daphne.server import Server

        self.name = f"daphne {daphne.__version__}"
        if isinstance(self.spec.address, str):
            endpoint = "unix:" + self.spec.address.replace(":", r"\:")
        else:
            endpoint = f"fd:fileno={_listen_tcp(self.spec).detach()}"
        self._server = Server(
            self.application,
            endpoints=[endpoint],
            signal_handlers=False,
            websocket_timeout=-1,
            ready_callable=self.on_ready,
            server_name="",
        )

    def run(self) -> None:
        self._server.run()

    def stop(self, deadline_s: float) -> None:
        from twisted.internet import reactor

        deadline = time.monotonic() + deadline_s
        loop: Any = reactor  # a module that poses as the reactor: nothing is known of it statically

        def finish() -> None:
            if self.application.active and time.monotonic() < deadline:
                loop.callLater(0.02, finish)
            else:
                self._server.stop()

        def begin() -> None:
            for listener in self._server.listeners:
                listener.addCallback(lambda port: port and port.stopListening())
            finish()

        loop.callFromThread(begin)


class HypercornDriver(Driver):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        from importlib.metadata import version

        self.name = f"hypercorn {version('hypercorn')}"
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._end: Optional[asyncio.Event] = None

    def run(self) -> None:
        from hypercorn.asyncio import serve
        from hypercorn.config import Config

        on_ready = self.on_ready

        class ReadyConfig(Config):  # type: ignore[misc]
            def create_sockets(self) -> Any:
                """Hypercorn asks for its sockets once the application has started."""
                sockets = super().create_sockets()
                for listener in sockets.insecure_sockets:
                    listener.listen(128)
                on_ready()
                return sockets

        config = ReadyConfig()
        address = self.spec.address
        config.bind = [f"unix:{address}" if isinstance(address, str) else f"fd://{_listen_tcp(self.spec).detach()}"]
        config.loglevel = "WARNING"
        config.accesslog = None
        config.include_server_header = False
        config.include_date_header = False
        config.keep_alive_timeout = KEEP_ALIVE_S
        self._config = config

        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            self._end = asyncio.Event()
            await serve(self.application, config, shutdown_trigger=self._end.wait, mode="asgi")

        asyncio.run(main())

    def stop(self, deadline_s: float) -> None:
        self._config.graceful_timeout = deadline_s
        if self._loop is not None and self._end is not None:
            self._loop.call_soon_threadsafe(self._end.set)


def find_driver(bundle: Optional[str]) -> Callable[..., Driver]:
    """The driver of the project's ASGI server, else of the one in `bundle`.

    Raises:
        StartError: there is none.
    """
    if bundle and os.path.isdir(bundle) and bundle not in sys.path:
        own = {name: _has(name) for name in ("uvicorn", "daphne", "hypercorn")}
        # Also where the project has uvicorn: alone it brings nothing that speaks WebSocket.
        sys.meta_path.append(_BundleFinder(bundle))
    else:
        own = {}
    drivers: Dict[str, Callable[..., Driver]] = {
        "uvicorn": UvicornDriver,
        "daphne": DaphneDriver,
        "hypercorn": HypercornDriver,
    }
    for name, driver in drivers.items():
        if own.get(name) or (not any(own.values()) and _has(name)):
            return driver
    raise StartError(
        f"the project needs an ASGI server, and none is installed in {sys.prefix}; install one there: "
        "pip install 'uvicorn[standard]'"
    )


def serve_asgi(spec: Spec, control: Control, debugger: Debugger, choice: Choice, facts: Dict[str, Any]) -> int:
    """Serve `choice.application` until the App says stop; the exit code.

    Raises:
        StartError: there is no server, or the application refused to start.
    """
    wrap = MeasuredIdentified if facts.get("measures") else Identified
    application = wrap(
        choice.application,
        spec.identity_field,
        spec.secret,
        prefix=spec.prefix,
        lifespan=not choice.is_django,
    )
    told = False

    def ready() -> None:
        nonlocal told
        told = True
        control.on_stop = stop
        control.on_ping = ping
        facts["asgi_server"] = driver.name
        control.send("ready", address=spec.address, slots=SLOTS, **facts)

    def ping(command: Dict[str, Any]) -> None:
        def answer() -> None:
            control.send("pong", **application.vitals(float(command.get("view_deadline_s", 0.0))))

        loop = application.loop
        # Answered by the loop: a view that keeps it from turning hangs the whole process.
        if loop is None or loop.is_closed():
            answer()
        else:
            loop.call_soon_threadsafe(answer)

    def stop(deadline_s: float) -> None:
        if debugger.is_active():
            os._exit(0)
        timer = threading.Timer(deadline_s + 0.25, os._exit, (4,))
        timer.daemon = True
        timer.start()
        driver.stop(deadline_s)

    driver = find_driver(spec.bundle)(spec, application, ready)
    if spec.role != "sockets" and facts["debug"] and facts["static"]["url"]:
        facts["finder"] = serve_finder(spec)
    try:
        driver.run()
    except SystemExit as error:
        if told:
            raise
        raise StartError(f"{driver.name} could not start the ASGI application; its output says why") from error
    if not told:
        raise StartError(f"{driver.name} ended before it was ready; its output says why")
    return 0


def serve_finder(spec: Spec) -> Union[str, List[Any]]:
    """Answer where static files lie on a link of its own, beside the ASGI server; its address.

    HTTP has no such question, and without it every static file would be asked of the views, which have none in DEBUG.
    """
    wanted = spec.address + "f" if isinstance(spec.address, str) else ["127.0.0.1", 0]
    listener, address = listen(wanted, 1)
    WSGIServer(listener, _no_pages, threads=1, secret=spec.secret, find=static_finder()).start()
    return address


def _no_pages(environ: Dict[str, Any], start_response: Callable[..., Any]) -> List[bytes]:
    raise StartError("a request for a page came to the finder of static files")


def _listen_tcp(spec: Spec) -> socket.socket:
    """A loopback listener; `spec.address` gets the port it was given."""
    listener = socket.create_server((spec.address[0], int(spec.address[1])))
    spec.address = list(listener.getsockname()[:2])
    return listener


def _has(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False

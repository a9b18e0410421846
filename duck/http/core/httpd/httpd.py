"""BaseServer: listeners and the worker threads that serve them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from duck.exceptions import ApplicationError, SSLError
from duck.http.core.httpd.message import PathCallbacks
from duck.http.core.httpd.ssl_params import contexts_of
from duck.net.limits import Limits
from duck.net.listener import DEFAULT_BACKLOG, open_listeners, speaks_tls, uri_of
from duck.net.tls import Contexts, protocols
from duck.net.worker import IDLE_S, Worker
from duck.settings.listen import ListenAddress, parse_listen

if TYPE_CHECKING:
    from duck.exceptions import ProtocolError
    from duck.http.core.httpd.message import Callback
    from duck.net.clock import Clock
    from duck.net.exchange import Exchange
    from duck.net.interfaces import Handler
    from duck.net.peer import Peer


class Application(Protocol):
    """What a server serves: an App or a MicroApp."""

    def make_handler(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> Handler:
        """What answers every exchange of one worker; called on its loop, once."""


class BaseServer:
    """Listens for an application and serves it on worker threads, from `start` until `shutdown`.

    The methods are for the thread that owns the server; only `shutdown` and the properties are for any.

    Args:
        addr: host and port of the first listener; it is bound by `start` unless a `listen` method was called before.
        application: gives the handler of each worker.
        domain: the public name, used in `absolute_uri`; `addr`'s host by default.
        uses_ipv6: whether a host name is resolved to IPv6.
        enable_ssl: whether `addr`, and what is listened at by host and port, speaks HTTPS.
        ssl_params: of `ssl`: `certfile`, `keyfile`, `ca_certs`, `cert_reqs`; by default what the settings say.
        no_logs: whether requests are kept out of the access log.
        workers: number of worker threads; None and 1 mean one.
        force_worker_processes: processes instead of threads; this version has none and says so.

    Attributes:
        limits, trusted_proxies, http2, backlog, server_name, on_exchange, on_refusal: given to the workers by `start`;
            change them before. `on_exchange` is called on a worker's loop as each exchange ends, unless `no_logs`.
        holder_of: says who holds a busy port, for the error.
        contexts: what TLS is served with; None for no HTTPS.
        on_abort: called by `abort` while the loops still run, to post there what has to be closed.
    """

    def __init__(
        self,
        addr: tuple[str, int],
        application: Application,
        domain: str | None = None,
        uses_ipv6: bool = False,
        enable_ssl: bool = False,
        ssl_params: dict[str, Any] | None = None,
        no_logs: bool = False,
        workers: int | None = None,
        force_worker_processes: bool = False,
    ) -> None:
        if force_worker_processes and (workers or 1) > 1:
            raise ApplicationError(
                f"This version of Duck runs its {workers} workers as threads only; leave force_worker_processes off."
            )
        if workers is not None and workers < 1:
            raise ApplicationError(f"workers is {workers}; give 1 or more, or None for one.")
        self.addr = addr
        self.application = application
        self.domain = domain or addr[0]
        self.uses_ipv6 = uses_ipv6
        self.enable_ssl = enable_ssl
        self.ssl_params = ssl_params
        self.no_logs = no_logs
        self.workers = workers
        self.force_worker_processes = force_worker_processes
        self.limits = Limits()
        self.trusted_proxies: list[str] = []
        self.http2 = True
        self.backlog = DEFAULT_BACKLOG
        self.server_name = ""
        self.on_exchange: Callable[[Exchange], None] | None = None
        self.on_refusal: Callable[[Peer, ProtocolError], None] | None = None
        self.holder_of: Callable[[str, int], str] | None = None
        self.on_abort: Callable[[], None] | None = None
        self.name = "duck-worker"
        self.contexts: Contexts | None = contexts_of(ssl_params) if enable_ssl else None
        self._wrapping: Contexts | None = None  # the same without HTTP/2; made when it is first asked for
        self._listeners: list[socket.socket] = []
        self._workers: list[Worker] = []
        self._ended = threading.Event()
        self._callbacks = PathCallbacks(self)

    # -- where it listens -----------------------------------------------------------------------------------------

    def listen(self, address: str | tuple[str, int]) -> list[socket.socket]:
        """Listen at `http://addr:port`, `https://addr:port`, `unix:/path`, `fd:N`, or a host and port.

        Port 0 takes a free one.

        Raises:
            AddressInUse: another process listens there.
            ApplicationError: nobody can listen there, or the server serves already.
            SSLError: `https` is to be spoken there, and the server has no certificate.
        """
        parsed = self._address(address) if isinstance(address, str) else self._tcp(*address)
        if parsed.tls and self.contexts is None:
            raise SSLError(f"The server has no certificate to listen at {parsed.url} with; make it with enable_ssl.")
        return self._add(open_listeners([parsed], backlog=self.backlog, holder_of=self.holder_of))

    def listen_all(self, port: int) -> list[socket.socket]:
        """Listen at every address of this machine, over IPv4, and over IPv6 where there is any."""
        opened = self.listen(("0.0.0.0", port))
        if socket.has_ipv6:
            with contextlib.suppress(ApplicationError):
                opened += self.listen(("::", opened[0].getsockname()[1]))
        return opened

    def listen_local(self, port: int) -> list[socket.socket]:
        """Listen at the loopback addresses only: 127.0.0.1, and ::1 where there is IPv6."""
        opened = self.listen(("127.0.0.1", port))
        if socket.has_ipv6:
            with contextlib.suppress(ApplicationError):
                opened += self.listen(("::1", opened[0].getsockname()[1]))
        return opened

    def listen_socket(self, listener: socket.socket) -> None:
        """Listen with a socket that is bound and listens already; it is the server's from now on.

        Raises:
            SSLError: TLS is to be spoken there, and the server has no certificate.
        """
        if speaks_tls(listener) and self.contexts is None:
            raise SSLError(
                f"The server has no certificate to listen at {uri_of(listener)} with; make it with enable_ssl."
            )
        listener.setblocking(False)
        self._add([listener])

    def get_listeners(self) -> list[socket.socket]:
        """The listening sockets; to look at, not to use."""
        return list(self._listeners)

    def get_uris(self) -> list[str]:
        """Where it listens: `http(s)://127.0.0.1:8000`, with IP addresses and real ports, or `unix:/path`."""
        return [uri_of(listener) for listener in self._listeners]

    @property
    def server_address(self) -> Any:
        """The first listener's address, as `getsockname` gives it; `addr` before there is one."""
        return self._listeners[0].getsockname() if self._listeners else self.addr

    def fileno(self) -> int:
        """The first listener's descriptor, -1 where there is none."""
        return self._listeners[0].fileno() if self._listeners else -1

    def is_https(self) -> bool:
        """Whether HTTPS can be served."""
        return self.contexts is not None

    # -- callbacks by path ----------------------------------------------------------------------------------------

    def add_handler(self, path: str | None, callback: Callback, user_data: Any = None) -> None:
        """Call `callback(server, message, path, query, user_data)` for requests at `path` and below it.

        The body is complete then. It is called on a worker's loop and must not block; None and `/` stand for every path
        that has nothing nearer. Without callbacks for it, a request is the application's. The first one is added before
        `start`; further ones may come and go while it serves.
        """
        self._callbacks.add(path, callback, user_data, early=False)

    def add_early_handler(self, path: str | None, callback: Callback, user_data: Any = None) -> None:
        """The same before the body is read: a status that is set here answers at once."""
        self._callbacks.add(path, callback, user_data, early=True)

    def remove_handler(self, path: str | None) -> None:
        """Forget the callbacks of `path`, early and other."""
        self._callbacks.remove(path)

    # -- serving --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Serve on worker threads; returns once connections are accepted.

        Raises:
            AddressInUse: `addr` is held by another process.
            ApplicationError: nobody can listen there, or the server serves already.
        """
        if self._workers:
            raise ApplicationError(f"The server at {', '.join(self.get_uris())} serves already.")
        if not self._listeners:
            self.listen(self.addr)
        self._ended.clear()
        contexts = self.contexts
        if contexts is not None and not self.http2 and "h2" in contexts.config.protocols:
            # What is not spoken is not offered, whatever the contexts were made for.
            contexts.reload(replace(contexts.config, protocols=protocols(http2=False)))
        try:
            for number in range(self.workers or 1):
                worker = Worker(
                    f"{self.name}-{number}",
                    self._listeners,
                    self._make_handler,
                    self.limits,
                    trusted_proxies=self.trusted_proxies,
                    server_name=self.server_name,
                    on_exchange=None if self.no_logs else self.on_exchange,
                    on_refusal=None if self.no_logs else self.on_refusal,
                    backlog=self.backlog,
                    contexts=self.contexts,
                    http2=self.http2,
                )
                worker.start()
                self._workers.append(worker)
        except BaseException:
            self.abort()
            raise

    def serve_forever(self) -> None:
        """`start`, and wait until `shutdown` is called by another thread."""
        self.start()
        self._ended.wait()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the server has ended; False where `timeout_s` seconds passed before."""
        return self._ended.wait(timeout_s)

    def disconnect(self) -> None:
        """Close the listeners; what was begun goes on."""
        for worker in self._workers:
            worker.post(worker.stop_accepting)
        self._close_listeners()

    def drain(
        self,
        deadline_s: float,
        done: Callable[[], None],
        *,
        spread_s: float = 0.0,
        streams_s: float | None = None,
        sockets_s: float | None = None,
        idle_s: float = IDLE_S,
        takes_backlog: bool = False,
    ) -> None:
        """Accept nothing more, finish what was begun for at most `deadline_s` seconds, cut the rest, say `done`.

        `done` is called once, on any thread; the workers live until `abort`. WebSockets and event streams are ended
        over `spread_s` seconds, and cut after `sockets_s` and `streams_s`; idle connections are closed after `idle_s`;
        with `takes_backlog` who waits to be accepted still is (see `Worker.drain`).
        """
        self._close_listeners()
        if not self._workers:
            done()
            return
        waiting = set(self._workers)
        lock = threading.Lock()

        def drained(worker: Worker) -> Callable[[], None]:
            def finish() -> None:
                with lock:
                    waiting.discard(worker)
                    last = not waiting
                if last:
                    done()

            return finish

        for worker in self._workers:
            worker.drain(
                deadline_s,
                drained(worker),
                spread_s=spread_s,
                streams_s=streams_s,
                sockets_s=sockets_s,
                idle_s=idle_s,
                takes_backlog=takes_backlog,
            )

    def abort(self) -> None:
        """End now: cut every connection, end the workers. For threads other than theirs."""
        self._close_listeners()
        if self._workers and self.on_abort is not None:
            self.on_abort()
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.stop()
        self._ended.set()

    def shutdown(self, deadline_s: float = 10.0) -> None:
        """Finish what was begun for at most `deadline_s` seconds, then end; returns when it has ended."""
        drained = threading.Event()
        self.drain(deadline_s, drained.set)
        drained.wait(deadline_s + 1.0)
        self.abort()

    def stop(self) -> None:
        """The same as `shutdown`."""
        self.shutdown()

    def post(self, callback: Callable[[], object]) -> None:
        """Run `callback` on every worker's loop soon."""
        for worker in self._workers:
            worker.post(callback)

    @property
    def running(self) -> bool:
        """Whether connections are served."""
        return any(worker.is_alive for worker in self._workers)

    def status(self) -> dict[str, Any]:
        """Counters over all workers, as they are at this moment."""
        servers = [worker.server for worker in self._workers if worker.server is not None]
        return {
            "workers": len(self._workers),
            "connections": sum(len(server.connections) for server in servers),
            "requests": sum(server.requests for server in servers),
            "refused": sum(server.refused_count for server in servers),
        }

    def snapshots(self) -> dict[str, dict[str, Any]]:
        """What each worker counts, by its name."""
        return {worker.name: worker.server.snapshot() for worker in self._workers if worker.server is not None}

    # -- TLS ------------------------------------------------------------------------------------------------------

    def reload_ssl_context(self) -> bool:
        """Read certificate and key again, for new connections; none is dropped, and their sessions can be resumed.

        Returns:
            Whether that was done: False without HTTPS.

        Raises:
            SSLError: a file cannot be used; what was served stays.
        """
        if self.contexts is None:
            return False
        self.contexts.reload()
        self._wrapping = None
        return True

    def ssl_wrap_socket(self, client_socket: socket.socket) -> ssl.SSLSocket:
        """A TLS socket around `client_socket`, the server's end of an accepted connection; blocks for the handshake.

        For programs that carry connections themselves; those that the server accepts need nothing of it. HTTP/2 is not
        offered, which such a program would have to speak by itself.

        Raises:
            SSLError: the server has no certificate.
        """
        if self.contexts is None:
            raise SSLError(f"The server at {self.domain} has no certificate, so {client_socket!r} cannot be wrapped.")
        if self._wrapping is None:
            self._wrapping = Contexts(replace(self.contexts.config, protocols=protocols(http2=False)))
        return self._wrapping.front.wrap_socket(client_socket, server_side=True)

    # -- below ----------------------------------------------------------------------------------------------------

    def _make_handler(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> Handler:
        handler = self.application.make_handler(loop, clock)
        # Looked at once: a server without callbacks pays nothing for them.
        return self._callbacks.handler(loop, handler) if self._callbacks else handler

    def _address(self, url: str) -> ListenAddress:
        try:
            return parse_listen(url)
        except ValueError as error:
            raise ApplicationError(f"Nobody can listen at {url!r}: {error}.") from None

    def _tcp(self, host: str, port: int) -> ListenAddress:
        if self.uses_ipv6 and host == "localhost":
            host = "::1"
        scheme: Literal["http", "https"] = "https" if self.enable_ssl else "http"
        return ListenAddress(scheme, host=host.strip("[]"), port=port, tls=self.enable_ssl)

    def _add(self, listeners: Sequence[socket.socket]) -> list[socket.socket]:
        if self._workers:
            for listener in listeners:
                listener.close()
            raise ApplicationError("The server serves already; say where it listens before it is started.")
        self._listeners += listeners
        return list(listeners)

    def _close_listeners(self) -> None:
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.close()


class BaseMicroServer(BaseServer):
    """A server for a MicroApp: the same, and silent in the access log by default."""

    @property
    def microapp(self) -> Application:
        """The application, by the name it was given."""
        return self.application

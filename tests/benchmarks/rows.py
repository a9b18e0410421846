"""What is measured: the rows of the table, their stacks, loads and wanted ratios."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks import memory, stacks
from tests.benchmarks.load import Load
from tests.benchmarks.servers import Missing, Server, free_port
from tests.benchmarks.stacks import RawBackend, Stack

CONNECTIONS = 16
IDLE_CONNECTIONS = 5_000
MIB = 1 << 20
MAIN, SERVE = "measured", "serve"


@dataclass(frozen=True)
class Site:
    """Where the servers of one run live.

    Attributes:
        directory: of logs, sockets and configurations; removed after the run.
        project: the Django project.
        backend: what stands behind a proxy alone; running.
        compiled: Duck as native modules; None where it could not be built.
    """

    directory: Path
    project: Path
    backend: RawBackend
    compiled: Path | None = None

    def duck(self, compiled: bool) -> Path:
        """The directory that holds the package.

        Raises:
            Missing: of the compiled form, where it could not be built.
        """
        if not compiled:
            return stacks.ROOT
        if self.compiled is None:
            raise Missing("Duck was not compiled")
        return self.compiled


Make = Callable[[Site, bool], Stack]


@dataclass(frozen=True)
class Wanted:
    """A bar: `value` at most, of `stack` divided by `beside`, or of `stack` alone.

    Attributes:
        of_rate: requests per second are compared, and `value` is wanted at least.
    """

    stack: str
    beside: str
    value: float
    of_rate: bool = False


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        make: of each stack, not started; may raise Missing. Told the site, and whether access logs are written.
        load: requests whose CPU time is measured; or
        grow: what gives the bytes of memory added, on a freshly started stack.
        table: the table of the performance page that it belongs to.
    """

    name: str
    title: str
    make: dict[str, Make]
    wanted: list[Wanted] = field(default_factory=list)
    load: Load | None = None
    grow: Callable[[Stack], float] | None = None
    table: str = MAIN


# -- stacks -----------------------------------------------------------------------------------------------------------


def _nginx_hop(site: Site, access_log: bool) -> Stack:
    server, port, version = stacks.nginx(
        site.directory, upstream=f"127.0.0.1:{site.backend.port}", access_log=access_log
    )
    return Stack("nginx", [(server, ("127.0.0.1", port))], port, version)


def _duck_hop(compiled: bool) -> Make:
    def make(site: Site, access_log: bool) -> Stack:
        upstream = ("127.0.0.1", site.backend.port)
        server, port, version = stacks.duck(
            site.directory, upstream=upstream, access_log=access_log, package=site.duck(compiled)
        )
        return _duck_stack(server, port, version, compiled)

    return make


def _duck_stack(server: Server, port: int, version: str, compiled: bool, path: str = "/") -> Stack:
    name = "duck, compiled" if compiled else "duck"
    return Stack(name, [(server, ("127.0.0.1", port))], port, version, path)


def _nginx_static(site: Site, access_log: bool, *, file_cache: bool = False) -> Stack:
    server, port, version = stacks.nginx(
        site.directory, static=site.project / "collected", access_log=access_log, file_cache=file_cache
    )
    name = "nginx, open_file_cache" if file_cache else "nginx"
    return Stack(name, [(server, ("127.0.0.1", port))], port, version, "/static/1k.css")


def _nginx_static_cached(site: Site, access_log: bool) -> Stack:
    return _nginx_static(site, access_log, file_cache=True)


def _duck(compiled: bool, path: str = "/") -> Make:
    def make(site: Site, access_log: bool) -> Stack:
        server, port, version = stacks.duck(
            site.directory, site=site.project, access_log=access_log, package=site.duck(compiled)
        )
        return _duck_stack(server, port, version, compiled, path)

    return make


def _nginx_before(name: str, workers: int = 1, called: str = "") -> Make:
    """nginx in front of a Django server, on a Unix socket; nginx writes the access log, as one does.

    Each of both has so many worker processes.
    """

    def make(site: Site, access_log: bool) -> Stack:
        path = str(site.directory / f"{name}-{free_port()}.sock")
        front, port, front_version = stacks.nginx(
            site.directory, upstream=f"unix:{path}", access_log=access_log, workers=workers
        )
        if name == "gunicorn":
            back, version = stacks.gunicorn(site.project, site.directory, f"unix:{path}", workers=workers)
        else:
            back, version = stacks.granian(site.project, site.directory, path, workers=workers)
        return Stack(
            called or f"nginx + {name}",
            [(back, path), (front, ("127.0.0.1", port))],
            port,
            f"{front_version} + {version}",
        )

    return make


def _serve(workers: int, called: str) -> Make:
    """`duck serve` with so many front processes, and as many of Django."""

    def make(site: Site, access_log: bool) -> Stack:
        server, port, version = stacks.duck(site.directory, site=site.project, access_log=access_log, workers=workers)
        return Stack(called, [(server, ("127.0.0.1", port))], port, version)

    return make


def _serve_stacks() -> dict[str, Make]:
    """Each with one and with two processes of a kind."""
    made: dict[str, Make] = {}
    for count in (1, 2):
        for peer in ("gunicorn", "granian"):
            name = f"nginx + {peer}, {count} + {count}"
            made[name] = _nginx_before(peer, count, name)
        name = f"duck serve, {count} + {count}"
        made[name] = _serve(count, name)
    return made


def _gunicorn(site: Site, access_log: bool) -> Stack:
    port = free_port()
    server, version = stacks.gunicorn(site.project, site.directory, f"127.0.0.1:{port}", access_log=access_log)
    return Stack("gunicorn", [(server, ("127.0.0.1", port))], port, version)


def _granian(site: Site, access_log: bool) -> Stack:
    port = free_port()
    server, version = stacks.granian(site.project, site.directory, str(port), access_log=access_log)
    return Stack("granian", [(server, ("127.0.0.1", port))], port, version)


_HOP: dict[str, Make] = {"nginx": _nginx_hop, "duck": _duck_hop(False), "duck, compiled": _duck_hop(True)}
_STATIC: dict[str, Make] = {
    "nginx": _nginx_static,
    "nginx, open_file_cache": _nginx_static_cached,
    "duck": _duck(False, "/static/1k.css"),
    "duck, compiled": _duck(True, "/static/1k.css"),
}
_DJANGO: dict[str, Make] = {
    "nginx + gunicorn": _nginx_before("gunicorn"),
    "nginx + granian": _nginx_before("granian"),
    "gunicorn": _gunicorn,
    "granian": _granian,
    "duck": _duck(False),
    "duck, compiled": _duck(True),
}
_BODIES: dict[str, Make] = {"nginx + granian": _nginx_before("granian"), "duck": _duck(False)}

ROWS = {
    row.name: row
    for row in (
        Row(
            "hop",
            "a proxy hop, 13-byte answer",
            _HOP,
            [Wanted("duck", "nginx", 1.5), Wanted("duck, compiled", "nginx", 1.5)],
            load=Load("/", CONNECTIONS),
        ),
        Row(
            "hop-varied",
            "a proxy hop, no two requests alike",
            _HOP,
            [Wanted("duck", "nginx", 1.5), Wanted("duck, compiled", "nginx", 1.5)],
            load=Load("/", CONNECTIONS, varied=True),
        ),
        Row(
            "megabyte",
            "a proxy hop, 1 MiB answer",
            _HOP,
            [Wanted("duck", "nginx", 0.4), Wanted("duck, compiled", "nginx", 0.4)],
            load=Load("/mb", CONNECTIONS),
        ),
        Row(
            "static-1k",
            "a static file of 1 KiB",
            _STATIC,
            [Wanted("duck", "nginx", 0.8), Wanted("duck, compiled", "nginx", 0.8)],
            load=Load("/static/1k.css", CONNECTIONS),
        ),
        Row("static-1m", "a static file of 1 MiB", _STATIC, load=Load("/static/1m.css", CONNECTIONS)),
        Row(
            "hello",
            "a Django view",
            _DJANGO,
            [Wanted("duck", "nginx + granian", 1.1), Wanted("duck, compiled", "nginx + granian", 1.1)],
            load=Load("/", CONNECTIONS),
        ),
        Row(
            "serve",
            "a Django view, in production",
            _serve_stacks(),
            [
                Wanted("duck serve, 2 + 2", "duck serve, 1 + 1", 1.8, of_rate=True),
                Wanted("duck serve, 2 + 2", "nginx + granian, 2 + 2", 1.1),
            ],
            load=Load("/", CONNECTIONS),
            table=SERVE,
        ),
        Row("upload", "memory added by 100 MiB up", _BODIES, [Wanted("duck", "", 32 * MIB)], grow=memory.upload),
        Row(
            "download",
            "memory added by 100 MiB down, read slowly",
            _BODIES,
            [Wanted("duck", "", 32 * MIB)],
            grow=memory.download,
        ),
        Row(
            "idle",
            f"memory of one of {IDLE_CONNECTIONS:,} idle connections",
            _BODIES,
            [Wanted("duck", "", 6 * 1024)],
            grow=lambda stack: memory.idle(stack, IDLE_CONNECTIONS),
        ),
    )
}

"""The rows over TLS, and their stacks; one certificate with a P-256 key serves all of them."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks import memory, stacks
from tests.benchmarks.load import Load
from tests.benchmarks.rows import CONNECTIONS, Make, Row, Site, Wanted
from tests.benchmarks.stacks import Stack
from tests.certificates import Authority, Pair

TABLE = "tls"
IDLE_CONNECTIONS = 2_000
KIB = 1 << 10
# Over HTTP/2 as many requests are under way as over HTTP/1.1.
H2_CONNECTIONS, H2_STREAMS = 4, 4


def pair_of(site: Site) -> Pair:
    """The certificate and the key of this run; its issuer's certificate is sent along, as a public one's is."""
    directory = site.directory / "tls"
    chain, key = directory / "chain.crt", directory / "localhost.key"
    if not chain.exists():
        authority = Authority(directory)
        leaf, _ = authority.issue("localhost", "127.0.0.1")
        chain.write_bytes(Path(leaf).read_bytes() + Path(authority.file).read_bytes())
    return str(chain), str(key)


def _nginx(path: str) -> Make:
    def make(site: Site, access_log: bool) -> Stack:
        files = path.startswith("/static/")
        server, port, version = stacks.nginx(
            site.directory,
            upstream="" if files else f"127.0.0.1:{site.backend.port}",
            static=site.project / "collected" if files else None,
            access_log=access_log,
            pair=pair_of(site),
        )
        return Stack("nginx", [(server, ("127.0.0.1", port))], port, version, path, "https")

    return make


def _caddy(path: str) -> Make:
    def make(site: Site, access_log: bool) -> Stack:
        files = path.startswith("/static/")
        server, port, version = stacks.caddy(
            site.directory,
            pair_of(site),
            upstream="" if files else f"127.0.0.1:{site.backend.port}",
            static=site.project / "collected" if files else None,
            access_log=access_log,
        )
        return Stack("caddy", [(server, ("127.0.0.1", port))], port, version, path, "https")

    return make


def _duck(path: str, compiled: bool) -> Make:
    def make(site: Site, access_log: bool) -> Stack:
        files = path.startswith("/static/")
        server, port, version = stacks.duck(
            site.directory,
            site=site.project if files else None,
            upstream=None if files else ("127.0.0.1", site.backend.port),
            access_log=access_log,
            package=site.duck(compiled),
            pair=pair_of(site),
        )
        name = "duck, compiled" if compiled else "duck"
        return Stack(name, [(server, ("127.0.0.1", port))], port, version, path, "https")

    return make


def _granian(site: Site, access_log: bool) -> Stack:
    server, port, version = stacks.granian_alone(site.directory, pair_of(site), access_log=access_log)
    return Stack("granian, no hop", [(server, ("127.0.0.1", port))], port, version, scheme="https")


def _hypercorn(site: Site, access_log: bool) -> Stack:
    server, port, version = stacks.hypercorn_alone(site.directory, pair_of(site), access_log=access_log)
    return Stack("hypercorn, no hop", [(server, ("127.0.0.1", port))], port, version, scheme="https")


_HOP: dict[str, Make] = {
    "nginx": _nginx("/"),
    "caddy": _caddy("/"),
    "granian, no hop": _granian,
    "hypercorn, no hop": _hypercorn,
    "duck": _duck("/", False),
    "duck, compiled": _duck("/", True),
}
_FILE = "/static/1m.css"
_STATIC: dict[str, Make] = {
    "nginx": _nginx(_FILE),
    "caddy": _caddy(_FILE),
    "duck": _duck(_FILE, False),
    "duck, compiled": _duck(_FILE, True),
}

ROWS = {
    row.name: row
    for row in (
        Row(
            "tls-hop",
            "a proxy hop over TLS, HTTP/1.1",
            _HOP,
            load=Load("/", CONNECTIONS),
            table=TABLE,
        ),
        Row(
            "h2-hop",
            "a proxy hop over TLS, HTTP/2",
            _HOP,
            [Wanted("duck", "nginx", 2.0), Wanted("duck, compiled", "nginx", 2.0)],
            load=Load("/", H2_CONNECTIONS, streams=H2_STREAMS),
            table=TABLE,
        ),
        Row(
            "h2-hop-varied",
            "a proxy hop over TLS, HTTP/2, no two paths alike",
            {name: _HOP[name] for name in ("nginx", "duck", "duck, compiled")},
            load=Load("/", H2_CONNECTIONS, varied=True, streams=H2_STREAMS),
            table=TABLE,
        ),
        Row(
            "handshake",
            "a proxy hop on a TLS connection of its own",
            _HOP,
            [Wanted("duck", "nginx", 1.5), Wanted("duck, compiled", "nginx", 1.5)],
            load=Load("/", CONNECTIONS, fresh=True),
            table=TABLE,
        ),
        Row("tls-static-1m", "a static file of 1 MiB over TLS", _STATIC, load=Load(_FILE, CONNECTIONS), table=TABLE),
        Row(
            "tls-idle",
            f"memory of one of {IDLE_CONNECTIONS:,} idle TLS connections",
            {"nginx": _nginx("/"), "duck": _duck("/", False)},
            [Wanted("duck", "", 64 * KIB)],
            grow=lambda stack: memory.idle(stack, IDLE_CONNECTIONS),
            table=TABLE,
        ),
    )
}

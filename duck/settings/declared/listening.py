"""Where Duck listens, and whom it believes."""

from __future__ import annotations

from typing import Final

from duck.settings import kinds
from duck.settings.setting import Setting

LISTENING: Final = (
    Setting(
        "Listening",
        "ADDRESS",
        kinds.HOST,
        "localhost",
        "The address to listen at; `localhost` is this machine only, `0.0.0.0` every network it is in.",
        in_production="127.0.0.1",
        flags=("-a", "--address"),
    ),
    Setting(
        "Listening",
        "PORT",
        kinds.integer(0, 65535, "a port"),
        8000,
        "The port to listen at; 0 takes a free one.",
        flags=("-p", "--port"),
    ),
    Setting(
        "Listening",
        "DOMAIN",
        kinds.HOST.or_none(),
        None,
        "The public name, used in the addresses that Duck prints and builds."
        " By default the first of DOMAINS, else ADDRESS.",
    ),
    Setting(
        "Listening",
        "IPV6",
        kinds.BOOLEAN,
        False,
        "Whether ADDRESS is resolved to IPv6; `localhost` is then `::1`.",
        flags=("--ipv6/--no-ipv6",),
    ),
    Setting(
        "Listening",
        "LAN",
        kinds.BOOLEAN,
        False,
        "Whether `duck runserver` listens at every address of this machine, and names those that other devices in the"
        " network can open; they get pages only.",
        flags=("--lan/--no-lan",),
        of=("runserver",),
    ),
    Setting(
        "Listening",
        "QR",
        kinds.BOOLEAN,
        False,
        "Whether the address for another device is shown as a QR code, too.",
        flags=("--qr/--no-qr",),
        of=("runserver",),
    ),
    Setting(
        "Listening",
        "HTTP2",
        kinds.BOOLEAN,
        True,
        "Whether HTTP/2 is spoken: with clients that choose it in their TLS handshake (ALPN), and without TLS with"
        " those that begin with it (prior knowledge, h2c), as balancers do that end TLS themselves.",
        flags=("--http2/--no-http2",),
    ),
    Setting(
        "Listening",
        "LISTEN",
        kinds.items(kinds.LISTEN, "listening URLs"),
        [],
        "Where to listen, instead of ADDRESS and PORT: `http://address:port`, `https://address:port`, `unix:/path` or"
        " `fd:N`; the address `*` is every one of this machine.",
        flags=("--listen",),
        metavar="URL",
    ),
    Setting(
        "Listening",
        "REQUESTS_BACKLOG",
        kinds.integer(1, 65535, "a number of connections"),
        2048,
        "Connections that wait in the kernel until they are accepted.",
        unit="connections",
    ),
    Setting(
        "Listening",
        "NAME",
        kinds.NAME,
        "default",
        "What tells this Duck from another one of the same project.",
        flags=("--name",),
    ),
    Setting(
        "Listening",
        "PREFIX",
        kinds.PREFIX.or_none(),
        None,
        "A path under which all of Django lives: it moves from PATH_INFO to SCRIPT_NAME."
        " By default Django's FORCE_SCRIPT_NAME.",
        flags=("--prefix",),
    ),
    Setting(
        "Listening",
        "TRUSTED_PROXIES",
        kinds.items(kinds.NETWORK, "networks"),
        [],
        "Addresses and networks of balancers in front, whose `Forwarded` and `X-Forwarded-*` are believed;"
        " `unix` is whoever comes through a Unix socket.",
    ),
)

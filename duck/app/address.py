"""Addresses that an application is given and gives."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from duck.exceptions import ApplicationError
from duck.net.listener import uri_of
from duck.services.network import network_addresses
from duck.settings import views

if TYPE_CHECKING:
    from duck.settings.listen import ListenAddress
    from duck.settings.load import Settings
    from duck.settings.views import ListeningView

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


def check_address(addr: str, port: int, *, uses_ipv6: bool = False) -> None:
    """Refuse what can be no address to listen at.

    Raises:
        ApplicationError: the address is neither an IP address nor a host name, or the port no port.
    """
    if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= 65535:
        raise ApplicationError(f"The port {port!r} is none; give a number from 0 to 65535.")
    if not isinstance(addr, str) or not addr:
        raise ApplicationError(f"The address {addr!r} is none; give an IP address or a host name.")
    text = addr.strip("[]")
    try:
        version = ipaddress.ip_address(text.partition("%")[0]).version
    except ValueError:
        labels = text.removesuffix(".").split(".")
        # What ends in a number is meant as an IPv4 address, and is none (WHATWG URL, "ends in a number").
        if len(text) > 253 or labels[-1].isdigit() or not all(_LABEL.fullmatch(label) for label in labels):
            raise ApplicationError(
                f"The address {addr!r} is neither an IP address nor a host name; give one like 127.0.0.1 or localhost."
            ) from None
        return
    if uses_ipv6 and version == 4:
        raise ApplicationError(f"The address {addr!r} is IPv4, but uses_ipv6 asks for IPv6; give one like ::1.")


def absolute_url(scheme: str, domain: str, port: int) -> str:
    """`scheme://domain:port` without a final slash; the port left out where it is the scheme's own."""
    host = f"[{domain}]" if ":" in domain else domain
    default = {"http": 80, "ws": 80, "https": 443, "wss": 443}[scheme]
    return f"{scheme}://{host}" if port == default else f"{scheme}://{host}:{port}"


def host_of(url: str) -> str:
    """The host of `scheme://host:port`, without brackets."""
    return urlsplit(url).hostname or ""


def listen_addresses(listening: ListeningView) -> list[ListenAddress]:
    """Where to listen, as sockets are opened."""
    return [
        replace(address, host="::1") if listening.ipv6 and address.host == "localhost" else address
        for address in listening.addresses
    ]


def port_beside(settings: Settings, port: int) -> int:
    """The first port after `port`, the site's, that is not one of its others; 0 where there is none."""
    https = views.https(settings)
    taken = {address.port for address in listen_addresses(views.listening(settings))}
    if https.enabled and https.redirect:
        taken.add(https.redirect_port)
    return next((one for one in range(port + 1, 65536) if one not in taken), 0)


def public_addresses(listeners: Iterable[socket.socket], listening: ListeningView) -> list[str]:
    """One URL for each listener, as a browser takes it; `localhost` stands for all that it resolved to.

    Of listeners for the network: `localhost`, then the addresses that other devices know this machine by.
    """
    found: dict[str, None] = {}
    for listener in listeners:
        uri = uri_of(listener)
        if is_tcp(listener) and listening.lan:
            scheme, port = uri.partition(":")[0], listener.getsockname()[1]
            for host in ("localhost", *network_addresses()):
                found[absolute_url(scheme, host, port)] = None
            continue
        if is_tcp(listener) and listening.addresses[0].host == "localhost":
            uri = f"{uri.partition(':')[0]}://localhost:{listener.getsockname()[1]}"
        elif is_tcp(listener) and listening.addresses[0].host == "*" and listening.is_site:
            uri = absolute_url(uri.partition(":")[0], listening.domain, listener.getsockname()[1])
        found[uri] = None
    return list(found)


def is_tcp(listener: socket.socket) -> bool:
    """Whether `listener` has a host and a port."""
    return listener.family in (socket.AF_INET, socket.AF_INET6)


def is_of_this_machine(url: str) -> bool:
    """Whether the host of `url` means another machine on each: `localhost`, or an address such as 127.0.0.1."""
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified

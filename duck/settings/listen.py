"""Addresses as a user writes them: where to listen, and Django's `addrport`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class ListenAddress:
    """One place to listen at.

    Attributes:
        scheme: `http` and `https` over TCP, `unix` for a socket path, `fd` for an inherited listening socket.
        host, port: of `http` and `https`; port 0 takes a free one.
        path: of `unix`, absolute.
        fd: of `fd`.
        tls: whether TLS is spoken there.
    """

    scheme: Literal["http", "https", "unix", "fd"]
    host: str = ""
    port: int = 0
    path: str = ""
    fd: int = -1
    tls: bool = False

    @property
    def url(self) -> str:
        """The address as `--listen` takes it."""
        if self.scheme == "unix":
            return f"unix:{self.path}"
        if self.scheme == "fd":
            return f"fd:{self.fd}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_listen(text: str, base: Path | None = None) -> ListenAddress:
    """Read `http(s)://address:port`, `unix:/path` or `fd:N`; a relative socket path starts at `base`.

    Raises:
        ValueError: with what would be right.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        path = path.removeprefix("//") if path.startswith("///") else path
        if path:
            return ListenAddress("unix", path=str((base or Path.cwd()) / path))
    elif re.fullmatch(r"fd:\d+", text):
        return ListenAddress("fd", fd=int(text[3:]))
    elif text.startswith(("http://", "https://")):
        scheme, _, rest = text.partition("://")
        host, port = split_host_port(rest.rstrip("/"))
        if host is not None and scheme == "https":
            return ListenAddress("https", host=host, port=443 if port is None else port, tls=True)
        if host is not None:
            return ListenAddress("http", host=host, port=80 if port is None else port)
    raise ValueError('give "http://address:port", "https://address:port", "unix:/path" or "fd:N"')


def parse_addrport(text: str) -> tuple[str | None, int | None]:
    """Read what Django's runserver takes: `8001`, `0.0.0.0:8000`, `[::1]:8000`, `localhost:8000`.

    Returns:
        The address and the port, None for one that is not given; `0` alone is the address 0.0.0.0, as in Django.

    Raises:
        ValueError: with what would be right.
    """
    if text.isdecimal() and text.isascii() and 0 < int(text) <= 65535:
        return None, int(text)
    host, port = split_host_port(text)
    if host is None or port is None:
        raise ValueError(f"{text!r} is not an address to listen at: give PORT, ADDRESS:PORT or [IPV6]:PORT")
    return ("0.0.0.0" if host == "0" else host), port


def split_host_port(text: str) -> tuple[str | None, int | None]:
    """Take `host`, `host:port` or `[ipv6]:port` apart; brackets go, and a None host means the text is none of these."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s\[\]:/@?#]+))(?::(\d{1,5}))?", text)
    if match is None:
        return None, None
    if match[1] is not None:
        try:
            ipaddress.IPv6Address(match[1])
        except ValueError:
            return None, None
    port = int(match[3]) if match[3] is not None else None
    if port is not None and port > 65535:
        return None, None
    return match[1] or match[2], port

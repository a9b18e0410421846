"""Where a front-end server listens, and how its own words tell that."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

# Colours and what else a terminal obeys.
_ESCAPE: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_URL: Final = re.compile(
    r"(https?)://(localhost|127\.\d+\.\d+\.\d+|0\.0\.0\.0|\[[0-9a-f:]+\])(?::(\d{1,5}))?(/[^\s\"'<>,]*)?"
)
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True)
class FrontendAddress:
    """Where it listens.

    Attributes:
        host: a name or an address of this machine.
        base: the path below which its files are, with its final slash.
        secure: whether it speaks HTTPS.
    """

    host: str
    port: int
    base: str = "/"
    secure: bool = False


def parse_address(url: str) -> FrontendAddress:
    """The address in FRONTEND_URL, which any machine may have."""
    rest = url.partition("://")[2]
    authority, _, path = rest.partition("/")
    host, _, port = authority.rpartition(":")
    return FrontendAddress(host.strip("[]"), int(port), f"/{path}")


def plain(line: str) -> str:
    """`line` without what only a terminal understands."""
    return _ESCAPE.sub("", line)


def printed_address(line: str) -> FrontendAddress | None:
    """The address of this machine that a plain line of its output names, as Vite, webpack and most others print it."""
    found = _URL.search(line)
    if found is None:
        return None
    scheme, host, port, path = found.groups()
    host = host.strip("[]")
    base = path or "/"
    return FrontendAddress(
        _EVERYWHERE.get(host, host),
        int(port) if port else (443 if scheme == "https" else 80),
        base if base.endswith("/") else base + "/",
        scheme == "https",
    )

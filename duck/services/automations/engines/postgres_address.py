"""The address of a PostgreSQL, with the names of its hosts resolved within a deadline.

psycopg and libpq ask the resolver themselves and wait for as long as that takes: half a minute and more where the
servers of names are away. Here a thread asks, and is left alone with it when it is late.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

_RESOLVE_S: Final = 3.0
# Each is waited for by itself.
_MOST_ADDRESSES: Final = 4


class Resolver:
    """Of one address. For one thread."""

    def __init__(self) -> None:
        self._asked: _Asked | None = None

    def resolve(self, address: str) -> str:
        """The same address, with where each of its hosts is; the names stay, for certificates are compared with them.

        Raises:
            psycopg.OperationalError: no host is known, or it is not known in time.
        """
        parts = conninfo_to_dict(address)
        names = str(parts.get("host") or os.environ.get("PGHOST") or "").split(",")
        if parts.get("hostaddr") or os.environ.get("PGHOSTADDR") or not any(map(_is_name, names)):
            return address
        ports = str(parts.get("port") or os.environ.get("PGPORT") or "").split(",")
        ports = ports * len(names) if len(ports) == 1 else ports
        if len(ports) != len(names):
            return address  # of which psycopg says more
        found = self._ask([name for name in names if _is_name(name)])
        places = [
            (name, place, port)
            for name, port in zip(names, ports, strict=True)
            for place in (found.get(name, ()) if _is_name(name) else ("",))
        ]
        if not places:
            raise psycopg.OperationalError(f"no address is known of {', '.join(names)}")
        host, hostaddr, port = (",".join(column) for column in zip(*places[:_MOST_ADDRESSES], strict=True))
        told = {"host": host, "hostaddr": hostaddr, "port": port}
        return make_conninfo(address, **{key: value for key, value in told.items() if value.strip(",")})

    def _ask(self, names: list[str]) -> dict[str, tuple[str, ...]]:
        """The addresses of these names, as far as they are known."""
        asked = self._asked
        if asked is None or asked.names != names:
            # One that is late is waited for the next time, too: there is one thread at most for each set of names.
            asked = self._asked = _Asked(names)
            threading.Thread(target=asked.ask, name="duck-resolve", daemon=True).start()
        if not asked.is_done.wait(_RESOLVE_S):
            raise psycopg.OperationalError(f"the name {', '.join(names)} was not resolved within {_RESOLVE_S:g} s")
        self._asked = None
        return asked.found


@dataclass
class _Asked:
    """A question to the resolver."""

    names: list[str]
    found: dict[str, tuple[str, ...]] = field(default_factory=dict)
    is_done: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> None:
        """On a thread of its own."""
        try:
            for name in self.names:
                try:
                    answers: list[Any] = socket.getaddrinfo(name, None, proto=socket.IPPROTO_TCP)
                except (OSError, UnicodeError):
                    continue  # another may be known
                self.found[name] = tuple(dict.fromkeys(str(answer[4][0]) for answer in answers))
        finally:
            self.is_done.set()


def _is_name(host: str) -> bool:
    """Whether it has to be resolved: no socket in the file system, and no address."""
    if not host or host.startswith(("/", "@")):
        return False
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return True
    return False

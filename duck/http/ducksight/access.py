"""Who may use DuckSight: somebody at this machine, by a name of it, from a page of this very server, with the token.

Three questions, each answered from the head of a request and from its peer alone:

    is_near     this machine, or a listed one; by no relay; and by a name that no stranger can give to it
    is_own      the page that asks, where one does, is of the same origin
    proof       the run's token is there

A page of somebody else's can make a browser on this machine ask. Its origin gives it away, or, where its own host name
was made to lead here (DNS rebinding), that name does; and it can know no token.
"""

from __future__ import annotations

import ipaddress
import re
from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from duck.wire.fields import get_all

if TYPE_CHECKING:
    from collections.abc import Iterable

    from duck.net.peer import Peer
    from duck.wire.head import RequestHead

# How the token came.
NONE: Final = ""
QUERY: Final = "query"
COOKIE: Final = "cookie"

_LOOPBACK_NAME: Final = re.compile(rb"127(\.\d+){3}")
# What a browser's address may hold besides would end a source in a policy, or a directive.
_PLAIN: Final = re.compile(rb"[A-Za-z0-9._-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")
_OWN_SITES: Final = (b"same-origin", b"none")


class Access:
    """Answers for one site.

    Args:
        token: of the run.
        allowed: addresses and networks besides loopback, and host names besides those of every machine.

    Attributes:
        token: of the run, as it is sent.
    """

    __slots__ = ("_names", "_networks", "token")

    def __init__(self, token: str, allowed: Iterable[str] = ()) -> None:
        self.token = token.encode()
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        names: set[bytes] = set()
        for one in allowed:
            try:
                self._networks.append(ipaddress.ip_network(one))
            except ValueError:
                names.add(one.lower().encode())
        self._names = frozenset(names)

    def is_near(self, request: RequestHead, peer: Peer) -> bool:
        """Whether somebody at this machine, or at a listed one, asks by a name that is known to mean it."""
        return not is_relayed(request, peer) and self._is_known(peer.host) and self._names_us(request, peer)

    def is_own(self, request: RequestHead, peer: Peer) -> bool:
        """Whether no page of another origin is behind `request` (Fetch §3.2, Fetch Metadata §2.3)."""
        sites = get_all(request.fields, b"sec-fetch-site")
        if any(site.lower() not in _OWN_SITES for site in sites):
            return False
        origin = b"%b://%b" % (peer.scheme, request.authority.lower())
        return all(said.lower() == origin for said in get_all(request.fields, b"origin"))

    def proof(self, request: RequestHead, peer: Peer) -> str:
        """How the token came: QUERY, COOKIE, or NONE where it is missing or wrong."""
        if any(self._is_token(value) for value in query_values(request.query, b"token")):
            return QUERY
        name = cookie_name(peer)
        for line in get_all(request.fields, b"cookie"):
            for pair in line.split(b";"):
                key, _, value = pair.strip(b" \t").partition(b"=")
                if key == name and self._is_token(value):
                    return COOKIE
        return NONE

    def admits(self, request: RequestHead, peer: Peer) -> str:
        """`proof`, where all else is as it should be; else NONE."""
        if self.is_near(request, peer) and self.is_own(request, peer):
            return self.proof(request, peer)
        return NONE

    def _is_token(self, value: bytes) -> bool:
        return compare_digest(value, self.token)

    def _is_known(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False  # of a Unix socket, before which a proxy stands
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return address.is_loopback or any(address in network for network in self._networks)

    def _names_us(self, request: RequestHead, peer: Peer) -> bool:
        """A name that leads here whoever is asked: of every machine, listed, or the listener's address itself."""
        if _PLAIN.fullmatch(request.authority) is None:
            return False
        if is_loopback_name(request.authority):
            return True
        host = host_of(request.authority)
        return host in self._names or (host != b"" and host == peer.server_host.lower().encode())


def is_relayed(request: RequestHead, peer: Peer) -> bool:
    """Whether somebody between has passed `request` on: then a tunnel, say, ends at this machine, and its client is
    anywhere. What only a proxy may say counts, trusted or not.
    """
    return peer.via != "" or request.block.claims != [] or get_all(request.fields, b"via") != []


def host_of(authority: bytes) -> bytes:
    """The host of a Host field, in lower case, without port, brackets and final dot."""
    host = authority.lower()
    if host.startswith(b"["):
        return host[1:].partition(b"]")[0]
    return host.partition(b":")[0].removesuffix(b".")


def is_loopback_name(authority: bytes) -> bool:
    """Whether a request's Host names this machine, as every machine calls itself (RFC 6761 §6.3)."""
    host = host_of(authority)
    if authority.startswith(b"["):
        return host == b"::1"
    return host == b"localhost" or host.endswith(b".localhost") or _LOOPBACK_NAME.fullmatch(host) is not None


def cookie_name(peer: Peer) -> bytes:
    """The cookie that holds the token; browsers do not tell ports apart."""
    return b"duck-sight-%d" % peer.server_port


def query_values(query: bytes, name: bytes) -> list[bytes]:
    """Every value of `name` in a query, as sent: for what needs no percent-encoding."""
    prefix = name + b"="
    return [pair[len(prefix) :] for pair in query.split(b"&") if pair.startswith(prefix)]


def without(query: bytes, name: bytes) -> bytes:
    """`query` without the values of `name`."""
    prefix = name + b"="
    return b"&".join([pair for pair in query.split(b"&") if pair and not pair.startswith(prefix)])

"""From plain HTTP to HTTPS: the same resource, by its bytes, at a name that is ours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from duck.http.challenges import PREFIX
from duck.wire.head import ResponseHead

if TYPE_CHECKING:
    from duck.net.exchange import Exchange
    from duck.net.interfaces import Handler

PERMANENT: Final = 308  # method and body are kept (RFC 9110 §15.4.9)


class HttpsRedirect:
    """Answers every request with the `https` address of what was asked for.

    The host stays where it is one of `names`; any other is replaced by the public name, so that no one can be sent
    elsewhere.

    Args:
        domain: the public name.
        port: where HTTPS is served.
        names: hosts that HTTPS is served for, too; `*.example.org` stands for one label more.
        status: for GET and HEAD; other methods get 308.
        is_remembered: whether browsers may keep the answer.
        challenges: answers http-01 challenges.
    """

    def __init__(
        self,
        domain: str,
        port: int,
        names: Iterable[str] = (),
        *,
        status: int = PERMANENT,
        is_remembered: bool = True,
        challenges: Handler | None = None,
    ) -> None:
        self._domain = _bracketed(domain)
        self._port = b"" if port == 443 else b":%d" % port
        named = {_bracketed(name.lower()) for name in names}
        self._names = frozenset(named | {self._domain.lower()})
        self._status = status
        self._fields = [] if is_remembered else [(b"Cache-Control", b"no-store")]
        self._challenges = challenges

    def handle(self, exchange: Exchange) -> None:
        """Answer `exchange` (`Handler`)."""
        request = exchange.request
        if self._challenges is not None and request.path.startswith(PREFIX):
            self._challenges.handle(exchange)
            return
        # Its client goes on elsewhere: no connection has to be kept for it, nor interrupted at a reload.
        request.keep_alive = False
        target = request.target
        if not target.startswith(b"/"):
            target = b"/"  # OPTIONS *
        location = b"https://" + self._host(request.authority) + self._port + target
        status = self._status if request.method in (b"GET", b"HEAD") else PERMANENT
        exchange.response.answer(ResponseHead(status, [(b"Location", location), *self._fields], content_length=0), b"")

    def _host(self, authority: bytes) -> bytes:
        """The host that a client named, without its port, where it is ours."""
        host = authority.lower()
        if not host.endswith(b"]"):
            name, colon, port = host.rpartition(b":")
            if colon and port.isdigit():
                host = name
        host = host.removesuffix(b".")
        label, _, parent = host.partition(b".")
        if host in self._names or (label and b"*." + parent in self._names):
            return host
        return self._domain


def _bracketed(name: str) -> bytes:
    """`name` as it stands in a URL: an IPv6 address in brackets, other scripts as A-labels (RFC 5890)."""
    if ":" in name:
        return f"[{name.strip('[]')}]".encode()
    return name.encode("ascii" if name.isascii() else "idna")

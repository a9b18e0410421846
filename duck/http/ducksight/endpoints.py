"""Endpoints: what answers below `/.duck/`, for who may ask; for everybody else there is nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from duck.http.ducksight.access import QUERY, cookie_name, without
from duck.http.errors import error_answer
from duck.wire.render import TEXT, answer_head

if TYPE_CHECKING:
    from duck.http.ducksight.access import Access
    from duck.net.exchange import Exchange
    from duck.net.interfaces import Handler

PREFIX: Final = b"/.duck/"


class Endpoints:
    """Handlers by their paths (`Handler`); one for each site.

    A handler answers its path and all below it, `/.duck/requests/17` for one that was added for `/.duck/requests`; of
    several the longest path counts. It is asked only by who may ask; what was asked it checks itself, the method too.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._handlers: dict[bytes, Handler] = {}
        self._pages: set[bytes] = set()

    def add(self, path: bytes, handler: Handler, *, is_page: bool = True) -> None:
        """Have `handler` answer `path`, below PREFIX.

        Args:
            is_page: a link with the token in its query leads to it: the token becomes a cookie, and leaves the address.
        """
        assert path.startswith(PREFIX) and not path.endswith(b"/"), path
        self._handlers[path] = handler
        if is_page:
            self._pages.add(path)

    def handle(self, exchange: Exchange) -> None:
        """Answer `exchange`, whose path is below PREFIX (`Handler`)."""
        request = exchange.request
        proof = self._access.admits(request, exchange.peer)
        found = self._find(request.path) if proof else b""
        if not found:
            exchange.response.answer(*error_answer(404, request=request))
        elif proof == QUERY and found in self._pages and request.method == b"GET":
            self._keep_token(exchange)
        else:
            self._handlers[found].handle(exchange)

    def _find(self, path: bytes) -> bytes:
        """The longest path that was added and is `path` or above it."""
        while len(path) > len(PREFIX):
            if path in self._handlers:
                return path
            path = path.rpartition(b"/")[0]
        return b""

    def _keep_token(self, exchange: Exchange) -> None:
        """Send the browser to the same address without the token, which it has as a cookie from then on."""
        request, peer = exchange.request, exchange.peer
        query = without(request.query, b"token")
        cookie = b"%b=%b; Path=%b; HttpOnly; SameSite=Strict%b" % (
            cookie_name(peer),
            self._access.token,
            PREFIX,
            b"; Secure" if peer.scheme == b"https" else b"",
        )
        fields = [
            (b"Location", request.path + (b"?" + query if query else b"")),
            (b"Set-Cookie", cookie),
            (b"Referrer-Policy", b"no-referrer"),
        ]
        exchange.response.answer(answer_head(303, TEXT, b"", fields=fields), b"")

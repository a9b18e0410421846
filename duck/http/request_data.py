"""RequestData: what came from the client, before anything is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from duck.http.headers import Headers

if TYPE_CHECKING:
    from duck.net.peer import Peer
    from duck.proxy.spool import Spool
    from duck.wire.head import RequestHead


class RequestData:
    """The parsed head of one request, who sent it, and what its body may have.

    The head is the one the server has parsed: nothing is parsed again. The body is not here; it comes through the
    request's socket as it is read.

    Attributes:
        head: see `duck.wire.head.RequestHead`.
        peer: the client as Django would see it; behind a trusted proxy the real one.
        max_body_bytes: what the application takes of a body; a longer one is refused with 413.
        spool: where a long body is counted that somebody reads as a whole; None for nowhere.
    """

    __slots__ = ("head", "max_body_bytes", "peer", "spool")

    def __init__(self, head: RequestHead, peer: Peer, max_body_bytes: int, spool: Spool | None = None) -> None:
        self.head = head
        self.peer = peer
        self.max_body_bytes = max_body_bytes
        self.spool = spool

    @property
    def method(self) -> str:
        """As received; methods are case-sensitive."""
        return self.head.method.decode("latin-1")

    @property
    def target(self) -> bytes:
        """Path and query as received."""
        return self.head.target

    @property
    def headers(self) -> Headers:
        """The fields; a new object each time, changes stay there."""
        return Headers(self.head.fields)

    def __repr__(self) -> str:
        return f"<RequestData {self.head!r} from {self.peer!r}>"

"""Recording: what is kept of one exchange while it lasts, and when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from duck.http.ducksight.timing import Timing, split
from duck.net.exchange import CUT, FILES, SENDING, SENT, TUNNEL, WAITING
from duck.wire.fields import get

if TYPE_CHECKING:
    from duck.net.exchange import Exchange
    from duck.net.measure import Measure
    from duck.net.peer import Peer
    from duck.wire.head import RequestHead, ResponseHead

# Of each body.
MAX_BODY_BYTES: Final = 262_144
_MAX_PIECES: Final = 64

_STATES: Final = {WAITING: "waiting", SENDING: "answering", SENT: "answering", TUNNEL: "open", CUT: "cut"}
_ENDED: Final = {SENT: "done", TUNNEL: "closed"}


class Captured:
    """The first bytes of a body, at most MAX_BODY_BYTES.

    Attributes:
        size: of the whole body, as far as it has come.
        kept: bytes of it that are here.
        ended: the body is complete.
    """

    __slots__ = ("_pieces", "ended", "kept", "size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size = 0
        self.kept = 0
        self.ended = False

    def add(self, chunk: bytes) -> int:
        """More of the body; how many bytes of it are kept."""
        self.size += len(chunk)
        room = MAX_BODY_BYTES - self.kept
        if room <= 0:
            return 0
        piece = chunk if len(chunk) <= room else chunk[:room]
        if len(self._pieces) == _MAX_PIECES:
            # Many small pieces would weigh far more than their bytes.
            self._pieces = [b"".join(self._pieces)]
        self._pieces.append(piece)
        self.kept += len(piece)
        return len(piece)

    def skip(self, count: int) -> None:
        """So many bytes have passed elsewhere: nothing that comes after them is kept either."""
        self.size += count

    @property
    def data(self) -> bytes:
        """What is kept."""
        if len(self._pieces) > 1:
            self._pieces = [b"".join(self._pieces)]
        return self._pieces[0] if self._pieces else b""

    @property
    def is_whole(self) -> bool:
        """Whether all of a complete body is here."""
        return self.ended and self.kept == self.size


class Recording:
    """One exchange, as it came and as it was answered.

    Attributes:
        id: a number that no other one of this run has.
        began: when its head was there, in seconds since the epoch.
        request, peer: as received.
        body: of the request.
        head: of the answer as it was sent; None before it.
        answer: the answer's body.
        replay_of: the number of the one that was sent again, 0 for none.
        file_server: the backend whose answers are as good as files; empty for none.
        exchange: while it lasts; None afterwards.
        request_id: by which logs call it.
        client: who asked; already the real client where a trusted proxy named it.
        error: why the answer was cut, or why a failure was answered.
        measure: what Django has told of its work; None where it has told nothing.
        size: bytes of memory that are counted for it.
        is_dropped: nothing more is kept of it.
    """

    __slots__ = (
        "_body_at",
        "_ended_at",
        "_headed_at",
        "_state",
        "answer",
        "backend",
        "began",
        "body",
        "client",
        "dispatched_at",
        "error",
        "exchange",
        "file_server",
        "head",
        "id",
        "is_dropped",
        "measure",
        "moved",
        "peer",
        "replay_of",
        "request",
        "request_id",
        "size",
        "started",
        "status",
        "waited_s",
    )

    def __init__(self, number: int, exchange: Exchange, began: float) -> None:
        request: RequestHead = exchange.request
        peer: Peer = exchange.peer
        self.id = number
        self.began = began
        self.request = request
        self.peer = peer
        self.body = Captured()
        self.body.ended = request.content_length == 0
        self.head: ResponseHead | None = None
        self.answer = Captured()
        self.replay_of = 0
        self.file_server = ""
        self.exchange: Exchange | None = exchange
        self.request_id = ""
        self.client = peer.host
        self.error = ""
        self.measure: Measure | None = None
        self.backend = ""
        self.status = 0
        self.moved = (0, 0)
        self.started = exchange.started
        self.dispatched_at = 0.0
        self.waited_s = 0.0
        self.is_dropped = False
        self.size = 1000 + len(request.target) + sum(len(name) + len(value) + 100 for name, value in request.fields)
        self._state = ""
        self._body_at = 0.0
        self._headed_at = 0.0
        self._ended_at = 0.0

    # -- as it goes on --------------------------------------------------------------------------------------------

    def body_ended(self, now: float) -> None:
        """The request is complete."""
        self.body.ended = True
        self._body_at = now

    def answered(self, head: ResponseHead, now: float) -> None:
        """The final answer's head is sent."""
        self.head = head
        self._headed_at = now

    def ended(self, now: float) -> None:
        """All is over."""
        exchange = self.exchange
        if exchange is None:
            return
        self._learn(exchange)
        self._state = _ENDED.get(exchange.answer_state, "cut")
        self.answer.ended = exchange.answer_state == SENT
        self._ended_at = exchange.ended_at or now
        self.exchange = None

    def _learn(self, exchange: Exchange) -> None:
        self.request_id = exchange.id.decode("ascii")
        self.client = exchange.peer.host
        self.backend = exchange.backend
        self.status = exchange.status
        self.moved = (exchange.bytes_received, exchange.bytes_sent)
        self.dispatched_at = exchange.dispatched_at
        self.waited_s = exchange.waited_s
        self.error = "" if exchange.error is None else str(exchange.error)
        self.measure = exchange.measure

    # -- what is known of it --------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Know of an exchange that lasts what is so now."""
        if self.exchange is not None:
            self._learn(self.exchange)

    @property
    def state(self) -> str:
        """`waiting`, `answering`, then `done` or `cut`; of a WebSocket `open`, then `closed`."""
        exchange = self.exchange
        return self._state if exchange is None else _STATES[exchange.answer_state]

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.exchange is None

    @property
    def is_file(self) -> bool:
        """Whether it was answered with a file, or a module of a front end; what went wrong there is more than that."""
        exchange = self.exchange
        backend, status = (self.backend, self.status) if exchange is None else (exchange.backend, exchange.status)
        if backend is FILES:
            return True
        return backend != "" and backend == self.file_server and status < 400 and self.answer_type != "text/html"

    @property
    def answer_type(self) -> str:
        """The media type of the answer, without parameters."""
        said = None if self.head is None else get(self.head.fields, b"content-type")
        return "" if said is None else said.partition(b";")[0].strip().lower()[:100].decode("latin-1")

    @property
    def is_socket(self) -> bool:
        """Whether it asks for a WebSocket."""
        return (self.request.upgrade or b"").lower() == b"websocket"

    def timing(self, now: float) -> Timing:
        """Where the time went, until `now` where it lasts."""
        end = self._ended_at or now
        headed = self._headed_at
        is_tunnel = self.state in ("open", "closed")
        measure = self.measure
        return split(
            total=(headed if is_tunnel and headed else end) - self.started,
            received=self._body_at - self.started if self._body_at else 0.0,
            waited=self.waited_s,
            upstream=(headed or end) - self.dispatched_at if self.dispatched_at else 0.0,
            sent=end - headed if headed and not is_tunnel else 0.0,
            in_django=None if measure is None else measure.django_s,
            database=None if measure is None else measure.database_s,
            template=None if measure is None else measure.template_s,
        )

    def lasted(self, now: float) -> float:
        """How long it has lasted, in seconds."""
        return (self._ended_at or now) - self.started

"""Exchange: one request and its answer.

Both halves end on their own: an answer may be complete before the request's body is (an early refusal), and a client
may leave while a view still runs.

    request half    UNREAD ──read_body──> READING ──end──> COMPLETE
                      └──────────────────────┴──lost────> BROKEN

    answer half     WAITING ──head──> SENDING ──end──> SENT
                      ├─────────answer────────────────> SENT
                      ├─────────upgrade───────────────> TUNNEL
                      └───────────────┴──lost, abort──> CUT

What is called when the answer half is over is dropped (a backend that goes on after the client left); any other call in
a wrong state is an AssertionError of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from duck.exceptions import BackendError, ClientGone, DuckError, ProtocolError
from duck.net.request_id import is_request_id, new_request_id
from duck.wire.fields import get_all

if TYPE_CHECKING:
    from duck.net.interfaces import BodySink, Duplex, Producer, ResponseSink, Stream
    from duck.net.measure import Measure
    from duck.net.peer import Peer
    from duck.wire.answer_fields import AnswerFields
    from duck.wire.fields import Fields
    from duck.wire.head import RequestHead, ResponseHead

UNREAD: Final = "unread"
READING: Final = "reading"
COMPLETE: Final = "complete"
BROKEN: Final = "broken"

WAITING: Final = "waiting"
SENDING: Final = "sending"
SENT: Final = "sent"
TUNNEL: Final = "tunnel"
CUT: Final = "cut"

READ_AHEAD_BYTES: Final = 1 << 20

# `backend` of what Duck answers with a file.
FILES: Final = "files"


class Exchange:
    """One request, its answer, and what is known of both.

    Attributes:
        request: the head, as parsed.
        peer: who asks and through which listener; already the real client where a trusted proxy named it.
        response: where the answer goes: this exchange, or what `wrap` has put before it; nowhere once it has ended.
        body_sink: who takes the request's body, once `read_body` was called.
        producer: who makes the answer, to be paused, resumed and cancelled.
        status: of the final answer, 0 before it.
        open_ended: whether the answer's length is not known; it may have no end.
        streams_events: whether it is a stream of events besides, whose clients come back by themselves at its end.
        bytes_sent: of the answer's body.
        bytes_received: of the request's body.
        started: when the head was complete, by `Clock.time`, in seconds.
        max_body_bytes: what the request's body may have; a route may change it before the body is read.
        read_ahead_bytes: how much of the answer may wait in memory for a client that is slow; less for each of many
            streams, and nothing where many clients are slow.
        backend: who answered, for the log; FILES for a file, empty for Duck itself.
        error: why the answer was cut, or why a failure was answered.
        waited_s: how long it stood in the queue for a backend, or at the gate while there was none.
        dispatched_at: when it was sent to its backend, the last time; 0 where it was not.
        answered_at: when the backend began an answer that did not come whole; else 0.
        answer_fields: what is added to the answer's head or taken out of it, whoever makes it; None for nothing.
        measure: what it has cost in Django, where a Django process in development has told; of a stream at its end.
        ended_at: when all was over; 0 before that. Times are by `Clock.time`, in seconds.
    """

    __slots__ = (
        "_id",
        "answer_fields",
        "answer_state",
        "answered_at",
        "backend",
        "body_sink",
        "bytes_received",
        "bytes_sent",
        "dispatched_at",
        "ended_at",
        "error",
        "max_body_bytes",
        "measure",
        "on_end",
        "open_ended",
        "paused",
        "peer",
        "producer",
        "read_ahead_bytes",
        "request",
        "request_state",
        "response",
        "started",
        "status",
        "stream",
        "streams_events",
        "waited_s",
    )

    def __init__(self, request: RequestHead, peer: Peer, stream: Stream, started: float, max_body_bytes: int) -> None:
        self.request = request
        self.peer = peer
        self.stream = stream
        self.started = started
        self.max_body_bytes = max_body_bytes
        self.read_ahead_bytes = READ_AHEAD_BYTES
        self.request_state = UNREAD if request.content_length != 0 else COMPLETE
        self.answer_state = WAITING
        self.response: ResponseSink = self
        self.body_sink: BodySink | None = None
        self.producer: Producer | None = None
        self.paused = False
        self.status = 0
        self.open_ended = False
        self.streams_events = False
        self.bytes_sent = 0
        self.bytes_received = 0
        self.backend = ""
        self.error: Exception | None = None
        self.on_end: Callable[[Exchange], None] | None = None
        self.waited_s = 0.0
        self.dispatched_at = 0.0
        self.answered_at = 0.0
        self.ended_at = 0.0
        self.measure: Measure | None = None
        self.answer_fields: AnswerFields | None = None
        self._id = b""

    # -- the request's body ---------------------------------------------------------------------------------------

    def read_body(self, sink: BodySink) -> None:
        """Deliver the body to `sink`, from the first byte; a request without one ends it at once.

        Raises:
            ClientGone: the client has left already.
        """
        if self.request_state is COMPLETE:
            sink.end(None)
        elif self.request_state is UNREAD:
            self.request_state = READING
            self.body_sink = sink
            self.stream.start_body()
        elif self.request_state is BROKEN:
            raise ClientGone("the client left before its body was read")
        else:
            raise AssertionError("the body of an exchange is read once")

    def pause_body(self) -> None:
        """Stop delivering the body soon: what takes it is slow."""
        if self.request_state is READING:
            self.stream.pause_body()

    def resume_body(self) -> None:
        """Deliver the body again."""
        if self.request_state is READING:
            self.stream.resume_body()

    def drop_body(self) -> None:
        """What is left of the body, if anything is, is not wanted: the connection ends after the answer then."""
        if self.request_state is not COMPLETE:
            self.request_state = BROKEN
            self.body_sink = None

    def body_ended(self, trailers: Fields | None) -> None:
        """For the stream: the request is complete."""
        self.request_state = COMPLETE
        sink = self.body_sink
        if sink is not None:
            self.body_sink = None
            sink.end(trailers)

    def body_failed(self, error: Exception) -> None:
        """For the stream: the body cannot be completed. Answers it where nothing was answered and that is possible."""
        self.request_state = BROKEN
        sink = self.body_sink
        if sink is not None:
            self.body_sink = None
            sink.abort(error)

    # -- the answer (a ResponseSink) ------------------------------------------------------------------------------

    def informational(self, head: ResponseHead) -> None:
        """Send a 1xx answer before the final one."""
        if self.answer_state is WAITING:
            self.stream.send_informational(head)

    def head(self, head: ResponseHead) -> None:
        """Send the final answer's head."""
        if self.answer_state is not WAITING:
            self._late("head")
            return
        self.answer_state = SENDING
        self.status = head.status
        if head.content_length is None:
            self.open_ended = True
            self.streams_events = b"text/event-stream" in head.block
        if self.answer_fields is not None:
            head = self.answer_fields.apply(head)
        self.stream.send_head(self, head)

    def data(self, chunk: bytes) -> None:
        """Send bytes of the answer's body."""
        if self.answer_state is not SENDING:
            self._late("data")
            return
        self.bytes_sent += len(chunk)
        self.stream.send_data(chunk)

    def end(self, trailers: Fields | None) -> None:
        """Complete the answer."""
        if self.answer_state is not SENDING:
            self._late("end")
            return
        self.answer_state = SENT
        self.producer = None
        self.stream.send_end(trailers)

    def file(self, descriptor: int, offset: int, count: int, done: Callable[[Exception | None], None]) -> None:
        """Send `count` bytes of an open file after `head`, as `Stream.send_file` does; `end` is still to be called."""
        if self.answer_state is not SENDING:
            self._late("file")
            return
        self.bytes_sent += count
        self.stream.send_file(descriptor, offset, count, done)

    def relay(
        self,
        divert: Callable[[], int],
        count: int,
        moved: Callable[[], None],
        done: Callable[[Exception | None], None],
    ) -> bool:
        """Send `count` bytes from another socket after `head`, see `Stream.send_from`; `end` is still to be called."""
        if self.answer_state is not SENDING or self.response is not self:
            return False
        if not self.stream.send_from(divert, count, moved, done):
            return False
        self.bytes_sent += count
        return True

    def answer(self, head: ResponseHead, body: bytes) -> None:
        """Send a whole answer at once."""
        if self.answer_state is not WAITING:
            self._late("answer")
            return
        self.answer_state = SENT
        self.status = head.status
        self.bytes_sent = len(body)
        self.producer = None
        if self.answer_fields is not None:
            head = self.answer_fields.apply(head)
        self.stream.send_answer(self, head, body)

    def abort(self, error: Exception) -> None:
        """Give the answer up: cuts the client's connection."""
        if self.answer_state in (WAITING, SENDING):
            self.answer_state = CUT
            self.error = error
            self.producer = None
            self.stream.reset(error)

    def upgrade(self, head: ResponseHead) -> Duplex:
        """Leave HTTP: the connection's bytes are the caller's from now on.

        Raises:
            ClientGone: the client has left already.
        """
        if self.answer_state is not WAITING:
            raise ClientGone("the client left before the upgrade")
        self.answer_state = TUNNEL
        self.status = head.status
        return self.stream.send_upgrade(head)

    # -- the rest -------------------------------------------------------------------------------------------------

    def wrap(self, make: Callable[[ResponseSink], ResponseSink]) -> None:
        """Put a sink before the present one: the hook for all that changes an answer on its way."""
        self.response = make(self.response)

    @property
    def id(self) -> bytes:
        """The request's id: as a trusted proxy said it in X-Request-ID, else made when it is first asked for."""
        known = self._id
        if not known:
            if self.peer.trusted:
                said = get_all(self.request.block.fields, b"x-request-id")
                if len(said) == 1 and is_request_id(said[0]):
                    known = said[0]
            self._id = known = known or new_request_id()
        return known

    def stand_for(self, outer: Exchange) -> None:
        """This exchange is how `outer` is answered: it is the same request in the logs."""
        self._id = outer.id

    def learn_from(self, inner: Exchange, now: float) -> None:
        """Know of its backend what `inner`, through which this exchange is answered from `now` on, knows."""
        self.backend = inner.backend
        self.waited_s = inner.waited_s
        self.dispatched_at = inner.dispatched_at
        self.answered_at = inner.answered_at or now
        self.measure = inner.measure

    @property
    def is_over(self) -> bool:
        """Whether nothing can be answered any more."""
        return self.answer_state is not WAITING and self.answer_state is not SENDING

    @property
    def is_answered(self) -> bool:
        """Whether the head of the final answer has been sent."""
        return self.answer_state is not WAITING

    def lost(self, error: Exception) -> None:
        """For the stream: it is gone. Tells the producer and whoever takes the body."""
        if self.answer_state is WAITING or self.answer_state is SENDING:
            self.answer_state = CUT
            self.error = error
        if self.request_state is READING or self.request_state is UNREAD:
            self.body_failed(error)
        producer = self.producer
        if producer is not None:
            self.producer = None
            producer.cancel(error)

    def leave(self, error: Exception, *, in_order: bool) -> None:
        """End an answer that goes on: as if it were complete, where nobody takes its end for the whole; else cut it."""
        if self.answer_state is not SENDING:
            return
        self.error = error
        producer, self.producer = self.producer, None
        if producer is not None:
            producer.cancel(error)
        if in_order:
            self.response.end(None)
        else:
            self.response.abort(error)

    def pause_answer(self) -> None:
        """For the stream: the client is slow."""
        self.paused = True
        if self.producer is not None:
            self.producer.pause()

    def resume_answer(self) -> None:
        """For the stream: the client takes more."""
        self.paused = False
        if self.producer is not None:
            self.producer.resume()

    def ended(self) -> None:
        """For the stream: the exchange is over, its last byte handed to the kernel or lost."""
        on_end = self.on_end
        if on_end is not None:
            self.on_end = None
            on_end(self)
        # Nothing is heard any more; and what points at itself only the garbage collector could free.
        self.response = NOWHERE

    def _late(self, what: str) -> None:
        if self.answer_state is WAITING or self.answer_state is SENDING:
            raise AssertionError(f"{what} while the answer is {self.answer_state}")


class _Nowhere:
    """The ResponseSink of exchanges that have ended."""

    __slots__ = ()

    def informational(self, head: ResponseHead) -> None: ...
    def head(self, head: ResponseHead) -> None: ...
    def data(self, chunk: bytes) -> None: ...
    def end(self, trailers: Fields | None) -> None: ...
    def answer(self, head: ResponseHead, body: bytes) -> None: ...
    def abort(self, error: Exception) -> None: ...
    def upgrade(self, head: ResponseHead) -> Duplex:
        raise ClientGone("the exchange has ended")


NOWHERE: Final = _Nowhere()


def failure_status(error: Exception) -> int:
    """The status that tells a client of `error`."""
    if isinstance(error, ProtocolError | BackendError):
        return error.status
    return 502 if isinstance(error, DuckError) else 500

"""The vocabulary of an exchange: who answers, who carries, who is told. The same for HTTP/1 and HTTP/2.

    client  <->  Stream  <->  Exchange  <->  Handler (a Producer while it answers)  <->  backend, file, view

Requests flow right, into a `BodySink`; answers flow left, into a `ResponseSink`. Back-pressure flows the other way: a
handler pauses the request's body through the exchange, the stream pauses the `Producer`. Every call is made on the
loop that owns the connection, and returns at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from duck.net.exchange import Exchange
    from duck.wire.fields import Fields
    from duck.wire.head import ResponseHead


class Handler(Protocol):
    """Answers exchanges. Everything that answers a request is one of these."""

    def handle(self, exchange: Exchange) -> None:
        """Answer `exchange`, now or later; a plain call that never blocks and may return before the answer."""


class BodySink(Protocol):
    """Takes the body of a request. Ends with exactly one of `end` and `abort`."""

    def data(self, chunk: bytes) -> None:
        """The next bytes, never empty."""

    def end(self, trailers: Fields | None) -> None:
        """The body is complete; `trailers` are not fields and are never merged into them (RFC 9110 §6.5.1)."""

    def abort(self, error: Exception) -> None:
        """There will be no more: ClientGone, ProtocolError or LimitExceeded."""


class ResponseSink(Protocol):
    """Takes one answer: `informational`*, then `head`, `data`*, `end`; or `upgrade`; or `abort` at any point."""

    def informational(self, head: ResponseHead) -> None:
        """A 1xx answer other than 101."""

    def head(self, head: ResponseHead) -> None:
        """The final answer's head. The sink decides the framing; it may take `head` over and change it."""

    def data(self, chunk: bytes) -> None:
        """The next bytes, never empty. Ignored where the answer has no body (HEAD, 204, 304)."""

    def end(self, trailers: Fields | None) -> None:
        """The answer is complete."""

    def answer(self, head: ResponseHead, body: bytes) -> None:
        """`head`, `data` and `end` in one call and one write."""

    def abort(self, error: Exception) -> None:
        """The answer cannot be completed. After `head` the client's connection is cut: truncation never looks whole."""

    def upgrade(self, head: ResponseHead) -> Duplex:
        """Answer 101 with `head`'s fields and hand over the bytes of the connection."""


class Producer(Protocol):
    """Makes an answer, and is told how it is taken."""

    def pause(self) -> None:
        """The client is slow: stop sending `data` soon."""

    def resume(self) -> None:
        """Go on."""

    def cancel(self, error: Exception) -> None:
        """The client has left (ClientGone) or the exchange was ended from outside: give up, and send nothing more."""


class Stream(Protocol):
    """Carries one exchange at a time: an HTTP/1 connection, or one stream of an HTTP/2 connection.

    Called by the exchange alone, which keeps the order (`ResponseSink`) and sends nothing to a client that has left.
    """

    def send_informational(self, head: ResponseHead) -> None:
        """A 1xx answer other than 101; dropped where the client speaks HTTP/1.0 (RFC 9110 §15.2)."""

    def send_head(self, exchange: Exchange, head: ResponseHead) -> None:
        """The final answer's head; here its framing is decided."""

    def send_data(self, chunk: bytes) -> None:
        """The next bytes of the body, never empty; dropped where the answer has none (HEAD, 204, 304)."""

    def send_end(self, trailers: Fields | None) -> None:
        """The answer is complete; with fewer bytes than its head promised it is cut."""

    def send_answer(self, exchange: Exchange, head: ResponseHead, body: bytes) -> None:
        """A whole answer, in one write."""

    def send_file(self, descriptor: int, offset: int, count: int, done: Callable[[Exception | None], None]) -> None:
        """Send `count` bytes of an open file as body by the cheapest means; `done` is called once, None for success."""

    def send_from(
        self,
        divert: Callable[[], int],
        count: int,
        moved: Callable[[], None],
        done: Callable[[Exception | None], None],
    ) -> bool:
        """Send `count` bytes of body from the socket that `divert()` gives; False, and nothing done, where it cannot.

        The descriptor is closed at the end. `moved` is told of each piece; `done` is called once, None for success.
        """

    def send_upgrade(self, head: ResponseHead) -> Duplex:
        """Leave HTTP by a 101 answer (RFC 9110 §7.8), or by 200 over HTTP/2 (RFC 8441 §5).

        Raises:
            ClientGone: the client has left, or the backend's answer is no such end and was refused.
        """

    def reset(self, error: Exception) -> None:
        """End the stream so that the peer sees the answer as incomplete."""

    def start_body(self) -> None:
        """The body is wanted: answer `Expect: 100-continue`, and deliver to `exchange.body_sink`."""

    def pause_body(self) -> None:
        """Whoever takes the body is slow: deliver no more of it soon."""

    def resume_body(self) -> None:
        """Deliver the body again."""


class DuplexReceiver(Protocol):
    """Takes what a `Duplex` receives."""

    def duplex_data(self, data: bytes) -> None:
        """The next bytes, never empty."""

    def duplex_eof(self) -> None:
        """The peer will send no more, and may still receive."""

    def duplex_lost(self, error: Exception | None) -> None:
        """The connection is gone, and nothing comes after this; None: it was closed in order."""

    def duplex_pause(self) -> None:
        """The peer is slow: write less."""

    def duplex_resume(self) -> None:
        """The peer takes more."""


class Duplex(Protocol):
    """A byte stream in both directions, once HTTP has been left (RFC 9110 §7.8)."""

    def connect(self, receiver: DuplexReceiver) -> None:
        """Deliver to `receiver` from now on: first what arrived early, then an early end."""

    def write(self, data: bytes) -> None:
        """Send bytes; what is not taken at once is kept, so heed `duplex_pause`. Ignored once all is lost."""

    @property
    def writer(self) -> Callable[[bytes], object]:
        """What `write` comes to, until the connection is lost: for whoever writes much."""

    def write_eof(self) -> None:
        """Send no more, after what was written, and go on receiving."""

    @property
    def unsent(self) -> int:
        """Bytes written that the kernel has not taken yet."""

    def pause_reading(self) -> None:
        """Receive no more for now."""

    def resume_reading(self) -> None:
        """Receive again."""

    def close(self) -> None:
        """Send what was written, then close."""

    def abort(self) -> None:
        """Close now."""

"""A recorded request, sent through its site once more: an exchange like any other, whose client is nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from duck.exceptions import ClientGone
from duck.http.ducksight.curl import body_of
from duck.http.kept_body import KeptBody
from duck.http.unspliced import Unspliced
from duck.net.exchange import Exchange
from duck.net.faults import body_too_large

if TYPE_CHECKING:
    import asyncio

    from duck.http.ducksight.recording import Recording
    from duck.net.interfaces import Duplex, Handler
    from duck.wire.fields import Fields
    from duck.wire.head import ResponseHead

# A stream has no end; what has not ended by then is ended.
MAX_S: Final = 60.0

Done = Callable[["Recording | None"], None]


class ReplayStream(Unspliced):
    """The `Stream` of a replay: gives the kept body, and takes an answer that nobody reads but the recorder.

    Attributes:
        replay_of: the number of what is sent again.
        recording: of the replay itself; the recorder puts it here.
    """

    __slots__ = ("_body", "_done", "_exchange", "_kept", "_timer", "recording", "replay_of")

    def __init__(self, number: int, body: bytes, done: Done) -> None:
        self.replay_of = number
        self.recording: Recording | None = None
        self._body = body
        self._kept: KeptBody | None = None  # once the body is read
        self._done: Done | None = done
        self._exchange: Exchange | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self, exchange: Exchange, handler: Handler, loop: asyncio.AbstractEventLoop) -> None:
        """Have `handler` answer."""
        self._exchange = exchange
        self._timer = loop.call_later(MAX_S, self._late)
        try:
            handler.handle(exchange)
        except Exception as error:
            exchange.error = error
            exchange.abort(error)

    # -- the answer -----------------------------------------------------------------------------------------------

    def send_informational(self, head: ResponseHead) -> None:
        """Nobody waits for it."""

    def send_head(self, exchange: Exchange, head: ResponseHead) -> None:
        """The recorder has it."""

    def send_data(self, chunk: bytes) -> None:
        """The recorder has what it keeps."""

    def send_end(self, trailers: Fields | None) -> None:
        self._end()

    def send_answer(self, exchange: Exchange, head: ResponseHead, body: bytes) -> None:
        self._end()

    def send_file(self, descriptor: int, offset: int, count: int, done: Callable[[Exception | None], None]) -> None:
        done(None)

    def send_upgrade(self, head: ResponseHead) -> Duplex:
        raise ClientGone("a replay cannot leave HTTP")

    def reset(self, error: Exception) -> None:
        self._end()

    # -- the request's body ---------------------------------------------------------------------------------------

    def start_body(self) -> None:
        exchange = self._exchange
        assert exchange is not None
        if len(self._body) > exchange.max_body_bytes:
            exchange.body_failed(body_too_large(exchange.max_body_bytes))
        else:
            self._kept = KeptBody(self._body, exchange)
            self._kept.start()

    def pause_body(self) -> None:
        if self._kept is not None:
            self._kept.pause()

    def resume_body(self) -> None:
        if self._kept is not None:
            self._kept.resume()

    # -- the end --------------------------------------------------------------------------------------------------

    def _late(self) -> None:
        exchange = self._exchange
        if exchange is not None:
            exchange.lost(ClientGone(f"a replay is ended after {MAX_S:g} s"))
            self._end()

    def _end(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        exchange.drop_body()
        exchange.ended()
        done, self._done = self._done, None
        if done is not None:
            done(self.recording)


def replay(
    recording: Recording,
    handler: Handler,
    loop: asyncio.AbstractEventLoop,
    now: float,
    max_body_bytes: int,
    ended: Callable[[Exchange], None],
    done: Done,
) -> None:
    """Send `recording` through `handler` again; `done` is called with the replay's own when its answer has ended.

    Args:
        ended: called before that, with the exchange.

    Raises:
        CannotRepeat: see `body_of`.
    """
    stream = ReplayStream(recording.id, body_of(recording), done)
    exchange = Exchange(recording.request.copy(), recording.peer, stream, now, max_body_bytes)
    exchange.on_end = ended
    stream.start(exchange, handler, loop)

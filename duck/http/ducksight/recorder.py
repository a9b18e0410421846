"""Recorder: the last exchanges of one site, in memory only.

    exchange <-> Tap <-> the stream that carries it

The tap stands between an exchange and its stream: it sees what goes to the client as it goes, whoever made it and
whatever has changed it on its way, over every version of HTTP. Nothing before it, no handler and no backend, behaves
otherwise for it, but that long answers pass through this process and not by `splice`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from duck.http.ducksight.recording import Recording
from duck.http.ducksight.replay import ReplayStream
from duck.http.unspliced import Unspliced

if TYPE_CHECKING:
    from duck.net.exchange import Exchange
    from duck.net.interfaces import BodySink, Duplex, Stream
    from duck.wire.fields import Fields
    from duck.wire.head import ResponseHead

# Of all that is kept for one site.
MAX_BYTES: Final = 33_554_432


class Recorder:
    """Keeps the last exchanges, those answered with files apart: a page that loads a hundred of them hides no other.

    For the thread of one loop.

    Attributes:
        version: grows as exchanges begin and end.
        busy: how many are under way.

    Args:
        count: how many are kept; a quarter as many with files.
        number: gives each its number.
        clock: as `Clock.time`.
        file_server: the name of a backend whose answers are as good as files: a front-end server; empty for none.
    """

    def __init__(
        self,
        count: int,
        number: Callable[[], int],
        clock: Callable[[], float],
        wall_clock: Callable[[], float] = time.time,
        max_bytes: int = MAX_BYTES,
        file_server: str = "",
    ) -> None:
        self.version = 0
        self.busy = 0
        self._kept: deque[Recording] = deque()
        self._files: deque[Recording] = deque()
        self._count = count
        self._file_count = max(1, count // 4)
        self._number = number
        self._clock = clock
        self._wall_clock = wall_clock
        self._max_bytes = max_bytes
        self._bytes = 0
        self._file_server = file_server

    def begin(self, exchange: Exchange) -> None:
        """Record `exchange` from now on, which has just come; one that waited and comes again is recorded already."""
        stream = exchange.stream
        if isinstance(stream, Tap):
            return
        recording = Recording(self._number(), exchange, self._wall_clock())
        if isinstance(stream, ReplayStream):
            recording.replay_of = stream.replay_of
            stream.recording = recording
        recording.file_server = self._file_server
        tap = Tap(recording, exchange, self)
        exchange.stream = tap
        exchange.on_end = tap.ended
        self._kept.append(recording)
        self.grew(recording, recording.size)
        if len(self._kept) > self._count:
            self._drop(self._kept)
        self.version += 1
        self.busy += 1

    def recordings(self) -> list[Recording]:
        """What is kept, the newest first."""
        return sorted((*self._kept, *self._files), key=lambda one: -one.id)

    def find(self, number: int) -> Recording | None:
        """The one with this number."""
        return next((one for one in (*self._kept, *self._files) if one.id == number), None)

    def clear(self) -> None:
        """Forget all."""
        for kept in (self._kept, self._files):
            while kept:
                self._drop(kept)

    # -- for taps -------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """By the clock of exchanges."""
        return self._clock()

    def grew(self, recording: Recording, size: int) -> None:
        """So many bytes more are kept of `recording`: the oldest have to go where that is too much."""
        self._bytes += size
        while self._bytes > self._max_bytes and (self._kept or self._files):
            first = self._kept and (not self._files or self._kept[0].id < self._files[0].id)
            self._drop(self._kept if first else self._files)

    def settle(self, recording: Recording) -> None:
        """It is over, and known by now to be one of a file or not."""
        self.version += 1
        self.busy -= 1
        if recording.is_file and not recording.is_dropped:
            self._kept.remove(recording)
            self._files.append(recording)
            if len(self._files) > self._file_count:
                self._drop(self._files)

    def _drop(self, kept: deque[Recording]) -> None:
        self.version += 1
        recording = kept.popleft()
        recording.is_dropped = True
        self._bytes -= recording.size


class Tap(Unspliced):
    """The `Stream` of one exchange, before the one that carries it."""

    __slots__ = ("_exchange", "_has_body", "_on_end", "_recorder", "_recording", "_stream")

    def __init__(self, recording: Recording, exchange: Exchange, recorder: Recorder) -> None:
        self._recording = recording
        self._exchange = exchange
        self._recorder = recorder
        self._stream: Stream = exchange.stream
        self._on_end = exchange.on_end
        self._has_body = True

    def ended(self, exchange: Exchange) -> None:
        """The exchange is over: tell who was to be told, and let go of it."""
        on_end, self._on_end = self._on_end, None
        exchange.stream = self._stream
        try:
            if on_end is not None:
                on_end(exchange)
        finally:
            self._recording.ended(self._recorder.now())
            self._recorder.settle(self._recording)

    def keep(self, chunk: bytes, of_answer: bool) -> None:
        """A piece of one of the bodies."""
        recording = self._recording
        if recording.is_dropped:
            return
        kept = (recording.answer if of_answer else recording.body).add(chunk)
        if kept:
            recording.size += kept
            self._recorder.grew(recording, kept)

    # -- the answer -----------------------------------------------------------------------------------------------

    def send_informational(self, head: ResponseHead) -> None:
        self._stream.send_informational(head)

    def send_head(self, exchange: Exchange, head: ResponseHead) -> None:
        self._answered(head)
        self._stream.send_head(exchange, head)

    def send_data(self, chunk: bytes) -> None:
        if self._has_body:
            self.keep(chunk, True)
        self._stream.send_data(chunk)

    def send_end(self, trailers: Fields | None) -> None:
        self._stream.send_end(trailers)

    def send_answer(self, exchange: Exchange, head: ResponseHead, body: bytes) -> None:
        self._answered(head)
        if body and self._has_body:
            self.keep(body, True)
        self._stream.send_answer(exchange, head, body)

    def send_file(self, descriptor: int, offset: int, count: int, done: Callable[[Exception | None], None]) -> None:
        # The kernel sends it; who wants to see it has the file.
        self._recording.answer.skip(count)
        self._stream.send_file(descriptor, offset, count, done)

    def send_upgrade(self, head: ResponseHead) -> Duplex:
        self._answered(head)
        return self._stream.send_upgrade(head)

    def reset(self, error: Exception) -> None:
        self._stream.reset(error)

    def _answered(self, head: ResponseHead) -> None:
        self._has_body = self._exchange.request.method != b"HEAD" and head.status not in (204, 304)
        recording = self._recording
        recording.answered(head, self._recorder.now())
        if not recording.is_dropped:
            size = len(head.block)
            recording.size += size
            self._recorder.grew(recording, size)

    # -- the request's body ---------------------------------------------------------------------------------------

    def start_body(self) -> None:
        exchange = self._exchange
        if exchange.body_sink is not None:
            exchange.body_sink = BodyTap(self, exchange.body_sink)
        self._stream.start_body()

    def pause_body(self) -> None:
        self._stream.pause_body()

    def resume_body(self) -> None:
        self._stream.resume_body()

    def body_ended(self) -> None:
        """The request is complete."""
        self._recording.body_ended(self._recorder.now())


class BodyTap:
    """The `BodySink` of a request, before the one that takes the body."""

    __slots__ = ("_sink", "_tap")

    def __init__(self, tap: Tap, sink: BodySink) -> None:
        self._tap = tap
        self._sink = sink

    def data(self, chunk: bytes) -> None:
        self._tap.keep(chunk, False)
        self._sink.data(chunk)

    def end(self, trailers: Fields | None) -> None:
        self._tap.body_ended()
        self._sink.end(trailers)

    def abort(self, error: Exception) -> None:
        self._sink.abort(error)

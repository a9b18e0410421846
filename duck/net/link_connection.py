"""One slot of a Django worker: the front's end of a link connection (see wire.link)."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final, Protocol, cast

from duck.exceptions import BackendCut, BackendUnreachable
from duck.net.clock import NEVER
from duck.net.measure import measure_from_us
from duck.wire.link import ABORT, ASK, AUTH, FIND, FRONT_BYTES, TAKEN, AnswerReader, LinkError, frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from duck.net.measure import Measure

DIALLING: Final = "dialling"  # connected, the slot asked for and not granted yet
IDLE: Final = "idle"
BUSY: Final = "busy"  # a call is waited for
ENDING: Final = "ending"  # the answer is complete or given up, the view not yet ended
RETURNED: Final = "returned"  # given back, the end of the connection not yet told
CLOSED: Final = "closed"

_ABORT_FRAME: Final = frame(ABORT)


class LinkCall(Protocol):
    """What one request over a link is told; the first five as `wire.link.AnswerReceiver` has them.

    The last is one of `link_head` with a whole answer, `link_end`, `link_cut`, `link_found` and `link_lost`.
    """

    def link_head(
        self, status: int, reason: bytes, block: bytes, content_length: int | None, body: bytes, complete: bool
    ) -> None: ...
    def link_data(self, chunk: bytes) -> None: ...
    def link_end(self) -> None: ...
    def link_cut(self, reason: str) -> None: ...
    def link_found(self, path: bytes) -> None: ...
    def link_measure(self, measure: Measure) -> None:
        """What the answer has cost so far."""

    def link_lost(self, error: Exception) -> None:
        """The worker, or the slot, has gone before the call was over; `error` says whether it was begun."""


class LinkConnection:
    """A slot: idle, or working on one call, or waiting for a view to end.

    A slot that the worker recalls (see wire.link) is given back at once where it is idle; else whoever `on_idle` calls
    looks at `recalled`. `front` is the same for all connections of one pool.

    `on_busy` is called when a request was sent, `on_idle` when the slot may take a call, first when it was granted;
    `on_lost` once, at its end.

    Attributes:
        started_at: a place for `on_busy` and `on_idle` to keep a time in.
        all_us: the CPU time that all views of the process had had when its last view ended, modulo 2**32.
        recalled: the level of the worker's RECALL; 0 while there was none.
    """

    __slots__ = (
        "_call",
        "_front",
        "_name",
        "_on_busy",
        "_on_idle",
        "_on_lost",
        "_reader",
        "_secret",
        "_state",
        "_transport",
        "all_us",
        "calls",
        "recalled",
        "started_at",
    )

    def __init__(
        self,
        name: str,
        secret: str,
        on_busy: Callable[[LinkConnection], None],
        on_idle: Callable[[LinkConnection], None],
        on_lost: Callable[[LinkConnection, Exception], None],
        front: bytes = bytes(FRONT_BYTES),
    ) -> None:
        self._name = name
        self._secret = secret
        self._front = front
        self._on_busy = on_busy
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._call: LinkCall | None = None
        self._reader = AnswerReader(self)
        self._state = DIALLING
        self._transport: asyncio.Transport | None = None
        self.calls = 0
        self.started_at = NEVER
        self.all_us = 0
        self.recalled = 0

    # -- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        ask = frame(ASK, self._front)
        self._transport.write(frame(AUTH, self._secret.encode()) + ask if self._secret else ask)

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
        except LinkError as error:
            self._lose(BackendCut(f"the link to {self._name} broke: {error}", backend=self._name))
            self.close()

    def eof_received(self) -> bool:
        if self._state is IDLE:
            self.close()  # the loop tells of the end a turn later, in which a request might come
        return False

    def pause_writing(self) -> None:
        """A frame is sent whole, and no second one before its answer: nobody needs to be told."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        # A pipe breaks under what is written; Linux resets a Unix connection that ends with bytes unread. Of a request
        # that was not written, or not read, to its end nothing was begun.
        unread = isinstance(error, ConnectionResetError) and not self._secret and sys.platform == "linux"
        begun = self._call is not None and not unread and not isinstance(error, BrokenPipeError)
        why = f": {error}" if error else ""
        self._lose(BackendUnreachable(f"{self._name} closed its link{why}", backend=self._name, retryable=not begun))

    # -- for the pool and the call --------------------------------------------------------------------------------

    def send(self, call: LinkCall, data: bytes) -> None:
        """Give an idle slot its next call: the bytes of a REQUEST frame."""
        self._send(call, data)
        self._on_busy(self)

    def find(self, call: LinkCall, name: str) -> None:
        """Ask an idle slot where the static file `name` lies."""
        self._send(call, frame(FIND, name.encode()))

    def give_up(self) -> None:
        """The call is not wanted any more; the slot comes back when its view has ended."""
        if self._state is BUSY and self._transport is not None:
            self._state = ENDING
            self._call = None
            self._transport.resume_reading()
            self._transport.write(_ABORT_FRAME)

    def pause_reading(self) -> None:
        """Take no more of the answer: its client is slow."""
        if self._state is BUSY and self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take more of the answer."""
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        """Give the slot back for good."""
        if self._state is IDLE:
            self._state = RETURNED
        if self._transport is not None:
            self._transport.abort()

    @property
    def is_usable(self) -> bool:
        """Whether the slot may take a call."""
        return self._state is IDLE

    def _send(self, call: LinkCall, data: bytes) -> None:
        assert self._state is IDLE and self._transport is not None
        self._state = BUSY
        self._call = call
        self.calls += 1
        self._transport.write(data)

    # -- AnswerReceiver -------------------------------------------------------------------------------------------

    def link_hello(self) -> None:
        """The slot is granted."""
        if self._state is not DIALLING:
            raise LinkError("a slot granted twice")
        self._state = IDLE
        self._on_idle(self)

    def link_head(
        self, status: int, reason: bytes, block: bytes, content_length: int | None, body: bytes, complete: bool
    ) -> None:
        """The answer begins."""
        call = self._call
        if call is None:
            return
        if complete:
            self._state = ENDING
            self._call = None
        call.link_head(status, reason, block, content_length, body, complete)

    def link_data(self, chunk: bytes) -> None:
        """The answer goes on."""
        if self._call is not None:
            self._call.link_data(chunk)

    def link_end(self) -> None:
        """The answer is complete."""
        call, self._call = self._call, None
        if call is not None:
            self._state = ENDING
            call.link_end()

    def link_cut(self, reason: str) -> None:
        """The answer ends incomplete."""
        call, self._call = self._call, None
        if call is not None:
            self._state = ENDING
            call.link_cut(reason)

    def link_found(self, path: bytes) -> None:
        """A look-up is answered, and the slot free."""
        call, self._call = self._call, None
        self._state = ENDING
        if call is not None:
            call.link_found(path)
        self._free()

    def link_free(self, all_us: int) -> None:
        """The view has ended."""
        call = self._call
        if call is not None:
            self._call = None
            call.link_cut("the worker ended the call without an answer")
        self.all_us = all_us
        self._free()

    def _free(self) -> None:
        if self._state is BUSY or self._state is ENDING:
            self._state = IDLE
            self._on_idle(self)

    def link_recall(self, level: int) -> None:
        """The worker wants the slot for another front, or has taken it."""
        self.recalled = level
        if level == TAKEN and self._state is BUSY:
            name = self._name
            self._lose(BackendUnreachable(f"{name} took a slot back", backend=name, retryable=True))
            self.close()
        elif self._state is IDLE:
            self.close()

    def link_measure(self, queries: int, database_us: int, template_us: int, all_us: int) -> None:
        """The worker has counted what the call costs."""
        if self._call is not None:
            self._call.link_measure(measure_from_us(queries, database_us, template_us, all_us))

    def _lose(self, error: Exception) -> None:
        if self._state is CLOSED:
            return
        self._state = CLOSED
        call, self._call = self._call, None
        self._on_lost(self, error)
        if call is not None:
            call.link_lost(error)

"""The link: frames between the front and a Django worker.

Standard library only, Python 3.10 or newer: both sides load this file, the worker under a private name and in the
project's own interpreter.

A link connection is a **slot**, once it was granted. It asks (ASK); when a worker thread is free, that thread owns it
from HELLO to its end and serves one request at a time. So a slot is a credit: HELLO grants it, FREE says that the view
has ended (its `close()` included) and the next request may come, and no request ever waits inside a worker. The client
of that request may be long gone by then.

Fronts that ask for more slots than there are threads get their shares by RECALL, which has a front close connections:
soft, when it has no request for the slot; hard, after the present one (see backend.django.worker.slots). The slot of a
front that does not react is taken from it: what it may have sent on that connection since was not read.

    frame    = length (u32, big endian, of the payload)  type (u8)  payload

    front -> worker                                     worker -> front
    AUTH     secret; first frame, on TCP only           HELLO    the slot is granted
    REQUEST  head length (u32), head, body              HEAD     status (u16), flags (u8), content length (i64, -1: not
    ABORT    the client has left                                 known), reason length (u16), block length (u32),
    FIND     a static file's name, UTF-8                         reason, block, body bytes
    ASK      for a slot; who asks (8 bytes, the same    DATA     body bytes
             in all connections of one front's pool)
                                                        END      the answer is complete
                                                        CUT      the answer ends here, incomplete; a reason, UTF-8
                                                        FOUND    its absolute path (file system bytes), or nothing
                                                        FREE     the view has ended, the next request may come; the
                                                                 CPU time of all views of the process (u32, us, wraps)
                                                        RECALL   give the slot back; 1: soft, 2: hard, 3: it was
                                                                 taken (u8)
                                                        MEASURE  what the request has cost so far: queries, us in the
                                                                 database, in templates, in all (u32 each)

    one connection: [AUTH] ASK         ->    HELLO
    one request:   REQUEST [ABORT]    ->    HEAD DATA* (END | CUT) FREE
    one look-up:   FIND               ->    FOUND
    HEAD flag 1 (COMPLETE): the frame holds the whole answer; no DATA, no END.
    MEASURE, from a worker in development only: before HEAD, and of a streamed answer again before END.

A request's head is text in Latin-1, its items joined by NUL, which no item can hold (the parser refuses it):
the names of `REQUEST_ITEMS` in order, then name, value, name, value ... of the fields. The body follows whole, or lies
in the file that the item `spool` names.
"""

from __future__ import annotations

import struct
from typing import Final, Protocol

AUTH: Final = 1
REQUEST: Final = 2
ABORT: Final = 3
FIND: Final = 4
ASK: Final = 5
HELLO: Final = 16
HEAD: Final = 17
DATA: Final = 18
END: Final = 19
CUT: Final = 20
FOUND: Final = 21
FREE: Final = 22
RECALL: Final = 23
MEASURE: Final = 24

FRONT_BYTES: Final = 8  # of ASK
SOFT: Final = 1  # RECALL levels
HARD: Final = 2
TAKEN: Final = 3

COMPLETE: Final = 1  # HEAD flag

MAX_U32: Final = 0xFFFFFFFF

FRAME: Final = struct.Struct("!IB")
HEAD_FIXED: Final = struct.Struct("!HBqHI")
LENGTH: Final = struct.Struct("!I")
_HEAD_FRAME: Final = struct.Struct("!IBHBqHI")  # FRAME and HEAD_FIXED
_FREE_FRAME: Final = struct.Struct("!IBI")
_MEASURE: Final = struct.Struct("!IIII")

# Paths are percent-encoded as received; the worker decodes. `length` is the body's length in decimal, or empty for a
# request that declares no body at all. `spool` is a path (file system bytes as Latin-1) or empty. `request_id` is
# what the project gets as X-Request-ID, for a field that never repeats would spoil what is shared. What differs from
# request to request comes first: from SHARED_AT on, requests of one client are mostly equal, fields included, and the
# worker makes an environ of equal bytes once.
REQUEST_ITEMS: Final = (
    "method",
    "script_name",
    "path",
    "query",
    "target",
    "remote_port",
    "length",
    "spool",
    "request_id",
    "protocol",
    "scheme",
    "remote_host",
    "server_name",
    "server_port",
)
SHARED_AT: Final = 9
FIELDS_AT: Final = len(REQUEST_ITEMS)

# No frame but REQUEST, HEAD and DATA carries much; a longer one is a fault of the peer, not a message.
MAX_SMALL_FRAME: Final = 65_536
MAX_HEAD_BYTES: Final = 1_048_576


class LinkError(Exception):
    """The other side sent what is no frame of this protocol."""


class AnswerReceiver(Protocol):
    """What `AnswerReader` tells, in the order of the frames."""

    def link_hello(self) -> None:
        """The slot is granted: a request may be sent."""

    def link_head(
        self, status: int, reason: bytes, block: bytes, content_length: int | None, body: bytes, complete: bool
    ) -> None:
        """The answer's head and what came with it of its body; `complete`: nothing follows but `link_free`."""

    def link_data(self, chunk: bytes) -> None:
        """The next bytes of the answer's body; of a long frame, what has come of it. Never empty."""

    def link_end(self) -> None:
        """The answer is complete."""

    def link_cut(self, reason: str) -> None:
        """The answer ends here, incomplete."""

    def link_found(self, path: bytes) -> None:
        """The answer to FIND: an absolute path as the file system has it, `b""` where there is no such file."""

    def link_free(self, all_us: int) -> None:
        """The view has ended; `all_us`: microseconds of CPU of all views of the process, modulo 2**32."""

    def link_recall(self, level: int) -> None:
        """The slot is to be given back: SOFT, HARD, or it was TAKEN."""

    def link_measure(self, queries: int, database_us: int, template_us: int, all_us: int) -> None:
        """What the request has cost so far: statements, and microseconds by the clock on the wall."""


def frame(kind: int, payload: bytes = b"") -> bytes:
    """One whole frame."""
    return FRAME.pack(len(payload), kind) + payload


def head_frame(
    status: int, reason: bytes, block: bytes, content_length: int | None, body: bytes, *, complete: bool
) -> bytes:
    """A HEAD frame; `body` is all of the answer when `complete`."""
    return b"".join(
        (
            _HEAD_FRAME.pack(
                HEAD_FIXED.size + len(reason) + len(block) + len(body),
                HEAD,
                status,
                COMPLETE if complete else 0,
                -1 if content_length is None else content_length,
                len(reason),
                len(block),
            ),
            reason,
            block,
            body,
        )
    )


def free_frame(all_us: int) -> bytes:
    """A FREE frame; `all_us`: see the table above."""
    return _FREE_FRAME.pack(4, FREE, all_us & MAX_U32)


def measure_frame(queries: int, database_us: int, template_us: int, all_us: int) -> bytes:
    """A MEASURE frame, times in microseconds; what is more than fits is told as the most that does."""
    counts = (min(count, MAX_U32) for count in (queries, database_us, template_us, all_us))
    return frame(MEASURE, _MEASURE.pack(*counts))


def request_frame(head: bytes, body: bytes = b"") -> bytes:
    """A REQUEST frame; `head` is the items joined by NUL."""
    size = len(head)
    return b"".join((FRAME.pack(4 + size + len(body), REQUEST), LENGTH.pack(size), head, body))


def split_request(data: bytes) -> tuple[list[str], bytes]:
    """The items of a whole REQUEST frame, those from SHARED_AT on as one, and the body.

    Raises:
        LinkError: it is none.
    """
    if len(data) < 9:
        raise LinkError("a REQUEST frame without its head length")
    at = 9 + LENGTH.unpack_from(data, 5)[0]
    if at > len(data):
        raise LinkError("a REQUEST frame shorter than its head")
    items = str(data[9:at], "latin-1").split("\0", SHARED_AT)
    if len(items) <= SHARED_AT:
        raise LinkError(f"a REQUEST frame with {len(items)} items")
    return items, data[at:]


class AnswerReader:
    """Reads what a worker sends, however it was split, and tells an `AnswerReceiver`.

    Bodies are passed on as they come: a DATA frame of any length costs no memory here.
    """

    __slots__ = ("_body_left", "_buffer", "_complete", "_receiver")

    def __init__(self, receiver: AnswerReceiver) -> None:
        self._receiver = receiver
        self._buffer = b""
        self._body_left = 0  # of the HEAD or DATA frame being read
        self._complete = False  # that HEAD frame holds the whole answer

    def feed(self, data: bytes) -> None:
        """Take the next bytes received.

        Raises:
            LinkError: they are no frames; the connection is of no use any more.
        """
        receiver = self._receiver
        left = self._body_left
        if left:
            have = len(data)
            if have < left:
                self._body_left = left - have
                receiver.link_data(data)
                return
            self._body_left = 0
            if have == left:
                receiver.link_data(data)
                data = b""
            else:
                receiver.link_data(data[:left])
                data = data[left:]
            if self._complete:
                self._complete = False
                receiver.link_end()
            if not data:
                return
        elif self._buffer:
            data = self._buffer + data
            self._buffer = b""
        at = 0
        total = len(data)
        while total - at >= 5:
            size, kind = FRAME.unpack_from(data, at)
            if kind == HEAD:
                taken = self._head(data, at + 5, size)
                if not taken:
                    break
                at = taken
            elif kind == DATA:
                at += 5
                have = total - at
                if have < size:
                    self._body_left = size - have
                    if have:
                        receiver.link_data(data[at:])
                    return
                if size:
                    receiver.link_data(data[at : at + size])
                at += size
            else:
                if size > MAX_SMALL_FRAME:
                    raise LinkError(f"a frame of type {kind} with {size} bytes")
                end = at + 5 + size
                if end > total:
                    break
                self._small(kind, data[at + 5 : end])
                at = end
        if at < total:
            self._buffer = data[at:]

    def _head(self, data: bytes, at: int, size: int) -> int:
        """Tell the HEAD frame whose payload starts at `at`; the end of what was used, or 0 while it is incomplete."""
        total = len(data)
        if total - at < HEAD_FIXED.size:
            return 0
        status, flags, content_length, reason_size, block_size = HEAD_FIXED.unpack_from(data, at)
        start = at + HEAD_FIXED.size + reason_size
        body = start + block_size
        if body - at > size or body - at > MAX_HEAD_BYTES:
            raise LinkError("a HEAD frame whose head is longer than it may be")
        if total < body:
            return 0
        end = at + size
        whole = end <= total
        complete = flags & COMPLETE == COMPLETE
        if not whole:
            self._body_left = end - total
            self._complete = complete
        self._receiver.link_head(
            status,
            data[at + HEAD_FIXED.size : start],
            data[start:body],
            None if content_length < 0 else content_length,
            data[body:end],
            complete and whole,
        )
        return end if whole else total

    def _small(self, kind: int, payload: bytes) -> None:
        receiver = self._receiver
        if kind == FREE and len(payload) == 4:
            receiver.link_free(LENGTH.unpack(payload)[0])
        elif kind == END:
            receiver.link_end()
        elif kind == HELLO:
            receiver.link_hello()
        elif kind == CUT:
            receiver.link_cut(payload.decode("utf-8", "replace"))
        elif kind == FOUND:
            receiver.link_found(payload)
        elif kind == RECALL and len(payload) == 1:
            receiver.link_recall(payload[0])
        elif kind == MEASURE and len(payload) == _MEASURE.size:
            queries, database_us, template_us, all_us = _MEASURE.unpack(payload)
            receiver.link_measure(queries, database_us, template_us, all_us)
        else:
            raise LinkError(f"a frame of unknown type {kind}")

"""One slot: a link connection that has a thread, and the answer that is made on it. Hot code.

    HELLO -> [REQUEST -> application -> HEAD ... FREE]* -> end of stream

The answer leaves before `close()` is called and FREE after it, because projects do late work there. Where `close()` is
known to be Django's own alone, it comes first and both go in one write: one system call and one wake-up of the front
less, 7 us of the 113 us that a small view costs both sides.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, List, Optional

from ....wire.link import (
    ABORT,
    CUT,
    DATA,
    END,
    FIND,
    FOUND,
    FRAME,
    HELLO,
    REQUEST,
    REQUEST_ITEMS,
    LinkError,
    frame,
    free_frame,
    head_frame,
    split_request,
)
from .answer import AnswerError, Headers, parse_status, render_headers
from .link_end import FrontGone, LinkEnd

if TYPE_CHECKING:
    from .environ import Environ
    from .grant import Grant
    from .wsgi import WSGIServer

_MERGE_BYTES = 65_536  # longer answers are not copied once more to save a system call

_HELLO_FRAME = frame(HELLO)
_END_FRAME = frame(END)
_HERE = os.path.dirname(os.path.abspath(__file__))
_MAX_STACK = 20_000
_SPOOL = REQUEST_ITEMS.index("spool")
_thread_time_ns = getattr(time, "thread_time_ns", time.monotonic_ns)  # not every system has it
_FAILURE_BODY = b"<!doctype html>\n<html lang=en><title>Server Error (500)</title><h1>Server Error (500)</h1></html>\n"
_FAILURE_BLOCK = b"Content-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n" % len(_FAILURE_BODY)


class Slot(LinkEnd):
    """One link connection, and the answer being made on it."""

    def __init__(self, server: WSGIServer, grant: Grant) -> None:
        super().__init__(grant.connection)
        self._grant = grant
        self._server = server
        self._ident = 0
        self._told_of = 0  # which of its requests was told as stuck
        self._cpu_ns = 0  # of this thread, when the last FREE was sent
        # Of the request being answered:
        self.began = 0.0
        self._items: List[str] = []
        self._bodiless = False  # HEAD
        self._status = ""
        self._headers: Optional[Headers] = None
        self._head_sent = False
        self._ended = False  # END, CUT or a complete HEAD was sent
        self._unsent: Optional[int] = None  # of the declared length

    @property
    def busy(self) -> bool:
        """Whether a request is served."""
        return self._grant.lock.locked()

    @property
    def requests(self) -> int:
        """How many it has had."""
        return self._grant.requests

    def is_stuck(self, before: float) -> bool:
        """Whether its view began before that moment, has sent nothing, and was not told of yet."""
        if not self.busy or self._head_sent or self.began > before or self._told_of == self.requests:
            return False
        self._told_of = self.requests
        return True

    def describe(self, now: float) -> Dict[str, Any]:
        """The request being answered, without its query, and where its thread stands."""
        items = self._items
        frame_now = sys._current_frames().get(self._ident)
        lines = traceback.format_stack(frame_now) if frame_now is not None else []
        return {
            "request": f"{items[0]} {items[2]}" if items else "a request",
            "age_s": round(now - self.began, 3),
            "stack": "".join(line for line in lines if _HERE not in line)[-_MAX_STACK:],
        }

    def serve(self) -> None:
        """Serve requests until the front closes the connection."""
        self._cpu_ns = _thread_time_ns()
        self._ident = threading.get_ident()
        grant = self._grant
        lock = grant.lock
        monotonic = time.monotonic
        with lock:
            self._send(_HELLO_FRAME)
        while True:
            data = self._read_frame()
            if data is None:
                return
            kind = data[4]
            if kind == REQUEST:
                self.began = monotonic()
                self._head_sent = False
                lock.acquire()
                if grant.taken:
                    lock.release()
                    return  # the front knows that this request was not begun
                grant.requests += 1
                self._request(data)
                lock.release()
                if grant.owed:
                    grant.settle()
            elif kind == FIND:
                self._found(data[5:])
            elif kind != ABORT:  # one that crossed the end of its answer
                raise LinkError(f"a frame of type {kind}")

    def start_response(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], None]:
        """PEP 3333's `start_response`."""
        if exc_info:
            try:
                if self._head_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self._headers is not None:
            raise AssertionError("start_response was called twice without exc_info")
        self._status = status
        self._headers = headers
        return self._write_body

    # -- a request ------------------------------------------------------------------------------------------------

    def _request(self, data: bytes) -> None:
        items, body = split_request(data)
        self._items = items
        del data
        self._bodiless = items[0] == "HEAD"
        self._headers = None
        self._head_sent = self._ended = False
        self._unsent = None
        result: Any = None
        environ: Optional[Environ] = None
        try:
            environ = self._server.environs.make(items, body)
            source = environ["wsgi.input"]
            del body
            result = self._server.application(environ, self.start_response)
            if getattr(result, "streaming", None) is False and not self._head_sent:
                # Django's own: all of the body is there, so nothing can go wrong in it.
                body = b"".join(result)
                whole = self._whole_answer(body)
                if len(whole) < _MERGE_BYTES and self._server.is_quick(result):
                    closing, result = result, None
                    self._close(closing)
                    if items[_SPOOL]:
                        source.close()
                    self._send(whole + self._free_frame())
                    return
                self._send(whole)
            else:
                self._send_iterable(result)
        except (FrontGone, LinkError):
            raise
        except BaseException as error:
            self._fail(error, items)
        finally:
            if result is not None:
                self._close(result)
            if items[_SPOOL] and environ is not None:
                environ["wsgi.input"].close()
        self._send(self._free_frame())

    def _free_frame(self) -> bytes:
        before, self._cpu_ns = self._cpu_ns, _thread_time_ns()
        server = self._server
        server.views_us += (self._cpu_ns - before) // 1000
        free = free_frame(server.views_us)
        return self._grant.take_owed() + free if self._grant.owed else free

    def _whole_answer(self, body: bytes) -> bytes:
        """The HEAD frame that holds all of an answer; the head is marked as sent."""
        if self._headers is None:
            raise AnswerError("the application returned without calling start_response")
        status, reason = parse_status(self._status)
        block, declared = render_headers(self._headers, status)
        length: Optional[int] = len(body)
        if self._bodiless or status == 304 or status == 204:
            # Of HEAD, what GET would have had, if that can be known: some views answer HEAD with nothing.
            length = declared if declared is not None else length if length and self._bodiless else None
            if status == 204:
                length = 0
            body = b""
        elif declared is not None and declared != length:
            assert length is not None
            if declared > length:
                self._head_sent = self._ended = True
                self._report(f"an answer of {length} bytes declared {declared}; it was cut")
                cut = frame(CUT, b"the application sent less than its Content-Length")
                return head_frame(status, reason, block, declared, body, complete=False) + cut
            body = body[:declared]
            length = declared
        self._head_sent = self._ended = True
        return head_frame(status, reason, block, length, body, complete=True)

    def _send_iterable(self, result: Iterable[bytes]) -> None:
        """Send an answer as it comes, each chunk at once; as one frame where its first chunk is all of it."""
        if isinstance(result, (list, tuple)) and not self._head_sent:
            self._send(self._whole_answer(b"".join(result)))
            return
        if self._headers is not None and not self._head_sent and self._lacks_body():
            self._send(self._whole_answer(b""))  # a stream that nobody will see is not started
            return
        iterator = iter(result)
        for chunk in iterator:
            if not chunk:
                continue
            if self._head_sent and self._is_aborted():
                return
            self._write_body(chunk)
            if self._ended:
                if self._unsent is not None and next(iterator, b""):
                    self._report("an answer is longer than its Content-Length; the rest was dropped")
                return
        if self._ended:
            return
        if not self._head_sent:
            self._send(self._whole_answer(b""))
        elif self._unsent:
            self._cut(f"the application sent {self._unsent} bytes less than its Content-Length")
        else:
            self._ended = True
            self._end()

    def _end(self) -> None:
        """A streamed answer is complete."""
        self._send(_END_FRAME)

    def _lacks_body(self) -> bool:
        return self._bodiless or self._status[:3] in ("204", "304")

    def _write_body(self, chunk: bytes) -> None:
        """Send bytes of the body, with the head where it was not sent yet; PEP 3333's `write`."""
        if self._ended:
            return
        if not self._head_sent:
            if self._headers is None:
                raise AnswerError("the application gave bytes without calling start_response")
            status, reason = parse_status(self._status)
            block, declared = render_headers(self._headers, status)
            complete = False
            if self._bodiless or status == 304 or status == 204:
                complete, chunk = True, b""
            elif declared is not None:
                complete = len(chunk) >= declared
                chunk = chunk[:declared]
                self._unsent = declared - len(chunk)
            self._head_sent, self._ended = True, complete
            self._send(head_frame(status, reason, block, declared, chunk, complete=complete))
            return
        if self._unsent is not None:
            if len(chunk) >= self._unsent:
                chunk = chunk[: self._unsent]
                self._ended = True
            self._unsent -= len(chunk)
        size = len(chunk)
        if size > _MERGE_BYTES:
            self._send(FRAME.pack(size, DATA))
            self._send(chunk)
        elif chunk:
            self._send(FRAME.pack(size, DATA) + chunk)
        if self._ended:
            self._end()

    def _fail(self, error: BaseException, items: List[str]) -> None:
        """Answer 500 where nothing was answered, else cut; Django answers the errors of views itself."""
        if isinstance(error, AnswerError):
            self._report(f"{items[0]} {items[4]}: {error}")
        else:
            sys.stderr.write(f"{items[0]} {items[4]} failed outside of Django's own error handling:\n")
            traceback.print_exception(type(error), error, error.__traceback__)
        if not self._head_sent:
            self._head_sent = self._ended = True
            body = b"" if self._bodiless else _FAILURE_BODY
            reason = b"Internal Server Error"
            self._send(head_frame(500, reason, _FAILURE_BLOCK, len(_FAILURE_BODY), body, complete=True))
        elif not self._ended:
            self._cut(f"the application failed: {type(error).__name__}")

    def _cut(self, reason: str) -> None:
        self._ended = True
        self._report(reason)
        self._send(frame(CUT, reason.encode()))

    def _close(self, result: Any) -> None:
        close = getattr(result, "close", None)
        if close is not None:
            try:
                close()
            except BaseException as error:
                sys.stderr.write("closing an answer failed:\n")
                traceback.print_exception(type(error), error, error.__traceback__)

    def _found(self, name: bytes) -> None:
        path: Optional[bytes] = None
        if self._server.find is not None:
            path = self._server.find(name.decode("utf-8", "replace"))
        with self._grant.lock:
            self._send(frame(FOUND, path or b"") + self._grant.take_owed())

    def _report(self, sentence: str) -> None:
        sys.stderr.write(sentence[:1].upper() + sentence[1:] + ".\n")

    def _is_aborted(self) -> bool:
        """Look, without waiting, whether the front has said that the client left."""
        if not self._readable() or self._server.stopping:
            return False
        try:
            data = self._read_frame()
        except OSError as error:
            raise FrontGone from error
        if data is None:
            raise FrontGone
        if data[4] != ABORT:
            raise LinkError(f"a frame of type {data[4]} while an answer is sent")
        self._ended = True
        return True

"""The WSGI side of the link: threads that each serve one slot at a time. Hot code.

    thread:  take -> HELLO -> [REQUEST -> application -> HEAD ... FREE]* -> end of stream -> take

A thread that waits, waits for a connection that asks (see slots) or in `recv`; a request that has been taken is never
queued behind another. The answer leaves before `close()` is called and FREE after it, because projects do late work
there. Where `close()` is known to be Django's own alone, it comes first and both go in one write: one system call and
one wake-up of the front less, 7 us of the 113 us that a small view costs both sides.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
import time
import traceback
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple, Union

from ....wire.link import (
    ABORT,
    CUT,
    DATA,
    END,
    FIND,
    FOUND,
    FRAME,
    HELLO,
    MAX_SMALL_FRAME,
    REQUEST,
    REQUEST_ITEMS,
    LinkError,
    frame,
    free_frame,
    head_frame,
    split_request,
)
from .answer import AnswerError, Headers, parse_status, render_headers
from .environ import Environ, Environs, FileWrapper
from .slots import Grant, Slots, backlog

_READ_BYTES = 32_768
_MERGE_BYTES = 65_536  # longer answers are not copied once more to save a system call

_HELLO_FRAME = frame(HELLO)
_END_FRAME = frame(END)
_HERE = os.path.dirname(os.path.abspath(__file__))
_MAX_STACK = 20_000
_SPOOL = REQUEST_ITEMS.index("spool")
_thread_time_ns = getattr(time, "thread_time_ns", time.monotonic_ns)  # not every system has it
_FAILURE_BODY = b"<!doctype html>\n<html lang=en><title>Server Error (500)</title><h1>Server Error (500)</h1></html>\n"
_FAILURE_BLOCK = b"Content-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n" % len(_FAILURE_BODY)

Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
Address = Union[str, List[Any]]


class FrontGone(Exception):
    """The front has closed the connection; whom the answer was for is not known any more."""


class WSGIServer:
    """Serves `application` on a listening socket with a fixed number of threads.

    `find(name)` gives the absolute path of a static file or None; `is_quick(result)` says whether `result.close()` is
    known to do no work of the project's.
    """

    def __init__(
        self,
        listener: socket.socket,
        application: Application,
        *,
        threads: int,
        secret: str = "",
        find: Optional[Callable[[str], Optional[bytes]]] = None,
        is_quick: Optional[Callable[[Any], bool]] = None,
    ) -> None:
        self.application = application
        self.find = find
        self.is_quick: Callable[[Any], bool] = is_quick or (lambda result: False)
        self.stopping = False
        self.views_us = 0  # CPU time of all views; without a lock: what is lost now and then does no harm
        self.environs = Environs(base_environ())
        self._taking = Slots(listener, threads, secret)
        self._count = threads
        self._slots: "set[Slot]" = set()

    def start(self) -> None:
        """Start the threads: daemons, so that a view that hangs cannot keep the process from its end."""
        self._taking.start()
        for number in range(1, self._count + 1):
            threading.Thread(target=self._work, name=f"duck-django-{number}", daemon=True).start()

    def vitals(self, view_deadline_s: float) -> Dict[str, Any]:
        """How this process is; a view that sent nothing for `view_deadline_s` seconds (0: for ever) is told of once."""
        now = time.monotonic()
        slots = tuple(self._slots)
        ages = [now - slot.began for slot in slots if slot.busy]
        told: Dict[str, Any] = {
            "requests": self._taking.requests + sum(slot.requests for slot in slots),
            "busy": len(ages),
            "oldest_view_s": round(max(ages), 3) if ages else 0.0,
            "threads": self._count,
        }
        stuck = [slot.describe(now) for slot in slots if view_deadline_s and slot.is_stuck(now - view_deadline_s)]
        if stuck:
            told["stuck"] = stuck
        return told

    def stop(self, deadline_s: float, abandon: Callable[[], bool] = lambda: False) -> bool:
        """Take no more, finish what runs; whether all was finished in `deadline_s` seconds.

        `abandon` is asked meanwhile whether to give up at once.
        """
        self.stopping = True
        self._taking.close()
        for slot in tuple(self._slots):
            slot.refuse_more()
        deadline = time.monotonic() + deadline_s
        # Polled, so that the hot path needs no lock; a stop may take some milliseconds. Idle is believed at the second
        # look: a request that was just read is marked an instant later.
        idle_looks = 0
        while idle_looks < 2:
            idle_looks = 0 if any(slot.busy for slot in tuple(self._slots)) else idle_looks + 1
            if idle_looks == 0 and (time.monotonic() > deadline or abandon()):
                return False
            time.sleep(0.01)
        return True

    def _work(self) -> None:
        while True:
            grant = self._taking.take()
            if grant is None:
                return
            slot = Slot(self, grant)
            self._slots.add(slot)
            try:
                with grant.connection:
                    slot.serve()
            except (FrontGone, OSError):
                pass
            except LinkError as error:
                sys.stderr.write(f"Duck's front sent what is no request: {error}\n")
            finally:
                self._slots.discard(slot)
                self._taking.gave_back(grant)


def base_environ() -> Environ:
    """What every request's environ has."""
    return {
        "SERVER_SOFTWARE": "duck",
        "wsgi.version": (1, 0),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "wsgi.file_wrapper": FileWrapper,
    }


class Slot:
    """One link connection, and the answer being made on it."""

    def __init__(self, server: WSGIServer, grant: Grant) -> None:
        connection = grant.connection
        self._grant = grant
        self._server = server
        self._connection = connection
        self._recv = connection.recv
        self._sendall = connection.sendall
        self._poll: Optional[Any] = None
        self._ident = 0
        self._told_of = 0  # which of its requests was told as stuck
        self._left = b""
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

    def refuse_more(self) -> None:
        """No further request is read; what was received already, and answers, are not touched."""
        try:
            self._connection.shutdown(socket.SHUT_RD)
        except OSError:
            pass

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
            self._send(_END_FRAME)

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

    # -- the connection -------------------------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        try:
            self._sendall(data)
        except OSError as error:
            raise FrontGone from error

    def _read_frame(self) -> Optional[bytes]:
        """The next frame, its five bytes of header included; None at the end of the stream."""
        data = self._left or self._recv(_READ_BYTES)
        while len(data) < 5:
            more = self._recv(_READ_BYTES) if data else b""
            if not more:
                return None
            data += more
        size, kind = FRAME.unpack_from(data)
        end = size + 5
        have = len(data)
        if have == end:
            self._left = b""
            return data
        if have > end:
            self._left = data[end:]
            return data[:end]
        if kind != REQUEST and size > MAX_SMALL_FRAME:
            raise LinkError(f"a frame of type {kind} with {size} bytes")
        return self._read_rest(data, end)

    def _read_rest(self, data: bytes, end: int) -> Optional[bytes]:
        buffer = bytearray(end)
        view = memoryview(buffer)
        at = len(data)
        view[:at] = data
        while at < end:
            count = self._connection.recv_into(view[at:])
            if not count:
                return None
            at += count
        self._left = b""
        return bytes(buffer)

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

    def _readable(self) -> bool:
        if self._left:
            return True
        if hasattr(select, "poll"):
            if self._poll is None:
                self._poll = select.poll()
                self._poll.register(self._connection, select.POLLIN)
            return bool(self._poll.poll(0))
        return bool(select.select([self._connection], [], [], 0)[0])


def listen(address: Address, slots: int) -> Tuple[socket.socket, Address]:
    """A listening socket on a Unix path or a host and port, and the address it got; for so many slots."""
    if isinstance(address, str):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(address)
        bound: Address = address
    else:
        listener = socket.create_server((address[0], address[1]))
        bound = list(listener.getsockname()[:2])
    listener.listen(backlog(slots))
    return listener, bound

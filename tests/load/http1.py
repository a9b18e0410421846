"""HTTP/1.1 of a client, written and read by hand on asyncio's streams, so that each step of a failure is seen."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field

from tests.load.outcome import End, Outcome

MAX_HEAD_BYTES = 65_536
PIECE_BYTES = 65_536
SMALL_BUFFER_BYTES = 4096  # of a client that reads slowly; a head has to fit into it


@dataclass
class Answer:
    """One answer; field names are in lower case, the last of equal ones counts."""

    status: int
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Cut(Exception):
    """The connection ended within an answer."""


class Left(Exception):
    """The client has left on purpose: it had read enough."""


class Wrong(Exception):
    """What came is no HTTP/1.1."""


Check = Callable[[Answer], str]


@dataclass(frozen=True)
class Request:
    """What is asked.

    Attributes:
        fields: besides Host, X-Load-Id and those of the framing.
        chunked: whether the body is sent in chunks of `piece_bytes`.
        piece_bytes: of the body that are sent at a time.
        pause_s: before each piece.
        read_bytes_s: how fast the answer is read; 0 for as fast as can be.
        read_for_s: the client leaves, satisfied, when it has read for so long; 0 to read to the end.
        check: what is wrong with an answer; empty where nothing is.
    """

    method: str
    target: str
    fields: Sequence[tuple[str, str]] = ()
    body: bytes | None = None
    chunked: bool = False
    piece_bytes: int = PIECE_BYTES
    pause_s: float = 0.0
    read_bytes_s: float = 0.0
    read_for_s: float = 0.0
    check: Check | None = None


class Connection:
    """One connection, for one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.is_over = False  # the last answer said that it is the last one
        self.asked = 0
        self.port: int = writer.get_extra_info("sockname")[1]

    @classmethod
    async def open(cls, port: int, *, receive_buffer: int = 0) -> Connection:
        """A new one to this machine."""
        client = socket.socket()
        try:
            client.setblocking(False)
            if receive_buffer:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
            limit = SMALL_BUFFER_BYTES if receive_buffer else MAX_HEAD_BYTES
            return cls(*await asyncio.open_connection(sock=client, limit=limit))
        except BaseException:
            client.close()
            raise

    async def is_usable(self) -> bool:
        """Whether another request may be sent: the last answer allows it, and the server has not closed."""
        await asyncio.sleep(0)  # an end that has come is seen now
        return not (
            self.is_over
            or self._reader.at_eof()
            or self._reader.exception() is not None
            or self._writer.transport.is_closing()
        )

    async def close(self) -> None:
        """End it; nothing is awaited of the other side."""
        self.is_over = True
        self._writer.transport.abort()
        try:
            await self._writer.wait_closed()
        except OSError:
            pass

    # -- sending ------------------------------------------------------------------------------------------------------

    async def send(self, request: Request, outcome: Outcome) -> None:
        """Send all of it."""
        self._writer.write(self._head(request, outcome))
        await self._send_body(request)
        await self._sent([outcome])

    async def send_at_once(self, requests: Sequence[Request], outcomes: Sequence[Outcome]) -> None:
        """Send several without a body in one write.

        In several, one that a server has closed behind its last answer would fail the next write, and asyncio throws
        away then what has come and was not read.
        """
        pairs = zip(requests, outcomes, strict=True)
        self._writer.write(b"".join([self._head(request, outcome) for request, outcome in pairs]))
        await self._sent(outcomes)

    def _head(self, request: Request, outcome: Outcome) -> bytes:
        outcome.port = self.port
        outcome.asked_before = self.asked
        self.asked += 1
        lines = [f"{request.method} {request.target} HTTP/1.1", "Host: localhost", f"X-Load-Id: {outcome.load_id}"]
        lines += [f"{name}: {value}" for name, value in request.fields]
        if request.body is not None:
            lines.append("Transfer-Encoding: chunked" if request.chunked else f"Content-Length: {len(request.body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    async def _sent(self, outcomes: Sequence[Outcome]) -> None:
        # `drain` returns while something may still wait in the transport; it is sent once nothing does.
        self._writer.transport.set_write_buffer_limits(0)
        await self._writer.drain()
        for outcome in outcomes:
            outcome.sent = time.monotonic()

    async def _send_body(self, request: Request) -> None:
        body = request.body or b""
        for at in range(0, len(body), request.piece_bytes):
            if request.pause_s:
                await asyncio.sleep(request.pause_s)
            piece = body[at : at + request.piece_bytes]
            self._writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if request.chunked else piece)
            await self._writer.drain()
        if request.body is not None and request.chunked:
            self._writer.write(b"0\r\n\r\n")

    # -- receiving ----------------------------------------------------------------------------------------------------

    async def receive(self, request: Request, outcome: Outcome) -> Answer:
        """The answer; raises `Cut` where it ends early, and what the connection raised where none began."""
        while True:
            answer = await self._read_head(outcome)
            if answer.status >= 200:
                break
        if answer.fields.get("connection", "").lower() == "close":
            self.is_over = True
        outcome.status = answer.status
        outcome.retry_after = answer.fields.get("retry-after", "")
        outcome.pid = int(answer.fields.get("x-pid", "0"))
        try:
            answer.body = await self._body(request, answer)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Cut(str(error)) from error
        return answer

    async def _read_head(self, outcome: Outcome) -> Answer:
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                outcome.first_byte = time.monotonic()
                raise Cut(f"within the head: {error.partial[:60]!r}") from error
            raise
        outcome.first_byte = time.monotonic()
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if version not in ("HTTP/1.1", "HTTP/1.0") or not rest[:3].isdigit():
            raise Wrong(f"no status line: {first[:60]!r}")
        fields = {}
        for line in lines:
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        return Answer(int(rest[:3]), fields)

    async def _body(self, request: Request, answer: Answer) -> bytes:
        if request.method == "HEAD" or answer.status in (204, 304):
            return b""
        if answer.fields.get("transfer-encoding", "").lower() == "chunked":
            return await self._chunks()
        length = answer.fields.get("content-length")
        if length is None:
            self.is_over = True
            return await self._reader.read()
        if request.read_bytes_s or request.read_for_s:
            return await self._slowly(request, int(length))
        return await self._reader.readexactly(int(length))

    async def _chunks(self) -> bytes:
        body = bytearray()
        while True:
            line = await self._reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            if not size:
                while await self._reader.readuntil(b"\r\n") != b"\r\n":
                    pass
                return bytes(body)
            body += await self._reader.readexactly(size)
            if await self._reader.readexactly(2) != b"\r\n":
                raise Wrong("a chunk without its end")

    async def _slowly(self, request: Request, length: int) -> bytes:
        began = time.monotonic()
        body = bytearray()
        while len(body) < length:
            if request.read_for_s and time.monotonic() - began >= request.read_for_s:
                self.is_over = True
                raise Left
            piece = await self._reader.read(min(length - len(body), int(request.read_bytes_s) or PIECE_BYTES))
            if not piece:
                raise asyncio.IncompleteReadError(bytes(body[-100:]), length)
            body += piece
            if request.read_bytes_s:
                await asyncio.sleep(max(0.0, began + len(body) / request.read_bytes_s - time.monotonic()))
        return bytes(body)


async def ask(connection: Connection, request: Request, outcome: Outcome, deadline_s: float) -> None:
    """Send `request` and read its answer; how it ended stands in `outcome`."""

    async def both() -> Answer:
        try:
            await connection.send(request, outcome)
        except OSError as error:
            # An answer may have come before the end: a refusal, say, of a body that is too long.
            outcome.detail = str(error)
        return await connection.receive(request, outcome)

    await _settle(both(), request, outcome, deadline_s)


async def _settle(
    answering: Coroutine[None, None, Answer], request: Request, outcome: Outcome, deadline_s: float
) -> None:
    try:
        async with asyncio.timeout(deadline_s):
            answer = await answering
    except TimeoutError:
        outcome.end = End.TIMEOUT
    except Left:
        outcome.end = End.OK
    except Cut as error:
        outcome.end, outcome.detail = End.CUT, str(error)
    except Wrong as error:
        outcome.end, outcome.detail = End.WRONG, str(error)
    except (asyncio.IncompleteReadError, OSError) as error:
        outcome.end = End.RESET_BEFORE if outcome.sent is None else End.RESET_AFTER
        outcome.detail = outcome.detail or ("closed" if isinstance(error, asyncio.IncompleteReadError) else str(error))
    except (asyncio.LimitOverrunError, ValueError) as error:
        outcome.end, outcome.detail = End.WRONG, str(error)
    else:
        judge_answer(answer, request, outcome)
    outcome.ended = time.monotonic()


def judge_answer(answer: Answer, request: Request, outcome: Outcome) -> None:
    """Whether it is the answer that this request wants."""
    if answer.status != 200:
        outcome.end = End.STATUS
        outcome.detail = answer.body[:120].decode("latin-1")
        return
    wrong = request.check(answer) if request.check is not None else ""
    if not wrong and answer.fields.get("x-load-id", "") != outcome.load_id:
        wrong = f"the answer to {answer.fields.get('x-load-id', 'nobody')!r}"
    outcome.end = End.WRONG if wrong else End.OK
    outcome.detail = wrong


async def ask_pipelined(
    connection: Connection, requests: Sequence[Request], outcomes: Sequence[Outcome], deadline_s: float
) -> int:
    """Send all, then read their answers in order; how many were taken by the server.

    Those after an answer with `Connection: close` were not, and may be asked again (RFC 9112 §9.6).
    """
    lost = ""
    try:
        async with asyncio.timeout(deadline_s):
            await connection.send_at_once(requests, outcomes)
    except (OSError, TimeoutError) as error:
        lost = str(error)
    for number, (request, outcome) in enumerate(zip(requests, outcomes, strict=True)):
        await _next_answer(connection, request, outcome, deadline_s)
        outcome.detail = outcome.detail or lost
        if outcome.end is End.OK and connection.is_over:
            return number + 1
    return len(requests)


async def _next_answer(connection: Connection, request: Request, outcome: Outcome, deadline_s: float) -> None:
    await _settle(connection.receive(request, outcome), request, outcome, deadline_s)


async def connect(port: int, outcome: Outcome, deadline_s: float, *, receive_buffer: int = 0) -> Connection | None:
    """A new connection, or None, with the reason in `outcome`."""
    try:
        async with asyncio.timeout(deadline_s):
            return await Connection.open(port, receive_buffer=receive_buffer)
    except ConnectionRefusedError as error:
        outcome.end, outcome.detail = End.REFUSED, str(error)
    except TimeoutError:
        outcome.end, outcome.detail = End.TIMEOUT, "not connected"
    except OSError as error:
        outcome.end, outcome.detail = End.RESET_BEFORE, str(error)
    outcome.ended = time.monotonic()
    return None

"""One client's TLS connection: an `asyncio.Protocol` to the socket below, an `asyncio.Transport` to what is above.

    FIRST ──0x16──> HANDSHAKE ──finished──> OPEN ──close_notify sent──> CLOSED
      └──a letter──> PLAIN: somebody speaks HTTP without TLS, and is told so

FIRST      nothing was received yet
HANDSHAKE  what comes goes to OpenSSL; there is nothing above yet
OPEN       `ServerConnection`, or what ALPN chose, is above and sees plain bytes
PLAIN      the head of a plain request is read, to name in the answer where it should have gone

Why not the loop's own TLS: its handshake cannot look at the first byte; asyncio's and uvloop's have a buffer of 256 KiB
for every connection, and cost as much or more for requests and handshakes (docs/explanation/https.md has the figures).
OpenSSL works on two memory buffers here, and nothing of what it gives is kept: plain bytes go up and cipher text goes
down in the same call.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING, Any, Final, cast

from duck.exceptions import ProtocolError
from duck.net.certificate import reason_of
from duck.net.clock import NEVER
from duck.net.server_connection import ServerConnection
from duck.wire.h1 import parse_request_head

if TYPE_CHECKING:
    from duck.net.server import Server
    from duck.net.tls import Contexts

logger = logging.getLogger("duck.net")

FIRST: Final = "first"
HANDSHAKE: Final = "handshake"
OPEN: Final = "open"
PLAIN: Final = "plain"
CLOSED: Final = "closed"

# OpenSSL's buffers grow to the largest piece they ever held, and never shrink: with pieces of 64 KiB a connection that
# has had a long answer keeps 67 KiB, with these 24, for 8 % more of a megabyte's cost.
PIECE_BYTES: Final = 16_384
RECORD_BYTES: Final = 16_384  # of plain text, at most (RFC 8446 §5.1)
MAX_PLAIN_BYTES: Final = 4096
# What may wait for a client that makes OpenSSL talk (alerts, answers to renegotiation) and does not listen.
MAX_UNHEARD_BYTES: Final = 65_536
_HANDSHAKE_RECORD: Final = 0x16


class TlsConnection:
    """The TLS of one connection; one of the server's connections until its handshake is complete."""

    __slots__ = (
        "_above",
        "_contexts",
        "_eof_held",
        "_eof_told",
        "_held",
        "_incoming",
        "_outgoing",
        "_paused",
        "_plain",
        "_server",
        "_ssl",
        "_state",
        "_wire",
        "_write_closed",
        "deadline",
    )

    def __init__(self, server: Server, contexts: Contexts) -> None:
        self._server = server
        self._contexts = contexts
        self._wire: asyncio.Transport | None = None
        self._state = FIRST
        self._incoming: ssl.MemoryBIO | None = None
        self._outgoing: ssl.MemoryBIO | None = None
        self._ssl: ssl.SSLObject | None = None
        self._above: asyncio.Protocol | None = None
        self._plain = b""  # of PLAIN: what was received
        self._held = b""  # what was decrypted while the reader above was paused
        self._paused = False
        self._eof_told = False
        self._eof_held = False
        self._write_closed = False
        self.deadline = NEVER

    # -- asyncio.Protocol: what the socket says -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast("asyncio.Transport", transport)
        server = self._server
        self.deadline = server.clock.time() + server.limits.handshake_timeout_s
        server.handshaking(self)

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state is OPEN:
            self._decrypt(data)
        elif state is HANDSHAKE:
            self._shake_hands(data)
        elif state is FIRST:
            if data[0] == _HANDSHAKE_RECORD:
                self._begin()
                self._shake_hands(data)
            elif data[:1].isalpha():
                self._state = PLAIN
                self._read_plain(data)
            else:
                self._fail("what the client sent is no TLS")
        elif state is PLAIN:
            self._read_plain(data)

    def eof_received(self) -> bool:
        state = self._state
        if state is OPEN:
            return self._tell_eof()
        if state is PLAIN:
            self._refuse_plain()
            return True  # what is below belongs to another protocol now
        return False

    def connection_lost(self, error: Exception | None) -> None:
        state = self._state
        self._state = CLOSED
        self.deadline = NEVER
        self._wire = None
        self._held = b""
        # The three refer to each other through OpenSSL: freed now and not by the collector.
        self._ssl = self._incoming = self._outgoing = None
        above, self._above = self._above, None
        if above is not None:
            above.connection_lost(error)
        elif state is not CLOSED:
            self._server.handshake_ended(self, failed=state is HANDSHAKE)

    def pause_writing(self) -> None:
        if self._above is not None:
            self._above.pause_writing()

    def resume_writing(self) -> None:
        if self._above is not None:
            self._above.resume_writing()

    # -- one of the server's connections, until the handshake is complete -----------------------------------------

    def expire(self, now: float) -> None:
        """The handshake takes too long, or a plain request does not end."""
        if self._state is PLAIN:
            self._refuse_plain()
        else:
            self._fail(f"no handshake within {self._server.limits.handshake_timeout_s:g} s")

    def give_way(self) -> None:
        """Others want to begin, and this one has taken longest."""
        self._fail("too many handshakes under way, and this is the oldest")

    def drain(self) -> None:
        """The server ends: a client that has begun is let in, and answered."""
        if self._state is FIRST and self._wire is not None:
            server = self._server
            left_s = self.deadline - server.clock.time() - server.limits.handshake_timeout_s + server.fresh_s
            if left_s <= 0:
                self._wire.close()
            else:
                server.loop.call_later(left_s, self._close_unused)

    def _close_unused(self) -> None:
        if self._state is FIRST and self._wire is not None:
            self._wire.close()

    def cut(self) -> None:
        """Close at once."""
        if self._wire is not None:
            self._wire.abort()

    # -- the handshake --------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._state = HANDSHAKE
        self._incoming = incoming = ssl.MemoryBIO()
        self._outgoing = outgoing = ssl.MemoryBIO()
        self._ssl = self._contexts.front.wrap_bio(incoming, outgoing, server_side=True)

    def _shake_hands(self, data: bytes) -> None:
        connection, wire = self._ssl, self._wire
        assert connection is not None and wire is not None and self._incoming is not None
        self._incoming.write(data)
        try:
            connection.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except (ssl.SSLError, OSError) as error:
            self._flush()  # the alert that says why
            self._fail(reason_of(error))
            return
        self._state = OPEN
        self.deadline = NEVER
        server = self._server
        server.handshaken(self)
        self._above = above = server.protocol_for(connection.selected_alpn_protocol())
        above.connection_made(cast("asyncio.Transport", self))
        if self._ssl is not None:
            self._decrypt(b"")
            self._flush()

    def _fail(self, why: str) -> None:
        wire = self._wire
        if wire is None:
            return
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("no TLS with %s: %s", wire.get_extra_info("peername"), why)
        self._state = CLOSED
        self.deadline = NEVER
        self._server.handshake_ended(self, failed=True)
        wire.close()

    # -- plain HTTP where TLS is spoken ---------------------------------------------------------------------------

    def _read_plain(self, data: bytes) -> None:
        self._plain += data
        if b"\r\n\r\n" in self._plain or len(self._plain) >= MAX_PLAIN_BYTES:
            self._refuse_plain()

    def _refuse_plain(self) -> None:
        wire = self._wire
        if wire is None:
            return
        self._state = CLOSED
        self.deadline = NEVER
        server = self._server
        server.handshake_ended(self, failed=True)
        # From here on it is a plain connection whose first request is refused.
        connection = ServerConnection(server)
        wire.set_protocol(cast("asyncio.Protocol", connection))
        connection.connection_made(wire)
        address = secure_address(self._plain)
        where = f"; use {address}" if address else "; use https:// in its address"
        plain, self._plain = self._plain, b""
        connection.refuse(ProtocolError(f"this port speaks HTTPS and the request came without TLS{where}"), plain)

    # -- plain bytes up -------------------------------------------------------------------------------------------

    def _decrypt(self, data: bytes) -> None:
        """Give what is above the plain bytes of `data`, in one call."""
        connection, incoming = self._ssl, self._incoming
        assert connection is not None and incoming is not None
        pieces: list[bytes] = []
        ended = False
        at = 0
        size = len(data)
        want = min(max(size, 512), RECORD_BYTES)
        try:
            while True:
                if at < size:
                    incoming.write(data if size <= PIECE_BYTES else memoryview(data)[at : at + PIECE_BYTES])
                    at += PIECE_BYTES
                try:
                    while incoming.pending or connection.pending():
                        plain = connection.read(want)
                        if not plain:
                            ended = True
                            break
                        pieces.append(plain)
                        want = RECORD_BYTES
                except ssl.SSLWantReadError:
                    pass
                if ended or at >= size:
                    break
        except ssl.SSLZeroReturnError:
            ended = True
        except (ssl.SSLError, OSError) as error:
            self._flush()
            logger.debug("the TLS of a connection failed: %s", reason_of(error))
            self.abort()
            return
        if self._outgoing is not None and self._outgoing.pending:
            self._flush()
            if self._wire is not None and self._wire.get_write_buffer_size() > MAX_UNHEARD_BYTES:
                unheard = not pieces
                if unheard:
                    self.abort()
                    return
        if pieces:
            self._deliver(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if ended and self._state is OPEN and not self._tell_eof():
            self.close()

    def _deliver(self, plain: bytes) -> None:
        if self._paused:
            self._held += plain
        elif self._above is not None:
            self._above.data_received(plain)

    def _tell_eof(self) -> bool:
        """The client sends no more; whether the connection stays open for the answer."""
        if self._eof_told or self._above is None:
            return self._eof_told
        if self._held:
            self._eof_held = True  # told when what came before it has been taken
            return True
        self._eof_told = True
        return bool(self._above.eof_received())

    def _give_held(self) -> None:
        if self._held and not self._paused and self._above is not None:
            held, self._held = self._held, b""
            self._above.data_received(held)
            if self._eof_held and self._state is OPEN and not self._tell_eof():
                self.close()

    # -- asyncio.Transport: cipher text down ----------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt `data` and send it; nothing is kept here."""
        connection, wire = self._ssl, self._wire
        if connection is None or wire is None or self._write_closed:
            return
        outgoing = cast("ssl.MemoryBIO", self._outgoing)
        try:
            if len(data) <= PIECE_BYTES:
                connection.write(data)
                wire.write(outgoing.read())
                return
            view = memoryview(data)
            for at in range(0, len(view), PIECE_BYTES):
                connection.write(view[at : at + PIECE_BYTES])
                wire.write(outgoing.read())
        except ssl.SSLError as error:
            logger.debug("the TLS of a connection failed: %s", reason_of(error))
            wire.abort()

    def writelines(self, pieces: Any) -> None:
        """`write`, of all together."""
        self.write(b"".join(pieces))

    def can_write_eof(self) -> bool:
        """True: `close_notify` ends one direction (RFC 8446 §6.1)."""
        return True

    def write_eof(self) -> None:
        """Send no more, and go on receiving."""
        if self._wire is not None and not self._write_closed:
            self._close_notify()
            self._wire.write_eof()

    def close(self) -> None:
        """Send what was written, say that it is all, and close."""
        if self._wire is not None:
            if not self._write_closed:
                self._close_notify()
            self._wire.close()

    def abort(self) -> None:
        """Close now; the client sees that something is missing."""
        if self._wire is not None:
            self._wire.abort()

    def is_closing(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._wire is None or self._wire.is_closing()

    def pause_reading(self) -> None:
        """Receive no more for now."""
        if not self._paused and self._wire is not None:
            self._paused = True
            self._wire.pause_reading()

    def resume_reading(self) -> None:
        """Receive again; first what was held."""
        if self._paused and self._wire is not None:
            self._paused = False
            if self._held:
                self._server.loop.call_soon(self._give_held)
            self._wire.resume_reading()

    def is_reading(self) -> bool:
        """Whether what comes is delivered."""
        return not self._paused

    def get_write_buffer_size(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._wire.get_write_buffer_size() if self._wire is not None else 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """As of the transport below."""
        if self._wire is not None:
            self._wire.set_write_buffer_limits(high, low)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """What is above, from now on."""
        self._above = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol | None:
        """What is above."""
        return self._above

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`sslcontext`, `ssl_object`, `peercert`, or what the transport below tells.

        `peercert` is verified, empty where none was shown, and None where clients are not asked.
        """
        if name == "sslcontext":
            return self._contexts.front
        if name == "ssl_object":
            return self._ssl
        if name == "peercert":
            return (self._ssl.getpeercert() or {}) if self._ssl is not None and self._contexts.asks_clients else None
        return self._wire.get_extra_info(name, default) if self._wire is not None else default

    def _close_notify(self) -> None:
        self._write_closed = True
        if self._ssl is not None and self._state is OPEN:
            try:
                self._ssl.unwrap()
            except (ssl.SSLError, OSError):
                pass  # that the peer has not said so yet, as a rule
            self._flush()

    def _flush(self) -> None:
        outgoing = self._outgoing
        if outgoing is not None and outgoing.pending and self._wire is not None:
            self._wire.write(outgoing.read())


def secure_address(data: bytes) -> str:
    """The `https` URL of the plain request that `data` begins with; `""` where it names none."""
    end = data.find(b"\r\n\r\n")
    try:
        request = parse_request_head(data[: end + 2 if end >= 0 else len(data)], b"http", max_fields=100)
    except ProtocolError:
        return ""
    host = request.authority
    if not host or not request.target.startswith(b"/"):
        return ""
    return f"https://{host.decode('latin-1')}{request.target.decode('latin-1')}"

"""A stream of HTTP/2 once HTTP was left (RFC 8441): bytes both ways, an end by END_STREAM, a cut by RST_STREAM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from duck.exceptions import ClientGone
from duck.wire.h2_frames import CANCEL, NO_ERROR

if TYPE_CHECKING:
    from collections.abc import Callable

    from duck.net.h2_connection import Http2ServerConnection
    from duck.net.h2_stream import Http2Stream
    from duck.net.interfaces import DuplexReceiver


class Http2Duplex:
    """The `Duplex` of one stream.

    What the client sends and nobody takes is kept, bounded by the stream's window: it is given back as it is taken.
    """

    __slots__ = ("_closing", "_connection", "_early", "_ended", "_eof", "_paused", "_receiver", "_slow", "_stream")

    def __init__(self, stream: Http2Stream, connection: Http2ServerConnection) -> None:
        self._stream: Http2Stream | None = stream
        self._connection = connection
        self._receiver: DuplexReceiver | None = None
        self._early = b""
        self._paused = False
        self._slow = False  # the client is slow
        self._eof = False  # the client has ended, and nobody was told yet
        self._ended = False  # all was sent
        self._closing = False

    # -- what happens to the stream -------------------------------------------------------------------------------

    def received(self, data: bytes, ended: bool) -> None:
        """More of the client's bytes; `ended`: they were the last."""
        self._early += data
        self._eof = self._eof or ended
        self._pass_on()

    def _pass_on(self) -> None:
        receiver = self._receiver
        stream = self._stream
        if receiver is None or stream is None or self._paused:
            return
        early, self._early = self._early, b""
        if early:
            self._connection.http2.consumed(stream, len(early))
            receiver.duplex_data(early)
        if self._eof and self._stream is not None:
            self._eof = False
            receiver.duplex_eof()
            self._check_over()

    def pause(self) -> None:
        """The client is slow."""
        self._slow = True
        if self._receiver is not None:
            self._receiver.duplex_pause()

    def resume(self) -> None:
        """The client takes more."""
        self._slow = False
        if self._receiver is not None:
            self._receiver.duplex_resume()

    def sent_end(self) -> None:
        """The last byte has gone."""
        self._ended = True
        self._check_over()

    def lost(self, error: Exception) -> None:
        """The stream is gone; `error` may be why, for whoever wonders."""
        self._over(error)

    def _check_over(self) -> None:
        stream = self._stream
        if stream is None or not self._ended:
            return
        if stream.remote_ended or self._closing:
            self._connection.http2.reset(stream, NO_ERROR)  # of a stream that both have ended nothing is sent
            stream.tunnel_ended()
            self._over(None)
            self._connection.flush_soon()

    def _over(self, error: Exception | None) -> None:
        stream, self._stream = self._stream, None
        receiver, self._receiver = self._receiver, None
        if stream is not None:
            early, self._early = self._early, b""
            if early:  # nobody takes it, and it shall not shut the window that all streams share
                self._connection.http2.consumed(stream, len(early))
            self._connection.server.tunnel_closed()
        if receiver is not None:
            receiver.duplex_lost(error)

    # -- Duplex ---------------------------------------------------------------------------------------------------

    def connect(self, receiver: DuplexReceiver) -> None:
        """Deliver to `receiver`, first what came early."""
        if self._stream is None:
            receiver.duplex_lost(None)
            return
        self._receiver = receiver
        if self._slow:
            receiver.duplex_pause()
        self._pass_on()
        self._connection.flush_soon()

    def write(self, data: bytes) -> None:
        """Send bytes."""
        stream = self._stream
        if stream is not None and not stream.local_ended and not stream.ending and data:
            stream.write(data)

    @property
    def writer(self) -> Callable[[bytes], object]:
        """`write`."""
        return self.write

    def write_eof(self) -> None:
        """Send no more, and go on receiving."""
        stream = self._stream
        if stream is not None and not stream.local_ended and not stream.ending:
            self._connection.http2.send_end(stream)
            self._connection.flush_soon()

    @property
    def unsent(self) -> int:
        """Bytes written that the client's window has not taken yet."""
        return self._stream.pending_bytes if self._stream is not None else 0

    def pause_reading(self) -> None:
        """Receive no more for now."""
        self._paused = True

    def resume_reading(self) -> None:
        """Receive again."""
        if self._paused:
            self._paused = False
            self._pass_on()
            self._connection.flush_soon()

    def close(self) -> None:
        """Send what was written, then end."""
        self._closing = True
        self.write_eof()
        self._check_over()

    def abort(self) -> None:
        """End now."""
        stream = self._stream
        if stream is not None:
            self._connection.http2.reset(stream, CANCEL)
            self._connection.flush_soon()
            stream.lose(ClientGone("the tunnel was cut"))

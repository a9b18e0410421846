"""What a client may send, keep open and take time for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds and deadlines of client connections; bytes and seconds.

    Attributes:
        max_head_bytes: request line and fields; more is answered 431, or 414 within the request line.
        max_target_bytes: the request target; more is answered 414.
        max_fields: field lines of a request; more is answered 431.
        max_body_bytes: a request's body unless its route says otherwise; more is answered 413.
        max_streams: requests of one HTTP/2 connection at a time.
        max_connections: open at once per worker; a further one is answered 503 and closed.
        head_timeout_s: from a head's first byte to its last; later is answered 408.
        body_timeout_s: between two pieces of a body that is being waited for; later is answered 408.
        min_body_rate: bytes a second that a body must average after its first `body_timeout_s`; 0 for no bound.
        keep_alive_timeout_s: a connection may be idle that long.
        send_timeout_s: a client that takes nothing of its answer for so long is cut off.
        linger_s: after an answer that left a body unread, so long the rest is thrown away before the close, so that
            the answer is not lost to a reset (RFC 9112 §9.6).
        handshake_timeout_s: from the connection to the end of its TLS handshake.
        max_handshakes: TLS handshakes under way at once; who comes meanwhile is closed.
    """

    max_head_bytes: int = 32_768
    max_target_bytes: int = 16_384
    max_fields: int = 100
    max_body_bytes: int = 1 << 30
    max_connections: int = 16_384
    max_streams: int = 100
    head_timeout_s: float = 15.0
    body_timeout_s: float = 30.0
    min_body_rate: int = 256
    keep_alive_timeout_s: float = 75.0
    send_timeout_s: float = 60.0
    linger_s: float = 2.0
    handshake_timeout_s: float = 10.0
    max_handshakes: int = 1024

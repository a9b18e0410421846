"""What became of one request, as its client saw it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

# Methods that may be repeated by whoever did not get an answer (RFC 9110 §9.2.2).
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})


class End(enum.StrEnum):
    """How it ended."""

    OK = "answered"
    REFUSED = "connection refused"
    RESET_BEFORE = "connection lost before the request was sent"
    RESET_AFTER = "connection lost after the request was sent"
    CUT = "answer cut"
    STATUS = "answered with another status"
    WRONG = "wrong content"
    TIMEOUT = "no end in time"
    CLOSED = "WebSocket closed"


@dataclass
class Outcome:
    """One request, or one WebSocket from its handshake to its end. Times are of `time.monotonic`.

    Attributes:
        port: the client's own; which of the server's processes holds the connection is found by it.
        asked_before: how many requests the connection had carried already.
        sent: when the last byte of the request was with the kernel; None before.
        first_byte: when the answer began; None where it never did.
        pid: the Django process that answered, as the answer says; 0 where there is none.
        retry_after: what the answer's field of that name says; empty where it has none.
        code: of the WebSocket's Close; 1006 where there was none (RFC 6455 §7.1.5).
    """

    load_id: str
    method: str
    target: str
    began: float
    port: int = 0
    asked_before: int = 0
    sent: float | None = None
    first_byte: float | None = None
    ended: float = 0.0
    end: End = End.TIMEOUT
    status: int = 0
    pid: int = 0
    retry_after: str = ""
    code: int | None = None
    detail: str = ""
    is_websocket: bool = False

    @property
    def taken_s(self) -> float:
        """From the beginning to the end."""
        return self.ended - self.began

    def __str__(self) -> str:
        what = f" {self.status}" if self.end is End.STATUS else f" {self.code}" if self.end is End.CLOSED else ""
        sent = "never sent" if self.sent is None else f"sent at {self.sent:.3f}"
        why = f": {self.detail}" if self.detail else ""
        return (
            f"{self.method} {self.target} ({self.load_id}, port {self.port}, {self.asked_before} before it): "
            f"{self.end}{what}{why}; began {self.began:.3f}, {sent}, ended {self.ended:.3f}"
        )

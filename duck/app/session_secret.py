"""What the keys of TLS session tickets are made from: one secret for all front workers, another one each day.

It is in memory only: front workers are told by their sockets, and a Duck that this process becomes by an exec finds it
in what was handed over. So clients resume their sessions at every worker, and across `duck reload --self`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from duck.net.session_keys import SECRET_BYTES
from duck.net.tls import TICKET_KEYS_S

if TYPE_CHECKING:
    from duck.services.inbox import Inbox, Timer


class SessionSecret:
    """For the inbox's thread.

    Args:
        handed: what `hand_over` gave to the Duck before; empty for a first one.
    """

    def __init__(self, handed: Mapping[str, Any], now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._value = bytes.fromhex(handed.get("value", ""))
        self._made = float(handed.get("made", 0.0))
        self._timer: Timer | None = None

    def start(self, inbox: Inbox, tell: Callable[[bytes], None]) -> None:
        """`tell` is told of it, now and whenever it is another one."""
        left = self._made + TICKET_KEYS_S - self._now()
        if len(self._value) != SECRET_BYTES or left <= 0:
            self._value, self._made, left = secrets.token_bytes(SECRET_BYTES), self._now(), TICKET_KEYS_S
        self._timer = inbox.call_later(left, lambda: self.start(inbox, tell))
        tell(self._value)

    def stop(self) -> None:
        """Make no more."""
        if self._timer is not None:
            self._timer.cancel()

    def hand_over(self) -> dict[str, Any]:
        """For the next Duck of this process."""
        return {"value": self._value.hex(), "made": self._made}

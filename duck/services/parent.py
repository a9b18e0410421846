"""Parent: the process that spawned this one as a `Child`: what it says, what it is told, and its end.

This process hears `{"do": "...", ...}`, and says `{"event": "...", ...}`, as `child` has it.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from duck.backend.django.worker.control import die_with_parent, end_group, tie_group
from duck.services.incoming import Incoming
from duck.services.outgoing import MOST_BYTES, Outgoing

if TYPE_CHECKING:
    from duck.services.inbox import Inbox

logger = logging.getLogger("duck.services")

_LAST_S: Final = 5.0


class Parent:
    """The end of a child; this process and its group end with its parent. On the inbox's thread.

    Args:
        told: what the parent gave to `Child.spawn`, as the environment had it.
        on_message: called with each message, once `listen` was.
        most_read: a longer message, in bytes, is none.
        most_unsent: so many bytes may wait for a parent that stands still; what is said beyond that is not heard.
    """

    def __init__(
        self,
        inbox: Inbox,
        told: Mapping[str, Any],
        on_message: Callable[[dict[str, Any]], None],
        *,
        most_read: int,
        most_unsent: int = MOST_BYTES,
    ) -> None:
        self._control = socket.socket(fileno=told["control_fd"])
        for descriptor in (told["control_fd"], told["lifeline_fd"]):
            os.set_inheritable(descriptor, False)
        die_with_parent(told["parent"], is_tied=tie_group(told["lifeline_fd"]))
        self._control.setblocking(False)
        self._incoming = Incoming(inbox, self._control, most_read, on_message, _garbled, end_group)
        self._outgoing = Outgoing(inbox, self._control, most_unsent)

    def listen(self) -> None:
        """Take messages from now on; those that came before come first."""
        self._incoming.listen()

    def send(self, event: str, **facts: Any) -> None:
        """Say something, without waiting for it."""
        self._outgoing.send({"event": event, **facts})

    def flush(self) -> None:
        """Have the parent hear what was said: before this process ends by itself."""
        self._outgoing.flush(_LAST_S)

    @property
    def stands_still(self) -> bool:
        """Whether it has not read what it was told."""
        return self._outgoing.waits


def _garbled() -> None:
    logger.error("The process that started this one said what is no message.")

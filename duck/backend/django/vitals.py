"""How the Django processes are: asked every two seconds, and replaced before a limit hurts.

A process answers from a thread of its own, or from its event loop where it has one, so an answer says that the
interpreter's lock can be had. One that does not answer for long hangs.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import psutil

from duck.backend.django.child import READY

if TYPE_CHECKING:
    from duck.backend.django.process import BackendOptions
    from duck.backend.django.version import Member
    from duck.services.inbox import Inbox, Timer

logger = logging.getLogger("duck.django")

# Processes that were started together must not end together.
_JITTER: Final = 0.1


class Vitals:
    """Asks each process of `members` how it is; on the inbox's thread.

    Args:
        members: the processes that serve.
        on_worn: one should be replaced while it still serves, for the reason given.
    """

    def __init__(
        self,
        options: BackendOptions,
        inbox: Inbox,
        members: Callable[[], Iterator[Member]],
        on_worn: Callable[[Member, str], None],
    ) -> None:
        self._options = options
        self._inbox = inbox
        self._members = members
        self._on_worn = on_worn
        self._timer: Timer | None = None

    def start(self) -> None:
        """Ask from now on; may be said again."""
        if self._timer is None:
            self._timer = self._inbox.call_later(self._options.heartbeat_s, self._ask_all)

    def stop(self) -> None:
        """Ask no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def max_requests(self) -> int:
        """How many requests a new process may serve; 0 for any number."""
        wanted = self._options.max_requests
        return max(1, round(wanted * random.uniform(1 - _JITTER, 1 + _JITTER))) if wanted else 0

    def told(self, member: Member, event: Mapping[str, Any]) -> None:
        """A process has answered."""
        member.pinged_at = 0.0
        member.vitals = event
        for view in event.get("stuck") or ():
            logger.error(
                "%s has worked on %s for %.0f s without an answer (VIEW_TIMEOUT); the process is replaced. %s",
                member.title,
                view.get("request"),
                view.get("age_s", 0.0),
                f"It stands at:\n{view.get('stack', '')}".rstrip(),
            )
            member.is_stuck = True
        if member.is_stuck:
            self._on_worn(member, "")
        elif member.max_requests and event.get("requests", 0) >= member.max_requests:
            self._on_worn(member, f"has served {event['requests']} requests (MAX_REQUESTS)")

    def _ask_all(self) -> None:
        self._timer = self._inbox.call_later(self._options.heartbeat_s, self._ask_all)
        now = time.monotonic()
        for member in tuple(self._members()):
            process = member.process
            if process.state is not READY:
                continue
            if process.is_debugging:
                member.pinged_at = 0.0  # whoever is at the prompt may take his time
                continue
            timeout_s = self._options.heartbeat_timeout_s
            if not member.pinged_at:
                member.pinged_at = now
                process.command("ping", view_deadline_s=self._options.view_deadline_s)
            elif timeout_s and now - member.pinged_at >= timeout_s:
                self._end(member)
                continue
            self._weigh(member)

    def _weigh(self, member: Member) -> None:
        limit = self._options.memory_limit_bytes
        if not limit:
            return
        try:
            size = psutil.Process(member.process.pid).memory_info().rss
        except psutil.Error:
            return
        if size >= limit:
            self._on_worn(member, f"holds {size / 1e6:.0f} MB, of {limit / 1e6:.0f} MB allowed (MEMORY_LIMIT)")

    def _end(self, member: Member) -> None:
        """End a process that does not answer; what that leads to its exit does."""
        if member.is_hung:
            return
        member.is_hung = True

        def told(stacks: str) -> None:
            logger.error(
                "%s has not answered for %g s (HEARTBEAT_TIMEOUT) and is ended.%s",
                member.title,
                self._options.heartbeat_timeout_s,
                f" It stands at:\n{stacks.rstrip()}" if stacks else "",
            )
            member.process.kill()

        member.process.ask_stacks(told)

"""Shutdown: from the first wish to stop until nothing runs any more.

    DRAINING ──all answered, deadline, hurry──> STOPPING ──services ended──> ENDED

DRAINING   nothing new is accepted; what was begun is answered
STOPPING   connections are cut, workers ended; Django and the other services end, by force after their deadline
"""

from __future__ import annotations

import enum
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from duck.services.inbox import Inbox
    from duck.services.service import Service

logger = logging.getLogger("duck.app")

# How long services may take to end after the workers have, before they are killed; no longer than the deadline leaves.
SERVICES_S = 5.0
# What a hurried end still gives them: TERM is seen by who listens to it.
HURRIED_SERVICES_S = 0.5


class State(enum.Enum):
    """See the module's diagram."""

    DRAINING = "draining"
    STOPPING = "stopping"
    ENDED = "ended"


class Drained(Protocol):
    """A server, of threads or of processes."""

    def drain(self, deadline_s: float, done: Callable[[], None], *, takes_backlog: bool = False) -> None:
        """Accept nothing more, finish what was begun for at most `deadline_s` seconds, cut the rest, say `done`.

        With `takes_backlog` who waits to be accepted is answered, too.
        """

    def abort(self) -> None:
        """End now."""


class Shutdown:
    """Ends servers, then services; on the inbox's thread.

    Args:
        servers: drained at the same time, by one deadline for requests without an answer; other things may have longer
            ones.
        services: stopped together once the servers have ended, since what is being answered needs them.
        done: called once, at the end.
        longest_s: the longest of these deadlines, where it is not `deadline_s`.
        is_last: nobody takes the listeners over, so that who waits there is answered now or never.
    """

    def __init__(
        self,
        inbox: Inbox,
        servers: Sequence[Drained],
        services: Sequence[Service],
        deadline_s: float,
        done: Callable[[], None],
        *,
        longest_s: float = 0.0,
        is_last: bool = True,
    ) -> None:
        self.state = State.DRAINING
        self._inbox = inbox
        self._servers = list(servers)
        self._services = list(services)
        self._deadline_s = deadline_s
        self._longest_s = max(deadline_s, longest_s)
        self._is_last = is_last
        self._deadline = 0.0
        self._done = done
        self._undrained = set(self._servers)
        self._unended = set(self._services)
        self._hurried = False

    def begin(self) -> None:
        """Drain; the rest follows by itself."""
        self._deadline = time.monotonic() + self._longest_s
        if not self._servers:
            self._stop_services()
            return
        # A worker keeps the deadline itself; this one is for a worker whose loop is stuck.
        self._inbox.call_later(self._longest_s + 1.0, self._stop_services)
        for server in self._servers:
            server.drain(
                self._deadline_s,
                lambda server=server: self._inbox.post(lambda: self._drained(server)),  # type: ignore[misc]
                takes_backlog=self._is_last,
            )

    def hurry(self) -> None:
        """Skip to the deadline."""
        self._hurried = True
        if self.state is State.DRAINING:
            self._stop_services()
        elif self.state is State.STOPPING:
            for service in self._unended:
                service.stop(0.0, lambda: None)

    def _drained(self, server: Drained) -> None:
        self._undrained.discard(server)
        if not self._undrained:
            self._stop_services()

    def _stop_services(self) -> None:
        if self.state is not State.DRAINING:
            return
        self.state = State.STOPPING
        for server in self._servers:
            server.abort()
        if not self._services:
            self._end()
            return
        left_s = max(0.0, self._deadline - time.monotonic())
        deadline_s = HURRIED_SERVICES_S if self._hurried else min(SERVICES_S, left_s)
        self._inbox.call_later(SERVICES_S + 5.0, self._overdue)
        for service in self._services:
            service.stop(deadline_s, lambda service=service: self._inbox.post(lambda: self._ended(service)))  # type: ignore[misc]

    def _ended(self, service: Service) -> None:
        self._unended.discard(service)
        if not self._unended:
            self._end()

    def _overdue(self) -> None:
        if self.state is State.STOPPING:
            names = ", ".join(service.name for service in self._unended)
            logger.error("%s did not end in time; left to the end of this process", names)
            self._end()

    def _end(self) -> None:
        if self.state is not State.ENDED:
            self.state = State.ENDED
            self._done()

"""The requests that an ASGI application has sent nothing for yet, and since when.

    begun ──its body comes──> begun anew ──the first message is sent, or it ends──> forgotten

A WebSocket is one until it is accepted or refused. To know them costs 3 us of the 700 that a small view costs under
ASGI.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Awaitable, Callable, Dict, List, Optional, Set

from .awaits import stack_of_task, stacks_of_threads

_MAX_STACK = 20_000

Message = Dict[str, Any]


class Unanswered:
    """Those of one application, on its loop."""

    def __init__(self) -> None:
        self._calls: Set[Call] = set()

    def begin(
        self,
        scope: Dict[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> Call:
        """A request begins in the present task; its application is to be given `receive` and `send` of what comes."""
        call = Call(self._calls, scope, receive, send)
        self._calls.add(call)
        return call

    def oldest_s(self, now: float) -> float:
        """How old the oldest is, in seconds; 0.0 where there is none."""
        return max((now - call.since for call in self._calls), default=0.0)

    def stuck(self, now: float, deadline_s: float) -> List[Dict[str, Any]]:
        """Those that have been worked on for `deadline_s` seconds; each is told of once."""
        found = [call for call in self._calls if not call.is_told and call.is_stuck(now - deadline_s)]
        told: List[Dict[str, Any]] = []
        for call in found:
            call.is_told = True
            told.append({"request": call.name, "age_s": round(now - call.since, 3), "stack": call.stack()})
        if told:
            # Views that are no coroutines run in threads, and nothing says in which; all are shown, once.
            told[0]["stack"] += stacks_of_threads()[:_MAX_STACK]
        return told


class Call:
    """One request.

    Attributes:
        since: when it began, or more of its body came.
        task: that it runs in.
        is_told: it has been told of as stuck.
    """

    __slots__ = ("_calls", "_is_waiting", "_receive", "_scope", "_send", "_whole", "is_told", "since", "task")

    def __init__(
        self,
        calls: "Set[Call]",
        scope: Dict[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        self._calls = calls
        self._scope = scope
        self._receive = receive
        self._send = send
        self._whole = False  # all of its body has come
        self._is_waiting = False  # for more of it
        self.is_told = False
        self.since = time.monotonic()
        self.task: Optional["asyncio.Task[Any]"] = asyncio.current_task()

    @property
    def name(self) -> str:
        """For people, without the query."""
        return f"{self._scope.get('method', 'WebSocket')} {self._scope['path']}"

    def stack(self) -> str:
        """Where its task stands."""
        try:
            return stack_of_task(self.task)[-_MAX_STACK:] if self.task is not None else ""
        except Exception as error:  # of whatever object the project awaits: that must not keep the answer back
            return f"What it awaits cannot be told: {type(error).__name__}.\n"

    def is_stuck(self, before: float) -> bool:
        """Whether the application has had it since before that moment. What waits for its client is not stuck."""
        return not self._is_waiting and self.since <= before

    def receive(self) -> Awaitable[Message]:
        """For the application."""
        return self._receive() if self._whole else self._receive_body()

    def send(self, message: Message) -> Awaitable[None]:
        """For the application."""
        self._calls.discard(self)
        return self._send(message)

    def end(self) -> None:
        """The application has returned."""
        self._calls.discard(self)

    async def _receive_body(self) -> Message:
        self._is_waiting = True
        try:
            message = await self._receive()
        finally:
            self._is_waiting = False
            self.since = time.monotonic()
        self._whole = message["type"] != "http.request" or not message.get("more_body")
        return message

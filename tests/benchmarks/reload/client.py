"""Clients that ask for the page under edit, on connections that are kept and on new ones, and note every answer."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from tests.benchmarks.reload.edits import number_in
from tests.load.http1 import Answer, Connection, Request, ask, connect
from tests.load.outcome import End, Outcome

DEADLINE_S: Final = 10.0  # of one request
_MAX_IDLE: Final = 64  # kept connections that nobody uses now

_numbers = itertools.count(1)


class Client:
    """Asks, and notes what became of it.

    Attributes:
        asked: how many requests have ended.
        failed: how those ended that were not answered with 200, and the probe's own text.
        seen: the highest number of an edit in an answer, by whether the connection was a kept one.
        stale: answers older than one that had come before they were asked for.
    """

    def __init__(self, port: int, target: str, *, deadline_s: float = DEADLINE_S) -> None:
        self.asked = 0
        self.failed: Counter[str] = Counter()
        self.seen = {True: -1, False: -1}
        self.stale = 0
        self.longest_s = 0.0
        self._port = port
        self._target = target
        self._deadline_s = deadline_s
        self._idle: list[Connection] = []

    @property
    def failures(self) -> int:
        """How many requests failed."""
        return sum(self.failed.values())

    async def ask(self, *, kept: bool) -> tuple[int, float]:
        """One request, on a connection that is kept or on a new one; the number in the answer, -1 without, and when
        it had come.

        A kept connection that the server has closed by then is not used, as no client does; that is no failure.
        """
        expected = max(self.seen.values())
        number = -1

        def check(answer: Answer) -> str:
            nonlocal number
            number = number_in(answer.body)
            return "" if number >= 0 else f"another text: {answer.body[:60]!r}"

        fields = () if kept else (("Connection", "close"),)
        request = Request("GET", self._target, fields, check=check)
        outcome = Outcome(f"bench-{next(_numbers)}", "GET", self._target, time.monotonic())
        connection = await self._kept() if kept else None
        if connection is None:
            connection = await connect(self._port, outcome, self._deadline_s)
        if connection is not None:
            try:
                await ask(connection, request, outcome, self._deadline_s)
            except BaseException:
                await connection.close()
                raise
            if kept and outcome.end is End.OK and not connection.is_over and len(self._idle) < _MAX_IDLE:
                self._idle.append(connection)
            else:
                await connection.close()
        self._note(outcome, number, kept, expected)
        return (number if outcome.end is End.OK else -1), outcome.ended

    async def close(self) -> None:
        """Close what is kept."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()

    async def _kept(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if await connection.is_usable():
                return connection
            await connection.close()
        return None

    def _note(self, outcome: Outcome, number: int, kept: bool, expected: int) -> None:
        self.asked += 1
        self.longest_s = max(self.longest_s, outcome.taken_s)
        if outcome.end is not End.OK:
            self.failed[kind_of(outcome)] += 1
            return
        self.seen[kept] = max(self.seen[kept], number)
        self.stale += number < expected


def kind_of(outcome: Outcome) -> str:
    """How a request failed, for a table: refused, reset, timeout, a status, or wrong."""
    match outcome.end:
        case End.REFUSED:
            return "refused"
        case End.RESET_BEFORE | End.RESET_AFTER | End.CUT:
            return "reset"
        case End.TIMEOUT:
            return "timeout"
        case End.STATUS:
            return f"status {outcome.status}"
    return "wrong"


async def keep_asking(client: Client, is_over: Callable[[], bool], *, every_s: float = 0.01) -> None:
    """Begin a request each `every_s` seconds, whatever has become of the earlier ones: on a kept connection and on a
    new one in turn. Returns when all have ended.
    """
    turn = 0
    next_at = time.monotonic()
    async with asyncio.TaskGroup() as group:
        while not is_over():
            group.create_task(client.ask(kept=turn % 2 == 0))
            turn += 1
            # A client that was held up does not make up for it by a crowd of requests.
            next_at = max(next_at + every_s, time.monotonic())
            await asyncio.sleep(next_at - time.monotonic())

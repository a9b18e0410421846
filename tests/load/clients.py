"""Steady load: clients of many kinds at once, each of which notes what became of every request."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Coroutine

from tests.load import websocket
from tests.load.http1 import Answer, Connection, Request, ask, ask_pipelined, connect
from tests.load.outcome import Outcome

DEADLINE_S = 30.0
_BODY = bytes(range(256)) * 400  # 100 KiB
_SMALL = b"name=value"


class Load:
    """The clients, and what became of their requests.

    Attributes:
        outcomes: of all that has ended.
        echoed: messages of WebSockets that came back.
    """

    def __init__(self, port: int, *, deadline_s: float = DEADLINE_S) -> None:
        self.outcomes: list[Outcome] = []
        self.echoed = 0
        self._port = port
        self._deadline_s = deadline_s
        self._numbers = itertools.count(1)
        self._prefix = f"{os.getpid()}-{time.monotonic_ns() & 0xFFFFFF:x}"
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    # -- start and stop -----------------------------------------------------------------------------------------------

    def start_steady(self, pause: float = 1.0) -> None:
        """One or two clients of each kind; between two requests each of them pauses so many times as long."""
        for _ in range(2):
            self.add(self.keep_asking(lambda: Request("GET", "/pid", check=_has_pid), every_s=0.02 * pause))
            self.add(self.keep_asking(lambda: Request("GET", "/pid", check=_has_pid), every_s=0.03 * pause, kept=False))
            self.add(self.keep_asking(lambda: _post(_SMALL), every_s=0.04 * pause))
            self.add(self.keep_talking(0.1 * pause))
        self.add(self.keep_asking(lambda: _post(_BODY), every_s=0.1 * pause))
        self.add(self.keep_asking(lambda: _post(_BODY, chunked=True), every_s=0.1 * pause, kept=False))
        self.add(self.keep_asking(lambda: Request("GET", "/sleep?s=0.2", check=_has_pid), every_s=0.02 * pause))
        self.add(
            self.keep_asking(lambda: Request("POST", "/sleep?s=0.2", body=b"", check=_has_pid), every_s=0.02 * pause)
        )
        self.add(self.keep_asking(lambda: Request("GET", "/big?mb=1", check=_is_big), every_s=0.2 * pause))
        self.add(
            self.keep_asking(lambda: Request("GET", "/events?n=10&every=0.1", check=_has_events), every_s=0.1 * pause)
        )
        self.add(self.keep_asking(lambda: _post(_SMALL * 200, piece_bytes=256, pause_s=0.25), every_s=0.1 * pause))
        self.add(self.keep_pipelining(3, every_s=0.1 * pause))

    def add(self, client: Coroutine[None, None, None]) -> None:
        """One client more."""
        self._tasks.append(asyncio.get_running_loop().create_task(client, name="client"))

    async def stop(self) -> None:
        """Let each client finish what it has begun."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def abandon(self) -> None:
        """End all clients where they are."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def check(self) -> None:
        """Raise what has ended a client: an error of its own, which would pass for a load without failures."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    # -- clients ------------------------------------------------------------------------------------------------------

    async def keep_asking(
        self, make: Callable[[], Request], *, every_s: float, kept: bool = True, receive_buffer: int = 0
    ) -> None:
        """Ask again and again, on one connection for as long as the server keeps it, or each time on a new one."""
        connection: Connection | None = None
        try:
            while not self._stopping:
                request = make()
                outcome = self._begin(request)
                if connection is not None and not (kept and await connection.is_usable()):
                    await connection.close()
                    connection = None
                if connection is None:
                    connection = await connect(self._port, outcome, self._deadline_s, receive_buffer=receive_buffer)
                if connection is not None:
                    await ask(connection, request, outcome, self._deadline_s)
                self.outcomes.append(outcome)
                await asyncio.sleep(every_s)
        finally:
            if connection is not None:
                await connection.close()

    async def keep_pipelining(self, depth: int, *, every_s: float) -> None:
        """Send so many requests at once, and read their answers in order."""
        connection: Connection | None = None
        try:
            while not self._stopping:
                requests = [Request("GET", "/pid", check=_has_pid) for _ in range(depth)]
                outcomes = [self._begin(request) for request in requests]
                if connection is not None and not await connection.is_usable():
                    await connection.close()
                    connection = None
                if connection is None:
                    connection = await connect(self._port, outcomes[0], self._deadline_s)
                if connection is None:
                    self.outcomes.append(outcomes[0])
                else:
                    taken = await ask_pipelined(connection, requests, outcomes, self._deadline_s)
                    self.outcomes += outcomes[:taken]
                await asyncio.sleep(every_s)
        finally:
            if connection is not None:
                await connection.close()

    async def keep_talking(self, every_s: float = 0.1) -> None:
        """Hold a WebSocket open and have messages echoed; open another one where the server ends it."""
        while not self._stopping:
            request = Request("GET", "/ws")
            outcome = self._begin(request)
            self.echoed += await websocket.talk(
                self._port, request.target, outcome, lambda: self._stopping, every_s=every_s
            )
            self.outcomes.append(outcome)
            await asyncio.sleep(0.05)

    def _begin(self, request: Request) -> Outcome:
        return Outcome(f"{self._prefix}-{next(self._numbers)}", request.method, request.target, time.monotonic())

    # -- what came of it ----------------------------------------------------------------------------------------------

    def pids(self) -> Counter[int]:
        """How many answers each Django process gave."""
        return Counter(outcome.pid for outcome in self.outcomes if outcome.pid)

    def p99_s(self, since: float = 0.0) -> float:
        """What 99 of 100 requests that began after `since` did not exceed."""
        return percentile([outcome.taken_s for outcome in self.outcomes if outcome.began >= since], 0.99)


def percentile(values: list[float], part: float) -> float:
    """The least of `values` that so large a part of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(part * 1000) // 1000) - 1)]


def _has_pid(answer: Answer) -> str:
    said = json.loads(answer.body)
    if str(said["pid"]) != answer.fields.get("x-pid") or said["id"] != answer.fields.get("x-load-id"):
        return f"head and body are of two answers: {answer.fields}, {said}"
    return ""


def _post(body: bytes, *, chunked: bool = False, piece_bytes: int = 65_536, pause_s: float = 0.0) -> Request:
    def check(answer: Answer) -> str:
        said = json.loads(answer.body)
        if said["length"] != len(body) or said["sha1"] != hashlib.sha1(body).hexdigest():
            return f"a body of {said['length']} bytes arrived, not the {len(body)} that were sent"
        return _has_pid(answer)

    return Request("POST", "/echo", body=body, chunked=chunked, piece_bytes=piece_bytes, pause_s=pause_s, check=check)


def _is_big(answer: Answer) -> str:
    whole = len(answer.body) == 1 << 20 and answer.body.count(b"0123456789abcdef") == (1 << 20) // 16
    return "" if whole else f"{len(answer.body)} bytes of a mebibyte, or others"


def _has_events(answer: Answer) -> str:
    numbers = [line.split()[1] for line in answer.body.decode().split("\n") if line]
    return "" if numbers == [str(number) for number in range(10)] else f"the events {numbers}"

"""Reloads under load: which requests fail, and what is left behind."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.benchmarks.reload.client import Client, keep_asking
from tests.benchmarks.reload.edits import TARGETS, VIEW
from tests.benchmarks.reload.waiting import ANSWER_S, QUIET_PART, QUIET_S, answered
from tests.benchmarks.servers import cpu_seconds

if TYPE_CHECKING:
    from tests.benchmarks.reload.peers import Census, Running

EVERY_S: Final = 0.01
PAUSE_S: Final = (0.3, 0.8)  # between a new answer and the next save
SETTLE_S: Final = 30.0
REST_S: Final = 1.0


@dataclass(frozen=True)
class Loaded:
    """What came of the reloads.

    Attributes:
        reloads: edits whose answer came.
        missed: edits whose answer did not come within ANSWER_S.
        failed: how requests failed, and how many.
        stale: answers of older code than an answer that had come before.
        longest_s: what the longest request took.
        before, after: what the server had, at rest.
    """

    reloads: int
    missed: int
    asked: int
    failed: dict[str, int]
    stale: int
    longest_s: float
    before: Census
    after: Census

    @property
    def failures(self) -> int:
        """How many requests failed."""
        return sum(self.failed.values())


async def settled(running: Running, wanted: Census | None = None) -> Census:
    """What a server has once that stays the same while it does nothing, for REST_S, with nothing put off; or once it is
    no more than `wanted`. Within SETTLE_S.
    """
    end = time.monotonic() + SETTLE_S
    last: Census | None = None
    since = used = 0.0
    while True:
        now = time.monotonic()
        census = await asyncio.to_thread(running.census)
        before, used = used, cpu_seconds(running.family())
        if census != last or used - before > QUIET_PART * QUIET_S:
            last, since = census, now
        is_over = now - since >= REST_S and await asyncio.to_thread(running.peer.is_prepared, running.place)
        if (census.is_within(wanted) if wanted is not None else is_over) or now > end:
            return census
        await asyncio.sleep(QUIET_S)


async def reload_under_load(
    running: Running, reloads: int, *, warm_up: int = 3, say: Callable[[str], None] = lambda sentence: None
) -> Loaded:
    """Save a view so many times while a client asks for its page each 10 ms, on kept and on new connections in turn.

    `warm_up` reloads go before, under the same load: what is opened once, pools and caches, is there to be counted.

    Raises:
        Failed: the server has ended, or did not answer before.
    """
    await _reload(running, warm_up)
    before = await settled(running)
    client, came = await _reload(running, reloads, say)
    after = await settled(running, before)
    return Loaded(
        came, reloads - came, client.asked, dict(client.failed), client.stale, client.longest_s, before, after
    )


async def _reload(
    running: Running, reloads: int, say: Callable[[str], None] = lambda sentence: None
) -> tuple[Client, int]:
    """The client, and how many edits were seen."""
    client = Client(running.port, TARGETS[VIEW])
    await answered(running, client)
    client.failed.clear()
    is_over = asyncio.Event()
    load = asyncio.create_task(keep_asking(client, is_over.is_set, every_s=EVERY_S), name="load")
    chance = random.Random(1)
    came = 0
    try:
        for turn in range(reloads):
            await asyncio.sleep(chance.uniform(*PAUSE_S))
            save = running.editor.change(VIEW)
            save.write()
            end = time.monotonic() + ANSWER_S
            while min(client.seen.values()) < save.number and time.monotonic() < end:
                running.check()
                if load.done():
                    load.result()
                await asyncio.sleep(EVERY_S)
            came += min(client.seen.values()) >= save.number
            if turn % 20 == 19:
                say(f"under load: {running.name}, {turn + 1} reloads, {client.failures} of {client.asked} failed")
        await asyncio.sleep(PAUSE_S[1])
    finally:
        is_over.set()
        await load
        await client.close()
    return client, came

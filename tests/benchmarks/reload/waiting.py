"""How long after a save its answer comes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.benchmarks.reload.client import Client
from tests.benchmarks.reload.edits import TARGETS
from tests.benchmarks.servers import Failed, cpu_seconds

if TYPE_CHECKING:
    from tests.benchmarks.reload.browser import Browser
    from tests.benchmarks.reload.peers import Running

ANSWER_S: Final = 15.0  # after which an edit has been missed
KEPT_EVERY_S: Final = 0.01
NEW_EVERY_S: Final = 0.02
QUIET_S: Final = 0.2
QUIET_PART: Final = 0.1  # of a core
QUIET_WITHIN_S: Final = 3.0


@dataclass(frozen=True)
class Edit:
    """What came of one edit.

    Attributes:
        took_s: from the save to the first answer of the new code; None where none came within ANSWER_S.
        told_s: from the save to the message that has a browser load the page again; None without a browser.
        cpu_s: processor time of all its processes from the save to that answer.
        failed: requests that failed meanwhile.
    """

    took_s: float | None
    told_s: float | None
    cpu_s: float
    failed: int
    in_place: bool


async def quiet(running: Running) -> None:
    """Until the server does nothing much: what an earlier edit has begun, spares and caches, is done then."""
    end = time.monotonic() + QUIET_WITHIN_S
    while time.monotonic() < end:
        before = cpu_seconds(running.family())
        await asyncio.sleep(QUIET_S)
        if cpu_seconds(running.family()) - before < QUIET_PART * QUIET_S:
            return


async def answered(running: Running, client: Client) -> None:
    """Until an answer has come on a kept connection: some reload once more when they have just come up.

    Raises:
        Failed: none came within ANSWER_S.
    """
    end = time.monotonic() + ANSWER_S
    while (await client.ask(kept=True))[0] < 0:
        running.check()
        if time.monotonic() > end:
            raise Failed(f"{running.name} does not answer: {dict(client.failed)}\n{running.server.output()}")
        await asyncio.sleep(NEW_EVERY_S)


async def edit(running: Running, kind: str, browser: Browser | None = None) -> Edit:
    """Save a file, and ask until the answer is of the new code.

    Two clients ask, each when its answer before has come: one on a connection that it keeps as long as the server does,
    each 10 ms, one on a new connection each time, each 20 ms. The first new answer that either gets counts, so none is
    lost to a connection that a dying process holds. The moment of the save is the one before the call that does it.

    Raises:
        Failed: the server does not answer before the edit, or has ended.
    """
    client = Client(running.port, TARGETS[kind])
    try:
        await quiet(running)
        await answered(running, client)  # the kept connection is open from here
        client.failed.clear()
        save = running.editor.change(kind)
        told = asyncio.ensure_future(browser.told(ANSWER_S)) if browser is not None else None
        used = cpu_seconds(running.family())
        began = time.monotonic()
        save.write()
        end = began + ANSWER_S
        came = [came for came in await _both(client, save.number, end) if came is not None]
        used = cpu_seconds(running.family()) - used
        told_at = await told if told is not None else None
        running.check()
    finally:
        await client.close()
    return Edit(
        min(came) - began if came else None,
        told_at - began if told_at is not None else None,
        used,
        client.failures,
        save.in_place,
    )


async def _both(client: Client, number: int, end: float) -> list[float | None]:
    async with asyncio.TaskGroup() as group:
        polls = [
            group.create_task(_poll(client, number, end, kept=kept, every_s=every_s))
            for kept, every_s in ((True, KEPT_EVERY_S), (False, NEW_EVERY_S))
        ]
    return [poll.result() for poll in polls]


async def _poll(client: Client, number: int, end: float, *, kept: bool, every_s: float) -> float | None:
    """When the answer to one of these requests was of the edit `number`; None where none was until `end`."""
    while (began := time.monotonic()) < end:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(end - time.monotonic() + asyncio.get_running_loop().time()):
                seen, at = await client.ask(kept=kept)
                if seen >= number:
                    return at
        await asyncio.sleep(max(0.0, began + every_s - time.monotonic()))
    return None

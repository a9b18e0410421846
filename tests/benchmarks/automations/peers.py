"""Other schedulers, each set up as its own documentation says, with a job each second.

Celery beat plans from the moment at which it sent the time before, so that is where its next time is counted from: its
drift does not count. What carries a job out differs, and is named in the table.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.benchmarks.servers import Missing

_APSCHEDULER: Final = """\
import time

from apscheduler.executors.pool import ProcessPoolExecutor, ThreadPoolExecutor
from apscheduler.schedulers.blocking import BlockingScheduler

from marks import mark


def job(how):
    mark(how, float(int(time.time())))


if __name__ == "__main__":
    executors = {"thread": ThreadPoolExecutor(10), "process": ProcessPoolExecutor(2)}
    scheduler = BlockingScheduler(executors=executors, timezone="UTC")
    for how in executors:
        scheduler.add_job(job, "cron", second="*", args=[how], executor=how, misfire_grace_time=30)
    scheduler.start()
"""

_CELERY: Final = """\
import os
import time

from celery import Celery
from celery.signals import before_task_publish

from marks import mark

app = Celery("peer", broker=os.environ["BENCH_BROKER"])
app.conf.task_ignore_result = True
app.conf.beat_schedule = {"tick": {"task": "peer.tick", "schedule": 1.0}}
sent = []


@before_task_publish.connect
def about_to_send(headers, **kwargs):
    headers["bench_before"] = sent[-1] if sent else 0.0
    sent[:] = [time.time()]


@app.task(bind=True, name="peer.tick")
def tick(self):
    before = self.request.get("bench_before")
    if before:
        mark("prefork", before + 1.0)
"""

_PROCRASTINATE: Final = """\
import asyncio
import os

import procrastinate

from marks import mark

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=os.environ["BENCH_DATABASE"]))


@app.periodic(cron="* * * * * */1")
@app.task
async def tick(timestamp):
    mark("loop", float(timestamp))


async def main():
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await app.run_worker_async(concurrency=10, install_signal_handlers=False)


asyncio.run(main())
"""


@dataclass(frozen=True)
class Peer:
    """One of them.

    Attributes:
        hows: what carries its jobs out; the names of its marks.
        files: of its directory.
        commands: what is started, the last one the worker.
        distributions: whose versions are written down.
        prepare: starts what it needs and says the environment; may raise Missing.
    """

    name: str
    hows: Sequence[str]
    files: Mapping[str, str]
    commands: Sequence[list[str]]
    distributions: Sequence[str]
    prepare: Callable[[Path, contextlib.ExitStack], dict[str, str]] = lambda place, ends: {}


def _redis(place: Path, ends: contextlib.ExitStack) -> dict[str, str]:
    from tests.redis_server import RedisServer

    _need("redis-server")
    server = RedisServer.start()
    ends.callback(server.stop)
    return {"BENCH_BROKER": server.url}


def _postgres(place: Path, ends: contextlib.ExitStack) -> dict[str, str]:
    from tests.postgres import Postgres

    _need("postgres")
    server = Postgres.start(durable=True)
    ends.callback(server.stop)
    return {"BENCH_DATABASE": server.url(server.make_database())}


def _need(program: str) -> None:
    from tests.programs import find_program

    if find_program(program) is None:
        raise Missing(f"{program} is not on this machine")


_CELERY_COMMAND: Final = [sys.executable, "-m", "celery", "-A", "peer"]

PEERS: Final = {
    peer.name: peer
    for peer in (
        Peer(
            "APScheduler",
            ("thread", "process"),
            {"peer.py": _APSCHEDULER},
            ([sys.executable, "peer.py"],),
            ("apscheduler",),
        ),
        Peer(
            "Celery beat",
            ("prefork",),
            {"peer.py": _CELERY},
            (
                [*_CELERY_COMMAND, "beat", "--schedule", "beat"],
                [*_CELERY_COMMAND, "worker", "--concurrency", "2", "--without-gossip", "--without-mingle"],
            ),
            ("celery", "redis"),
            _redis,
        ),
        Peer(
            "procrastinate",
            ("loop",),
            {"peer.py": _PROCRASTINATE},
            ([sys.executable, "peer.py"],),
            ("procrastinate", "psycopg"),
            _postgres,
        ),
    )
}

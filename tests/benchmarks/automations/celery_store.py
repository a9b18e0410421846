"""A PostgreSQL with claims, and Celery over Redis that carries runs out: its workers and its broker fail as well."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.benchmarks.automations.stores import DjangoStore, PostgresStore, SqliteStore
from tests.benchmarks.servers import Missing
from tests.programs import find_program

if TYPE_CHECKING:
    from tests.redis_server import RedisServer

WORKERS: Final = 2
_CELERY: Final = """
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site1.settings")
app = Celery("site1", broker=os.environ["BENCH_BROKER"])
app.conf.task_ignore_result = True
app.conf.worker_hijack_root_logger = False
app.conf.broker_connection_retry_on_startup = True
"""


class CeleryStore(DjangoStore):
    """What befalls it besides: `worker`, one is killed with its processes; `broker`, it is away and forgets all."""

    name = "celery"
    faults = (*DjangoStore.faults, "worker", "broker")
    settles = ("queued", "running")

    def __init__(self, directory: Path, nodes: int) -> None:
        if find_program("redis-server") is None:
            raise Missing("Redis is not on this machine (apt-get install redis-server)")
        super().__init__(directory, nodes)
        self._directory = directory
        self._numbers = itertools.count(1)
        assert self.root is not None
        (self.root / "site1" / "celery.py").write_text(_CELERY)
        self._redis = self._start_redis()
        self.toml = 'automation_engine = "celery"\n'
        self._workers = [self._start_worker() for _ in range(WORKERS)]

    def environment(self, node: int) -> dict[str, str]:
        """See `Store`."""
        return {**super().environment(node), "BENCH_BROKER": self._redis.url}

    def befall(self, fault: str, node: int) -> None:
        """See `Store`."""
        if fault == "worker":
            self._kill(self._workers.pop(0))
        elif fault == "broker":
            self._redis.suspend()
        else:
            super().befall(fault, node)

    def mend(self, fault: str, node: int) -> None:
        """See `Store`."""
        if fault == "worker":
            self._workers.append(self._start_worker())
        elif fault == "broker":
            self._redis.resume()
        else:
            super().mend(fault, node)

    def close(self) -> None:
        """See `Store`."""
        for worker in self._workers:
            self._kill(worker)
        self._redis.stop()
        super().close()

    @staticmethod
    def _start_redis() -> RedisServer:
        from tests.redis_server import RedisServer

        return RedisServer.start()

    def _start_worker(self) -> subprocess.Popen[bytes]:
        number = next(self._numbers)
        command = [sys.executable, "-m", "celery", "-A", "site1", "worker", "-c", "2", "-l", "info"]
        command += ["-n", f"w{number}@bench", "--without-gossip", "--without-mingle"]
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("DUCK_", "DJANGO"))}
        environ |= {"BENCH_BROKER": self._redis.url}
        with (self._directory / f"worker-{number}.log").open("wb") as log:
            return subprocess.Popen(
                command,
                cwd=self.root,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @staticmethod
    def _kill(worker: subprocess.Popen[bytes]) -> None:
        try:
            os.killpg(worker.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        worker.wait()


STORES: Final[dict[str, type[SqliteStore] | type[PostgresStore]]] = {
    store.name: store for store in (SqliteStore, PostgresStore, DjangoStore, CeleryStore)
}

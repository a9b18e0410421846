"""A Django project with Celery, its worker, and nodes of Duck that have it carry automations out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from duck.backend.django.celery_jobs import CeleryJobs
from duck.backend.django.discover import find_interpreter, find_project
from duck.backend.django.job_project import JobProject
from duck.services.automations.declaration import Declaration, read_declaration
from duck.services.automations.dispatcher import Dispatcher
from duck.services.automations.due import Due
from duck.services.automations.engines.celery import CeleryEngine
from duck.services.automations.run import Cause, Run, State
from duck.services.inbox import Inbox
from tests.automation_project import database_of, link_to, migrate, write_project
from tests.waiting import serve_until

if TYPE_CHECKING:
    from tests.postgres import Postgres
    from tests.redis_server import RedisServer

DEADLINE_S = 60.0
SILENT_S = 6.0
AGAIN_S = 3.0

CELERY = """
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site1.settings")
app = Celery("site1", broker={broker!r})
app.conf.task_ignore_result = True
app.conf.worker_hijack_root_logger = False
app.conf.broker_connection_retry_on_startup = True
app.conf.task_default_queue = "duck-test"
app.autodiscover_tasks(["site1"])
"""

TASKS = '''
import os, sys, time

from celery import shared_task


def note(text):
    """A line in a file that the test reads."""
    descriptor = os.open(os.environ["NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{text}\\n".encode())
    os.close(descriptor)


@shared_task
def nightly(days=1):
    note(f"nightly {days}")
    print("nightly ran")


@shared_task(bind=True, max_retries=3)
def again(self):
    note(f"again {self.request.retries} {self.request.id}")
    if self.request.retries < 1:
        raise self.retry(countdown=0.1)


@shared_task(autoretry_for=(KeyError,), retry_backoff=False, default_retry_delay=0.1, max_retries=2)
def stubborn():
    note("stubborn")
    raise KeyError("quack")


def said(ctx):
    note(f"{ctx.name} {ctx.attempt} {ctx.key}")
    print("it said", ctx.name)
    ctx.log.info("and logged")


def fails(ctx):
    print("about to fail")
    raise ValueError("no ducks")


def hangs(ctx):
    note(f"hangs {os.getpid()}")
    print("hanging")
    time.sleep(120)


def deaf(ctx):
    note(f"deaf {os.getpid()}")
    while True:
        try:
            time.sleep(60)
        except Exception:
            pass


def slow(ctx):
    note(f"slow {ctx.attempt} {os.getpid()}")
    print("slow has begun")
    until = os.environ["NOTES"] + ".go"
    while not os.path.exists(until):
        time.sleep(0.05)


async def quick(ctx):
    note("quick")
'''


class CelerySite:
    """The project, with its servers."""

    def __init__(self, directory: Path, postgres: Postgres, redis: RedisServer) -> None:
        self.redis = redis
        self.notes = directory / "notes"
        self._database = postgres.make_database()
        self.url = postgres.url(self._database)
        self.root = write_project(directory, database=database_of(postgres, self._database))
        (self.root / "site1" / "celery.py").write_text(CELERY.format(broker=redis.url))
        (self.root / "site1" / "tasks.py").write_text(TASKS)
        migrate(self.root)
        self._count = 0
        self.workers: list[subprocess.Popen[bytes]] = []

    @property
    def environ(self) -> dict[str, str]:
        """Of what is started there."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DUCK_", "DJANGO"))}
        return {**kept, "NOTES": str(self.notes), "PYTHONUNBUFFERED": "1"}

    def start_worker(self, *options: str, app: str = "site1") -> subprocess.Popen[bytes]:
        """A Celery worker, which leads a process group of its own."""
        self._count += 1
        command = [sys.executable, "-m", "celery", "-A", app, "worker", "-l", "info", "-n", f"w{self._count}@test"]
        command += ["--without-gossip", "--without-mingle", *(options or ("-c", "2"))]
        with (self.root / f"worker-{self._count}.log").open("wb") as log:
            worker = subprocess.Popen(
                command,
                cwd=self.root,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.workers.append(worker)
        return worker

    def log(self) -> str:
        """What workers have said."""
        return "\n".join(path.read_text() for path in sorted(self.root.glob("worker-*.log")))

    def noted(self, word: str) -> list[str]:
        """Lines of jobs that begin so."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [line for line in lines if line.split(" ")[0] == word]

    def let_go(self) -> None:
        """What waits for the test goes on."""
        Path(f"{self.notes}.go").touch()

    def forget(self) -> None:
        """What the test before has left."""
        for path in (self.notes, Path(f"{self.notes}.go")):
            path.unlink(missing_ok=True)

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """End a worker and all of its processes at once."""
        try:
            os.killpg(worker.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        worker.wait()

    def close(self) -> None:
        """End what was started."""
        for worker in self.workers:
            self.kill(worker)


class CeleryNode:
    """One node, served by the test."""

    def __init__(self, site: CelerySite, name: str, *, app: str = "", silent_s: float = SILENT_S) -> None:
        self.site = site
        self.inbox = Inbox()
        self.said: list[str] = []
        self.failures: list[tuple[str, str]] = []
        self.is_ready = False
        self.engine = CeleryEngine(link_to(site.root))
        environ = {key: value for key, value in site.environ.items()}
        os.environ["NOTES"] = environ["NOTES"]
        of = JobProject(
            find_project(site.root, None),
            find_interpreter(find_project(site.root, None), sys.executable, environ),
            None,
            self.inbox,
            on_failed=lambda message, traceback: self.failures.append((message, traceback)),
            on_output=self.said.append,
            on_declared=self._declared,
        )
        self.jobs = CeleryJobs(of, app=app, base="http://127.0.0.1:9", silent_s=silent_s, again_s=AGAIN_S)
        self.dispatcher = Dispatcher(self.inbox, self.engine, self.jobs, name)
        self._declarations: dict[str, Declaration] = {}

    def _declared(self, told: dict[str, Any]) -> None:
        self.is_ready = True

    def begin(self, **tables: Mapping[str, Any]) -> None:
        """Dispatch these, when the process that speaks to Celery is ready."""
        self.jobs.begin()
        self.serve(lambda: self.is_ready)
        self._declarations = {
            name: read_declaration(name, table, "test", ZoneInfo("UTC")) for name, table in tables.items()
        }
        self.dispatcher.declare(list(self._declarations.values()))
        self.dispatcher.start()

    def serve(self, until: Callable[[], object], within_s: float = DEADLINE_S) -> None:
        """Until something is true."""
        serve_until(
            self.inbox,
            until,
            within_s,
            lambda: f"{self.failures} {self.said}\n{self.runs()}\n{self.site.log()[-4000:]}",
        )

    def enqueue(self, name: str) -> int:
        """A run by hand; its number."""
        declaration = self._declarations[name]
        run = self.engine.enqueue(declaration, self.engine.now(), Cause.HAND)
        self.dispatcher.wake()
        return run.id

    def claim(self, name: str, count: int) -> list[Run]:
        """So many planned times of one, all due now."""
        now = self.engine.now()
        dues = [(self._declarations[name], Due(now + timedelta(microseconds=number), True)) for number in range(count)]
        won = self.engine.claim(dues)
        self.dispatcher.wake()
        return won

    def run(self, name: str) -> Run:
        """Run one, and wait for its end."""
        return self.end_of(self.enqueue(name))

    def end_of(self, run_id: int, within_s: float = DEADLINE_S) -> Run:
        """A run when it is over."""
        found: list[Run] = []

        def is_over() -> bool:
            run = self.engine.run(run_id)
            if run is not None and run.state.is_over:
                found.append(run)
            return bool(found)

        self.serve(is_over, within_s)
        return found[0]

    def state_of(self, run_id: int) -> State:
        """How a run stands."""
        run = self.engine.run(run_id)
        assert run is not None
        return run.state

    def runs(self) -> list[Run]:
        """The latest."""
        return self.engine.runs(limit=20)

    def vanish(self) -> None:
        """End as by SIGKILL: nothing is said to anybody."""
        self.jobs.kill()
        while self.jobs.pids:
            self.inbox.run_once(0.5)
        self.engine.close()
        self.inbox.close()

    def stop(self) -> None:
        """End in order."""
        done: list[int] = []
        self.dispatcher.stop(5.0, lambda: done.append(1))
        self.serve(lambda: done)
        self.inbox.close()

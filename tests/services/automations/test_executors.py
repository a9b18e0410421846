"""Shell commands and requests, as automations run them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import psutil
import pytest

from duck.services.automations.declaration import Declaration, read_declaration
from duck.services.automations.engines.local import LocalEngine
from duck.services.automations.executors.by_kind import ByKind
from duck.services.automations.executors.shell import ShellCommands
from duck.services.automations.executors.url import Requests
from duck.services.automations.run import Cause, Run, State
from duck.services.inbox import Inbox
from tests.alive import is_alive
from tests.services.automations.test_alerts import dripping
from tests.waiting import serve_until, wait_until

if TYPE_CHECKING:
    from duck.services.automations.engine import Ended


ROOT = Path(__file__).resolve().parents[3]


class Works:
    def __init__(self, root: Path, base: str | None = None, most_bytes: int | None = None) -> None:
        self.inbox = Inbox()
        self.shell = ShellCommands(self.inbox, root, 2, most_bytes)
        self.requests = Requests(self.inbox, 2, base)
        self.executor = ByKind({"shell": self.shell, "url": self.requests})
        self.number = 0

    def begin(self, event: str = "", **table: Any) -> tuple[Run, list[Ended]]:
        self.number += 1
        planned = datetime(2026, 5, 1, 0, 30, tzinfo=UTC)
        run = Run(self.number, "job", "r", planned, Cause.SCHEDULE, State.RUNNING, attempt=2, missed=3, event=event)
        ended: list[Ended] = []
        self.executor.start(run, declared(**table), ended.append)
        return run, ended

    def run(self, **table: Any) -> Ended:
        _, ended = self.begin(**table)
        self.serve(lambda: ended)
        assert len(ended) == 1
        return ended[0]

    def serve(self, until: Callable[[], object]) -> None:
        serve_until(self.inbox, until)


def declared(**table: Any) -> Declaration:
    return read_declaration("job", table, "duck.toml", ZoneInfo("UTC"))


@pytest.fixture
def works(tmp_path: Path) -> Iterator[Works]:
    made = Works(tmp_path)
    yield made
    made.executor.kill()
    made.inbox.close()


class TestShell:
    def test_it_is_told_of_its_run(self, works: Works, tmp_path: Path) -> None:
        (tmp_path / "jobs").mkdir()
        ended = works.run(
            shell="echo $DUCK_SCHEDULED_FOR $DUCK_ATTEMPT $DUCK_MISSED $DUCK_KEY $A; pwd", cwd="jobs", env={"A": "1"}
        )
        assert (ended.state, ended.code) == (State.SUCCEEDED, 0)
        assert ended.output.splitlines() == [
            "2026-05-01T00:30:00Z 2 3 job:2026-05-01T00:30:00Z 1",
            os.path.realpath(tmp_path / "jobs"),
        ]

    def test_it_is_told_what_has_happened_where_that_is_not_too_long(self, works: Works) -> None:
        tells = 'echo "event $DUCK_EVENT"'
        assert works.run(shell=tells, event='{"path": "a b"}').output == 'event {"path": "a b"}\n'
        assert works.run(shell=tells, event="x" * 200_000).output == works.run(shell=tells).output == "event \n"

    def test_an_exit_code_is_told(self, works: Works) -> None:
        ended = works.run(shell="echo no >&2; exit 3")
        assert (ended.state, ended.reason, ended.code, ended.output) == (State.FAILED, "exit code 3", 3, "no\n")

    def test_a_signal_is_told(self, works: Works) -> None:
        assert works.run(shell="kill -9 $$").reason == "it was ended by SIGKILL"

    def test_a_directory_that_is_not_there_is_told(self, works: Works, tmp_path: Path) -> None:
        ended = works.run(shell="true", cwd="nowhere")
        assert ended.state == State.FAILED
        assert ended.reason == f"it cannot be started in {tmp_path / 'nowhere'}: No such file or directory"

    def test_one_that_hears_nothing_is_ended_with_its_children(self, works: Works) -> None:
        run, ended = works.begin(shell="trap '' TERM; sleep 60 & sleep 60; sleep 60", timeout=1, grace=0.2)
        process = psutil.Process(works.shell._commands[run.id].process.pid)
        works.serve(lambda: process.children())
        children = process.children(recursive=True)
        works.serve(lambda: ended)
        assert (ended[0].state, ended[0].reason, ended[0].code) == (State.TIMED_OUT, "not ended within 1 s", -9)
        works.serve(lambda: not any(is_alive(child.pid) for child in children))

    def test_one_is_cancelled(self, works: Works) -> None:
        run, ended = works.begin(shell="sleep 60")
        assert works.executor.room()["shell"] == 1
        works.executor.cancel(run.id)
        works.serve(lambda: ended)
        assert ended[0].state == State.CANCELLED
        assert works.executor.room()["shell"] == 2

    def test_of_a_flood_the_end_is_kept(self, works: Works) -> None:
        ended = works.run(shell="seq 300000")
        assert ended.output.startswith("[...]\n") and ended.output.endswith("300000\n") and len(ended.output) < 17_000

    def test_what_a_command_leaves_behind_ends_with_it(self, works: Works) -> None:
        ended = works.run(shell="sleep 61 >/dev/null 2>&1 & echo $!")
        wait_until(lambda: not is_alive(int(ended.output)))

    def test_what_begins_a_session_of_its_own_is_left_at_an_end_and_ended_by_force(
        self, works: Works, tmp_path: Path
    ) -> None:
        leaves = "setsid sh -c 'echo $$ > {0}.part; mv {0}.part {0}; exec sleep 60' >/dev/null 2>&1 &"
        comes = " while [ ! -e {0} ]; do sleep 0.01; done"
        ended = works.run(shell=(leaves + comes).format("first"))
        left = int((tmp_path / "first").read_text())
        assert ended.state is State.SUCCEEDED and is_alive(left)
        os.kill(left, signal.SIGKILL)
        waits = "trap '' TERM; " + leaves + " while :; do sleep 1; done"
        run, by_force = works.begin(shell=waits.format("second"), grace=0.2)
        works.serve(lambda: (tmp_path / "second").exists())
        works.executor.cancel(run.id)
        works.serve(lambda: by_force)
        assert (by_force[0].state, by_force[0].code) == (State.CANCELLED, -9)
        works.serve(lambda: not is_alive(int((tmp_path / "second").read_text())))

    def test_one_that_holds_too_much_with_what_it_has_started_is_ended(self, tmp_path: Path) -> None:
        works = Works(tmp_path, most_bytes=200_000_000)
        assert works.run(shell=f"{sys.executable} -c 'kept = bytes(20_000_000)'").state is State.SUCCEEDED
        program = "kept = []\nwhile True: kept.append(b'x' * 20_000_000); __import__('time').sleep(0.05)"
        (tmp_path / "leaks.py").write_text(program)
        ended = works.run(shell=f"{sys.executable} leaks.py; true")
        assert (ended.state, ended.code) == (State.FAILED, -9)
        assert re.fullmatch(r"its processes held \d+ MB, of 200 MB allowed \(AUTOMATION_MEMORY\)", ended.reason)
        works.inbox.close()

    def test_one_ends_with_the_process_that_has_it_run_however_that_ends(self, tmp_path: Path) -> None:
        """By the kernel alone, as for a node that is killed."""
        program = (
            "import os, signal, sys; sys.path.insert(0, sys.argv[1])\n"
            "from tests.services.automations.test_executors import Works, Path, declared\n"
            "works = Works(Path('.')); run, _ = works.begin(shell='sleep 62 & echo $! $$ > pids; wait')\n"
            "works.serve(lambda: os.path.exists('pids') and open('pids').read().endswith('\\n'))\n"
            "os.kill(os.getpid(), signal.SIGKILL)"
        )
        done = subprocess.run([sys.executable, "-c", program, str(ROOT)], cwd=tmp_path, timeout=60)
        assert done.returncode == -9
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        wait_until(lambda: not any(map(is_alive, pids)))


class _Site(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/slow":
            time.sleep(2)
        self.send_response(200 if self.path != "/broken" else 503)
        self.end_headers()
        while self.path == "/drip":
            self.wfile.write(b".")  # ends with the connection
            time.sleep(0.05)
        told = [self.headers["Idempotency-Key"], self.headers["Duck-Scheduled-For"], self.headers["X-A"], body.decode()]
        self.wfile.write("|".join(map(str, told)).encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class TestUrl:
    def test_it_is_asked_with_what_the_run_is(self, works: Works, site: str) -> None:
        ended = works.run(url=f"{site}/hook", method="POST", headers={"X-A": "1"}, body="hello")
        assert (ended.state, ended.code) == (State.SUCCEEDED, 200)
        assert ended.output == "job:2026-05-01T00:30:00Z|2026-05-01T00:30:00Z|1|hello"

    def test_an_answer_that_is_none_of_success_is_a_failure(self, works: Works, site: str) -> None:
        ended = works.run(url=f"{site}/broken", method="POST")
        assert (ended.state, ended.reason, ended.code) == (State.FAILED, "answered 503", 503)

    def test_one_that_does_not_answer_is_given_up(self, works: Works, site: str) -> None:
        ended = works.run(url=f"{site}/slow", method="POST", timeout=0.2)
        assert (ended.state, ended.reason) == (State.TIMED_OUT, "no answer within 0.2 s")

    def test_one_that_answers_bit_by_bit_is_given_up_as_well(self, works: Works, site: str) -> None:
        ended = works.run(url=f"{site}/drip", method="POST", timeout=1.0)
        assert (ended.state, ended.reason) == (State.TIMED_OUT, "no answer within 1 s")

    def test_its_thread_ends_with_it_though_the_head_of_the_answer_never_does(self, works: Works) -> None:
        with dripping() as url:
            assert works.run(url=url, timeout=0.2).state is State.TIMED_OUT
            run, ended = works.begin(url=f"{url}again")
            works.executor.cancel(run.id)
            assert ended[0].state is State.CANCELLED
        for thread in threading.enumerate():
            if thread.name == "duck-url":
                thread.join(20)
                assert not thread.is_alive()

    def test_what_an_attempt_before_is_told_says_nothing_of_the_next(self, works: Works, site: str) -> None:
        run, ended = works.begin(url=f"{site}/hook", method="POST")
        thread = next(each for each in threading.enumerate() if each.name == "duck-url")
        works.executor.cancel(run.id)
        again: list[Ended] = []
        works.executor.start(run, declared(url=f"{site}/broken", method="POST"), again.append)
        thread.join(20)
        works.serve(lambda: again)
        assert [ended[0].state, again[0].reason] == [State.CANCELLED, "answered 503"]

    def test_what_cannot_be_sent_is_told(self, works: Works, site: str) -> None:
        ended = works.run(url=f"{site}/hook", method="POST", headers={"X-A": "\u20ac"})
        assert ended.state == State.FAILED and "cannot be asked" in ended.reason

    def test_nobody_there_is_told(self, works: Works) -> None:
        ended = works.run(url="http://127.0.0.1:1/")
        assert ended.state == State.FAILED and ended.reason.startswith("http://127.0.0.1:1/ cannot be asked: ")

    def test_a_path_is_of_the_project_where_there_is_one(self, works: Works, tmp_path: Path, site: str) -> None:
        assert "nobody serves here" in works.run(url="/hook", method="POST").reason
        other = Works(tmp_path, base=site)
        assert other.run(url="/hook", method="POST").state == State.SUCCEEDED
        other.inbox.close()


def test_all_end_at_a_stop_and_what_nobody_can_run_fails(works: Works) -> None:
    assert works.run(command="check").reason == "there is no Django project here for command"
    _, ended = works.begin(shell="sleep 60")
    done: list[int] = []
    works.executor.stop(0.1, lambda: done.append(1))
    works.serve(lambda: done)
    assert ended[0].state == State.CANCELLED


class Busy:
    """An executor of job processes that has no room."""

    def room(self) -> Mapping[str, int]:
        return {"process": 0, "thread": 0, "loop": 0}

    def start(self, run: Run, declaration: Declaration, ended: Callable[[Ended], None]) -> None:
        raise AssertionError("it has no room")

    def cancel(self, run_id: int) -> None: ...

    def stop(self, deadline_s: float, done: Callable[[], None]) -> None: ...

    def kill(self) -> None: ...


def test_shell_commands_and_urls_do_not_wait_for_job_processes(tmp_path: Path) -> None:
    works = Works(tmp_path)
    executor = ByKind({"command": Busy(), "shell": works.shell, "url": works.requests})
    engine = LocalEngine(tmp_path / "store")
    tables: dict[str, dict[str, Any]] = {"c": {"command": "x"}, "s": {"shell": "true"}, "u": {"url": "http://[::1]/"}}
    declarations = {name: read_declaration(name, table, "duck.toml", ZoneInfo("UTC")) for name, table in tables.items()}
    for declaration in declarations.values():
        engine.enqueue(declaration, engine.now(), Cause.HAND)
    assert {run.name for run in engine.take("node", declarations, executor.room())} == {"s", "u"}
    engine.close()
    works.inbox.close()


def test_what_needs_a_project_is_taken_where_there_is_none_so_that_it_is_told(works: Works) -> None:
    assert works.executor.room()["process"] == 1
    assert works.run(command="check").reason == "there is no Django project here for command"


def test_what_cannot_be_started_is_nobodys(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(run: Run, declaration: Declaration, ended: Callable[[Ended], None]) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(works.shell, "start", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        works.begin(shell="true")
    assert works.executor._owners == {}

"""A store process that answers late, or never, to a node that has more to do than to wait: what the link makes of it.

What a dispatcher makes of such a link is in `tests/services/automations/test_dispatcher_stores.py`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from duck.exceptions import StoreError
from duck.services.automations.declaration import read_declaration
from duck.services.automations.dispatcher import Dispatcher
from duck.services.automations.engines.django import DjangoEngine
from duck.services.automations.executors.by_kind import ByKind
from duck.services.automations.executors.shell import ShellCommands
from duck.services.automations.run import Cause, State
from duck.services.inbox import Inbox
from tests.alive import is_alive
from tests.automation_project import link_to, migrate, write_project

if TYPE_CHECKING:
    from duck.backend.django.store import StoreProcess

DEADLINE_S = 60.0

# Each statement takes longer than the node waits.
SLOW = """
import time
from django.db.backends.signals import connection_created

def slow(execute, sql, params, many, context):
    time.sleep(0.03)
    return execute(sql, params, many, context)

def made(sender, connection, **kwargs):
    connection.execute_wrappers.append(slow)

connection_created.connect(made, weak=False)
"""


pytestmark = pytest.mark.usefixtures("warm_backends")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = write_project(tmp_path_factory.mktemp("late"))
    migrate(found)
    return found


class Waiting:
    """An inbox with a link that is attended to on it."""

    def __init__(self, root: Path, **options: Any) -> None:
        self.inbox = Inbox()
        self.woken = 0
        self.link: StoreProcess = link_to(root, **options)
        self.link.call("standings", {})
        assert self.link.pid is not None
        self.pid = self.link.pid

    def attend(self, patience_s: float) -> None:
        self.link.attend(self.inbox, self._wake, patience_s)

    def _wake(self) -> None:
        self.woken += 1

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def serve(self, until: Callable[[], object]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not until():
            assert time.monotonic() < deadline, "it did not come to that"
            self.inbox.run_once(0.05)

    def refusal(self, question: str = "now", **arguments: Any) -> str:
        with pytest.raises(StoreError) as caught:
            self.link.call(question, arguments)
        return str(caught.value)


@pytest.fixture
def waiting(root: Path) -> Iterator[Callable[..., Waiting]]:
    made: list[Waiting] = []

    def make(**options: Any) -> Waiting:
        made.append(Waiting(root, **options))
        return made[-1]

    yield make
    for each in made:
        each.link.close()
        each.inbox.close()


def test_one_that_is_late_is_heard_of_and_its_answer_is_for_who_asks_the_same_again(
    waiting: Callable[..., Waiting],
) -> None:
    node = waiting(call_s=DEADLINE_S)
    node.attend(0.2)
    asked = {"name": "late", "revision": "r", "overlap": "allow", "planned": 1, "cause": "event"}
    node.stop()
    said = node.refusal("enqueue", **asked)
    assert said == "The project's database has not answered within 0.2 s; it is waited for still."
    assert node.refusal() == node.refusal("enqueue", **asked) == "The project's database has not answered yet."
    assert node.woken == 0
    node.go_on()
    node.serve(lambda: node.woken)
    assert node.link.call("now", {})["result"] > 0
    late = node.link.call("enqueue", asked)
    assert late["result"]["state"] == "queued"
    assert len(node.link.call("runs", {"name": "late"})["result"]) == 1 and node.link.pid == node.pid
    again = node.link.call("enqueue", asked)
    assert again["result"]["id"] != late["result"]["id"], "who asks once more means another"


def test_one_that_never_answers_is_ended_and_started_anew_while_nobody_waits(waiting: Callable[..., Waiting]) -> None:
    node = waiting(call_s=1.0)
    node.attend(0.1)
    node.stop()
    node.refusal()
    node.serve(lambda: node.woken)
    assert node.refusal() == "The project's database has not answered within 1 s."
    assert not is_alive(node.pid)
    said: set[str] = set()
    done: list[Any] = []

    def ask() -> bool:
        """As a dispatcher does, when it is woken."""
        if node.woken:
            node.woken = 0
            try:
                done.append(node.link.call("now", {}))
            except StoreError as error:
                said.add(str(error))
        return bool(done)

    node.woken = 0
    node.serve(ask)
    assert "The process that asks the project's database is being started." in said
    assert node.link.pid != node.pid


def test_what_it_prints_while_nobody_waits_is_taken(tmp_path: Path) -> None:
    printed: list[str] = []
    more = """
import signal, sys
signal.signal(signal.SIGUSR1, lambda number, frame: (sys.stdout.write("x" * 300_000), sys.stdout.flush()))
"""
    root = write_project(tmp_path, settings=more)
    migrate(root)
    node = Waiting(root, call_s=DEADLINE_S, on_output=printed.append)
    node.attend(0.1)
    node.stop()
    node.refusal()
    os.kill(node.pid, signal.SIGUSR1)
    node.go_on()
    node.serve(lambda: node.woken)
    node.serve(lambda: sum(map(len, printed)) >= 300_000 or not node.link.call("now", {}))
    node.link.close()
    node.inbox.close()


def test_a_run_that_lasts_too_long_is_ended_while_the_store_hangs_and_its_end_is_kept_later(
    waiting: Callable[..., Waiting], tmp_path: Path
) -> None:
    node = waiting(call_s=DEADLINE_S)
    engine, executor = DjangoEngine(node.link), ShellCommands(node.inbox, tmp_path, 4)
    dispatcher = Dispatcher(node.inbox, engine, ByKind({"shell": executor}), "a")
    table = {"shell": "echo $$ > pid; sleep 600", "timeout": "2s", "grace": "100ms", "every": "365d"}
    job = read_declaration("long", table, "duck.toml", ZoneInfo("UTC"))
    dispatcher.declare([job])
    dispatcher.start()
    run = engine.enqueue(job, engine.now(), Cause.HAND)
    dispatcher.wake()
    pid = tmp_path / "pid"
    node.serve(lambda: pid.exists() and pid.read_text().strip())
    node.stop()
    node.serve(lambda: not is_alive(int(pid.read_text())))
    assert node.link.pid == node.pid and is_alive(node.pid), "the store hung all the while"
    node.go_on()
    node.serve(lambda: not dispatcher.status()["running"] and dispatcher.status()["store"] == "reachable")
    found = engine.run(run.id)
    assert found is not None and found.state is State.TIMED_OUT
    stopped: list[int] = []
    dispatcher.stop(1.0, lambda: stopped.append(1))
    node.serve(lambda: stopped)


def test_where_every_answer_is_late_runs_are_claimed_started_once_and_ended(tmp_path: Path) -> None:
    root = write_project(tmp_path, settings=SLOW)
    migrate(root)
    node = Waiting(root)
    attend = node.link.attend
    node.link.attend = lambda inbox, on_change: attend(inbox, on_change, 0.02)  # type: ignore[method-assign,misc]
    executor = ShellCommands(node.inbox, tmp_path, 4)
    dispatcher = Dispatcher(node.inbox, DjangoEngine(node.link), ByKind({"shell": executor}), "a")
    table = {"shell": "echo $DUCK_KEY >> starts", "every": "2s", "missed": "once"}
    dispatcher.declare([read_declaration("each", table, "duck.toml", ZoneInfo("UTC"))])
    dispatcher.start()
    starts = tmp_path / "starts"
    node.serve(lambda: starts.exists() and len(starts.read_text().split()) > 2)
    stopped: list[int] = []
    dispatcher.stop(10.0, lambda: stopped.append(1))
    node.serve(lambda: stopped)
    node.inbox.close()
    begun = starts.read_text().split()
    assert len(set(begun)) == len(begun)
    link = link_to(root)
    found = DjangoEngine(link).runs("each", state=State.SUCCEEDED)
    link.close()
    assert {run.key for run in found} == set(begun)

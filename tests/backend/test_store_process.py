"""The process that asks the project's database: what it says where it cannot, and that it comes again."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from duck.exceptions import StoreError
from tests.alive import is_alive
from tests.automation_project import database_of, link_to, migrate, write_project
from tests.environments import environment

if TYPE_CHECKING:
    from duck.backend.django.store import StoreProcess
    from tests.postgres import Postgres

DEADLINE_S = 30.0
pytestmark = pytest.mark.usefixtures("warm_backends")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose store has its tables."""
    found = write_project(tmp_path_factory.mktemp("store"))
    migrate(found)
    return found


@pytest.fixture
def link(root: Path) -> Iterator[StoreProcess]:
    found = link_to(root)
    yield found
    found.close()


def refusal(link: StoreProcess) -> str:
    with pytest.raises(StoreError) as caught:
        link.call("now", {})
    return str(caught.value)


def comes_again(link: StoreProcess) -> None:
    """It answers, before long."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            link.call("now", {})
            return
        except StoreError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_it_answers_with_the_stores_clock_and_ends_with_its_link(root: Path) -> None:
    link = link_to(root)
    before = time.time()
    answer = link.call("standings", {})
    assert answer["result"] == {}
    assert before <= answer["now"] / 1e6 <= time.time() and 0 <= time.monotonic() - answer["read"][0] < DEADLINE_S
    pid = link.pid
    assert pid is not None
    link.close()
    assert not is_alive(pid)
    link.close()


def test_one_that_was_killed_is_told_of_and_comes_again(link: StoreProcess) -> None:
    link.call("now", {})
    first = link.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert refusal(link) == "The process that asks the project's database was ended by SIGKILL."
    comes_again(link)
    assert link.pid != first


def test_one_that_does_not_answer_in_time_is_ended_and_comes_again(root: Path) -> None:
    link = link_to(root, call_s=0.5)
    deadline = time.monotonic() + DEADLINE_S
    link.call("now", {})
    first = link.pid
    assert first is not None
    os.kill(first, signal.SIGSTOP)
    assert refusal(link) == "The project's database has not answered within 0.5 s."
    assert not is_alive(first)
    while link.pid in (None, first) and time.monotonic() < deadline:
        try:
            link.call("now", {})
        except StoreError as error:
            assert "not answered" in str(error) or "is being started" in str(error)
    link.close()


def test_between_two_tries_it_is_not_started(tmp_path: Path) -> None:
    link = link_to(write_project(tmp_path, settings='raise ValueError("no reeds")\n'))
    said = refusal(link)
    assert said == "The project cannot be loaded for its store of automations: ValueError: no reeds."
    generation = link.generation
    assert refusal(link) == said and link.generation == generation == 1
    assert link.pid is None


def test_a_project_without_the_application_is_told_what_to_add(tmp_path: Path) -> None:
    said = refusal(link_to(write_project(tmp_path, has_store=False)))
    assert 'INSTALLED_APPS has no "duck.automation.django"' in said
    assert "`duck manage migrate duck_automations`" in said


def test_tables_that_are_not_there_are_one_sentence_and_looked_for_again(tmp_path: Path) -> None:
    root = write_project(tmp_path)
    link = link_to(root)
    said = refusal(link)
    assert said == (
        "The tables of automations are not in the project's database, or older than this Duck (migration 0001_initial);"
        " run `duck manage migrate duck_automations`."
    )
    migrate(root)
    assert link.call("standings", {})["result"] == {}
    link.close()


def test_what_a_project_prints_delays_nothing(tmp_path: Path) -> None:
    printed: list[str] = []
    root = write_project(tmp_path, settings='print("x" * 300_000, flush=True)\n')
    migrate(root)
    link = link_to(root, on_output=printed.append)
    link.call("now", {})
    assert sum(map(len, printed)) > 300_000
    link.close()


def test_what_it_printed_last_is_told_where_it_ends_by_itself(tmp_path: Path) -> None:
    root = write_project(tmp_path, settings='import os\nprint("no more reeds", flush=True)\nos._exit(3)\n')
    said = refusal(link_to(root))
    assert said.endswith("ended by itself with exit code 3. It printed last: no more reeds")


def test_another_who_writes_to_sqlite_is_waited_for(root: Path, link: StoreProcess) -> None:
    link.call("now", {})
    other = sqlite3.connect(root / "db.sqlite3", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    done = threading.Timer(0.5, other.execute, ("COMMIT",))
    done.start()
    assert link.call("register", {"declared": [["job", "r"]]})["result"]["job"][0] == "r"
    assert not done.is_alive(), "it has waited"
    other.close()


def test_a_database_that_is_gone_is_a_sentence_and_the_process_goes_on(tmp_path: Path) -> None:
    root = write_project(tmp_path)
    migrate(root)
    link = link_to(root)
    link.call("now", {})
    first = link.pid
    with sqlite3.connect(root / "db.sqlite3") as database:
        database.execute("ALTER TABLE duck_automations_automation RENAME TO away")
    with pytest.raises(StoreError, match=r"The database of the project's automations refuses: no such table: .*\."):
        link.call("standings", {})
    with sqlite3.connect(root / "db.sqlite3") as database:
        database.execute("ALTER TABLE away RENAME TO duck_automations_automation")
    assert link.call("standings", {})["result"] == {} and link.pid == first
    link.close()


def test_texts_that_databases_do_not_take_are_kept_as_far_as_they_can_be(link: StoreProcess) -> None:
    link.call("register", {"declared": [["texts", "r"]]})
    due = {"name": "texts", "revision": "r", "overlap": "allow", "planned": 2**51, "runs": True}
    link.call("claim", {"dues": [{**due, "reason": "", "missed": 0, "each": False}]})
    (run,) = link.call("take", {"node": "a", "room": {"p": 1}, "declared": {"texts": ["p", "allow", 2**52, 0]}})[
        "result"
    ]
    ends = {"run": run["id"], "node": "a", "attempt": 1, "state": "failed", "code": 1}
    assert link.call("finish", {**ends, "reason": "\ud800", "output": "a\0b \N{DUCK}"})["result"]
    kept = link.call("run", {"run": run["id"]})["result"]
    assert (kept["reason"], kept["output"]) == ("?", "a\ufffdb \N{DUCK}")


@pytest.mark.timeout(180)  # the first run makes the environment
def test_it_runs_where_duck_is_not_installed(tmp_path: Path) -> None:
    python = environment("3.10", ("Django==4.2.*",))
    root = write_project(tmp_path)
    link = link_to(root, python)
    assert "duck manage migrate duck_automations" in refusal(link)
    link.close()


class TestAnswersThatAreLost:
    """The store has done it, and the one who asked does not know."""

    def begun(self, link: StoreProcess, name: str) -> dict[str, Any]:
        """A run that was given to a node whose answer was lost."""
        link.call("register", {"declared": [[name, "r"]]})
        due = {"name": name, "revision": "r", "overlap": "skip", "planned": 2**51, "runs": True, "reason": ""}
        link.call("claim", {"dues": [{**due, "missed": 0, "each": False}]})
        asked = {"node": name, "room": {"process": 1}, "declared": {name: ["process", "skip", 2**52, 0]}}
        (run,) = link.call("take", asked)["result"]
        found: dict[str, Any] = run
        return found

    def take(self, link: StoreProcess, name: str, **more: Any) -> list[int]:
        return [run["id"] for run in link.call("take", {"node": name, "room": {"process": 1}, **more})["result"]]

    def test_a_run_is_given_again_to_its_node_alone_and_only_once_asked(self, link: StoreProcess) -> None:
        run = self.begun(link, "lost")
        since = run["started"]
        assert self.take(link, "lost") == []
        assert self.take(link, "other", held=[], since=since) == []
        assert self.take(link, "lost", held=[run["id"]], since=since) == [], "the node knows of it"
        assert self.take(link, "lost", held=[], since=since + 1) == [], "it was given before"
        assert self.take(link, "lost", held=[], since=since) == [run["id"]]
        assert link.call("run", {"run": run["id"]})["result"]["attempt"] == 1

    def test_an_end_that_was_kept_is_said_again_without_being_taken_for_anothers(self, link: StoreProcess) -> None:
        run = self.begun(link, "ended")
        ends = {"run": run["id"], "node": "ended", "attempt": 1, "reason": "", "code": 0, "output": ""}
        assert link.call("finish", {**ends, "state": "succeeded"})["result"] is True
        assert link.call("finish", {**ends, "state": "succeeded"})["result"] is False
        assert link.call("finish", {**ends, "state": "succeeded", "again": True})["result"] is True
        assert link.call("finish", {**ends, "state": "failed", "again": True})["result"] is False


def test_a_server_that_was_restarted_is_found_again_by_the_same_process(tmp_path: Path, postgres: Postgres) -> None:
    root = write_project(tmp_path, database=database_of(postgres, postgres.make_database()))
    migrate(root)
    link = link_to(root)
    link.call("now", {})
    first = link.pid
    postgres.suspend()
    assert refusal(link).startswith("The database of the project's automations refuses: ")
    postgres.resume()
    postgres.suspend()
    postgres.resume()
    assert link.call("standings", {})["result"] == {} and link.pid == first
    link.close()


def test_a_node_that_is_stopped_within_a_transaction_does_not_hold_the_others_up(
    tmp_path: Path, postgres: Postgres
) -> None:
    """As a machine that is paused: its server cuts it off."""
    import psycopg

    name = postgres.make_database()
    root = write_project(tmp_path, database=database_of(postgres, name))
    migrate(root)
    paused, other = link_to(root, call_s=60.0), link_to(root)
    paused.call("register", {"declared": [["job", "r"]]})
    other.call("now", {})
    assert paused.pid is not None
    with psycopg.connect(postgres.url(name)) as holder:
        holder.execute("SELECT * FROM duck_automations_automation FOR UPDATE")
        enqueue = {"name": "job", "revision": "r", "overlap": "skip", "planned": 1, "cause": "hand"}
        asking = threading.Thread(target=_ignored, args=(paused, "enqueue", enqueue))
        asking.start()
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
        with psycopg.connect(postgres.url(name), autocommit=True) as watching:
            deadline = time.monotonic() + DEADLINE_S
            while watching.execute(waiting, (name,)).fetchone() != (1,):
                assert time.monotonic() < deadline
        os.kill(paused.pid, signal.SIGSTOP)
    assert other.call("enqueue", enqueue)["result"]["state"] == "queued"
    os.kill(paused.pid, signal.SIGCONT)
    asking.join(DEADLINE_S)
    assert len(other.call("runs", {})["result"]) == 1, "what it had begun was undone"
    comes_again(paused)
    paused.close()
    other.close()


def _ignored(link: StoreProcess, name: str, arguments: dict[str, Any]) -> None:
    with contextlib.suppress(StoreError):
        link.call(name, arguments)

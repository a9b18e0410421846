"""What is PostgreSQL's alone: tables that are made once, connections that are lost, notifications, deadlines."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from duck.exceptions import StoreError
from duck.services.automations import dispatcher
from duck.services.automations.declaration import Declaration, read_declaration
from duck.services.automations.due import Due
from duck.services.automations.engine import Ended
from duck.services.automations.engines import postgres_database, postgres_schema
from duck.services.automations.engines.postgres import PostgresEngine
from duck.services.automations.engines.postgres_runs import hold
from duck.services.automations.run import Cause, Run, State
from duck.services.inbox import Inbox
from tests.dispatcher_node import Hands
from tests.relay import Relay
from tests.waiting import serve_until

if TYPE_CHECKING:
    from tests.postgres import Postgres


class Site:
    """A database of its own."""

    def __init__(self, server: Postgres) -> None:
        self.server = server
        self.database = server.make_database()
        self.engines: list[PostgresEngine] = []

    def open(self, port: int | None = None) -> PostgresEngine:
        engine = PostgresEngine(lambda: self.server.url(self.database, port=port))
        self.engines.append(engine)
        return engine

    def ask(self, statement: Any, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.server.url(self.database), autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def cut(self) -> None:
        """As a restart of the server does."""
        self.ask(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.fixture
def site(postgres: Postgres) -> Iterator[Site]:
    made = Site(postgres)
    yield made
    for engine in made.engines:
        engine.close()


@pytest.fixture
def relay(postgres: Postgres) -> Iterator[Relay]:
    made = Relay(postgres.port)
    yield made
    made.close()


def declared(name: str = "job", **table: Any) -> Declaration:
    return read_declaration(name, {"command": "x", "every": "1h", **table}, "duck.toml", ZoneInfo("UTC"))


def soon(number: int = 1) -> datetime:
    return datetime.now(UTC) + timedelta(minutes=number)


def take(engine: PostgresEngine, node: str, *declarations: Declaration) -> list[Run]:
    return engine.take(node, {each.name: each for each in declarations}, {"process": 10})


def all_at_once(*works: Callable[[], object]) -> list[BaseException]:
    errors: list[BaseException] = []

    def attempt(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=attempt, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


class TestTables:
    def test_nodes_that_start_at_once_make_them_once(self, site: Site) -> None:
        engines = [site.open() for _ in range(4)]
        assert all_at_once(*(lambda engine=engine: engine.register([declared()]) for engine in engines)) == []
        assert site.ask("SELECT version FROM duck_automations.duck_store") == [(len(postgres_schema._TABLES),)]

    def test_those_of_a_project_that_uses_procrastinate_are_left_alone(self, site: Site) -> None:
        from procrastinate.schema import SchemaManager

        site.ask(SchemaManager.get_schema())
        engine, job = site.open(), declared()
        engine.register([job])
        engine.enqueue(job, engine.now(), Cause.HAND)
        assert site.ask("SELECT count(*) FROM public.procrastinate_jobs") == [(0,)]
        assert site.ask("SELECT count(*) FROM duck_automations.procrastinate_jobs") == [(1,)]

    def test_procrastinate_keeps_what_has_happened(self, site: Site) -> None:
        engine, job = site.open(), declared()
        engine.register([job])
        engine.claim([(job, Due(soon(), True))])
        (run,) = take(engine, "a", job)
        engine.finish(run, Ended(State.SUCCEEDED))
        assert site.ask("SELECT task_name, queue_name, status::text FROM duck_automations.procrastinate_jobs") == [
            ("job", "duck:job", "succeeded")
        ]
        events = site.ask("SELECT type::text FROM duck_automations.procrastinate_events ORDER BY id")
        assert [event for (event,) in events] == ["deferred", "started", "succeeded"]

    def test_a_new_change_of_procrastinates_is_made_once(
        self, site: Site, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.open().register([])
        change = tmp_path / "99.00.00_01_pre_change.sql"
        change.write_text("CREATE TABLE changed (percent text DEFAULT '%');")
        known = postgres_schema._migration_paths()
        monkeypatch.setattr(postgres_schema, "_migration_paths", lambda: [*known, change])
        for _ in range(2):
            site.open().register([])
        assert site.ask("SELECT count(*) FROM duck_automations.changed") == [(0,)]
        monkeypatch.undo()
        with pytest.raises(StoreError, match=r"newer procrastinate, which has 99\.00\.00_01_pre_change\.sql; install"):
            site.open().register([])

    def test_those_of_a_newer_duck_are_left_alone(self, site: Site) -> None:
        site.open().register([])
        site.ask("UPDATE duck_automations.duck_store SET version = 99")
        with pytest.raises(StoreError, match="made by a newer Duck"):
            site.open().register([])

    @pytest.fixture
    def guest(self, site: Site) -> Iterator[PostgresEngine]:
        """The engine of a role that has no rights in the database."""
        site.ask("CREATE ROLE guest LOGIN")
        engine = PostgresEngine(lambda: site.server.url(site.database).replace("duck@", "guest@"))
        yield engine
        engine.close()
        site.ask("DROP OWNED BY guest CASCADE")
        site.ask("DROP ROLE guest")

    def test_a_role_that_may_not_make_them_is_a_sentence_until_it_may(self, site: Site, guest: PostgresEngine) -> None:
        for _ in range(2):
            with pytest.raises(
                StoreError, match=r"permission denied for database .*: GRANT CREATE ON DATABASE .* TO guest\."
            ):
                guest.register([])
        site.ask(f"GRANT CREATE ON DATABASE {site.database} TO guest")
        assert "job" in guest.register([declared()])

    def test_so_is_one_that_may_not_use_those_that_another_has_made(self, site: Site, guest: PostgresEngine) -> None:
        site.open().register([declared()])
        with pytest.raises(
            StoreError,
            match=r"refuses: permission denied for schema duck_automations; .*: GRANT USAGE ON SCHEMA duck_automations",
        ):
            guest.standings()
        site.ask("GRANT USAGE ON SCHEMA duck_automations TO guest")
        with pytest.raises(StoreError, match=r"refuses: permission denied for table .*; let the role use all of it"):
            guest.standings()
        site.ask("GRANT ALL ON ALL TABLES IN SCHEMA duck_automations TO guest")
        site.ask("GRANT ALL ON ALL SEQUENCES IN SCHEMA duck_automations TO guest")
        job = declared()
        guest.enqueue(job, guest.now(), Cause.HAND)
        (run,) = take(guest, "a", job)
        assert guest.finish(run, Ended(State.SUCCEEDED))


class TestConnections:
    def test_a_password_is_in_no_sentence(self) -> None:
        engine = PostgresEngine(lambda: "postgresql://ada:geheim@127.0.0.1:1/shop?sslmode=disable")
        with pytest.raises(StoreError, match=r"at postgresql://ada@127\.0\.0\.1:1/shop cannot be reached: ") as error:
            engine.now()
        assert "geheim" not in str(error.value)

    @pytest.mark.parametrize("password", ["geh%eim", "geh/eim", "geh eim", "geheim@[::1"])
    def test_one_that_breaks_its_address_is_in_none_either(self, password: str) -> None:
        engine = PostgresEngine(lambda: f"postgresql://ada:{password}@127.0.0.1:1/shop")
        with pytest.raises(StoreError) as error:
            engine.now()
        said = "".join(traceback.format_exception(error.value)) + postgres_database.shown(
            f"postgresql://ada:{password}@127.0.0.1:1/shop"
        )
        assert "geh" not in said and "eim" not in said

    def test_one_that_was_lost_is_an_error_once(self, site: Site) -> None:
        engine = site.open()
        engine.register([declared()])
        site.cut()
        with pytest.raises(StoreError, match="cannot be reached"):
            engine.standings()
        assert "job" in engine.standings()

    def test_one_that_says_nothing_is_given_up(self, site: Site, relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
        engine = site.open(relay.port)
        engine.register([declared()])
        monkeypatch.setattr(postgres_database._Connection, "answer_s", 0.3)
        relay.stall()
        with pytest.raises(StoreError, match=r"no answer within 0\.3 s"):
            engine.standings()
        relay.join()
        assert "job" in engine.standings()

    def test_a_node_that_stands_still_holds_the_others_up_for_seconds_only(self, site: Site) -> None:
        still, other, job = site.open(), site.open(), declared()
        still.register([job])
        began = time.monotonic()
        with pytest.raises(StoreError), still._database.change() as (connection, _):
            hold(connection, ["job"])
            assert len(other.claim([(job, Due(soon(), True))])) == 1
        assert 2.0 < time.monotonic() - began < 20.0

    def test_a_start_whose_answer_was_lost_is_taken_up(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        engine, other, job = site.open(), site.open(), declared()
        engine.register([job])
        engine.claim([(job, Due(soon(), True))])
        lose_the_answer_to_a_commit(monkeypatch)
        with pytest.raises(StoreError, match="cannot be reached: lost"):
            take(engine, "a", job)
        assert take(other, "b", job) == []
        (run,) = take(engine, "a", job)
        assert (run.state, run.node, run.attempt) == (State.RUNNING, "a", 1)
        assert take(engine, "a", job) == []

    def test_but_not_where_it_was_given_up_meanwhile(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        engine, other, job = site.open(), site.open(), declared()
        engine.register([job])
        engine.claim([(job, Due(soon(), True))])
        lose_the_answer_to_a_commit(monkeypatch)
        with pytest.raises(StoreError):
            take(engine, "a", job)
        other.give_up(-1.0, {"job": job})
        assert take(engine, "a", job) == []

    def test_an_end_whose_answer_was_lost_counts(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        engine, job = site.open(), declared()
        engine.register([job])
        engine.claim([(job, Due(soon(), True))])
        (run,) = take(engine, "a", job)
        lose_the_answer_to_a_commit(monkeypatch)
        with pytest.raises(StoreError):
            engine.finish(run, Ended(State.SUCCEEDED))
        assert engine.finish(run, Ended(State.SUCCEEDED))
        assert not engine.finish(run, Ended(State.SUCCEEDED))


def lose_the_answer_to_a_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is made, and nobody learns of it."""
    whole = postgres_database._Connection.execute

    def execute(self: Any, query: Any, *arguments: Any, **more: Any) -> Any:
        cursor = whole(self, query, *arguments, **more)
        if query == "COMMIT":
            monkeypatch.undo()
            self.close()
            raise psycopg.OperationalError("lost")
        return cursor

    monkeypatch.setattr(postgres_database._Connection, "execute", execute)


class TestNotifications:
    def wait(self, inbox: Inbox, told: list[int], count: int) -> None:
        serve_until(inbox, lambda: len(told) >= count)

    def test_what_another_queues_is_told_of_and_what_is_to_end(self, site: Site) -> None:
        inbox, told = Inbox(), list[int]()
        engine, other, job = site.open(), site.open(), declared()
        engine.register([job])
        engine.attend(inbox, lambda: told.append(1))
        other.enqueue(job, other.now(), Cause.HAND)
        self.wait(inbox, told, 1)
        (run,) = take(engine, "a", job)
        other.cancel(run.id)
        self.wait(inbox, told, 2)
        engine.close()
        inbox.close()

    def test_so_it_is_after_the_connection_was_lost_which_is_told_at_once(self, site: Site) -> None:
        inbox, told = Inbox(), list[int]()
        engine, other, job = site.open(), site.open(), declared()
        engine.attend(inbox, lambda: told.append(1))
        engine.register([job])
        site.cut()
        self.wait(inbox, told, 1)
        engine.now()
        other.enqueue(job, other.now(), Cause.HAND)
        self.wait(inbox, told, 2)
        engine.close()
        inbox.close()

    def test_what_it_queues_itself_is_not(self, site: Site) -> None:
        inbox, told = Inbox(), list[int]()
        engine, job = site.open(), declared()
        engine.register([job])
        engine.attend(inbox, lambda: told.append(1))
        engine.enqueue(job, engine.now(), Cause.HAND)
        engine.now()
        inbox.run_once(0.1)
        assert told == []
        engine.close()
        inbox.close()


def test_a_node_starts_at_once_what_another_queues(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "LOOK_S", 3600.0)  # it looks when it is told to
    inbox, hands, job, other = Inbox(), Hands(), declared(every="365d"), site.open()
    node = dispatcher.Dispatcher(inbox, site.open(), hands, "a")
    node.declare([job])
    node.start()
    for _ in range(5):
        inbox.run_once(0.0)
    other.enqueue(job, other.now(), Cause.HAND)
    serve_until(inbox, lambda: hands.started)
    assert [run.name for run in hands.started] == ["job"]
    stopped: list[int] = []
    hands.end(hands.started[0], Ended(State.SUCCEEDED))
    node.stop(5.0, lambda: stopped.append(1))
    serve_until(inbox, lambda: stopped)
    inbox.close()
    assert other.nodes(60.0) == [] and site.ask("SELECT count(*) FROM duck_automations.procrastinate_workers") == [(0,)]


def test_nodes_that_claim_start_end_and_cancel_at_once_start_each_time_once(site: Site) -> None:
    jobs = [declared(overlap, overlap=overlap) for overlap in ("allow", "queue_all", "replace")]
    times = [soon(number) for number in range(1, 13)]
    started: list[tuple[str, datetime]] = []

    def node(name: str) -> None:
        engine = PostgresEngine(lambda: site.server.url(site.database))
        engine.register(jobs)
        for planned in times:
            engine.claim([(job, Due(planned, True)) for job in jobs])
            for run in take(engine, name, *jobs):
                started.append((run.name, run.planned))
                engine.beat(name, [run.id])
                engine.cancel(run.id)
                engine.finish(run, Ended(State.SUCCEEDED))
        engine.close()

    assert all_at_once(*(lambda name=name: node(name) for name in "abcd")) == []
    assert len(set(started)) == len(started)
    engine = site.open()
    for job in jobs:
        assert sorted(run.planned for run in engine.runs(job.name)) == times
    never = [run for run in engine.runs("allow") if run.attempt == 0 and run.state is not State.QUEUED]
    assert never == []

"""What two nodes, or a node and a person, do at once; of each engine, and where the moment between has to be met."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from duck.services.automations.due import Due
from duck.services.automations.engine import Ended
from duck.services.automations.engines import postgres
from duck.services.automations.engines.django import DjangoEngine
from duck.services.automations.engines.postgres import PostgresEngine
from duck.services.automations.run import Cause, State
from tests.automation_stores import Open, declared, django_store, postgres_store, soon, started, take

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duck.services.automations.engine import Engine
    from tests.automation_project import KeptStore
    from tests.postgres import Postgres


class TestEveryEngine:
    def test_what_waits_for_a_node_that_has_gone_is_lost_though_nothing_runs(self, engine: Engine) -> None:
        job = declared(run_on="each")
        engine.register([job])
        engine.join("a")
        engine.claim([(job, Due(soon(), True))], "a")
        assert engine.give_up(60.0, {"job": job}) == []
        (lost,) = engine.give_up(-1.0, {"job": job})
        assert (lost.state, lost.reason) == (State.LOST, "its node a fell silent")

    def test_a_pause_holds_for_nodes_that_have_not_seen_it(self, store: Open) -> None:
        engine, other, job = store(), store(), declared(overlap="allow")
        engine.register([job])
        engine.pause("job", soon(5))
        assert other.claim([(job, Due(soon(1), True))]) == []
        assert len(other.claim([(job, Due(soon(6), True))])) == 1
        engine.resume("job")
        assert len(other.claim([(job, Due(soon(2), True))])) == 1

    def test_a_revision_that_two_nodes_bring_at_once_counts_from_the_first(self, store: Open) -> None:
        first, second, old, new = store(), store(), declared(), declared(every="2h")
        first.register([old])
        since = first.register([new])["job"].since
        assert second.register([new])["job"].since == since

    def test_what_another_has_taken_over_is_not_kept_alive_nor_ended_by_whom_it_was(self, engine: Engine) -> None:
        job = declared(on_crash="retry", backoff="1ms")
        engine.register([job])
        before = started(engine, job, soon())
        engine.give_up(-1.0, {"job": job})
        deadline = engine.now().timestamp() + 10.0
        while not (taken := take(engine, "b", job)):
            assert engine.now().timestamp() < deadline
        assert engine.beat("a", [before.id]) == {before.id}
        assert not engine.finish(before, Ended(State.FAILED, retry_at=engine.now()))
        found = engine.run(before.id)
        assert found is not None and (found.state, found.node, found.attempt) == (State.RUNNING, "b", 2)
        assert engine.finish(taken[0], Ended(State.SUCCEEDED))


@pytest.fixture
def in_django(in_postgres: KeptStore) -> Iterator[Open]:
    with django_store(in_postgres) as store:
        yield store


@pytest.fixture
def in_procrastinate(postgres: Postgres) -> Iterator[Open]:
    with postgres_store(postgres) as store:
        yield store


def test_what_is_cancelled_while_its_node_is_given_up_is_not_tried_again(in_django: Open) -> None:
    engine, other, job = in_django(), in_django(), declared(on_crash="retry")
    assert isinstance(engine, DjangoEngine)
    engine.register([job])
    run = started(engine, job, soon())
    engine._link = _Between(engine._link, "look", lambda: other.cancel(run.id))
    (given_up,) = engine.give_up(-1.0, {"job": job})
    assert (given_up.id, given_up.state) == (run.id, State.LOST)


class _Between:
    """A link, with something that happens right after one of its questions."""

    def __init__(self, link: Any, question: str, then: Callable[[], object]) -> None:
        self._link = link
        self._question = question
        self._then = then

    def call(self, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self._link.call(name, arguments)
        if name == self._question:
            self._then()
        return answer

    def attend(self, inbox: Any, on_change: Any) -> None:
        pass

    def close(self) -> None:
        self._link.close()


def test_a_run_that_is_queued_again_while_it_is_cancelled_is_cancelled(
    in_procrastinate: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the engine on PostgreSQL; of that in the project's database see tests/automation/test_store_steps.py."""
    engine, other, job = in_procrastinate(), in_procrastinate(), declared(overlap="allow")
    assert isinstance(engine, PostgresEngine)
    engine.register([job])
    engine.enqueue(job, engine.now(), Cause.HAND)
    (run,) = take(engine, "a", job)
    hold = postgres.hold

    def after(*arguments: Any) -> Any:
        monkeypatch.undo()
        other.finish(run, Ended(State.QUEUED, "exit code 1", retry_at=other.now()))
        return hold(*arguments)

    monkeypatch.setattr(postgres, "hold", after)
    assert engine.cancel(run.id)
    found = engine.run(run.id)
    assert found is not None and found.state is State.CANCELLED
    assert take(engine, "b", job) == []

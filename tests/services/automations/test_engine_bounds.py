"""What every engine bounds: how much waits, how much of a run is kept, what is forgotten; each is asked the same."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from duck.automation.admission import CROWDED, CROWDED_BYTES, MOST_QUEUED, MOST_QUEUED_BYTES
from duck.automation.text import MOST_EVENT, MOST_OUTPUT, MOST_REASON
from duck.exceptions import CrowdedError
from duck.services.automations.due import Due, due
from duck.services.automations.engine import Ended, Printed
from duck.services.automations.run import Cause, State
from tests.automation_stores import Open, declared, soon, started, take

if TYPE_CHECKING:
    from duck.services.automations.engine import Engine

LONG = json.dumps({"by": ["first", "second"], "body": "x" * 10_000})


class TestCrowds:
    """More comes than is done."""

    def test_where_too_many_wait_one_more_is_refused_and_leaves_nothing(self, store: Open) -> None:
        engine, job, other = store(), declared(overlap="queue_all"), declared("other", overlap="queue_all")
        engine.register([job, other])
        store.fill("job", MOST_QUEUED)
        for cause in (Cause.EVENT, Cause.HAND):
            with pytest.raises(CrowdedError, match="10000 runs of job are waiting already"):
                engine.enqueue(job, engine.now(), cause, "{}")
        assert store.count() == MOST_QUEUED
        assert engine.enqueue(other, engine.now(), Cause.EVENT, "{}").state is State.QUEUED
        store.ask(f"DELETE FROM {store.table} WHERE id = 1")
        assert engine.enqueue(job, engine.now(), Cause.EVENT, "{}").state is State.QUEUED
        (skipped,) = engine.claim([(job, Due(soon(), True))])
        assert (skipped.state, skipped.reason) == (State.SKIPPED, "10000 runs are waiting already"), "a time has a row"

    def test_so_it_is_where_what_waits_was_told_too_much(self, store: Open) -> None:
        engine, job = store(), declared(overlap="allow")
        engine.register([job])
        store.fill("job", 4, size=MOST_QUEUED_BYTES // 4)
        with pytest.raises(CrowdedError, match="4 runs of job are waiting already, for events that tell 128 MiB"):
            engine.enqueue(job, engine.now(), Cause.EVENT, "{}")
        assert store.count() == 4

    def test_what_is_told_is_counted(self, store: Open) -> None:
        engine, job = store(), declared(overlap="queue_all")
        engine.register([job])
        engine.enqueue(job, engine.now(), Cause.EVENT, LONG)
        assert store.ask(f"SELECT size FROM {store.table}") == [(len(LONG),)]

    def test_what_replaces_what_waits_has_room_always(self, store: Open) -> None:
        engine, job = store(), declared(overlap="replace")
        engine.register([job])
        store.fill("job", 2, size=MOST_QUEUED_BYTES)
        assert engine.enqueue(job, engine.now(), Cause.EVENT, "{}").state is State.QUEUED

    def test_which_are_about_to_be_full_is_told_before_they_are(self, store: Open) -> None:
        engine, jobs = store(), [declared(name) for name in ("many", "large", "few")]
        engine.register(jobs)
        assert engine.crowded() == set()
        store.fill("many", CROWDED)
        store.fill("large", 2, size=CROWDED_BYTES // 2)
        store.fill("few", 100)
        assert engine.crowded() == {"many", "large"}


class TestWhatIsKept:
    def test_of_a_long_event_what_led_to_it_once_its_run_is_over(self, engine: Engine) -> None:
        job = declared(overlap="allow", retry=1)
        engine.register([job])
        run = engine.enqueue(job, engine.now(), Cause.EVENT, LONG)
        (first,) = take(engine, "a", job)
        engine.finish(first, Ended(State.FAILED, retry_at=engine.now()))
        (second,) = take(engine, "a", job)
        assert second.event == LONG, "what is tried again is told it again"
        engine.finish(second, Ended(State.SUCCEEDED))
        found = engine.run(run.id)
        assert found is not None and json.loads(found.event) == {"by": ["first", "second"], "cut": len(LONG)}

    def test_nothing_of_one_that_never_ran(self, engine: Engine) -> None:
        skips, queues = declared("skips", overlap="skip"), declared("queues", overlap="queue_all")
        engine.register([skips, queues])
        engine.enqueue(skips, engine.now(), Cause.EVENT)
        runs = [engine.enqueue(skips, engine.now(), Cause.EVENT, LONG)]
        runs += [engine.enqueue(queues, engine.now(), Cause.EVENT, LONG)]
        engine.cancel(runs[1].id)
        found = [engine.run(run.id) for run in runs]
        assert [run and run.state for run in found] == [State.SKIPPED, State.CANCELLED]
        assert all(run is not None and len(run.event) < 100 for run in found)

    def test_nor_of_one_whose_node_was_lost(self, engine: Engine) -> None:
        job = declared(overlap="allow")
        engine.register([job])
        engine.enqueue(job, engine.now(), Cause.EVENT, LONG)
        take(engine, "a", job)
        (lost,) = engine.give_up(-1.0, {"job": job})
        assert json.loads(lost.event) == {"by": ["first", "second"], "cut": len(LONG)}

    def test_all_of_a_short_one(self, engine: Engine) -> None:
        job, event = declared(overlap="allow"), json.dumps({"body": "x" * (MOST_EVENT - 20)})
        engine.register([job])
        run = engine.enqueue(job, engine.now(), Cause.EVENT, event)
        engine.finish(take(engine, "a", job)[0], Ended(State.SUCCEEDED))
        found = engine.run(run.id)
        assert found is not None and found.event == event

    def test_the_end_of_its_output_and_the_beginning_of_its_reason(self, engine: Engine) -> None:
        """Whoever carries runs out bounds them as well; what is not Duck's need not."""
        job = declared()
        engine.register([job])
        run = started(engine, job, soon())
        output = "x" * 2 * MOST_OUTPUT + "the end"
        engine.beat("a", [run.id], {run.id: Printed(output, len(output))})
        found = engine.run(run.id)
        assert found is not None and (len(found.output), found.printed) == (MOST_OUTPUT, len(output))
        engine.finish(run, Ended(State.FAILED, "it" + "y" * 2 * MOST_REASON, output=output, printed=len(output)))
        found = engine.run(run.id)
        assert found is not None
        assert found.output == output[-MOST_OUTPUT:] and found.reason == "it" + "y" * (MOST_REASON - 2)


class TestForgetting:
    def test_what_waits_or_runs_is_never_forgotten(self, engine: Engine) -> None:
        job = declared(overlap="queue_all")
        engine.register([job])
        running = started(engine, job, engine.now())
        (queued,) = engine.claim([(job, Due(engine.now(), True))])
        assert engine.prune(0, -1.0, 0) == 0
        assert [run.id for run in engine.runs("job")] == [queued.id, running.id]

    def test_beyond_the_most_they_are_forgotten_however_young(self, engine: Engine) -> None:
        job, other = declared(), declared("other")
        engine.register([job, other])
        for each in [job] * 5 + [other]:
            engine.finish(started(engine, each, engine.now()), Ended(State.SUCCEEDED))
        newest = [run.id for run in engine.runs("job", limit=3)]
        assert engine.prune(1, 3600.0, 3) == 2
        assert [run.id for run in engine.runs("job")] == newest and len(engine.runs("other")) == 1
        assert engine.prune(4, 3600.0, 0) == 0, "as many as are to be kept whatever their age are no more than the most"

    def test_a_window_that_is_longer_than_the_history_starts_nothing_again(self, engine: Engine) -> None:
        """For a node whose memory is old, or that plans anew from where it stood."""
        job = declared(missed="all", within="365d", every="1s", overlap="allow")
        since = engine.register([job])["job"].since
        while not (dues := due(job, since, engine.now())):
            pass
        won = engine.claim([(job, each) for each in dues])
        assert [run.planned for run in won] == [each.planned for each in dues]
        for run in take(engine, "a", job):
            engine.finish(run, Ended(State.SUCCEEDED))
        assert engine.prune(0, -1.0) == len(dues) and engine.runs("job") == []
        assert engine.claim([(job, each) for each in dues]) == []
        assert due(job, engine.standings()["job"].since, dues[-1].planned) == []

    def test_what_a_clock_that_was_ahead_decided_on_keeps_its_row(self, engine: Engine) -> None:
        job = declared(overlap="allow")
        engine.register([job])
        ahead = soon(600)
        engine.finish(started(engine, job, ahead), Ended(State.SUCCEEDED))
        engine.finish(started(engine, job, engine.now()), Ended(State.SUCCEEDED))
        engine.prune(0, -1.0, 0)
        assert [run.planned for run in engine.runs("job")] == [ahead]
        assert engine.claim([(job, Due(ahead, True))]) == []

    def test_what_was_backfilled_keeps_its_row_until_its_time_is_decided_on(self, engine: Engine) -> None:
        job = declared()
        since = engine.register([job])["job"].since
        planned = since + timedelta(microseconds=1)
        engine.backfill(job, [planned])
        engine.finish(take(engine, "a", job)[0], Ended(State.SUCCEEDED))
        assert engine.prune(0, -1.0, 0) == 0
        (run,) = engine.claim([(job, Due(planned, True))])
        assert (run.state, run.reason) == (State.SKIPPED, "it was backfilled before")
        assert engine.prune(0, -1.0, 0) == 2

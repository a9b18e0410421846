"""What every engine promises; each is asked the same."""

from __future__ import annotations

import dataclasses
import sqlite3
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from duck.exceptions import StoreError
from duck.services.automations.due import Due, was_missed
from duck.services.automations.engine import Ended, Engine, Printed
from duck.services.automations.engines.local import LocalEngine
from duck.services.automations.engines.local_rows import SCHEMA
from duck.services.automations.run import Cause, Run, State
from duck.services.mounts import Mounts
from tests.automation_stores import Open, declared, soon, started, take


class TestClaims:
    def test_a_planned_time_is_won_once(self, store: Open) -> None:
        first, second, job, planned = store(), store(), declared(), soon()
        first.register([job])
        (won,) = first.claim([(job, Due(planned, True, missed=3))])
        assert (won.name, won.planned, won.state, won.missed) == ("job", planned, State.QUEUED, 3)
        assert second.claim([(job, Due(planned, True))]) == []
        assert first.claim([(job, Due(planned, True))]) == []

    def test_of_many_who_claim_at_once_one_wins_each_time(self, store: Open) -> None:
        job = declared(overlap="allow")
        store().register([job])
        times = [soon(number) for number in range(1, 41)]
        won: list[datetime] = []
        errors: list[Exception] = []

        def node() -> None:
            try:
                engine = store.make()
                for planned in times:
                    won.extend(run.planned for run in engine.claim([(job, Due(planned, True))]))
                engine.close()
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=node) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert sorted(won) == times

    def test_what_was_decided_on_and_forgotten_is_not_claimed_again(self, engine: Engine) -> None:
        job = declared()
        engine.register([job])
        planned = datetime.now(UTC)
        run = started(engine, job, planned)
        engine.finish(run, Ended(State.SUCCEEDED))
        assert engine.prune(0, -1.0) == 1
        assert engine.claim([(job, Due(planned, True))]) == []

    def test_a_revision_that_was_replaced_claims_nothing(self, engine: Engine) -> None:
        old, new = declared(), declared(every="2h")
        engine.register([old])
        engine.register([new])
        assert engine.claim([(old, Due(soon(), True))]) == []
        assert len(engine.claim([(new, Due(soon(), True))])) == 1

    def test_what_is_passed_over_has_a_row_that_says_why(self, engine: Engine) -> None:
        job = declared()
        engine.register([job])
        engine.claim([(job, Due(soon(), False, "missed by 5 min"))])
        (run,) = engine.runs("job")
        assert (run.state, run.reason) == (State.SKIPPED, "missed by 5 min")
        assert take(engine, "a", job) == []

    def test_a_new_automation_plans_from_now_on(self, engine: Engine) -> None:
        job = declared()
        before = engine.now()
        standing = engine.register([job])["job"]
        assert before <= standing.since <= engine.now()
        assert engine.register([job])["job"].since == standing.since
        assert engine.register([declared(every="2h")])["job"].since > standing.since

    def test_a_clock_that_was_ahead_and_was_put_back_loses_and_doubles_nothing(self, engine: Engine) -> None:
        job = declared(overlap="allow")
        engine.register([job])
        ahead, between = soon(600), soon(5)
        engine.claim([(job, Due(ahead, True))])
        assert len(engine.claim([(job, Due(between, True))])) == 1
        assert engine.claim([(job, Due(between, True))]) == []
        assert engine.claim([(job, Due(ahead, True))]) == []


class TestRuns:
    def test_a_run_goes_its_way(self, engine: Engine) -> None:
        job = declared()
        engine.register([job])
        run = started(engine, job, soon())
        assert (run.state, run.node, run.attempt) == (State.RUNNING, "a", 1)
        assert run.started is not None and run.ended is None
        assert take(engine, "b", job) == []
        assert engine.finish(run, Ended(State.FAILED, "exit code 2", 2, "no such table\n"))
        after = engine.run(run.id)
        assert after is not None
        assert (after.state, after.reason, after.code, after.output) == (
            State.FAILED,
            "exit code 2",
            2,
            "no such table\n",
        )
        assert after.ended is not None
        assert not engine.finish(run, Ended(State.SUCCEEDED))

    def test_it_is_tried_again_when_that_was_said_with_the_same_key(self, engine: Engine) -> None:
        job = declared(retry=1)
        engine.register([job])
        run = started(engine, job, soon())
        engine.finish(run, Ended(State.FAILED, "exit code 1", 1, retry_at=engine.now() + timedelta(hours=1)))
        assert take(engine, "a", job) == []
        run = started(engine, declared("other"), soon()) if engine.register([declared("other")]) else run
        again = engine.runs("job", state=State.QUEUED)[0]
        assert again.reason == "exit code 1" and again.attempt == 1

    def test_a_retry_that_is_due_is_taken_as_the_next_attempt(self, engine: Engine) -> None:
        job = declared(retry=1)
        engine.register([job])
        run = started(engine, job, soon())
        engine.finish(run, Ended(State.FAILED, retry_at=engine.now()))
        (again,) = take(engine, "b", job)
        assert (again.id, again.attempt, again.key, again.node) == (run.id, 2, run.key, "b")
        assert not engine.finish(run, Ended(State.SUCCEEDED)), "the first attempt has nothing to say any more"

    def test_an_attempt_that_was_none_is_taken_again_as_the_same(self, engine: Engine) -> None:
        job = declared()
        engine.register([job])
        run = started(engine, job, soon())
        assert engine.finish(run, Ended(State.QUEUED, "nobody to send it to", retry_at=engine.now(), counts=False))
        waits = engine.run(run.id)
        assert waits is not None and (waits.state, waits.reason) == (State.QUEUED, "nobody to send it to")
        (again,) = take(engine, "b", job)
        assert (again.id, again.attempt, again.key) == (run.id, 1, run.key)
        assert engine.finish(again, Ended(State.SUCCEEDED))

    def test_what_is_no_automation_of_this_node_is_left(self, engine: Engine) -> None:
        job = declared()
        engine.register([job])
        engine.claim([(job, Due(soon(), True))])
        assert take(engine, "a", declared("another")) == []

    def test_no_more_are_taken_than_wanted(self, engine: Engine) -> None:
        jobs = [declared(f"job{number}") for number in range(5)]
        engine.register(jobs)
        engine.claim([(job, Due(soon(), True)) for job in jobs])
        assert len(take(engine, "a", *jobs, room=2)) == 2
        assert take(engine, "a", *jobs, room=0) == []
        assert len(take(engine, "b", *jobs)) == 3

    def test_by_hand_there_may_be_many_at_one_moment(self, engine: Engine) -> None:
        job = declared(overlap="allow")
        engine.register([job])
        moment = engine.now()
        runs = [engine.enqueue(job, moment, Cause.HAND, event='{"by": "ada"}') for _ in range(2)]
        assert runs[0].id != runs[1].id and runs[0].key != runs[1].key
        assert runs[0].event == '{"by": "ada"}'

    def test_for_one_occasion_there_is_one_run_of_each_automation_and_node(self, store: Open) -> None:
        engine, second, job, other = store(), store(), declared(overlap="allow"), declared("other", overlap="allow")
        engine.register([job, other])
        occasion = "17-1-0" * 50
        first = engine.enqueue(job, soon(1), Cause.EVENT, '{"a": 1}', occasion=occasion)
        for each in (engine, second):
            assert each.enqueue(job, soon(2), Cause.EVENT, '{"a": 2}', occasion=occasion) == first
        made = [
            engine.enqueue(job, soon(1), Cause.EVENT, occasion=occasion, node="b"),
            engine.enqueue(other, soon(1), Cause.EVENT, occasion=occasion),
            engine.enqueue(job, soon(1), Cause.EVENT, occasion="18-1-0"),
            *(engine.enqueue(job, soon(1), Cause.EVENT) for _ in range(2)),
        ]
        assert len({first.id, *(run.id for run in made)}) == 6
        run = take(engine, "a", job, room=1)[0]
        assert run.id == first.id
        engine.finish(run, Ended(State.SUCCEEDED))
        again = second.enqueue(job, soon(1), Cause.EVENT, occasion=occasion)
        assert (again.id, again.state) == (first.id, State.SUCCEEDED), "it is not forgotten with its end"

    def test_what_was_passed_over_for_an_occasion_is_not_queued_for_it_later(self, engine: Engine) -> None:
        job = declared(overlap="skip")
        engine.register([job])
        run = started(engine, job, soon(1))
        assert engine.enqueue(job, soon(2), Cause.EVENT, occasion="x").state is State.SKIPPED
        engine.finish(run, Ended(State.SUCCEEDED))
        assert engine.enqueue(job, soon(2), Cause.EVENT, occasion="x").state is State.SKIPPED


class TestOverlap:
    @pytest.mark.parametrize(
        ("overlap", "states"),
        [
            ("skip", ["running", "skipped", "skipped"]),
            ("queue_one", ["running", "queued", "skipped"]),
            ("queue_all", ["running", "queued", "queued"]),
            ("allow", ["running", "queued", "queued"]),
            ("replace", ["running", "cancelled", "queued"]),
        ],
    )
    def test_what_comes_while_one_runs(self, engine: Engine, overlap: str, states: list[str]) -> None:
        job = declared(overlap=overlap)
        engine.register([job])
        run = started(engine, job, soon(1))
        engine.claim([(job, Due(soon(2), True))])
        engine.claim([(job, Due(soon(3), True))])
        found = list(reversed(engine.runs("job")))
        assert [each.state for each in found] == states
        assert engine.beat("a", [run.id]) == ({run.id} if overlap == "replace" else set())
        assert len(take(engine, "b", job)) == (2 if overlap == "allow" else 0)
        engine.finish(run, Ended(State.SUCCEEDED))
        assert len(take(engine, "b", job)) == (0 if overlap in ("skip", "allow") else 1)

    def test_why_it_was_skipped_is_told(self, engine: Engine) -> None:
        job = declared()
        engine.register([job])
        started(engine, job, soon(1))
        (skipped,) = engine.claim([(job, Due(soon(2), True))])
        assert (skipped.state, skipped.reason) == (State.SKIPPED, "the run before has not ended")


class TestSilence:
    def test_a_run_of_a_silent_node_is_lost(self, engine: Engine) -> None:
        job = declared()
        engine.register([job])
        run = started(engine, job, soon())
        assert engine.give_up(60.0, {"job": job}) == []
        (lost,) = engine.give_up(-1.0, {"job": job})
        assert (lost.id, lost.state, lost.reason) == (run.id, State.LOST, "its node a fell silent")
        assert engine.beat("a", [run.id]) == {run.id}, "what was given up is to end where it still runs"
        assert not engine.finish(run, Ended(State.SUCCEEDED))
        assert engine.run(run.id) == lost

    def test_or_it_is_tried_again_elsewhere_where_that_was_said(self, engine: Engine) -> None:
        job = declared(on_crash="retry", backoff="1ms")
        engine.register([job])
        run = started(engine, job, soon())
        (again,) = engine.give_up(-1.0, {"job": job})
        assert again.state == State.QUEUED
        deadline = engine.now() + timedelta(seconds=5)
        taken: list[Run] = []
        while not taken and engine.now() < deadline:
            taken = take(engine, "b", job)
        assert (taken[0].id, taken[0].attempt, taken[0].key) == (run.id, 2, run.key)

    def test_one_that_ends_each_node_that_takes_it_is_not_tried_for_ever(self, engine: Engine) -> None:
        job = declared(on_crash="retry", backoff="1ms")
        engine.register([job])
        started(engine, job, soon())
        for attempt in range(1, 5):
            (given_up,) = engine.give_up(-1.0, {"job": job})
            assert given_up.attempt == attempt
            deadline = engine.now() + timedelta(seconds=5)
            while attempt < 4 and not take(engine, "b", job):
                assert engine.now() < deadline
        assert given_up.state is State.LOST
        assert given_up.reason == "its node b fell silent; this was attempt 4, and the last one"

    def test_a_beat_keeps_it(self, engine: Engine) -> None:
        job = declared()
        engine.register([job])
        run = started(engine, job, soon())
        assert engine.beat("a", [run.id]) == set()
        assert engine.beat("b", [run.id]) == {run.id}, "it is another node's"
        assert engine.give_up(30.0, {"job": job}) == []


class TestEachNode:
    """What runs on every node: unique by it, too."""

    def test_a_planned_time_is_won_once_by_each(self, store: Open) -> None:
        first, second, job, planned = store(), store(), declared(run_on="each"), soon()
        first.register([job])
        (won,) = first.claim([(job, Due(planned, True))], "a")
        assert (won.for_node, won.state) == ("a", State.QUEUED)
        (other,) = second.claim([(job, Due(planned, True))], "b")
        assert other.for_node == "b" and other.key != won.key
        assert first.claim([(job, Due(planned, True))], "a") == [] == second.claim([(job, Due(planned, True))], "b")

    def test_only_that_node_takes_it_and_no_other_is_in_its_way(self, engine: Engine) -> None:
        job = declared(run_on="each")
        engine.register([job])
        for node in ("a", "b"):
            engine.claim([(job, Due(soon(), True))], node)
        (mine,) = take(engine, "a", job)
        (other,) = take(engine, "b", job)
        assert (mine.for_node, mine.node, other.for_node, other.node) == ("a", "a", "b", "b")
        engine.finish(other, Ended(State.SUCCEEDED))
        states = {node: engine.claim([(job, Due(soon(2), True))], node)[0].state for node in ("a", "b")}
        assert states == {"a": State.SKIPPED, "b": State.QUEUED}, "overlaps are each node's own"

    def test_what_replaces_ends_the_run_of_its_own_node(self, engine: Engine) -> None:
        job = declared(run_on="each", overlap="replace")
        engine.register([job])
        runs = {}
        for node in ("a", "b"):
            engine.claim([(job, Due(soon(), True))], node)
            (runs[node],) = take(engine, node, job)
        engine.claim([(job, Due(soon(2), True))], "a")
        assert engine.beat("a", [runs["a"].id]) == {runs["a"].id}
        assert engine.beat("b", [runs["b"].id]) == set()

    def test_one_of_a_time_that_another_has_had_is_not_passed_over(self, engine: Engine) -> None:
        """The clock of the first has been a little ahead, or the second was slow."""
        job = declared(run_on="each", overlap="allow")
        since = engine.register([job])["job"].since
        planned = datetime.now(UTC)
        assert len(engine.claim([(job, Due(planned, True))], "a")) == 1
        assert len(engine.claim([(job, Due(planned - timedelta(seconds=1), True))], "b")) == 1
        assert engine.standings()["job"].since == since

    def test_for_one_node_by_hand(self, engine: Engine) -> None:
        job = declared(run_on="each")
        engine.register([job])
        run = engine.enqueue(job, engine.now(), Cause.HAND, node="b")
        assert run.for_node == "b"
        assert take(engine, "a", job) == []
        assert [each.id for each in take(engine, "b", job)] == [run.id]

    def test_who_is_there_is_known_to_all(self, store: Open) -> None:
        first, second = store(), store()
        assert first.nodes(60.0) == []
        first.join("b")
        second.join("a")
        first.join("b")
        assert first.nodes(60.0) == second.nodes(60.0)
        assert [node.name for node in first.nodes(60.0)] == ["a", "b"]
        assert first.nodes(-1.0) == []

    def test_what_waits_for_a_node_that_has_gone_is_lost_and_so_is_what_ran_there(self, engine: Engine) -> None:
        job = declared(run_on="each", on_crash="retry", overlap="allow")
        engine.register([job])
        engine.join("a")
        engine.claim([(job, Due(soon(1), True))], "a")
        (running,) = take(engine, "a", job)
        engine.claim([(job, Due(soon(2), True))], "a")
        assert engine.give_up(60.0, {"job": job}) == []
        lost = engine.give_up(-1.0, {"job": job})
        assert [(each.state, each.reason) for each in lost] == [(State.LOST, "its node a fell silent")] * 2
        assert running.id in {each.id for each in lost}


class TestSteering:
    def test_a_queued_run_is_cancelled_at_once_a_running_one_is_asked(self, engine: Engine) -> None:
        job = declared(overlap="queue_all")
        engine.register([job])
        run = started(engine, job, soon(1))
        (queued,) = engine.claim([(job, Due(soon(2), True))])
        assert engine.cancel(queued.id) and engine.cancel(run.id)
        assert [each.state for each in engine.runs("job")] == [State.CANCELLED, State.RUNNING]
        assert engine.beat("a", [run.id]) == {run.id}
        engine.finish(run, Ended(State.CANCELLED))
        assert not engine.cancel(run.id) and not engine.cancel(12345)

    def test_what_is_to_end_is_not_tried_again(self, engine: Engine) -> None:
        job = declared(overlap="allow", on_crash="retry", retry=3)
        engine.register([job])
        failed, silent = started(engine, job, soon(1)), started(engine, job, soon(2))
        for run in (failed, silent):
            engine.cancel(run.id)
        assert engine.finish(failed, Ended(State.QUEUED, "exit code 1", 1, retry_at=engine.now()))
        assert engine.give_up(-1.0, {"job": job}) == [engine.run(silent.id)]
        states = {run.id: run.state for run in engine.runs("job")}
        assert states == {failed.id: State.CANCELLED, silent.id: State.LOST}

    def test_a_pause_is_kept_and_what_was_planned_meanwhile_is_passed_over(self, store: Open) -> None:
        engine, job = store(), declared()
        since = engine.register([job])["job"].since
        until = datetime(2030, 1, 1, tzinfo=UTC)
        engine.pause("job", until)
        assert store().standings()["job"].paused_until == until
        assert store().paused() == {"job": until}
        engine.pause("job", None)
        found = engine.standings()["job"].paused_until
        assert found is not None and found.year == 9999
        engine.resume("job")
        standing = engine.standings()["job"]
        assert standing.paused_until is None and standing.since > since and engine.paused() == {}

    def test_history_is_read_by_pages(self, engine: Engine) -> None:
        job = declared(overlap="allow")
        engine.register([job])
        engine.claim([(job, Due(soon(number), True)) for number in range(1, 6)])
        first = engine.runs("job", limit=2)
        second = engine.runs("job", limit=2, before=first[-1].id)
        assert [run.id for run in first + second] == [5, 4, 3, 2]
        assert engine.runs("nobody") == [] and engine.run(99) is None

    def test_old_runs_are_forgotten_but_for_the_latest(self, engine: Engine) -> None:
        job = declared(overlap="allow")
        engine.register([job])
        for _ in range(5):
            engine.finish(started(engine, job, engine.now()), Ended(State.SUCCEEDED))
        engine.claim([(job, Due(engine.now(), True))])
        assert engine.prune(2, 3600.0) == 0
        assert engine.prune(2, -1.0) == 4
        assert [run.state for run in engine.runs("job")] == [State.QUEUED, State.SUCCEEDED]


class TestBackfill:
    def test_each_time_is_queued_once_and_has_the_key_of_its_planned_run(self, store: Open) -> None:
        first, second, job = store(), store(), declared()
        first.register([job])
        times = [soon(-number) for number in (30, 20, 10)]
        queued = first.backfill(job, times[:2])
        assert [(run.planned, run.cause, run.state) for run in queued] == [
            (each, Cause.BACKFILL, State.QUEUED) for each in times[:2]
        ]
        assert queued[0].key == f"job:{times[0].isoformat().replace('+00:00', 'Z')}"
        assert [run.planned for run in second.backfill(job, times)] == times[2:]
        assert second.backfill(job, times) == []

    def test_what_has_run_waits_or_runs_is_left_and_what_failed_or_was_skipped_is_not(self, engine: Engine) -> None:
        job = declared(overlap="allow")
        engine.register([job])
        times = [soon(number) for number in range(1, 6)]
        engine.finish(started(engine, job, times[0]), Ended(State.SUCCEEDED))
        engine.finish(started(engine, job, times[1]), Ended(State.FAILED))
        engine.claim([(job, Due(times[2], False, "missed by 5 min"))])
        started(engine, job, times[3])
        engine.claim([(job, Due(times[4], True))])
        assert [run.planned for run in engine.backfill(job, times)] == times[1:3]

    def test_a_claim_that_comes_later_is_skipped(self, engine: Engine) -> None:
        job = declared()
        engine.register([job])
        planned = soon()
        engine.backfill(job, [planned])
        (run,) = engine.claim([(job, Due(planned, True))])
        assert (run.state, run.reason) == (State.SKIPPED, "it was backfilled before")

    def test_they_run_one_after_the_other_behind_what_is_planned(self, engine: Engine) -> None:
        job = declared()
        engine.register([job])
        old = engine.backfill(job, [soon(-30), soon(-20)])
        (run,) = take(engine, "a", job)
        assert run.id == old[0].id
        (planned,) = engine.claim([(job, Due(soon(), True))])
        assert planned.state is State.QUEUED, "what is backfilled keeps nothing from running"
        assert take(engine, "a", job) == []
        engine.finish(run, Ended(State.SUCCEEDED))
        assert [each.id for each in take(engine, "a", job)] == [planned.id]

    def test_a_newer_run_replaces_none_of_them(self, engine: Engine) -> None:
        job = declared(overlap="replace")
        engine.register([job])
        (queued,) = engine.backfill(job, [soon(-30)])
        engine.claim([(job, Due(soon(), True))])
        found = engine.run(queued.id)
        assert found is not None and found.state is State.QUEUED


class TestNodes:
    def test_what_is_known_of_one_until_it_leaves(self, store: Open) -> None:
        store().join("a", ahead_s=-1.5, takes_each=False)
        engine = store()
        (node,) = engine.nodes(60.0)
        assert (node.name, node.ahead_s, node.takes_each) == ("a", -1.5, False)
        assert abs((engine.now() - node.beat).total_seconds()) < 30.0
        engine.join("a")
        engine.join("b")
        first, second = engine.nodes(60.0)
        assert (first.name, first.ahead_s, first.takes_each, second.name) == ("a", 0.0, True, "b")
        engine.leave("a")
        assert [each.name for each in store().nodes(60.0)] == ["b"]

    def test_one_of_all_is_the_first_to_say_something(self, store: Open) -> None:
        assert store().once("nightly failed")
        assert not store().once("nightly failed")
        assert store().once("nightly recovered")


class TestOutput:
    def test_it_is_there_while_the_run_goes_on(self, engine: Engine) -> None:
        job = declared()
        engine.register([job])
        run = started(engine, job, soon())
        engine.beat("a", [run.id], {run.id: Printed("one\n", 4)})
        found = engine.run(run.id)
        assert found is not None and (found.output, found.printed, found.state) == ("one\n", 4, State.RUNNING)
        engine.beat("b", [run.id], {run.id: Printed("of another", 10)})
        engine.finish(run, Ended(State.SUCCEEDED, output="one\ntwo\n", printed=8))
        found = engine.run(run.id)
        assert found is not None and (found.output, found.printed) == ("one\ntwo\n", 8)

    def test_what_no_database_takes_as_it_is_ends_the_run_all_the_same(self, engine: Engine) -> None:
        job = declared()
        engine.register([job])
        run = started(engine, job, soon())
        text = "a\udcffb\0c"  # as of a file's name, and of bytes
        assert engine.beat("a", [run.id], {run.id: Printed(text, 5)}) == set()
        assert engine.finish(run, Ended(State.FAILED, f"FileNotFoundError: {text}", output=text, printed=5))
        found = engine.run(run.id)
        assert found is not None and (found.state, found.output) == (State.FAILED, "a?b\ufffdc")
        assert found.reason == "FileNotFoundError: a?b\ufffdc"


class TestStale:
    def test_what_waited_beyond_its_window_is_skipped_and_told(self, engine: Engine) -> None:
        job = declared(within="5m", overlap="allow")
        engine.register([job])
        engine.claim([(job, Due(soon(1), True))])
        # Days early by its jitter: as if it had waited for so long.
        (skipped,) = take(engine, "a", dataclasses.replace(job, jitter_s=-1e8))
        assert (skipped.state, skipped.reason.endswith("which is more than `within`")) == (State.SKIPPED, True)
        assert skipped.ended is not None and was_missed(skipped)
        assert take(engine, "a", job) == []

    def test_what_no_schedule_planned_may_wait_and_so_may_another_try(self, engine: Engine) -> None:
        job = declared(within="5m", overlap="allow", retry=1)
        late = dataclasses.replace(job, jitter_s=-1e8)
        engine.register([job])
        run = started(engine, job, soon(1))
        engine.finish(run, Ended(State.FAILED, retry_at=engine.now()))
        engine.enqueue(job, soon(2), Cause.HAND)
        engine.backfill(job, [soon(3)])
        assert [each.state for each in take(engine, "a", late)] == [State.RUNNING] * 3


class TestTheFile:
    def test_one_of_an_older_duck_goes_on(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        old = sqlite3.connect(path, isolation_level=None)
        for statement in SCHEMA[0].split(";"):
            old.execute(statement)
        old.execute("PRAGMA user_version=1")
        old.execute(
            "INSERT INTO run (name, revision, planned, cause, state, not_before, created)"
            " VALUES ('job', 'r', 5, 'schedule', 'queued', 5, 5)"
        )
        old.close()
        engine = LocalEngine(path)
        (run,) = take(engine, "a", declared())
        assert (run.name, run.for_node) == ("job", "")
        engine.close()

    def test_what_is_asked_each_second_reads_no_history(self, tmp_path: Path) -> None:
        engine, job = LocalEngine(tmp_path / "x"), declared()
        engine.register([job])
        asked: list[str] = []
        engine._db.set_trace_callback(asked.append)
        engine.take("a", {}, {"process": 1})
        engine.give_up(30.0, {})
        engine.claim([(job, Due(soon(), True))])
        engine._db.set_trace_callback(None)
        reads = [each for each in asked if each.startswith("SELECT")]
        plans = [row["detail"] for each in reads for row in engine._db.execute(f"EXPLAIN QUERY PLAN {each}")]
        assert len(reads) >= 5
        assert not [plan for plan in plans if " run" in plan and "INDEX" not in plan and "PRIMARY KEY" not in plan]
        assert not [plan for plan in plans if "run_of_name" in plan], "that one holds all that was"
        engine.close()

    def test_it_is_its_owners_alone(self, tmp_path: Path) -> None:
        LocalEngine(tmp_path / "store").register([declared()])
        for path in tmp_path.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path

    def test_one_that_cannot_be_opened_is_a_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=r"at .* cannot be opened: Is a directory; .* --state-dir\."):
            LocalEngine(tmp_path)

    @pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs", "virtiofs"])
    def test_on_a_network_share_it_is_refused_with_the_reason(self, tmp_path: Path, kind: str) -> None:
        mounts = Mounts(f"/dev/vda / ext4 rw 0 0\nserver:/x {tmp_path} {kind} rw 0 0\n")
        with pytest.raises(StoreError, match=rf"lies on a network share \({kind}\), .* with --state-dir\."):
            LocalEngine(tmp_path / "store", mounts)
        assert not (tmp_path / "store").exists()

    def test_one_of_the_version_before_is_brought_up_to_date_with_its_runs(self, tmp_path: Path) -> None:
        db = sqlite3.connect(tmp_path / "x")
        for statement in SCHEMA[0].split(";"):
            db.execute(statement)
        db.execute("PRAGMA user_version=1")
        db.execute(
            "INSERT INTO run (name, revision, planned, cause, state, not_before, created)"
            " VALUES ('job', 'r', 0, 'schedule', 'succeeded', 0, 0)"
        )
        db.commit()
        db.close()
        engine = LocalEngine(tmp_path / "x")
        (run,) = engine.runs()
        assert (run.name, run.printed, engine.nodes(60.0)) == ("job", 0, [])
        engine.close()

    def test_one_that_is_none_is_a_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_text("something else, long enough to be read as a header of a file" * 20)
        with pytest.raises(StoreError, match="cannot be opened: file is not a database"):
            LocalEngine(tmp_path / "x")

    def test_one_of_a_newer_duck_is_left_alone(self, tmp_path: Path) -> None:
        engine = LocalEngine(tmp_path / "x")
        engine._db.execute("PRAGMA user_version=99")
        engine.close()
        with pytest.raises(StoreError, match="made by a newer Duck"):
            LocalEngine(tmp_path / "x")

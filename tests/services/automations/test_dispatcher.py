"""The dispatcher, on a real store and a real inbox; a stand-in carries runs out, for what they do is another's."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from duck.automation import any_of, on
from duck.exceptions import ProjectError, StoreError
from duck.services.automations import audience
from duck.services.automations import dispatcher as module
from duck.services.automations.declaration import Declaration, read_declaration
from duck.services.automations.dispatcher import Dispatcher
from duck.services.automations.engine import Ended, Printed
from duck.services.automations.engine import Node as Seen
from duck.services.automations.engines.local import LocalEngine
from duck.services.automations.event_spool import EventSpool
from duck.services.automations.run import Cause, Run, State
from tests.dispatcher_node import Node, Watching, declared
from tests.waiting import DEADLINE_S


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path / "store", "a")
    yield made
    made.inbox.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path / "store", "b")
    yield made
    made.inbox.close()


def names(nodes: list[Seen]) -> list[str]:
    return [node.name for node in nodes]


def outcome_of(name: str, **details: str) -> dict[str, Any]:
    return on("automation", name=name, **details).table


def test_what_is_due_starts_in_its_second(node: Node) -> None:
    node.begin(declared(every="1s"))
    node.serve(lambda: node.hands.started)
    run = node.hands.started[0]
    assert 0.0 <= node.hands.at[0] - run.planned.timestamp() < 1.0
    assert run.planned.microsecond == 0 and run.node == "a"


def test_however_many_runs_end_it_looks_once_a_second(node: Node) -> None:
    job = declared(overlap="allow")
    node.begin(job)
    for _ in range(5):
        node.engine.enqueue(job, node.engine.now(), Cause.HAND)
    node.turns()
    for run in node.hands.started:
        node.hands.end(run, Ended(State.SUCCEEDED))
    node.serve(lambda: len(node.over) == 5)
    node.turns()
    waiting = [timer for _, _, timer in node.inbox._timers if timer._callback is not None]
    assert len(waiting) == 1


def test_two_nodes_share_the_times_and_none_runs_twice(node: Node, other: Node) -> None:
    job = declared(every="1s", overlap="allow")
    node.begin(job)
    other.begin(job)
    deadline = time.monotonic() + 20.0
    while len(node.hands.started) + len(other.hands.started) < 3 and time.monotonic() < deadline:
        node.inbox.run_once(0.01)
        other.inbox.run_once(0.01)
    planned = [run.planned for run in node.hands.started + other.hands.started]
    assert len(planned) >= 3 and len(set(planned)) == len(planned)


def test_after_an_absence_the_latest_runs_and_says_how_many_it_stands_for(node: Node) -> None:
    job = declared(every="1h")
    node.dispatcher.declare([job])
    node.engine.ahead = timedelta(hours=3)
    node.begin(job)
    node.serve(lambda: node.hands.started)
    assert node.hands.started[0].missed == 2
    assert [run.state for run in node.engine.runs("job")] == [State.RUNNING, State.SKIPPED, State.SKIPPED]


def test_a_clock_put_back_runs_nothing_again_and_goes_on(node: Node) -> None:
    job = declared(every="1h", overlap="allow")
    node.engine.ahead = timedelta(hours=2)
    node.begin(job)
    node.engine.ahead = timedelta(hours=3)
    node.turns()
    assert len(node.hands.started) == 1
    node.engine.ahead = timedelta()
    node.begin(job)
    node.turns()
    assert len(node.hands.started) == 1
    node.engine.ahead = timedelta(hours=1)
    node.turns()
    assert len(node.hands.started) == 2
    node.engine.ahead = timedelta(hours=3)
    node.turns()
    planned = [run.planned for run in node.engine.runs("job")]
    assert len(set(planned)) == len(planned) == 3


class TestEnds:
    def test_how_it_ended_is_kept_and_told(self, node: Node) -> None:
        node.begin(declared(every="1s"))
        node.serve(lambda: node.hands.started)
        run = node.hands.started[0]
        node.hands.end(run, Ended(State.FAILED, "exit code 3", 3, "oh"))
        node.serve(lambda: node.over)
        assert (node.over[0].id, node.over[0].state, node.over[0].code) == (run.id, State.FAILED, 3)

    def test_one_that_failed_is_tried_again_as_often_as_was_said(self, node: Node) -> None:
        job = declared(retry=1, backoff="1ms")
        node.begin(job)
        node.engine.enqueue(job, datetime.now(UTC), Cause.HAND)
        for attempt in (1, 2):
            node.serve(lambda attempt=attempt: len(node.hands.started) == attempt)  # type: ignore[misc]
            node.hands.end(node.hands.started[-1], Ended(State.FAILED, "no", 3, "the end", printed=30_000))
        node.serve(lambda: node.over)
        assert [(run.code, run.output, run.printed) for run in node.hands.started] == [
            (None, "", 0),
            (3, "the end", 30_000),
        ], "what the first try has printed is there until the second has printed more"
        assert [run.attempt for run in node.hands.started] == [1, 2]
        assert len({run.key for run in node.hands.started}) == 1
        assert node.over[0].attempt == 2

    def test_one_that_was_lost_elsewhere_is_tried_again_where_that_was_said(self, node: Node) -> None:
        job, other = declared(on_crash="retry", backoff="1ms"), declared("other")
        node.begin(job, other)
        node.engine.enqueue(job, datetime.now(UTC), Cause.HAND)
        node.engine.enqueue(other, datetime.now(UTC), Cause.HAND)
        node.serve(lambda: len(node.hands.started) == 2)
        for run in tuple(node.hands.started):
            node.hands.end(run, Ended(State.LOST, "its worker fell silent"))
        node.serve(lambda: len(node.hands.started) == 3)
        assert (node.hands.started[2].name, node.hands.started[2].attempt) == ("job", 2)
        assert [(run.name, run.state) for run in node.over] == [("other", State.LOST)]

    def test_but_not_for_ever(self, node: Node) -> None:
        job = declared(on_crash="retry", backoff="1ms")
        node.begin(job)
        node.engine.enqueue(job, datetime.now(UTC), Cause.HAND)
        for attempt in range(1, 5):
            node.serve(lambda attempt=attempt: len(node.hands.started) == attempt)
            node.hands.end(node.hands.started[-1], Ended(State.LOST, "its worker fell silent"))
        node.serve(lambda: node.over)
        assert [(run.attempt, run.state) for run in node.over] == [(4, State.LOST)]
        assert node.over[0].reason == "its worker fell silent; this was attempt 4, and the last one"

    def test_another_waits_for_its_outcome(self, node: Node) -> None:
        first = declared("first")
        after, alarm, always = (
            declared("after", **outcome_of("first")),
            declared("alarm", **outcome_of("first", outcome="failed")),
            declared("always", **outcome_of("first", outcome="ended")),
        )
        node.begin(first, after, alarm, always)
        for state, expected in ((State.SUCCEEDED, {"after", "always"}), (State.TIMED_OUT, {"alarm", "always"})):
            node.hands.started.clear()
            node.engine.enqueue(first, datetime.now(UTC), Cause.HAND)
            node.serve(lambda: node.hands.started)
            node.hands.end(node.hands.started[0], Ended(state))
            node.serve(lambda: len(node.hands.started) == 3)
            assert {run.name for run in node.hands.started[1:]} == expected
            for run in node.hands.started[1:]:
                node.hands.end(run, Ended(State.SUCCEEDED))

    def test_a_run_that_was_given_up_has_nothing_more_to_say(
        self, node: Node, other: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A machine that was asleep: another has given its run up, and what it did comes too late."""
        job = declared(on_crash="retry", backoff="1ms")
        node.begin(job)
        node.engine.enqueue(job, datetime.now(UTC), Cause.HAND)
        node.serve(lambda: node.hands.started)
        other.begin(job)
        other.wait(seconds=module.SILENT_S + 1)
        other.serve(lambda: other.hands.started)
        assert other.hands.started[0].attempt == 2
        node.engine.ahead = timedelta(seconds=module.BEAT_S + 1)
        node.turns()
        assert node.hands.cancelled == [node.hands.started[0].id]
        node.hands.end(node.hands.started[0], Ended(State.SUCCEEDED))
        node.turns()
        assert node.over == []
        assert node.engine.runs("job")[0].node == "b"


def test_what_is_due_does_not_wait_for_the_ends_of_many_others(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each end is a change that has to be on the disk."""
    monkeypatch.setattr(module, "_MOST_SAYING_S", 0.0)
    job = declared(overlap="allow")
    node.begin(job)
    for _ in range(5):
        node.engine.enqueue(job, datetime.now(UTC), Cause.HAND)
    node.serve(lambda: len(node.hands.started) == 5)
    said: list[int] = []
    finish = node.engine.finish
    monkeypatch.setattr(
        node.engine, "finish", lambda run, ended: [said.append(len(node.hands.started)), finish(run, ended)][1]
    )
    for run in tuple(node.hands.started):
        node.hands.end(run, Ended(State.SUCCEEDED))
    node.engine.enqueue(job, datetime.now(UTC), Cause.HAND)
    node.serve(lambda: len(said) == 5)
    assert said[-1] == 6, "the sixth started before the last end was kept"
    node.serve(lambda: len(node.watching.over) == 5)


class TestEvents:
    def test_what_waits_for_one_is_run(self, node: Node) -> None:
        node.begin(declared("a", on="start"), declared("b", on="start", enabled=False), declared("c"))
        node.dispatcher.happened("start", {}, '{"by": 7}')
        node.serve(lambda: node.hands.started)
        node.turns()
        assert [(run.name, run.cause, run.event) for run in node.hands.started] == [("a", Cause.EVENT, '{"by": 7}')]

    def test_what_others_have_kept_is_taken_and_told(self, tmp_path: Path) -> None:
        node = Node(tmp_path / "store", "a", events=EventSpool(tmp_path / "events"))
        spool = EventSpool(tmp_path / "events")
        node.begin(declared("sale", on="signal", name="shop.signals.paid"), declared("other", on="deploy"))
        kept = spool.put("signal", {"name": "shop.signals.paid"}, {"pk": 7})
        spool.put("signal", {"name": "shop.signals.refunded"}, {"pk": 8})
        node.serve(lambda: node.hands.started)
        node.turns()
        (run,) = node.hands.started
        assert (run.name, json.loads(run.event)) == ("sale", {"pk": 7, "id": kept})
        assert spool.waiting() == 0
        node.inbox.close()

    def test_while_the_store_is_away_they_wait(self, tmp_path: Path) -> None:
        node = Node(tmp_path / "store", "a", events=EventSpool(tmp_path / "events"))
        node.begin(declared("a", on="deploy"))
        node.engine.is_away = True
        node.dispatcher._events.put("deploy", {})  # type: ignore[union-attr]
        node.turns()
        assert node.hands.started == []
        node.engine.is_away = False
        node.serve(lambda: node.hands.started)
        node.inbox.close()

    @pytest.mark.parametrize("is_done", [False, True], ids=["refused", "answered late"])
    def test_one_that_the_store_fails_at_is_taken_again_and_runs_nothing_twice(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_done: bool
    ) -> None:
        """Two wait for it, and the store fails at the second; also where the next node takes it up."""
        nodes = [Node(tmp_path / "store", name, events=EventSpool(tmp_path / "events")) for name in "ab"]
        jobs = [declared(name, on="deploy", overlap="allow") for name in ("one", "two")]
        for node in nodes:
            node.dispatcher.declare(jobs)
        enqueue = nodes[0].engine.enqueue

        def fails(declaration: Declaration, *arguments: Any, **more: Any) -> Run:
            if declaration.name == "one" or is_done:
                made = enqueue(declaration, *arguments, **more)
            if declaration.name == "one":
                return made
            raise StoreError("The store has not answered.")

        monkeypatch.setattr(nodes[0].engine, "enqueue", fails)
        nodes[0].dispatcher._events.put("deploy", {}, is_durable=False)  # type: ignore[union-attr]
        for node in nodes:
            node.turns()
        assert sorted(run.name for run in nodes[0].engine.runs()) == ["one", "two"]
        assert nodes[0].dispatcher._events.waiting() == 0  # type: ignore[union-attr]
        for node in nodes:
            node.inbox.close()

    def test_one_that_the_store_refuses_for_ever_holds_up_neither_others_nor_runs(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_FIRST_AGAIN_S", 0.001)
        spool = EventSpool(tmp_path / "events")
        node = Node(tmp_path / "store", "a", events=spool)
        job = declared("each", on="deploy", overlap="allow")
        node.begin(job)
        enqueue = node.engine.enqueue
        bad = spool.put("deploy", {}, is_durable=False)
        for _ in range(2):
            spool.put("deploy", {}, is_durable=False)

        def refuses(*arguments: Any, **more: Any) -> Run:
            if more.get("occasion") == bad:
                raise StoreError("Incorrect string value.")
            return enqueue(*arguments, **more)

        monkeypatch.setattr(node.engine, "enqueue", refuses)
        node.serve(lambda: len(node.hands.started) == 2)
        assert spool.waiting() == 1, "it is kept, and tried again"
        assert node.dispatcher.status()["store"] == "reachable"
        node.inbox.close()

    def test_of_many_those_that_are_queued_are_done_with_though_the_store_fails_at_the_next(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One that fails each fourth time would never be through with ten."""
        monkeypatch.setattr(module, "_FIRST_AGAIN_S", 0.001)
        spool = EventSpool(tmp_path / "events")
        node = Node(tmp_path / "store", "a", room=100, events=spool)
        node.begin(declared("each", on="deploy", overlap="allow"))
        enqueue, asked = node.engine.enqueue, [0]
        for _ in range(10):
            spool.put("deploy", {}, is_durable=False)

        def flaky(*arguments: Any, **more: Any) -> Run:
            asked[0] += 1
            if asked[0] % 4 == 0:
                raise StoreError("The store is away.")
            return enqueue(*arguments, **more)

        monkeypatch.setattr(node.engine, "enqueue", flaky)
        node.serve(lambda: len(node.hands.started) == 10)
        assert asked[0] == 13
        node.inbox.close()

    def test_what_waits_for_either_outcome_of_a_run_runs_once_for_it(self, node: Node) -> None:
        first = declared("first")
        either = any_of(on("automation", name="first", outcome="ended"), on("automation", name="first"))
        node.begin(first, declared("after", **either.table, overlap="allow"))
        node.engine.enqueue(first, datetime.now(UTC), Cause.HAND)
        node.serve(lambda: node.hands.started)
        node.hands.end(node.hands.started[0], Ended(State.SUCCEEDED))
        node.serve(lambda: node.over)
        assert [run.name for run in node.engine.runs()] == ["after", "first"]

    def test_a_flood_is_taken_in_parts_and_no_planned_time_waits_for_it(self, tmp_path: Path) -> None:
        node = Node(tmp_path / "store", "a", room=1000, events=EventSpool(tmp_path / "events"))
        spool = EventSpool(tmp_path / "events")
        many = module._MOST_EVENTS + 10
        for _ in range(many):
            spool.put("deploy", {}, is_durable=False)
        node.begin(declared("each", on="deploy", overlap="allow"), declared("timed", every="1h"))
        node.engine.ahead = timedelta(hours=1)
        node.dispatcher.wake()
        node.inbox.run_once(0.0)
        assert {run.name for run in node.hands.started} == {"timed", "each"}
        assert spool.waiting() == 10
        node.serve(lambda: len(node.hands.started) == many + 1, within_s=10.0)
        node.inbox.close()

    def test_one_of_long_ago_runs_what_does_not_count_it_as_missed(
        self, node: Node, caplog: pytest.LogCaptureFixture
    ) -> None:
        """No node ran when it happened."""
        node.begin(declared("soon", on="deploy", within="1h"), declared("late", on="deploy", within="3h"))
        at = datetime.now(UTC) - timedelta(hours=2)
        node.dispatcher.happened("deploy", {}, at=at)
        node.turns()
        assert [(run.name, run.planned) for run in node.hands.started] == [("late", at)]
        assert "soon is not run for the event deploy of" in caplog.text

    def test_what_is_paused_is_run_by_none(self, node: Node) -> None:
        node.begin(declared("a", on="deploy"), declared("b", on="deploy"))
        node.engine.pause("a", None)
        node.engine.ahead = timedelta(seconds=module.BEAT_S + 1)
        node.turns()
        node.dispatcher.happened("deploy", {})
        node.turns()
        assert [run.name for run in node.hands.started] == ["b"]

    def test_what_a_run_has_led_to_starts_none_of_those_that_led_to_it(self, node: Node) -> None:
        """A job that saves what it waits for; and two that wait for each other."""
        node.begin(
            declared("first", on="signal", name="a.b", overlap="allow"),
            declared("second", on="signal", name="a.b", overlap="allow"),
        )
        node.dispatcher.happened("signal", {"name": "a.b"}, "{}", besides=["first"])
        node.turns()
        assert [run.name for run in node.hands.started] == ["second"]
        node.dispatcher.happened("signal", {"name": "a.b"}, "{}", besides=["first", "second"])
        node.turns()
        assert len(node.hands.started) == 1

    def test_an_outcome_tells_what_has_led_to_it(self, node: Node) -> None:
        first = declared("first", on="signal", name="a.b")
        node.begin(first, declared("after", **outcome_of("first")))
        node.engine.enqueue(first, datetime.now(UTC), Cause.EVENT, '{"by": ["zero"]}')
        node.serve(lambda: node.hands.started)
        run = node.hands.started[0]
        node.hands.end(run, Ended(State.SUCCEEDED))
        node.serve(lambda: len(node.hands.started) == 2)
        assert json.loads(node.hands.started[1].event) == {"run": run.id, "by": ["zero", "first"]}


class TestEachNode:
    def test_a_planned_time_runs_once_on_each(self, node: Node, other: Node) -> None:
        job = declared(every="1s", run_on="each", overlap="allow")
        node.begin(job)
        other.begin(job)
        deadline = time.monotonic() + 20.0
        while min(len(node.hands.started), len(other.hands.started)) < 2 and time.monotonic() < deadline:
            node.inbox.run_once(0.01)
            other.inbox.run_once(0.01)
        planned = [[run.planned for run in each.hands.started] for each in (node, other)]
        assert set(planned[0]) & set(planned[1])
        assert all(len(times) == len(set(times)) >= 2 for times in planned)
        assert {run.for_node for run in node.hands.started} == {"a"}

    def test_an_event_too_but_the_start_of_a_node_is_its_own(self, node: Node, other: Node) -> None:
        job = declared(**any_of(on("deploy"), on("start")).table, run_on="each", overlap="allow")
        node.begin(job)
        other.begin(job)
        node.dispatcher.happened("start", {}, node="a")
        node.dispatcher.happened("deploy", {})
        node.serve(lambda: len(node.hands.started) == 2)
        other.serve(lambda: other.hands.started)
        other.turns()
        assert (len(node.hands.started), len(other.hands.started)) == (2, 1)

    def test_declared_again_it_loses_no_time(self, node: Node) -> None:
        job = declared(every="1h", run_on="each", overlap="allow")
        node.begin(job)
        node.engine.ahead = timedelta(hours=1)
        node.begin(job)
        node.turns()
        assert len(node.hands.started) == 1
        node.begin(declared(every="2h", run_on="each", overlap="allow"))
        node.turns()
        assert len(node.hands.started) == 1

    def test_a_node_says_that_it_is_there_as_long_as_it_is(self, node: Node, other: Node) -> None:
        job = declared(run_on="each")
        node.begin(job)
        assert names(other.engine.nodes(5.0)) == ["a"]
        for seconds in range(0, 60, 5):
            node.engine.ahead = other.engine.ahead = timedelta(seconds=seconds)
            node.turns(1)
            assert names(other.engine.nodes(module.JOIN_S + 6.0)) == ["a"]
        node.begin(declared())
        node.engine.ahead = other.engine.ahead = timedelta(seconds=100)
        node.turns()
        assert [each.takes_each for each in other.engine.nodes(30.0)] == [False]


class TestSteering:
    def test_a_cancelled_run_is_asked_to_end(self, node: Node) -> None:
        job = declared()
        node.begin(job)
        node.engine.enqueue(job, datetime.now(UTC), Cause.HAND)
        node.serve(lambda: node.hands.started)
        node.engine.cancel(node.hands.started[0].id)
        node.engine.ahead = timedelta(seconds=module.BEAT_S + 1)
        node.turns()
        assert node.hands.cancelled == [node.hands.started[0].id]

    def test_what_is_paused_is_not_planned_and_resumes_with_what_comes_then(self, node: Node) -> None:
        job = declared(every="1h")
        node.begin(job)
        node.engine.pause("job", None)
        node.engine.ahead = timedelta(seconds=module.BEAT_S + 1)
        node.turns()
        node.engine.ahead = timedelta(hours=2)
        node.turns()
        assert node.engine.runs() == []
        node.engine.resume("job")
        node.engine.ahead = timedelta(hours=2, minutes=1)
        node.turns()
        assert node.engine.runs() == []
        node.engine.ahead = timedelta(hours=3, minutes=1)
        node.turns()
        assert len(node.hands.started) == 1 and node.hands.started[0].missed == 0

    def test_a_pause_ends_by_itself(self, node: Node) -> None:
        job = declared(every="1h")
        node.begin(job)
        node.engine.pause("job", node.engine.now() + timedelta(minutes=90))
        node.dispatcher.declare([job])
        for hours in (1, 2, 3):
            node.engine.ahead = timedelta(hours=hours)
            node.turns()
        assert [run.state for run in node.engine.runs("job")][-1] == State.RUNNING
        assert all(run.planned > datetime.now(UTC) + timedelta(minutes=85) for run in node.engine.runs("job"))

    def test_no_more_are_started_than_there_is_room_for(self, tmp_path: Path) -> None:
        node = Node(tmp_path / "store", "a", room=2)
        jobs = [declared(f"job{number}") for number in range(4)]
        node.begin(*jobs)
        for job in jobs:
            node.engine.enqueue(job, datetime.now(UTC), Cause.HAND)
        node.serve(lambda: len(node.hands.started) == 2)
        node.turns()
        assert len(node.hands.started) == 2
        node.hands.end(node.hands.started[0], Ended(State.SUCCEEDED))
        node.serve(lambda: len(node.hands.started) == 3)
        node.inbox.close()

    def test_what_is_for_nodes_with_a_tag_is_left_by_others(self, node: Node, tmp_path: Path) -> None:
        job = declared(run_on="mail")
        node.begin(job)
        node.engine.enqueue(job, datetime.now(UTC), Cause.HAND)
        node.turns()
        assert node.hands.started == []
        tagged = Node(tmp_path / "store", "b")
        tagged.dispatcher = Dispatcher(tagged.inbox, tagged.engine, tagged.hands, "b", tags=["mail"])
        tagged.begin(job)
        tagged.serve(lambda: tagged.hands.started)
        tagged.inbox.close()

    def test_one_that_is_not_enabled_is_not_planned(self, node: Node) -> None:
        node.begin(declared(every="1s", enabled=False))
        node.engine.ahead = timedelta(hours=1)
        node.turns()
        assert node.engine.runs() == []


class TestTheStoreAway:
    def test_planned_times_wait_and_ends_are_kept_until_it_is_back(
        self, node: Node, caplog: pytest.LogCaptureFixture
    ) -> None:
        job = declared(every="1h")
        node.begin(job)
        node.engine.enqueue(job, datetime.now(UTC), Cause.HAND)
        node.serve(lambda: node.hands.started)
        node.engine.is_away = True
        node.hands.end(node.hands.started[0], Ended(State.SUCCEEDED))
        node.turns()
        assert node.dispatcher.status()["store"] == "unreachable"
        assert caplog.text.count("The store is away.") == 1
        node.engine.is_away = False
        node.engine.ahead = timedelta(hours=1)
        node.turns()
        assert node.over[0].state == State.SUCCEEDED
        assert node.dispatcher.status()["store"] == "reachable"
        assert len(node.hands.started) == 2, "the time that came meanwhile runs"

    def test_who_could_not_reach_it_gives_others_the_time_to_say_that_they_live(self, node: Node, other: Node) -> None:
        job = declared()
        node.begin(job)
        node.engine.enqueue(job, datetime.now(UTC), Cause.HAND)
        node.serve(lambda: node.hands.started)
        (run,) = node.hands.started
        other.begin(job)
        other.engine.is_away = True
        other.turns()
        other.engine.is_away = False
        for seconds, state in ((31, State.RUNNING), (19, State.RUNNING), (12, State.LOST)):
            other.wait(seconds=seconds)
            found = other.engine.run(run.id)
            assert found is not None and found.state == state, seconds

    def test_an_end_is_told_to_those_that_wait_for_it_though_the_store_is_lost_meanwhile(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job, follower = declared(), declared("follower", **outcome_of("job"))
        node.begin(job, follower)
        node.engine.enqueue(job, datetime.now(UTC), Cause.HAND)
        node.serve(lambda: node.hands.started)

        def lost(*arguments: Any, **more: Any) -> None:
            monkeypatch.undo()
            raise StoreError("The store is away.")

        monkeypatch.setattr(node.engine, "enqueue", lost)
        node.hands.end(node.hands.started[0], Ended(State.SUCCEEDED))
        node.serve(lambda: len(node.hands.started) == 2)
        assert node.hands.started[1].name == "follower" and [run.name for run in node.over] == ["job"]


class TestFaults:
    def test_an_end_that_the_store_refuses_for_ever_holds_up_nothing(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_FIRST_AGAIN_S", 0.001)
        job = declared(overlap="allow")
        node.begin(job)
        for _ in range(2):
            node.engine.enqueue(job, datetime.now(UTC), Cause.HAND)
        node.serve(lambda: len(node.hands.started) == 2)
        bad, good = node.hands.started
        finish = node.engine.finish

        def refuses(run: Run, ended: Ended) -> bool:
            if run.id == bad.id:
                raise StoreError("Incorrect string value.")
            return finish(run, ended)

        monkeypatch.setattr(node.engine, "finish", refuses)
        node.hands.end(bad, Ended(State.SUCCEEDED))
        node.hands.end(good, Ended(State.SUCCEEDED))
        node.serve(lambda: node.over)
        assert [run.id for run in node.over] == [good.id]
        node.engine.enqueue(job, datetime.now(UTC), Cause.HAND)
        node.serve(lambda: len(node.hands.started) == 3)

    def test_a_turn_that_fails_is_not_the_last(
        self, node: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        job = declared()
        node.begin(job)

        def broken(*arguments: Any, **more: Any) -> list[Run]:
            monkeypatch.undo()
            raise UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed")

        monkeypatch.setattr(node.engine, "take", broken)
        node.engine.enqueue(job, datetime.now(UTC), Cause.HAND)
        node.serve(lambda: node.hands.started)
        assert "The dispatcher of automations failed; it goes on in" in caplog.text

    def test_history_that_cannot_be_forgotten_in_time_holds_nothing_up(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[int] = []

        def slow(*arguments: Any) -> None:
            asked.append(1)
            raise StoreError("The store has not answered.")

        monkeypatch.setattr(node.engine, "prune", slow)
        job = declared(overlap="allow")
        node.begin(job)
        for count in (1, 2):
            node.engine.enqueue(job, datetime.now(UTC), Cause.HAND)
            node.serve(lambda count=count: len(node.hands.started) == count)  # type: ignore[misc]
        assert asked == [1]

    def test_of_much_history_the_rest_is_forgotten_soon(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        pruned = iter((5000, 10, 10))
        left = [1, 2, 3]
        monkeypatch.setattr(node.engine, "prune", lambda *arguments: [next(pruned), left.pop()][0])
        node.begin(declared())
        node.turns()
        found = [len(left)]
        for minutes in (6, 6, 55):
            node.wait(minutes=minutes)
            found.append(len(left))
        assert found == [2, 1, 1, 0]

    def test_what_was_taken_is_started_though_the_store_is_lost_meanwhile(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gone, job = declared("gone"), declared()
        node.begin(gone, job)
        node.engine.enqueue(gone, datetime.now(UTC), Cause.HAND)
        node.engine.enqueue(job, datetime.now(UTC), Cause.HAND)
        taken = node.engine.take

        def late(*arguments: Any) -> list[Run]:
            runs = taken(*arguments)
            if runs:
                node.dispatcher._agenda.declared.pop("gone")  # as where the answer to an earlier turn comes now
            return runs

        def lost(*arguments: Any) -> bool:
            monkeypatch.undo()
            raise StoreError("The store is away.")

        monkeypatch.setattr(node.engine, "take", late)
        monkeypatch.setattr(node.engine, "finish", lost)
        node.serve(lambda: [run.name for run in node.hands.started] == ["job"])

    def test_a_run_that_cannot_be_started_has_failed_and_the_next_one_starts(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = declared(overlap="allow")
        node.begin(job)

        def refused(*arguments: Any) -> None:
            monkeypatch.undo()
            raise ValueError("embedded null byte")

        monkeypatch.setattr(node.hands, "start", refused)
        first = node.engine.enqueue(job, datetime.now(UTC), Cause.HAND)
        second = node.engine.enqueue(job, datetime.now(UTC), Cause.HAND)
        node.serve(lambda: node.hands.started and node.over)
        assert [run.id for run in node.hands.started] == [second.id]
        assert [(run.id, run.state, run.reason) for run in node.over] == [
            (first.id, State.FAILED, "it cannot be started: embedded null byte")
        ]


class TestStopping:
    def test_what_runs_may_end_and_is_kept(self, node: Node) -> None:
        job = declared(every="1s")
        node.begin(job)
        node.serve(lambda: node.hands.started)
        done: list[int] = []
        node.dispatcher.stop(5.0, lambda: done.append(1))
        node.turns()
        assert not done
        node.hands.end(node.hands.started[0], Ended(State.SUCCEEDED))
        node.serve(lambda: done)
        assert done == [1] and len(node.hands.started) == 1

    def test_whatever_the_store_says_it_ends(
        self, node: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def leave(name: str) -> None:
            raise ProjectError("the project cannot be asked")

        ended: list[bool] = []
        monkeypatch.setattr(node.engine, "leave", leave)
        with caplog.at_level("ERROR"):
            node.dispatcher.stop(5.0, lambda: ended.append(True))
            node.serve(lambda: ended)
        assert "was not told that this node ends" in caplog.text

    def test_how_a_run_ended_is_told_to_a_store_that_fails_until_it_can_be_or_the_deadline_comes(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Once nothing runs it is tried again soon, however long it has waited for the store before."""
        tries: list[int] = []
        finish = node.engine.finish

        def fails(run: Run, ended: Ended) -> bool:
            tries.append(1)
            if len(tries) < 6:
                raise StoreError("The store is away.")
            return finish(run, ended)

        run = self._ending(node, fails, monkeypatch)
        node.dispatcher._again_s = module._MOST_AGAIN_S
        done: list[int] = []
        node.dispatcher.stop(DEADLINE_S, lambda: done.append(1))
        node.hands.end(run, Ended(State.SUCCEEDED))
        node.serve(lambda: done)
        assert [each.id for each in node.over] == [run.id] and len(tries) == 6
        monkeypatch.undo()
        found = LocalEngine(node.engine._file.path).run(run.id)
        assert found is not None and found.state is State.SUCCEEDED

    def test_what_the_store_cannot_be_told_until_the_deadline_is_in_the_log(
        self, node: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fails(run: Run, ended: Ended) -> bool:
            raise StoreError("The store is away.")

        monkeypatch.setattr(module, "_LAST_S", 0.02)
        run = self._ending(node, fails, monkeypatch)
        done: list[int] = []
        node.dispatcher.stop(0.0, lambda: done.append(1))
        node.hands.end(run, Ended(State.SUCCEEDED))
        node.serve(lambda: done)
        assert f"How the run {run.id} of job ended could not be kept: succeeded." in caplog.text

    def _ending(self, node: Node, finish: Callable[[Run, Ended], bool], monkeypatch: pytest.MonkeyPatch) -> Run:
        """A run that goes on while the store begins to fail at ends."""
        job = declared()
        node.begin(job)
        node.engine.enqueue(job, datetime.now(UTC), Cause.HAND)
        node.serve(lambda: node.hands.started)
        monkeypatch.setattr(node.engine, "finish", finish)
        monkeypatch.setattr(module, "_FIRST_AGAIN_S", 0.001)
        return node.hands.started[0]

    def test_while_runs_end_neither_planned_times_nor_events_that_wait_keep_it_busy(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spool = EventSpool(tmp_path / "events")
        node = Node(tmp_path / "store", "a", room=1000, events=spool)
        for _ in range(module._MOST_EVENTS + 1):
            spool.put("deploy", {}, is_durable=False)
        job = hourly()
        node.begin(job, declared("each", on="deploy", overlap="allow"))
        node.wait(hours=1)
        assert job.name in {run.name for run in node.hands.started}
        for _ in range(module._MOST_EVENTS + 1):
            spool.put("deploy", {}, is_durable=False)
        node.dispatcher.wake()
        node.inbox.run_once(0.0)
        node.dispatcher.stop(DEADLINE_S, lambda: None)
        node.engine.ahead += timedelta(hours=1)
        node.clock.passed += timedelta(hours=1)
        node.turns()
        turns: list[int] = []
        look = node.dispatcher._clocks.look
        monkeypatch.setattr(node.dispatcher._clocks, "look", lambda: [turns.append(1), look()][1])
        for _ in range(50):
            node.inbox.run_once(0.0)
        assert len(turns) <= 1, "it looks once a second"
        node.inbox.close()

    def test_with_nothing_to_do_it_ends_at_once(self, node: Node) -> None:
        node.begin(declared())
        done: list[int] = []
        node.dispatcher.stop(5.0, lambda: done.append(1))
        node.serve(lambda: done)


def hourly(minute: int = 30) -> Declaration:
    """In each hour at another minute than now's, so that a test does not run over it."""
    now = datetime.now(UTC)
    return declared(every="1h", start=(now - timedelta(hours=3, minutes=60 - minute)).isoformat())


class Asking(Watching):
    """One that asks the store, which fails it so often."""

    def __init__(self, fails: int) -> None:
        super().__init__()
        self.fails = fails

    def ended(self, declaration: Declaration, run: Run) -> None:
        if self.fails:
            self.fails -= 1
            raise StoreError("The store is away.")
        super().ended(declaration, run)


class TestObservers:
    def test_they_are_told_of_starts_ends_and_of_what_does_not_run(self, node: Node) -> None:
        job = hourly()
        node.begin(job)
        node.wait(hours=3)
        (run,) = node.watching.started_
        assert (run.missed, len(node.watching.skipped_)) == (2, 2)
        node.hands.end(node.hands.started[0], Ended(State.FAILED, "no"))
        node.serve(lambda: node.over)
        assert node.over[0].state == State.FAILED

    def test_one_that_raises_keeps_nobody_from_anything(
        self, node: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fails(declaration: Declaration, run: Run) -> None:
            raise RuntimeError("quack")

        monkeypatch.setattr(node.watching, "started", fails)
        node.begin(hourly())
        node.wait(hours=1)
        assert len(node.hands.started) == 1 and "RuntimeError: quack" in caplog.text

    def test_one_that_the_store_fails_is_told_later_and_no_other_is_told_twice(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(audience, "_FIRST_S", 0.001)
        asks = Asking(2)
        node = Node(tmp_path / "store", "a", observers=[asks])
        job = declared()
        node.begin(job, declared("after", **outcome_of("job", outcome="failed")))
        node.engine.enqueue(job, datetime.now(UTC), Cause.HAND)
        node.serve(lambda: node.hands.started)
        node.hands.end(node.hands.started[0], Ended(State.FAILED, "no"))
        node.serve(lambda: asks.over)
        assert [run.name for run in asks.over] == [run.name for run in node.over] == ["job"]
        assert [run.name for run in node.engine.runs()] == ["after", "job"]
        node.inbox.close()

    def test_what_it_could_not_be_told_it_is_told_at_the_stop(self, tmp_path: Path) -> None:
        asks = Asking(1)
        node = Node(tmp_path / "store", "a", observers=[asks])
        job = declared()
        node.begin(job)
        node.engine.enqueue(job, datetime.now(UTC), Cause.HAND)
        node.serve(lambda: node.hands.started)
        node.hands.end(node.hands.started[0], Ended(State.FAILED, "no"))
        node.serve(lambda: node.over)
        assert asks.over == []
        done: list[int] = []
        node.dispatcher.stop(5.0, lambda: done.append(1))
        node.serve(lambda: done)
        assert [run.name for run in asks.over] == ["job"]
        node.inbox.close()

    def test_what_runs_have_printed_is_in_the_store_while_they_run(self, node: Node) -> None:
        node.begin(hourly())
        node.wait(hours=1)
        run = node.hands.started[0]
        node.hands.news = {run.id: Printed("half", 4)}
        node.wait(seconds=module.BEAT_S)
        found = node.engine.run(run.id)
        assert found is not None and (found.state, found.output, found.printed) == (State.RUNNING, "half", 4)


class TestNodes:
    def test_one_with_nothing_to_do_is_seen_and_one_that_has_ended_is_not(self, node: Node) -> None:
        node.begin()
        node.turns()
        (seen,) = node.engine.nodes(60.0)
        node.wait(seconds=module.JOIN_S)
        assert node.engine.nodes(60.0)[0].beat - seen.beat >= timedelta(seconds=module.JOIN_S)
        found: list[object] = []
        node.dispatcher.stop(5.0, lambda: found.append(1))
        node.serve(lambda: found)
        assert LocalEngine(node.engine._file.path).nodes(60.0) == []


class TestClocks:
    """A clock that is wrong, that is set, and that stood still while the machine slept."""

    def test_a_clock_that_is_wrong_is_told_and_one_that_is_far_off_starts_nothing(
        self, node: Node, caplog: pytest.LogCaptureFixture
    ) -> None:
        node.begin(hourly())
        node.clock.off_s = -3.0
        node.wait(seconds=module.BEAT_S)
        assert "3.0 s behind that of the store; see to it." in caplog.text
        assert node.dispatcher.status()["claims"] is True
        node.clock.off_s = 0.0
        node.wait(seconds=module.BEAT_S)
        node.clock.off_s = 31.0
        node.wait(seconds=module.BEAT_S)
        assert "31.0 s ahead of that of the store; nothing is started here until it is right." in caplog.text
        assert node.dispatcher.status()["claims"] is False
        assert node.dispatcher.status()["clock_ahead_s"] == pytest.approx(31.0, abs=0.5)
        node.wait(hours=1)
        assert node.hands.started == [] and node.engine.runs() == []
        node.wait(seconds=module.JOIN_S)
        assert node.engine.nodes(60.0)[0].ahead_s == pytest.approx(31.0, abs=0.5)
        node.clock.off_s = 0.5
        node.wait(seconds=module.BEAT_S)
        assert len(node.hands.started) == 1, "what came meanwhile runs when it is right again"

    def test_a_clock_put_forward_a_day_runs_the_latest_once(self, node: Node) -> None:
        node.begin(hourly())
        node.set_clock(days=1)
        (run,) = node.hands.started
        assert run.missed == 23
        assert len({each.planned for each in node.engine.runs(limit=100)}) == len(node.engine.runs(limit=100)) == 24

    def test_a_clock_put_back_an_hour_goes_on_planning_and_repeats_nothing(self, node: Node) -> None:
        node.begin(hourly())
        node.wait(hours=1)
        node.hands.end(node.hands.started[0], Ended(State.SUCCEEDED))
        node.set_clock(hours=-1)
        node.wait(hours=1)
        assert len(node.hands.started) == 1, "that time has run"
        node.wait(hours=1)
        assert len(node.hands.started) == 2, "and the next one runs"
        planned = [run.planned for run in node.engine.runs()]
        assert planned[0] - planned[1] == timedelta(hours=1)

    def test_a_day_ahead_by_mistake_does_not_silence_it_when_that_is_put_right(self, node: Node) -> None:
        node.begin(hourly())
        node.set_clock(days=1)
        node.hands.end(node.hands.started[0], Ended(State.SUCCEEDED))
        node.set_clock(days=-1)
        decided = len(node.engine.runs(limit=100))
        for _ in range(26):
            node.wait(hours=1)
            for run, _ended in tuple(node.hands.runs.values()):
                node.hands.end(run, Ended(State.SUCCEEDED))
        assert len(node.engine.runs(limit=100)) == decided + 2, "the day that was decided on, and two hours beyond it"

    def test_a_machine_that_slept_runs_no_stale_work(self, node: Node) -> None:
        job = read_declaration(
            "job", {**{"command": "x", "every": "1h", "within": "2h"}, "overlap": "queue_one"}, "t", ZoneInfo("UTC")
        )
        node.begin(job)
        node.wait(hours=1)
        node.wait(hours=1)
        assert [run.state for run in node.engine.runs()] == [State.QUEUED, State.RUNNING]
        node.engine.ahead += timedelta(hours=5, minutes=30)
        node.hands.end(node.hands.started[0], Ended(State.SUCCEEDED))
        node.turns()
        late = [run for run in node.hands.started[1:] if node.engine.now() - run.planned > timedelta(hours=2)]
        assert late == [] and len(node.hands.started) == 2
        reasons = [run.reason for run in node.engine.runs() if run.state is State.SKIPPED]
        assert any("more than `within`" in reason for reason in reasons)

    def test_after_a_sleep_nobody_is_given_up_before_he_could_say_that_he_lives(self, node: Node, other: Node) -> None:
        job = declared()
        other.begin(job)
        other.engine.enqueue(job, datetime.now(UTC), Cause.HAND)
        other.serve(lambda: other.hands.started)
        node.begin(job)
        node.wait(seconds=module.BEAT_S)
        node.set_clock(hours=8)
        assert node.engine.runs()[0].state is State.RUNNING
        node.wait(seconds=module.SILENT_S - 1)
        assert node.engine.runs()[0].state is State.RUNNING
        node.wait(seconds=2)
        assert node.engine.runs()[0].state is State.LOST, "he has not said so since"


def test_what_was_given_up_and_goes_on_here_is_not_begun_here_beside_itself(node: Node) -> None:
    """The node was not heard for a while, and takes its own run again before it has learnt that it lost it."""
    job = declared(every="365d", on_crash="retry", backoff="1ms", retry=5)
    node.begin(job)
    node.engine.enqueue(job, node.engine.now(), Cause.HAND)
    node.serve(lambda: node.hands.started)
    (first,) = node.hands.started
    (again,) = node.engine.give_up(-1.0, {"job": job})
    assert again.state is State.QUEUED
    node.turns()
    assert len(node.hands.started) == 1
    node.wait(seconds=3)
    assert node.hands.cancelled == [first.id], "it has learnt it"
    node.hands.end(first, Ended(State.CANCELLED))
    node.wait(seconds=3)
    node.serve(lambda: len(node.hands.started) == 2)
    second = node.hands.started[1]
    assert (second.id, second.attempt) == (first.id, 2)
    node.hands.end(second, Ended(State.SUCCEEDED))
    node.turns()
    found = node.engine.run(first.id)
    assert found is not None and found.state is State.SUCCEEDED

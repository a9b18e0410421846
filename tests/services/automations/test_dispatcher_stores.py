"""A dispatcher whose store refuses, answers late, or does what it was asked and is not heard, at each of its questions.

The engine in the project's database has the most to fail: between it and the store lies a link to another process.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from duck.automation import on
from duck.backend.django.store_question import LateAnswers, Question, understood
from duck.exceptions import StoreError
from duck.services.automations import audience, line
from duck.services.automations import dispatcher as module
from duck.services.automations import event_spool as spool
from duck.services.automations.alerts.alerts import Alerts
from duck.services.automations.alerts.channel import read_channel
from duck.services.automations.dispatcher import Dispatcher
from duck.services.automations.engine import Ended
from duck.services.automations.engines import django
from duck.services.automations.event_spool import EventSpool
from duck.services.automations.run import Cause, Run, State
from duck.services.inbox import Inbox
from tests.automation_stores import Open, django_store
from tests.dispatcher_node import Hands, Watching, declared

if TYPE_CHECKING:
    from duck.services.automations.engines.django import StoreLink
    from tests.automation_project import KeptStore

# What a dispatcher and its alerts ask of the store.
CHANGES = ("register", "claim", "enqueue", "join", "leave", "take", "beat", "once", "finish", "give_up", "prune")
READS = ("now", "crowded", "nodes", "look", "paused", "run", "runs")
# What is asked at each beat; else there is one in the beginning.
OF_BEATS = ("join", "beat", "look", "give_up", "paused", "crowded")
REFUSES, UNHEARD, LATE = "refuses", "has done it and is not heard", "is late"
# What is done unheard is not asked again, or as another question: there it is late first as well.
CASES = [
    *(pytest.param(method, (REFUSES, UNHEARD, LATE), id=method) for method in CHANGES + READS),
    *(
        pytest.param(method, (LATE, REFUSES), id=f"{method} late at once")
        for method in ("claim", "enqueue", "take", "once", "finish", "give_up")
    ),
]
_MOST_TURNS = 400
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class FailingLink:
    """A `StoreLink` that fails at questions by one name, as `StoreProcess` does.

    Attributes:
        failed: how often.
    """

    def __init__(self, link: StoreLink) -> None:
        self.failed = 0
        self._link = link
        self._method = ""
        self._kinds: Sequence[str] = ()
        self._each = 0
        self._asked = 0
        self._late: tuple[Question, Mapping[str, Any]] | None = None
        self._refusals = 0
        self._answers = LateAnswers()

    def fail(self, method: str, kinds: Sequence[str]) -> None:
        """From now on: at first in each of these ways, and then at each fourth question."""
        self._method, self._kinds, self._asked, self.failed = method, kinds, 0, 0
        self._each = 4 if method != "now" else 40  # which is asked several times for one thing

    def call(self, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        asked = json.dumps([name, arguments]).encode()
        now = time.monotonic()
        kept = self._answers.take(asked, now)
        if kept is not None:
            return understood(kept)
        if self._late is not None:
            answer = self._settle(asked, now)
            if answer is not None:
                return understood(answer)
        if name == self._method:
            self._asked += 1
            if self._asked <= len(self._kinds) or self._asked % self._each == 0:
                kind = self._kinds[self.failed % len(self._kinds)]
                self.failed += 1
                self._fail(kind, Question(name, asked, now, now + 60.0), arguments)
        return self._link.call(name, arguments)

    def _fail(self, kind: str, question: Question, arguments: Mapping[str, Any]) -> None:
        if kind == LATE:
            self._late, self._refusals = (question, arguments), 2
        elif kind == UNHEARD:
            self._link.call(question.name, arguments)
        raise StoreError(f"At {question.name} the store {kind}.")

    def _settle(self, asked: bytes, now: float) -> dict[str, Any] | None:
        """The late answer, after some impatience."""
        assert self._late is not None
        self._refusals -= 1
        if self._refusals > 0:
            raise StoreError("The store has not answered yet.")
        (question, arguments), self._late = self._late, None
        try:
            answer = dict(self._link.call(question.name, arguments))
        except StoreError as error:
            answer = {"refused": str(error)}
        if question.asked == asked:
            return answer
        self._answers.keep(question, answer, now)
        return None

    def attend(self, inbox: Inbox, on_change: Callable[[], None]) -> None:
        """Nothing: the test wakes it."""

    def close(self) -> None:
        """Nothing."""


class Mails:
    is_busy = False

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, subject: str, text: str, to: Sequence[str]) -> None:
        self.sent.append(subject)

    def give_up(self) -> None:
        """Nothing is on its way."""


def hourly(name: str, **table: Any) -> Any:
    """With three planned times in the last three hours, and none in this half hour."""
    return declared(name, every="1h", start=(datetime.now(UTC) - timedelta(hours=5, minutes=30)).isoformat(), **table)


JOBS = [
    hourly("timed", missed="all", overlap="allow"),
    hourly("latest", missed="once", overlap="allow"),
    declared("first"),
    declared("after", **on("automation", name="first").table),
    declared("fails", alert="ops"),
    declared("one", on="deploy"),
    declared("two", on="deploy"),
    declared("each", on="deploy", run_on="each"),
    declared("starts", on="start"),
    declared("gone"),
    declared("after-gone", **on("automation", name="gone", outcome="failed").table),
    declared("hook", on="webhook", path="/hooks/x", secret="x" * 16),
]
# How many runs there are of each in the end, those that are passed over included.
EXPECTED = {each.name: 1 for each in JOBS} | {"timed": 3, "latest": 3}
del EXPECTED["hook"]


class Site:
    """A node over a link that fails, and somebody else who looks at the same store."""

    def __init__(self, store: Open, directory: Path) -> None:
        self.store = store
        self.other = store()
        self.engine = store()
        assert isinstance(self.engine, django.DjangoEngine)
        self.link = self.engine._link = FailingLink(self.engine._link)
        self.inbox = Inbox()
        self.hands = Hands(100)
        self.watching = Watching()
        self.mails = Mails()
        channel = read_channel("ops", {"mail": ["ops@example.org"]})
        self.alerts = Alerts(self.inbox, self.engine, {"ops": channel}, "a", self.mails)
        self.events = EventSpool(directory / "events")
        self.dispatcher = Dispatcher(
            self.inbox, self.engine, self.hands, "a", events=self.events, observers=[self.alerts, self.watching]
        )

    def prepare(self) -> None:
        """Everything is to happen at once when the node begins."""
        jobs = {each.name: each for each in JOBS}
        self.other.register(JOBS)
        self.store.ask("UPDATE duck_automations_automation SET since = since - 10800000000")
        self.other.enqueue(jobs["gone"], self.other.now(), Cause.HAND)
        self.other.take("z", {"gone": jobs["gone"]}, {"process": 1})
        self.store.ask("UPDATE duck_automations_run SET beat = beat - 120000000")
        for name in ("first", "fails"):
            self.other.enqueue(jobs[name], self.other.now(), Cause.HAND)
        self.events.put("deploy", {}, is_durable=False)

    def begin(self) -> None:
        """As `Automations` does: again until the store has it."""
        for _ in range(_MOST_TURNS):
            try:
                self.dispatcher.declare(JOBS)
                self.dispatcher.happened("start", {}, node="a", occasion="start of a")
            except StoreError:
                continue
            self.alerts.declare(JOBS)
            self.dispatcher.start()
            return
        raise AssertionError("it has not begun")

    def turn(self) -> None:
        """One turn; what it has started ends with it."""
        self.dispatcher._patient_until = _LONG_AGO  # half a minute passes
        self.dispatcher.wake()
        self.inbox.run_once(0.0)
        for run, _ in tuple(self.hands.runs.values()):
            self.hands.end(run, Ended(State.FAILED if run.name == "fails" else State.SUCCEEDED))

    def turns_until(self, is_so: Callable[[], object]) -> None:
        for _ in range(_MOST_TURNS):
            self.turn()
            if is_so():
                return
        raise AssertionError([(run.id, run.name, run.state, run.reason) for run in self.runs()])

    def runs(self) -> list[Run]:
        return self.other.runs(limit=200)

    def is_done(self) -> bool:
        """Whether all that is to happen has, and was told."""
        if len(self.watching.over) < sum(EXPECTED.values()) - 2 or not self.mails.sent:
            return False
        return Counter(run.name for run in self.runs()) == EXPECTED and self.events.waiting() == 0


@pytest.fixture
def site(in_sqlite: KeptStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    # Nothing is waited for.
    for where, name in ((module, "_FIRST_AGAIN_S"), (audience, "_FIRST_S"), (line, "ASIDE_S"), (spool, "ASIDE_S")):
        monkeypatch.setattr(where, name, 0.0)
    with django_store(in_sqlite) as store:
        made = Site(store, tmp_path)
        yield made
        made.alerts.close(0.0)
        made.inbox.close()


@pytest.mark.parametrize(("method", "kinds"), CASES)
def test_nothing_is_lost_or_done_twice_and_it_goes_on(
    site: Site, monkeypatch: pytest.MonkeyPatch, method: str, kinds: Sequence[str]
) -> None:
    for name in ("BEAT_S", "JOIN_S") if method in OF_BEATS else ("_PRUNE_S",) if method == "prune" else ():
        monkeypatch.setattr(module, name, 0.0)
    if method == "now":
        monkeypatch.setattr(django, "_READING_S", -1.0)  # it is asked each time
    site.prepare()
    site.link.fail(method, kinds)
    site.begin()
    site.turns_until(site.is_done)
    assert site.link.failed or method == "leave"
    for _ in range(3):
        site.turn()  # what is done twice is done by now
    runs = site.runs()
    assert Counter(run.name for run in runs) == EXPECTED
    assert len({(run.name, run.planned) for run in runs if run.cause is Cause.SCHEDULE}) == 6, "no planned time is lost"
    started = Counter(run.id for run in site.hands.started)
    assert set(started.values()) == {1}
    passed_over = {run.id for run in runs if run.state is State.SKIPPED}
    assert set(started) == {run.id for run in runs if run.name != "gone"} - passed_over
    assert sorted(run.id for run in site.watching.over) == sorted({run.id for run in runs} - passed_over)
    assert len(site.mails.sent) == 1 and "fails failed" in site.mails.sent[0]
    if method != "claim":  # where that is not heard, it is known to the store alone
        assert {run.id for run in site.watching.skipped_} == passed_over

    last = site.other.enqueue(JOBS[2], site.other.now(), Cause.HAND)
    site.turns_until(lambda: site.hands.started[-1].name == "after" and site.hands.started[-2].id == last.id)
    last = site.other.enqueue(JOBS[5], site.other.now(), Cause.HAND)
    while not site.hands.runs:  # it goes on as the stop comes
        site.dispatcher.wake()
        site.inbox.run_once(0.0)
    site.link.fail(method, kinds)
    done: list[int] = []
    site.dispatcher.stop(60.0, lambda: done.append(1))
    site.turns_until(lambda: done)
    found = site.other.run(last.id)
    assert found is not None and found.state is State.SUCCEEDED
    assert site.watching.over[-1].id == last.id
    assert site.link.failed or method != "leave"

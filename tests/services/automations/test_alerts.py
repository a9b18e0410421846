"""Alerts: what is told, once, to receivers that are there, and to some that are not."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from duck.exceptions import StoreError
from duck.services.automations.alerts import alerts as module
from duck.services.automations.alerts.alert import of_silence
from duck.services.automations.alerts.alerts import Alerts
from duck.services.automations.alerts.channel import Channel, read_channel
from duck.services.automations.alerts.outbox import Outbox
from duck.services.automations.alerts.webhook import NotTaken, post
from duck.services.automations.declaration import Declaration, read_declaration
from duck.services.automations.due import Due
from duck.services.automations.engine import Ended
from duck.services.automations.engines.local import LocalEngine
from duck.services.automations.run import Cause, Run, State
from duck.services.inbox import Inbox
from tests.waiting import serve_until


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.got.append((self.path, self.headers["Content-Type"], json.loads(body)))  # type: ignore[attr-defined]
        status = self.server.answers.pop(0) if self.server.answers else 200  # type: ignore[attr-defined]
        if status == 0:
            self.server.released.wait(20)  # type: ignore[attr-defined]
            status = 200
        self.send_response(status)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Receiver:
    """A real one, on loopback; `answers` are its next statuses, 0 for one that never comes."""

    def __init__(self) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
        self.got: list[tuple[str, str, dict[str, Any]]] = []
        self.answers: list[int] = []
        self.released = threading.Event()
        self.server.got, self.server.answers, self.server.released = (  # type: ignore[attr-defined]
            self.got,
            self.answers,
            self.released,
        )
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks/T0K3N"

    @property
    def events(self) -> list[str]:
        return [values["event"] for _, _, values in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.released.set()
    made.server.shutdown()
    made.server.server_close()


@contextlib.contextmanager
def dripping() -> Iterator[str]:
    """The URL of a server whose answer's head never ends, a byte at a time."""
    ended = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not ended.wait(0.02):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            ended.set()
            thread.join(20)


class ClockedEngine(LocalEngine):
    ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Mails:
    """Keeps what it is given to send; the first so many times that it is asked it is busy with that."""

    def __init__(self, sent: list[tuple[str, str, tuple[str, ...]]], busy: int = 0) -> None:
        self.sent = sent
        self.busy = busy
        self.is_given_up = False

    def send(self, subject: str, text: str, to: Sequence[str]) -> None:
        self.sent.append((subject, text, tuple(to)))

    @property
    def is_busy(self) -> bool:
        self.busy -= 1
        return self.busy >= 0

    def give_up(self) -> None:
        self.is_given_up = self.busy > 0


class Works:
    """One node's alerts, and runs as its dispatcher would tell of them."""

    def __init__(self, path: Path, channels: dict[str, Channel]) -> None:
        self.inbox = Inbox()
        self.engine = ClockedEngine(path)
        self.mails: list[tuple[str, str, tuple[str, ...]]] = []
        self.alerts = Alerts(
            self.inbox,
            self.engine,
            channels,
            "node a",
            Mails(self.mails),
        )

    def declare(self, *declarations: Declaration) -> None:
        self.engine.register(declarations)
        self.alerts.declare(declarations)

    def start(self, job: Declaration, **span: float) -> Run:
        """A run of it begins, and then `span` passes."""
        self.engine.enqueue(job, self.engine.now(), Cause.HAND)
        (run,) = self.engine.take("a", {job.name: job}, {"process": 1})
        self.alerts.started(job, run)
        self.engine.ahead += timedelta(**span)
        return run

    def end(self, job: Declaration, state: State, **span: float) -> None:
        run = self.start(job)
        self.engine.finish(run, Ended(state, "exit code 3" if state is State.FAILED else "", output="the last line\n"))
        found = self.engine.run(run.id)
        assert found is not None
        self.alerts.ended(job, found)
        self.engine.ahead += timedelta(**span)

    def serve(self, until: Callable[[], object]) -> None:
        serve_until(self.inbox, until)

    def close(self) -> None:
        self.alerts.close(1.0)
        self.inbox.close()


def declared(name: str = "job", /, **table: Any) -> Declaration:
    table = {"command": "x", "every": "1h", "alert": "ops", **table}
    return read_declaration(name, table, "duck.toml", ZoneInfo("UTC"))


@pytest.fixture
def works(tmp_path: Path, receiver: Receiver) -> Iterator[Works]:
    made = Works(tmp_path / "store", {"ops": read_channel("ops", {"webhook": receiver.url})})
    yield made
    made.close()


class TestWhatIsTold:
    def test_a_failure_with_its_run_and_a_text_for_chats(self, works: Works, receiver: Receiver) -> None:
        job = declared()
        works.declare(job)
        works.end(job, State.FAILED)
        works.serve(lambda: receiver.got)
        path, kind, values = receiver.got[0]
        assert (path, kind) == ("/hooks/T0K3N", "application/json")
        assert values["text"] == "job failed: exit code 3. (node a)"
        assert (values["event"], values["automation"], values["sender"]) == ("failed", "job", "node a")
        run = values["run"]
        assert (run["state"], run["output"], run["node"], run["attempt"]) == ("failed", "the last line\n", "a", 1)

    def test_a_row_of_failures_is_told_once_a_day_and_its_end_once(self, works: Works, receiver: Receiver) -> None:
        job = declared()
        works.declare(job)
        works.end(job, State.SUCCEEDED, hours=1)
        for state in (State.FAILED, State.TIMED_OUT, State.FAILED):
            works.end(job, state, hours=1)
        works.end(job, State.FAILED, hours=22)
        works.end(job, State.FAILED, hours=1)
        works.end(job, State.SUCCEEDED)
        works.end(job, State.SUCCEEDED)
        works.end(job, State.FAILED)
        works.alerts.close(10.0)
        assert receiver.events == ["failed", "failed", "recovered", "failed"]
        assert receiver.got[1][2]["text"].startswith("job failed: exit code 3, as 4 runs before it.")
        assert receiver.got[2][2]["text"].startswith("job succeeded again, after 5 runs that did not.")

    def test_what_was_cancelled_or_names_no_channel_is_not_told(self, works: Works, receiver: Receiver) -> None:
        job, other = declared(), declared("other", alert="nobody")
        quiet = read_declaration("quiet", {"command": "x"}, "t", ZoneInfo("UTC"))
        works.declare(job, other, quiet)
        works.end(job, State.CANCELLED)
        works.end(other, State.FAILED)
        works.end(quiet, State.FAILED)
        works.alerts.close(5.0)
        assert receiver.got == []

    def test_channels_can_be_changed_while_it_runs(self, works: Works, receiver: Receiver) -> None:
        job, other = declared(), declared("other", alert="new")
        works.declare(job, other)
        works.alerts.use({"new": read_channel("new", {"webhook": receiver.url})})
        works.end(job, State.FAILED)
        works.end(other, State.FAILED)
        works.serve(lambda: receiver.got)
        assert [values["automation"] for _, _, values in receiver.got] == ["other"]

    def test_two_nodes_tell_it_once(self, works: Works, receiver: Receiver, tmp_path: Path) -> None:
        other = Works(tmp_path / "store", {"ops": read_channel("ops", {"webhook": receiver.url})})
        job = declared()
        works.declare(job)
        works.end(job, State.FAILED)
        (run,) = works.engine.runs()
        other.alerts.ended(job, run)
        works.alerts.close(5.0)
        other.close()
        assert receiver.events == ["failed"]

    @pytest.mark.parametrize("method", ["once", "runs"])
    @pytest.mark.parametrize("is_done", [False, True], ids=["refused", "answer lost"])
    def test_where_the_store_fails_it_is_told_when_it_is_asked_again(
        self, works: Works, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, method: str, is_done: bool
    ) -> None:
        job = declared()
        works.declare(job)
        asked = getattr(works.engine, method)

        def fails(*arguments: Any, **more: Any) -> None:
            if is_done:
                asked(*arguments, **more)
            raise StoreError("The store is away.")

        monkeypatch.setattr(works.engine, method, fails)
        with pytest.raises(StoreError):
            works.end(job, State.FAILED)
        monkeypatch.undo()
        (run,) = works.engine.runs()
        for _ in range(2):
            works.alerts.ended(job, run)
        works.alerts.close(5.0)
        assert receiver.events == ["failed"]

    def test_a_late_start_once_an_hour(self, works: Works, receiver: Receiver) -> None:
        job = declared(alert_late="2m", overlap="allow")
        works.declare(job)
        for minutes in (1, 3, 4):
            planned = works.engine.now() + timedelta(minutes=1)
            works.engine.claim([(job, Due(planned, True))])
            works.engine.ahead += timedelta(minutes=minutes + 1)
            (run,) = works.engine.take("a", {"job": job}, {"process": 1})
            works.alerts.started(job, run)
        works.alerts.close(5.0)
        assert receiver.events in (["late"], ["late", "late"]), "an hour may end meanwhile"
        assert receiver.got[0][2]["text"].startswith("job started 3 min after its time, ")

    def test_what_was_missed_as_one(self, works: Works, receiver: Receiver) -> None:
        job = declared(missed="skip")
        works.declare(job)
        for minute in range(1, 301):
            planned = works.engine.now() + timedelta(minutes=minute)
            (run,) = works.engine.claim([(job, Due(planned, False, "missed by 5 min"))])
            works.alerts.skipped(job, run)
        works.serve(lambda: receiver.got)
        assert receiver.events == ["missed"]
        assert receiver.got[0][2]["text"].startswith("job missed 300 planned times, until ")

    def test_a_run_that_stands_for_missed_ones_says_so(self, works: Works, receiver: Receiver) -> None:
        job = declared()
        works.declare(job)
        works.engine.claim([(job, Due(works.engine.now() + timedelta(minutes=1), True, missed=7))])
        (run,) = works.engine.take("a", {"job": job}, {"process": 1})
        works.alerts.started(job, run)
        works.serve(lambda: receiver.got)
        assert "job missed 7 planned times, until " in receiver.got[0][2]["text"]
        assert "; the run of " in receiver.got[0][2]["text"]

    def test_what_has_not_run_for_long_and_that_it_does_again(
        self, works: Works, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_LOOK_S", 0.01)
        job, paused = declared(alert_after="6h"), declared("paused", alert_after="6h")
        works.declare(job, paused)
        works.engine.pause("paused", None)
        works.end(job, State.SUCCEEDED, hours=5)
        works.inbox.run_once(0.05)
        works.engine.ahead += timedelta(hours=2)
        works.serve(lambda: receiver.got)
        assert receiver.got[0][2]["text"].startswith("job has not succeeded for 7 h.")
        for _ in range(5):
            works.inbox.run_once(0.02)
        works.end(job, State.SUCCEEDED)
        works.serve(lambda: len(receiver.got) > 1)
        assert receiver.events == ["silent", "recovered"]

    def test_the_store_is_asked_only_when_one_could_be_silent(
        self, works: Works, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_LOOK_S", 0.01)
        job = declared(alert_after="6h")
        works.declare(job)
        works.end(job, State.SUCCEEDED)
        asked: list[str | None] = []
        runs = works.engine.runs

        def noted(name: str | None = None, **more: Any) -> list[Run]:
            asked.append(name)
            return runs(name, **more)

        monkeypatch.setattr(works.engine, "runs", noted)
        looks: list[int] = []
        for _ in range(20):
            works.inbox.call_later(0.01, lambda: looks.append(1))
            works.inbox.run_once(0.05)
        assert len(asked) == 1 and looks

    def test_what_has_never_run(self) -> None:
        now = datetime(2026, 5, 2, tzinfo=UTC)
        alert = of_silence(declared(alert_after="1d"), now - timedelta(days=2), False, now)
        assert alert is not None and alert.sentence == "job has not succeeded once in 2 d."
        assert of_silence(declared(alert_after="3d"), now - timedelta(days=2), False, now) is None

    def test_by_mail_and_in_the_log(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        channels = {
            "ops": read_channel("ops", {"mail": ["a@example.org"], "log": True}),
            "boss": read_channel("boss", {"mail": "admins"}),
        }
        works = Works(tmp_path / "store", channels)
        job = declared(alert=["ops", "boss"])
        works.declare(job)
        works.end(job, State.FAILED)
        works.close()
        assert "Alert: job failed: exit code 3." in caplog.text
        assert [(subject, to) for subject, _, to in works.mails] == [
            ("[Duck] job failed: exit code 3.", ("a@example.org",)),
            ("[Duck] job failed: exit code 3.", ("admins",)),
        ]
        assert "the last line" in works.mails[0][1] and "state: failed" in works.mails[0][1]


class TestReceivers:
    def test_one_that_fails_is_asked_again(self, receiver: Receiver) -> None:
        receiver.answers += [503, 429]
        outbox = Outbox("ops", lambda values: post(receiver.url, values), waits_s=(0.01, 0.01))
        outbox.put({"event": "failed", "automation": "job"})
        deadline = time.monotonic() + 20.0
        while len(receiver.got) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        outbox.close(10.0)
        assert len(receiver.got) == 3

    def test_one_that_refuses_is_not_and_nothing_of_its_url_is_told(
        self, receiver: Receiver, caplog: pytest.LogCaptureFixture
    ) -> None:
        receiver.answers += [404]
        outbox = Outbox("the channel ops", lambda values: post(receiver.url, values), waits_s=(0.01,))
        outbox.put({"event": "failed", "automation": "job"})
        outbox.close(10.0)
        assert len(receiver.got) == 1
        assert "The alert 'failed' of job has not reached the channel ops: it answered 404." in caplog.text
        assert "T0K3N" not in caplog.text and "127.0.0.1" not in caplog.text

    def test_one_that_is_not_there_or_is_redirected_is_a_sentence_without_its_url(self, receiver: Receiver) -> None:
        with pytest.raises(NotTaken, match=r"^it cannot be asked \(ConnectError\)$"):
            post("http://127.0.0.1:1/T0K3N", {})
        receiver.answers += [302]
        with pytest.raises(NotTaken, match=r"^it answered 302$"):
            post(receiver.url, {})

    def test_a_dead_one_holds_nobody_and_its_queue_is_bounded(
        self, works: Works, receiver: Receiver, caplog: pytest.LogCaptureFixture
    ) -> None:
        receiver.answers += [0]
        job = declared()
        works.declare(job)
        for _ in range(55):
            works.end(job, State.FAILED)
            works.end(job, State.SUCCEEDED)
        assert works.engine.runs()[0].state is State.SUCCEEDED
        assert caplog.text.count("are dropped") == 1 and len(receiver.got) <= 1
        works.alerts.close(0.2)
        assert len(receiver.got) <= 1, "nothing has waited for it"

    def test_one_that_answers_bit_by_bit_has_a_deadline_for_all_of_it(self) -> None:
        with dripping() as url, pytest.raises(NotTaken, match=r"^it has not answered within 0\.3 s$"):
            post(url, {}, 0.3)

    def test_what_comes_too_late_is_told_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        """What is under way, what waits behind it, what finds no room, and what comes afterwards."""
        is_sending, may_go_on = threading.Event(), threading.Event()

        def send(values: dict[str, Any]) -> None:
            is_sending.set()
            may_go_on.wait(30)

        outbox = Outbox("ops", send)
        outbox.put({"event": "failed", "automation": "first"})
        assert is_sending.wait(30)
        for number in range(101):
            outbox.put({"event": "failed", "automation": f"job{number}"})
        assert "The alert 'failed' of job100 has not reached ops: too many wait before it." in caplog.text
        outbox.close(0.01)
        outbox.put({"event": "late", "automation": "last"})
        for name in ("first", "job0", "job99"):
            assert f"The alert 'failed' of {name} has not reached ops: Duck has ended before." in caplog.text
        assert "The alert 'late' of last has not reached ops: nothing is sent there any more." in caplog.text
        may_go_on.set()

    def test_who_closes_it_twice_waits_for_the_shorter_time_and_is_told_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        is_sending, may_go_on = threading.Event(), threading.Event()

        def send(values: dict[str, Any]) -> None:
            is_sending.set()
            may_go_on.wait(60)

        outbox = Outbox("ops", send)
        outbox.put({"event": "failed", "automation": "job"})
        assert is_sending.wait(30)
        began = time.monotonic()
        outbox.close(0.0)
        outbox.close(50.0)
        assert time.monotonic() - began < 25.0
        assert caplog.text.count("has not reached") == 1
        may_go_on.set()

    def test_what_waits_for_a_channel_that_is_another_now_is_told_in_the_log(
        self, works: Works, receiver: Receiver, caplog: pytest.LogCaptureFixture
    ) -> None:
        receiver.answers += [0]
        first, second = declared("first"), declared("second")
        works.declare(first, second)
        works.end(first, State.FAILED)
        works.serve(lambda: receiver.got)
        works.end(second, State.FAILED)
        works.alerts.use({})
        assert "The alert 'failed' of second has not reached the channel ops: its channel is another one now." in (
            caplog.text
        )
        receiver.released.set()


class TestTheEnd:
    """Alerts have the inbox served until they are sent, and a deadline."""

    def finish(self, works: Works, within_s: float) -> None:
        done: list[int] = []
        works.alerts.finish(within_s, lambda: done.append(1))
        works.serve(lambda: done)

    def test_what_waits_is_sent(self, works: Works, receiver: Receiver) -> None:
        job = declared()
        works.declare(job)
        works.end(job, State.FAILED)
        mails = works.alerts._mail = Mails([], busy=3)
        self.finish(works, 20.0)
        assert receiver.events == ["failed"] and mails.busy < 0 and not mails.is_given_up

    def test_at_its_deadline_it_is_given_up_and_logged(
        self, works: Works, receiver: Receiver, caplog: pytest.LogCaptureFixture
    ) -> None:
        receiver.answers += [0]
        job = declared()
        works.declare(job)
        works.end(job, State.FAILED)
        mails = works.alerts._mail = Mails([], busy=1_000_000)
        works.serve(lambda: receiver.got)
        self.finish(works, 0.05)
        assert mails.is_given_up
        assert "The alert 'failed' of job has not reached the channel ops: Duck has ended before." in caplog.text

    def test_one_that_would_be_tried_again_is_not_waited_for(
        self, works: Works, receiver: Receiver, caplog: pytest.LogCaptureFixture
    ) -> None:
        receiver.answers += [503]
        job = declared()
        works.declare(job)
        works.end(job, State.FAILED)
        works.serve(lambda: receiver.got)
        self.finish(works, 20.0)
        assert "The alert 'failed' of job has not reached the channel ops: it answered 503." in caplog.text

    def test_a_shorter_time_counts_when_it_is_said_again(self, works: Works, receiver: Receiver) -> None:
        works.alerts._mail = Mails([], busy=1_000_000)
        done: list[str] = []
        works.alerts.finish(3600.0, lambda: done.append("first"))
        works.alerts.finish(0.0, lambda: done.append("second"))
        works.serve(lambda: done)
        assert done == ["second"]

    def test_what_was_missed_is_told_when_the_store_is_back(
        self, works: Works, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_LOOK_S", 0.01)
        monkeypatch.setattr(module, "_GATHER_S", 0.0)
        once, calls = works.engine.once, [0]

        def away(key: str) -> bool:
            calls[0] += 1
            if calls[0] == 1:
                raise StoreError("The store is away.")
            return once(key)

        monkeypatch.setattr(works.engine, "once", away)
        job = declared(missed="skip")
        works.declare(job)
        (run,) = works.engine.claim([(job, Due(works.engine.now() + timedelta(minutes=1), False, "missed by 5 min"))])
        works.alerts.skipped(job, run)
        works.serve(lambda: receiver.got)
        assert receiver.events == ["missed"] and calls[0] == 2


class TestChannels:
    @pytest.mark.parametrize(
        ("table", "wrong"),
        [
            ({}, "give a table such as"),
            ("https://x", "give a table such as"),
            ({"webhok": "x"}, "webhok is not known: give webhook, mail, log"),
            ({"webhook": "ftp://secret.example/T0K3N"}, "begins with https:// or http://"),
            ({"webhook": "https:///T0K3N"}, "begins with https:// or http://"),
            ({"webhook": "https://x:port/T0K3N"}, "begins with https:// or http://"),
            ({"webhook": "https://x/T0K3N\nHost: y"}, "begins with https:// or http://"),
            ({"mail": ["nobody"]}, "mail has to be a list of addresses"),
            ({"mail": ["a@b\nBcc: c@d"]}, "mail has to be a list of addresses"),
            ({"log": "yes"}, "log has to be true or false"),
        ],
    )
    def test_one_that_cannot_be_used_says_what_is_right_and_no_secret(self, table: Any, wrong: str) -> None:
        with pytest.raises(ValueError, match=wrong) as told:
            read_channel("ops", table)
        assert "T0K3N" not in str(told.value)

    def test_its_url_is_in_no_representation(self) -> None:
        assert "T0K3N" not in repr(read_channel("ops", {"webhook": "https://hooks.example/T0K3N"}))

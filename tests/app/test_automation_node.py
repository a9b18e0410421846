"""A node that was made for one run ends with it, whoever carries it out; one that cannot declare tries again."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from duck.app import automations
from duck.app.automation_declarations import read_all
from duck.app.automation_engine import open_engine
from duck.app.automation_project import ProjectSide
from duck.app.automations import Automations
from duck.backend.django.celery_jobs import CeleryJobs
from duck.exceptions import SettingsError, StoreError
from duck.services.automations.engine import Ended
from duck.services.automations.run import Cause, State
from duck.services.inbox import Inbox
from duck.settings import load
from tests.services.automations.test_alerts import Receiver
from tests.waiting import DEADLINE_S, serve_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from duck.services.automations.declaration import Declaration
    from duck.services.automations.run import Run
    from duck.services.inbox import Timer
    from duck.settings.load import Settings

TOML = """
use_django = false

[automations.job]
shell = "true"

[automations.after]
shell = "touch after"
on = "automation"
name = "job"

[automations.file]
shell = "touch came"
on = "file"
path = "*.toml"
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "duck.toml").write_text(TOML)
    return load.load({}, {}, tmp_path).with_values(STATE_DIR=tmp_path.parent / f"{tmp_path.name}-state")


def test_it_ends_where_another_has_been_quicker(settings: Settings) -> None:
    engine = open_engine(settings, ProjectSide(settings))
    job = next(each for each in read_all(settings, None).declarations if each.name == "job")
    engine.register([job])
    engine.enqueue(job, engine.now(), Cause.HAND)
    (run,) = engine.take("another", {"job": job}, {job.lane: 1})
    engine.finish(run, Ended(State.SUCCEEDED))
    assert Automations(settings, run_id=run.id).run() == 0
    engine.close()


def test_it_carries_it_out_with_what_waits_for_its_end_and_nothing_else(settings: Settings, tmp_path: Path) -> None:
    engine = open_engine(settings, ProjectSide(settings))
    job = next(each for each in read_all(settings, None).declarations if each.name == "job")
    engine.register([job])
    run = engine.enqueue(job, engine.now(), Cause.HAND)
    assert Automations(settings, run_id=run.id).run() == 0
    assert {each.name: each.state for each in engine.runs()} == {"job": State.SUCCEEDED, "after": State.SUCCEEDED}
    assert (tmp_path / "after").exists() and not (tmp_path / "came").exists()
    engine.close()


def fail_once(monkeypatch: pytest.MonkeyPatch, node: Automations, error: Exception) -> None:
    """The next time that it declares something, that fails."""
    declare = node._dispatcher.declare

    def failing(declarations: object) -> None:
        monkeypatch.setattr(node._dispatcher, "declare", declare)
        raise error

    monkeypatch.setattr(node._dispatcher, "declare", failing)


def test_what_could_not_be_declared_does_not_come_back_over_what_is_declared_since(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(automations, "_FIRST_AGAIN_S", 0.05)
    inbox = Inbox()
    node = Automations(settings, inbox=inbox)
    counts: list[int] = []
    node.on_declared = counts.append
    fail_once(monkeypatch, node, StoreError("The store is away."))
    found = read_all(settings, None)
    node._use(found)
    node._use(dataclasses.replace(found, declarations=found.declarations[:1]))
    inbox.call_later(0.3, inbox.stop)
    inbox.run()
    assert counts == [1]
    node.kill()
    inbox.close()


class FailingStore:
    """An engine's `enqueue`, which fails at each second run at first."""

    def __init__(self, node: Automations, monkeypatch: pytest.MonkeyPatch) -> None:
        self._enqueue = node._engine.enqueue
        self._fails = 2
        self._asked = 0
        monkeypatch.setattr(node._engine, "enqueue", self.enqueue)

    def enqueue(self, *arguments: Any, **more: Any) -> Run:
        self._asked += 1
        if self._asked % 2 == 0 and self._fails:
            self._fails -= 1
            raise StoreError("The store is away.")
        return self._enqueue(*arguments, **more)


def end(node: Automations, inbox: Inbox) -> None:
    """In order, with what runs."""
    done: list[int] = []
    node.stop(DEADLINE_S, lambda: done.append(1))
    serve_until(inbox, lambda: done)
    node.kill()


def test_the_start_of_a_node_runs_what_waits_for_it_once_though_the_store_fails_meanwhile(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(automations, "_FIRST_AGAIN_S", 0.01)
    on_start = "".join(f'[automations.{name}]\nshell = "true"\non = "start"\n' for name in ("one", "two"))
    (tmp_path / "duck.toml").write_text(f"use_django = false\n{on_start}")
    settings = load.load({}, {}, tmp_path).with_values(STATE_DIR=settings["STATE_DIR"])
    inbox = Inbox()
    for starts in (1, 2):
        node = Automations(settings, inbox=inbox, name="a")
        FailingStore(node, monkeypatch)
        node.begin()
        serve_until(inbox, lambda node=node, starts=starts: len(node._engine.runs()) == 2 * starts)  # type: ignore[misc]
        assert sorted(run.name for run in node._engine.runs()) == sorted(["one", "two"] * starts)
        end(node, inbox)
    inbox.close()


def test_a_condition_that_comes_true_while_the_store_is_away_runs_what_waits_for_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table = '[automations.low]\nshell = "true"\non = "condition"\nname = "shop.LowStock"\n'
    (tmp_path / "duck.toml").write_text(f"use_django = false\n{table}")
    inbox = Inbox()
    node = Automations(load.load({}, {}, tmp_path).with_values(STATE_DIR=settings["STATE_DIR"]), inbox=inbox)
    node.begin()
    FailingStore(node, monkeypatch)._asked = 1
    node._came_true("shop.LowStock")
    serve_until(inbox, node._engine.runs)
    (run,) = node._engine.runs()
    assert run.name == "low" and json.loads(run.event)["condition"] == "shop.LowStock"
    end(node, inbox)
    inbox.close()


def test_why_triggers_cannot_be_asked_is_said_once(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    inbox = Inbox()
    node = Automations(settings, inbox=inbox)
    for why in ("no module shop", "no module shop", "another"):
        node._unasked(why, "")
    assert [record.getMessage() for record in caplog.records if "cannot be asked" in record.getMessage()] == [
        "The triggers of automations cannot be asked: no module shop.",
        "The triggers of automations cannot be asked: another.",
    ]
    node.kill()
    inbox.close()


def test_what_cannot_be_declared_is_told_once_and_again_when_it_changes_and_tried_ever_more_seldom(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(automations, "_FIRST_AGAIN_S", 0.011)
    monkeypatch.setattr(automations, "_MOST_AGAIN_S", 0.044)
    inbox = Inbox()
    node = Automations(settings, inbox=inbox)
    unloaded: list[str] = []
    waits: list[float] = []

    def told(why: str) -> None:
        unloaded.append(why)
        status = node.report.status()
        assert (status["store"], status["hindered"]) == ("not in use", why)

    node.on_unloaded, node.on_declared = told, lambda count: inbox.stop()
    declare, later = node._dispatcher.declare, inbox.call_later
    reasons = iter(["No PostgreSQL."] * 5 + ["No psycopg."] * 2)

    def refuse(declarations: Sequence[Declaration]) -> None:
        why = next(reasons, "")
        if why:
            raise SettingsError(why)
        declare(declarations)

    def call_later(delay_s: float, call: Callable[[], None]) -> Timer:
        if round(delay_s, 3) in (0.011, 0.022, 0.044):
            waits.append(round(delay_s, 3))
        return later(delay_s, call)

    monkeypatch.setattr(node._dispatcher, "declare", refuse)
    monkeypatch.setattr(inbox, "call_later", call_later)
    inbox.post(lambda: node._use(read_all(settings, None)))
    with caplog.at_level("INFO", "duck.automations"):
        inbox.run()
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    again = "Nothing is run until that is mended; it is tried again by itself."
    assert said == [f"No PostgreSQL. {again}", f"No psycopg. {again}"] and unloaded == ["No PostgreSQL.", "No psycopg."]
    assert waits == [0.011, 0.022, *[0.044] * 5]
    assert "The store of automations can be used now." in caplog.messages
    status = node.report.status()
    assert status["store"] == "reachable" and "hindered" not in status
    node.kill()
    inbox.close()


class Mail:
    """Busy until it is told; then it has sent all."""

    def __init__(self) -> None:
        self.is_busy = True
        self.is_given_up = False

    def send(self, subject: str, text: str, to: Sequence[str]) -> None: ...

    def give_up(self) -> None:
        self.is_given_up = self.is_busy


def test_alerts_that_are_on_their_way_are_sent_before_its_end(settings: Settings) -> None:
    inbox, mail = Inbox(), Mail()
    node = Automations(settings, inbox=inbox)
    node._alerts._mail = mail
    node.begin()
    done: list[int] = []
    node.stop(30.0, lambda: done.append(1))
    while not node._has_ended:
        inbox.run_once(1.0)
    assert not done
    mail.is_busy = False
    while not done:
        inbox.run_once(1.0)
    assert not mail.is_given_up
    node.kill()
    inbox.close()


def test_a_stop_that_is_said_again_has_it_end_now_though_alerts_are_on_their_way(settings: Settings) -> None:
    inbox, mail = Inbox(), Mail()
    node = Automations(settings, inbox=inbox)
    node._alerts._mail = mail
    node.begin()
    done: list[str] = []
    node.stop(3600.0, lambda: done.append("first"))
    while not node._has_ended:
        inbox.run_once(1.0)
    node.stop(0.0, lambda: done.append("second"))
    while not done:
        inbox.run_once(1.0)
    assert done == ["second"] and mail.is_given_up
    node.kill()
    inbox.close()


@pytest.mark.parametrize(
    ("site", "base", "told"),
    [
        (None, None, None),
        (None, "https://shop.example.org", "https://shop.example.org"),
        (None, "http://localhost:8000", None),
        (None, "http://127.0.0.1:8000", None),
        ("http://localhost:8000/", "https://shop.example.org", "http://localhost:8000"),
    ],
)
def test_celerys_workers_are_told_no_address_that_is_of_this_machine_alone_unless_somebody_says_so(
    tmp_path: Path, site: str | None, base: str | None, told: str | None
) -> None:
    (tmp_path / "manage.py").write_text("")
    settings = load.load({}, {}, tmp_path).with_values(
        STATE_DIR=tmp_path.parent / f"{tmp_path.name}-state", AUTOMATION_ENGINE="celery", AUTOMATION_SITE=site
    )
    inbox = Inbox()
    node = Automations(settings, inbox=inbox, base=base)
    assert isinstance(node._jobs, CeleryJobs) and node._jobs._base == told
    node.kill()
    node._engine.close()
    inbox.close()


def test_a_url_of_the_projects_own_is_asked_where_the_settings_say(settings: Settings) -> None:
    receiver = Receiver()
    (settings.base_dir / "duck.toml").write_text(
        'use_django = false\n[automations.own]\nurl = "/hook"\nmethod = "POST"\nbody = "{}"\n'
    )
    settings = load.load({}, {}, settings.base_dir).with_values(
        STATE_DIR=settings["STATE_DIR"], AUTOMATION_SITE=receiver.url.removesuffix("/hooks/T0K3N") + "/"
    )
    engine = open_engine(settings, ProjectSide(settings))
    (own,) = read_all(settings, None).declarations
    engine.register([own])
    run = engine.enqueue(own, engine.now(), Cause.HAND)
    assert Automations(settings, run_id=run.id).run() == 0
    found = engine.run(run.id)
    assert found is not None and (found.state, found.reason) == (State.SUCCEEDED, "")
    assert [path for path, _, _ in receiver.got] == ["/hook"]
    receiver.server.shutdown()
    receiver.server.server_close()
    engine.close()


@pytest.mark.parametrize("wrong", ["shop.example.org", "ftp://shop", "https://shop.example.org/app", "https://x?a"])
def test_an_address_that_cannot_be_used_is_refused(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(SettingsError, match="give an address without a path"):
        load.load({"AUTOMATION_SITE": wrong}, {}, tmp_path)


def test_what_mails_alerts_beside_celery_is_of_the_new_code_after_a_reload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run([sys.executable, "-m", "django", "startproject", "shop", "."], cwd=tmp_path, check=True)
    settings = load.load({}, {}, tmp_path).with_values(
        STATE_DIR=tmp_path.parent / f"{tmp_path.name}-state", AUTOMATION_ENGINE="celery"
    )
    inbox = Inbox()
    node = Automations(settings, inbox=inbox)
    assert node._jobs is not None and node._mail_jobs is not None
    monkeypatch.setattr(node._jobs, "reload", lambda: None)
    host = node._mail_jobs._spawn("shared")
    assert host is not None
    node._mail_jobs._shared = host
    node.reload()
    assert host.retires and node._mail_jobs._shared is None
    node.kill()
    while node._mail_jobs.pids:
        inbox.run_once(1.0)
    node._engine.close()
    inbox.close()


def test_what_fails_as_it_is_declared_is_logged_and_tried_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(automations, "_FIRST_AGAIN_S", 0.01)
    inbox = Inbox()
    node = Automations(settings, inbox=inbox)
    counts: list[int] = []
    node.on_declared = counts.append
    fail_once(monkeypatch, node, ValueError("quack"))
    node.begin()
    while not counts:
        inbox.run_once(1.0)
    assert "ValueError: quack" in caplog.text
    node.kill()
    inbox.close()

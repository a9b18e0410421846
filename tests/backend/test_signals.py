"""Signals that automations wait for, in processes of a project: told when they are committed, and to nobody's cost."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest

from duck.backend.django.worker import event_file
from duck.backend.django.worker.signals import plain
from duck.services.automations.event_spool import EventSpool, Happened
from tests.backend.test_startup_commands import Run
from tests.environments import environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.backend.conftest import MakeProject, MakeWorker
    from tests.backend.link_client import Worker

URLS = """
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models.signals import post_save
from django.http import HttpResponse
from django.urls import path
from django.utils import timezone

def save(request):
    Session.objects.create(session_key=request.GET["key"], session_data="", expire_date=timezone.now())
    return HttpResponse("saved")

def nested(request):
    with transaction.atomic():
        save(request)
        try:
            with transaction.atomic():
                Session.objects.create(session_key="lost", session_data="", expire_date=timezone.now())
                raise ValueError
        except ValueError:
            pass
    return HttpResponse("saved")

async def asave(request):
    await Session.objects.acreate(session_key=request.GET["key"], session_data="", expire_date=timezone.now())
    return HttpResponse("saved")

urlpatterns = [
    path("save", save),
    path("nested", nested),
    path("asave", asave),
    path("connected", lambda request: HttpResponse(str(len(post_save.receivers)))),
]
"""

POST_SAVE = "django.db.models.signals.post_save"
SAVED = {"event": "signal", "name": POST_SAVE, "sender": "sessions.Session"}


@pytest.fixture
def spool(tmp_path: Path) -> EventSpool:
    return EventSpool(tmp_path / "events")


@pytest.fixture
def begin(make_project: MakeProject, make_warm_worker: MakeWorker, spool: EventSpool) -> Callable[..., Worker]:
    def made(**more: Any) -> Worker:
        project = make_project(urls=URLS)
        migrate = [more.get("python", sys.executable), "manage.py", "migrate", "-v0", "sessions"]
        subprocess.run(migrate, cwd=project, check=True)
        return make_warm_worker(project, events=str(spool.directory), **more).wait_ready()

    return made


def look(worker: Worker) -> None:
    """As the App asks how it is; answered once it has looked."""
    worker.command("ping")
    while worker.event()["event"] != "pong":
        pass


def get(worker: Worker, path: str) -> bytes:
    with worker.client() as client:
        return client.get(path).body


def told(spool: EventSpool) -> list[Happened]:
    with spool.taken(100) as found:
        return found


def test_what_is_waited_for_later_is_connected_then_and_not_any_longer_than_it_is(
    begin: Callable[..., Worker], spool: EventSpool
) -> None:
    worker = begin()
    before = get(worker, "/connected")
    get(worker, "/save?key=early")
    assert not spool.directory.exists()
    spool.want([SAVED])
    look(worker)
    assert int(get(worker, "/connected")) == int(before) + 1
    get(worker, "/save?key=one")
    (happened,) = told(spool)
    assert happened.details == {"name": POST_SAVE, "sender": "sessions.Session"}
    assert (happened.told["pk"], happened.told["created"], "by" in happened.told) == ("one", True, False)
    spool.want([{"event": "deploy"}])
    look(worker)
    assert get(worker, "/connected") == before
    get(worker, "/save?key=late")
    assert told(spool) == []


def test_what_is_committed_is_told_and_what_is_rolled_back_is_not(
    begin: Callable[..., Worker], spool: EventSpool
) -> None:
    spool.want([SAVED])
    worker = begin()
    for path in ("save", "nested", "asave"):
        assert get(worker, f"/{path}?key={path}") == b"saved"
        assert [happened.told["pk"] for happened in told(spool)] == [path]


def test_in_an_older_python_and_django(begin: Callable[..., Worker], spool: EventSpool) -> None:
    spool.want([SAVED])
    worker = begin(python=environment("3.10", ("Django==4.2.*",)))
    assert get(worker, "/nested?key=one") == b"saved"
    assert [happened.told["pk"] for happened in told(spool)] == ["one"]


def test_a_signal_that_is_none_is_told_of_once_and_the_others_are_heard(
    begin: Callable[..., Worker], spool: EventSpool
) -> None:
    wrong = [
        {"event": "signal", "name": "mysite.signals.paid"},
        {"event": "signal", "name": POST_SAVE, "sender": "shop.Order"},
    ]
    spool.want([*wrong, SAVED])
    worker = begin()
    look(worker)
    get(worker, "/save?key=one")
    assert len(told(spool)) == 1
    text = worker.wait_text("shop.Order")
    assert text.count("waits for the signal mysite.signals.paid, which cannot be connected") == 1
    assert "there is no model and no class shop.Order; give one such as shop.Order" in text


def test_what_cannot_be_kept_fails_no_request(begin: Callable[..., Worker], spool: EventSpool) -> None:
    spool.want([SAVED])
    for number in range(event_file.MOST_EVENTS):
        (spool.directory / f"{number:05d}.json").touch()
    worker = begin()
    assert [get(worker, f"/save?key={number}") for number in range(3)] == [b"saved"] * 3
    assert worker.wait_text("is not told to automations").count("is not told to automations: 1000 events wait") == 1


def test_commands_that_go_before_the_start_tell_them_too(
    make_project: MakeProject, spool: EventSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.want([{"event": "signal", "name": POST_SAVE, "sender": "auth.User"}])
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "quack-quack")
    create = ["createsuperuser", "--noinput", "--username", "ada", "--email", "ada@example.org"]
    run = Run(make_project(), ["migrate", "-v0"], create, events=str(spool.directory))
    run.commands.start()
    run.until(lambda: run.done)
    run.inbox.close()
    assert run.done == [None], run.output
    (happened,) = told(spool)
    assert happened.told["model"] == "auth.User" and "quack" not in str(happened.told)


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        ("x" * 5000, "x" * 1000),
        (Colour.RED, "red"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("1.10"), "1.10"),
        ({"b", "a"}, ["a", "b"]),
        ({"a": [1, {"b": (2, object())}]}, {"a": [1, "builtins.dict"]}),
        (range(3), "builtins.range"),
        (int, "builtins.int"),
        (list(range(500)), list(range(100))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_are_plain_and_bounded(value: Any, expected: Any) -> None:
    assert plain(value) == expected

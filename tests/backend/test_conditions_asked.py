"""The process that asks triggers of the user's own: it is tried again, whatever keeps it from being there."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from duck.backend.django import celery_jobs, conditions
from duck.backend.django.celery_jobs import CeleryJobs
from duck.backend.django.conditions import Conditions
from duck.backend.django.discover import find_interpreter, find_project
from duck.backend.django.job_project import JobProject
from duck.services.automations.event_spool import EventSpool
from duck.services.inbox import Inbox
from tests.waiting import serve_until


class Broken(EventSpool):
    """One whose locks cannot be had."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.times = 0

    def lock(self, name: str) -> int | None:
        self.times += 1
        raise OSError(24, "Too many open files")


class Works:
    """A project that hangs as it is loaded, and an inbox that the test serves."""

    def __init__(self, directory: Path) -> None:
        (directory / "manage.py").write_text("import time\ntime.sleep(600)\n")
        self.inbox = Inbox()
        self.failures: list[str] = []
        project = find_project(directory, None)
        environ = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        self.of = JobProject(
            project,
            find_interpreter(project, sys.executable, environ),
            None,
            self.inbox,
            on_failed=lambda message, text: self.failures.append(message),
            on_output=lambda text: None,
        )


@pytest.fixture
def works(tmp_path: Path) -> Iterator[Works]:
    (tmp_path / "site").mkdir()
    made = Works(tmp_path / "site")
    yield made
    made.inbox.close()


def test_what_fails_is_logged_with_its_traceback_and_tried_again(
    works: Works, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(conditions, "_AGAIN_S", 0.001)
    spool = Broken(tmp_path / "events")
    asked = Conditions(works.of, lambda name: None, spool)
    asked.ask(["shop.triggers.LowStock"])  # who declares it goes on
    serve_until(works.inbox, lambda: spool.times >= 3)
    assert "The triggers of automations cannot be asked; it is tried again" in caplog.text
    assert "Traceback" in caplog.text and "Too many open files" in caplog.text
    asked.stop()


def test_one_that_hangs_as_it_loads_the_project_is_ended_and_another_one_is_tried(
    works: Works, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conditions, "_AGAIN_S", 0.001)
    monkeypatch.setattr(conditions, "START_S", 0.1)
    asked = Conditions(works.of, lambda name: None, EventSpool(tmp_path / "events"))
    asked.ask(["shop.triggers.LowStock"])
    assert asked._host is not None
    first = asked._host.pid
    serve_until(works.inbox, lambda: asked._host is not None and asked._host.pid != first)
    assert works.failures[0] == "The project was not loaded for automations within 0.1 s."
    asked.kill()
    serve_until(works.inbox, lambda: asked._host is None)


def test_so_is_the_one_that_speaks_to_celery(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(celery_jobs, "START_S", 0.1)
    jobs = CeleryJobs(dataclasses.replace(works.of), app="")
    jobs.begin()
    serve_until(works.inbox, lambda: works.failures and not jobs.pids)
    assert works.failures == ["The project was not loaded for automations within 0.1 s."]

"""Where the system has no room for what a process is watched through, that is said, and nothing is kept of it."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from duck.backend.django.handles import Ends, Handles, WorkerSpec
from duck.backend.django.spares import PAGES, Spare, Spares
from duck.backend.django.worker.orphan import fork_orphan
from duck.exceptions import ProjectError
from duck.services.inbox import Inbox


def few_pipes(monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    pipe, made = os.pipe, [0]

    def refuse() -> tuple[int, int]:
        made[0] += 1
        if made[0] > left:
            raise OSError(24, "Too many open files")
        return pipe()

    monkeypatch.setattr("os.pipe", refuse)


@pytest.mark.parametrize("left", [0, 2])
def test_a_process_that_cannot_be_watched_is_not_started(monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    before = len(os.listdir("/proc/self/fd"))
    few_pipes(monkeypatch, left)
    python: Any = SimpleNamespace(path="/usr/bin/python3", django_version=None)
    with pytest.raises(ProjectError, match="/usr/bin/python3 cannot be started: Too many open files"):
        Handles.spawn(python, ".", "_DUCK_TEST", {})
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_sockets_are_said_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(24, "Too many open files")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr("socket.socketpair", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        Ends()
    assert len(os.listdir("/proc/self/fd")) == before


class Full:
    """A spare whose copy there is no room for."""

    stage = "urls"
    is_ready = True
    is_busy = False
    is_ended = False

    def copy(self, spec: WorkerSpec, answered: Any) -> None:
        raise OSError(24, "Too many open files")

    @property
    def process(self) -> Any:
        return SimpleNamespace(kill=self.end)

    def end(self) -> None:
        self.is_ended = True


def test_a_spare_that_cannot_be_copied_for_that_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing: Any = None
    inbox = Inbox()
    spares = Spares(inbox, nothing, nothing, nothing, nothing, nothing, is_wanted=False)
    spares._refusal = ""
    spare: Any = Full()
    spares._spares["urls"] = spare
    answers: list[Any] = []
    spares.copy(PAGES, nothing, lambda handles, points: answers.append(handles))
    assert answers == [None] and spare.is_ended
    few_pipes(monkeypatch, 4)
    points = spares.points(PAGES, is_first=True)
    assert list(points) == ["setup"], "a start leaves as many as there is room for"
    points["setup"].close()
    inbox.close()


def test_nothing_is_kept_of_a_copy_that_there_is_no_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    spare = Spare.__new__(Spare)
    spare.stage = "libraries"
    before = len(os.listdir("/proc/self/fd"))
    few_pipes(monkeypatch, 5)
    with pytest.raises(OSError, match="Too many open files"):
        spare.copy(WorkerSpec(cwd=".", manage=None, address=""), lambda handles, points, why: None)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("left", [0, 1])
def test_nor_of_a_process_that_cannot_copy_itself(monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr("os.fork", lambda: pytest.fail("it has forked"))
    few_pipes(monkeypatch, left)
    with pytest.raises(OSError, match="Too many open files"):
        fork_orphan(1)
    assert len(os.listdir("/proc/self/fd")) == before

# mypy: disable-error-code="no-untyped-call,attr-defined,union-attr,misc"
"""A front with clients that never stop, before Django processes that are replaced, die, and are replaced again."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from duck.net.worker import new_loop
from duck.services.inbox import Inbox
from tests.backend.conftest import BARE, VIEWS
from tests.backend.test_process import Recorder
from tests.backend.test_supervision import MORE_VIEWS
from tests.net.front import get
from tests.proxy.conftest import Front
from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from duck.proxy.upstream import Generation
    from tests.backend.conftest import MakeProject

CLIENTS = 6
LONGEST_S = 5.0  # an answer that took longer was forgotten for a while


class Site:
    """A front that follows a backend, and its clients, which ask for `target`, each again after `pause_s`."""

    def __init__(
        self, inbox: Inbox, project: Path, directory: Path, target: str, pause_s: float = 0.0, **options: Any
    ) -> None:
        self.recorder = Recorder(
            inbox, project, directory, mode="serve", heartbeat_s=0.1, allow_unapplied_migrations=True, **options
        )
        self.front = Front(new_loop)
        self.recorder.backend._on_generation = self.follow
        self.recorder.backend._on_down = self.hold
        self._target = target
        self._pause_s = pause_s
        self.statuses: list[int] = []
        self.longest = 0.0
        self._ended = threading.Event()
        self._clients = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def follow(self, generation: Generation) -> None:
        self.recorder.generations.append(generation)
        backend, number = self.recorder.backend, generation.number
        left = lambda: self.recorder.inbox.post(lambda: backend.left(number))  # noqa: E731
        self.front.call(self.front.site.switch, generation, left)
        backend.acknowledged(number)

    def hold(self) -> None:
        self.recorder.downs += 1
        self.front.call(self.front.site.hold, "down")

    def run(self, is_enough: Callable[[], bool], disturb: Callable[[], None] = lambda: None) -> None:
        for client in self._clients:
            client.start()
        end = time.monotonic() + DEADLINE_S
        while not is_enough():
            assert time.monotonic() < end
            disturb()
            again = time.monotonic() + 0.3
            self.recorder.until(lambda again=again: time.monotonic() > again)
        self._ended.set()
        self.recorder.until(lambda: not any(client.is_alive() for client in self._clients))

    def _ask(self) -> None:
        client = self.front.connect()
        while not self._ended.is_set():
            began = time.monotonic()
            self.statuses.append(client.ask(get(self._target)).status)
            self.longest = max(self.longest, time.monotonic() - began)
            time.sleep(self._pause_s)

    def close(self) -> None:
        self.front.close()


@pytest.fixture
def make_site(make_project: MakeProject, run_directory: Path, warm_backends: None) -> Iterator[Callable[..., Site]]:
    inbox = Inbox()
    made: list[Site] = []

    def make(**options: Any) -> Site:
        project = make_project(urls=VIEWS + MORE_VIEWS, settings="ALLOWED_HOSTS = ['*']\n" + BARE)
        made.append(Site(inbox, project, run_directory, **options))
        made[-1].recorder.start()
        return made[-1]

    yield make
    for site in made:
        site.close()
        site.recorder.backend.kill()
        site.recorder.stop(0)
    inbox.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_no_request_fails_or_is_forgotten_while_processes_are_replaced(
    make_site: Callable[..., Site], workers: int
) -> None:
    # The view takes a while and no processor: all clients' requests are in flight at any time, most in the queue.
    site = make_site(workers=workers, max_requests=40, target="/nap?s=0.02")
    site.run(lambda: len(site.recorder.generations) > 4)
    assert set(site.statuses) == {200}
    assert site.longest < LONGEST_S
    assert site.recorder.downs == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_no_request_that_can_be_repeated_fails_while_processes_die(
    make_site: Callable[..., Site], workers: int
) -> None:
    # So short that none is in flight at two deaths: it would be repeated once only.
    site = make_site(workers=workers, target="/hello", pause_s=0.005)

    def kill() -> None:
        entries = site.recorder.backend.snapshot()["processes"]
        if [entry["state"] for entry in entries] == ["serving"] * workers:
            os.kill(random.choice(entries)["pid"], signal.SIGKILL)

    site.run(lambda: site.recorder.backend.restarts > 2, kill)
    assert site.statuses.count(200) == len(site.statuses)
    assert site.longest < LONGEST_S

"""The order in which things end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from duck.app.shutdown import Shutdown, State

if TYPE_CHECKING:
    from duck.services.inbox import Inbox

Done = Callable[[], None]


class Server:
    """Drains when told to."""

    def __init__(self, log: list[str], name: str) -> None:
        self.log = log
        self.name = name
        self.drained: Done = lambda: None

    def drain(self, deadline_s: float, done: Done, *, takes_backlog: bool) -> None:
        assert takes_backlog
        self.log.append(f"drain {self.name}")
        self.drained = done

    def abort(self) -> None:
        self.log.append(f"abort {self.name}")


class Ending:
    """A service that ends when told to."""

    name = "ending"

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.ended: Done = lambda: None

    def start(self) -> None: ...

    def stop(self, deadline_s: float, done: Done) -> None:
        self.log.append(f"stop within {deadline_s:g}")
        if deadline_s > 0:
            self.ended = done

    def status(self) -> dict[str, str]:
        return {}


def turn(inbox: Inbox) -> None:
    for _ in range(3):
        inbox.run_once(0)


def make(inbox: Inbox, deadline_s: float = 60.0) -> tuple[Shutdown, list[str], Server, Server, Ending]:
    log: list[str] = []
    one, two, service = Server(log, "one"), Server(log, "two"), Ending(log)
    shutdown = Shutdown(inbox, [one, two], [service], deadline_s, lambda: log.append("done"))  # type: ignore[list-item]
    return shutdown, log, one, two, service


def test_services_end_after_every_server_has_drained(inbox: Inbox) -> None:
    shutdown, log, one, two, service = make(inbox)
    shutdown.begin()
    one.drained()
    turn(inbox)
    assert log == ["drain one", "drain two"]
    assert shutdown.state is State.DRAINING
    two.drained()
    turn(inbox)
    assert log[2:] == ["abort one", "abort two", "stop within 5"]
    service.ended()
    turn(inbox)
    assert log[-1] == "done"
    assert shutdown.state is State.ENDED


def test_hurry_cuts_what_drains_and_leaves_services_little_time(inbox: Inbox) -> None:
    shutdown, log, _, _, service = make(inbox)
    shutdown.begin()
    shutdown.hurry()
    assert log[2:] == ["abort one", "abort two", "stop within 0.5"]
    shutdown.hurry()
    assert log[-1] == "stop within 0"
    service.ended()
    turn(inbox)
    shutdown.hurry()
    assert log.count("done") == 1


def test_services_have_no_longer_than_the_deadline_leaves(inbox: Inbox) -> None:
    shutdown, log, one, two, _ = make(inbox, deadline_s=0.0)
    shutdown.begin()
    one.drained()
    two.drained()
    turn(inbox)
    assert log[-1] == "stop within 0"


def test_a_server_that_never_says_it_has_drained_is_cut(inbox: Inbox) -> None:
    shutdown, log, *_ = make(inbox, deadline_s=-0.95)
    shutdown.begin()
    end = time.monotonic() + 5
    while "abort one" not in log:
        assert time.monotonic() < end
        inbox.run_once(0.1)


def test_with_nothing_to_end_it_is_over_at_once(inbox: Inbox) -> None:
    log: list[str] = []
    Shutdown(inbox, [], [], 5, lambda: log.append("done")).begin()
    assert log == ["done"]

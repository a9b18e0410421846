"""The inbox: posted calls, timers and descriptors, one after the other."""

from __future__ import annotations

import os
import signal
import threading
from functools import partial
from typing import TYPE_CHECKING

from duck.services.inbox import Inbox

if TYPE_CHECKING:
    import pytest


def test_posted_calls_run_in_order_on_the_inboxs_thread(inbox: Inbox) -> None:
    seen: list[object] = []

    def post() -> None:
        for number in range(5000):  # more than the wake-up pipe holds
            inbox.post(lambda number=number: seen.append(number))  # type: ignore[misc]
        inbox.post(lambda: seen.append(threading.current_thread()))
        inbox.post(inbox.stop)

    thread = threading.Thread(target=post)
    thread.start()
    inbox.run()
    thread.join()
    assert seen == [*range(5000), threading.current_thread()]


def test_timers_fire_in_the_order_of_their_time_unless_cancelled(inbox: Inbox) -> None:
    seen: list[str] = []
    inbox.call_later(0.02, lambda: seen.append("second"))
    inbox.call_later(0.01, lambda: seen.append("first"))
    inbox.call_later(0.015, lambda: seen.append("never")).cancel()
    inbox.call_later(0.03, inbox.stop)
    inbox.run()
    assert seen == ["first", "second"]


def test_a_call_that_fails_is_logged_and_the_next_one_runs(inbox: Inbox, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError("told")

    inbox.post(fail)
    inbox.post(inbox.stop)
    with caplog.at_level("ERROR", logger="duck.services"):
        inbox.run()
    assert "told" in caplog.text


def test_a_readable_descriptor_is_told_until_it_is_unwatched(inbox: Inbox) -> None:
    read, write = os.pipe()
    seen: list[bytes] = []

    def readable() -> None:
        seen.append(os.read(read, 1))
        if len(seen) == 2:
            inbox.unwatch(read)
            inbox.stop()

    inbox.watch(read, readable)
    os.write(write, b"abc")
    inbox.run()
    inbox.unwatch(read)
    inbox.run_once(0)
    assert seen == [b"a", b"b"]
    os.close(read)
    os.close(write)


def test_what_is_unwatched_by_the_call_before_it_is_not_told_in_the_same_turn(
    inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    """As where a process has ended and has printed at once: whoever sees its end first closes what it printed to."""
    pipes = [os.pipe() for _ in range(2)]
    seen: list[int] = []

    def readable(number: int) -> None:
        seen.append(number)
        other = pipes[1 - number][0]
        inbox.unwatch(other)
        os.read(pipes[number][0], 1)
        inbox.unwatch(pipes[number][0])

    for number, (read, write) in enumerate(pipes):
        inbox.watch(read, partial(readable, number))
        os.write(write, b"a")
    with caplog.at_level("ERROR", logger="duck.services"):
        inbox.run_once(0)
    assert len(seen) == 1 and caplog.text == ""
    for descriptor in (end for pair in pipes for end in pair):
        os.close(descriptor)


def test_a_signal_handler_can_post(inbox: Inbox) -> None:
    before = signal.signal(signal.SIGUSR1, lambda number, frame: inbox.post(inbox.stop))
    try:
        inbox.call_later(0.01, lambda: os.kill(os.getpid(), signal.SIGUSR1))
        inbox.run()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_what_is_posted_after_the_end_is_dropped() -> None:
    inbox = Inbox()
    inbox.close()
    inbox.post(lambda: None)

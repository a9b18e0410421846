"""Lines to a process that reads slowly, or not at all."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from duck.services.inbox import Inbox
from duck.services.json_lines import JsonLines
from duck.services.outgoing import Outgoing

MOST_BYTES = 10_000_000
MESSAGE = {"text": "x" * 600}


class Ends:
    def __init__(self) -> None:
        self.inbox = Inbox()
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.theirs.setblocking(False)
        self.outgoing = Outgoing(self.inbox, self.ours, MOST_BYTES)
        self.lines = JsonLines(MOST_BYTES, lambda: pytest.fail("half of a line was sent"))

    def fill(self) -> int:
        """Until something waits; how many messages that were."""
        count = 0
        while not self.outgoing.waits:
            assert self.outgoing.send(MESSAGE)
            count += 1
        return count

    def read(self, count: int) -> list[Any]:
        messages: list[Any] = []
        while len(messages) < count:
            try:
                messages += self.lines.feed(self.theirs.recv(65_536))
            except BlockingIOError:
                self.inbox.run_once(5.0)
        return messages


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    # The inbox also watches what comes from it, as a process is watched.
    made.inbox.watch(made.ours, lambda: None)
    yield made
    made.outgoing.close()
    made.inbox.close()
    made.ours.close()
    made.theirs.close()


def test_where_no_descriptor_is_left_the_next_message_tries_again(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*arguments: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("socket.socket.dup", none_left)
        count = ends.fill()
    assert ends.outgoing.send(MESSAGE)
    assert ends.read(count + 1) == [MESSAGE] * (count + 1)


def test_more_than_a_socket_holds_arrives_whole_and_in_order(ends: Ends) -> None:
    messages = [{"number": number, **MESSAGE} for number in range(2_000)]
    assert all(ends.outgoing.send(message) for message in messages)
    assert ends.outgoing.waits
    assert ends.read(2_000) == messages
    assert not ends.outgoing.waits
    assert ends.outgoing.send({"after": True})
    assert ends.read(1) == [{"after": True}]


def test_descriptors_arrive_with_their_message_and_do_not_overtake_others(ends: Ends) -> None:
    assert ends.outgoing.send_with({"with": 1}, [ends.theirs.fileno()])
    data, descriptors, _, _ = socket.recv_fds(ends.theirs, 1_000, 2)
    assert data == b'{"with": 1}\n' and len(descriptors) == 1
    os.close(descriptors[0])
    ends.fill()
    assert not ends.outgoing.send_with({"with": 2}, [ends.theirs.fileno()])


def test_what_nobody_reads_is_bounded_and_what_waits_is_sent_all_the_same(ends: Ends) -> None:
    large = {"text": "x" * 1_000_000}
    count = 0
    while ends.outgoing.send(large):
        count += 1
        assert count < 100
    assert MOST_BYTES <= len(ends.outgoing.unsent) < MOST_BYTES + 1_000_100
    assert ends.outgoing.waits
    assert ends.read(count) == [large] * count
    assert ends.outgoing.send({"after": True})


def test_one_message_may_be_longer_than_what_may_wait() -> None:
    inbox = Inbox()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        outgoing = Outgoing(inbox, ours, 1_000)
        assert outgoing.send({"text": "x" * 5_000_000})
        assert not outgoing.send(MESSAGE)
        outgoing.close()
    inbox.close()


def test_a_process_that_is_gone_is_told_by_the_answer(ends: Ends) -> None:
    ends.theirs.close()
    assert not ends.outgoing.send(MESSAGE)
    assert not ends.outgoing.waits


def test_what_dies_while_it_is_written_to_is_forgotten(ends: Ends) -> None:
    ends.fill()
    ends.inbox.unwatch(ends.ours)
    ends.theirs.close()
    while ends.outgoing.waits:
        ends.inbox.run_once(5.0)
    assert not ends.outgoing.send(MESSAGE)


def test_the_next_duck_of_a_process_goes_on_in_the_middle_of_a_line(ends: Ends) -> None:
    count = ends.fill()
    unsent = ends.outgoing.unsent
    ends.outgoing.close()
    after = Outgoing(ends.inbox, ends.ours)
    assert after.go_on(unsent) and after.send({"after": True})
    assert ends.read(count + 1) == [MESSAGE] * count + [{"after": True}]
    after.close()


def test_who_ends_waits_for_what_was_said(ends: Ends) -> None:
    count = ends.fill()
    read: list[Any] = []
    ends.theirs.setblocking(True)

    def reads() -> None:
        while len(read) < count:
            read.extend(ends.lines.feed(ends.theirs.recv(65_536)))

    reader = threading.Thread(target=reads)
    reader.start()
    ends.outgoing.flush(20.0)
    reader.join()
    assert read == [MESSAGE] * count and not ends.outgoing.waits


def test_who_ends_does_not_wait_for_ever(ends: Ends) -> None:
    ends.fill()
    ends.outgoing.flush(0.01)
    assert not ends.outgoing.waits

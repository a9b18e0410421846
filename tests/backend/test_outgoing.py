"""Lines to a process that reads slowly, or not at all."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from duck.backend.django import outgoing
from duck.backend.django.outgoing import Outgoing
from duck.services.inbox import Inbox

LINE = b"x" * 600 + b"\n"


class Ends:
    def __init__(self) -> None:
        self.inbox = Inbox()
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.outgoing = Outgoing(self.inbox, self.ours)

    def read(self, count: int) -> bytes:
        self.theirs.settimeout(0.0)
        data = b""
        while len(data) < count:
            try:
                data += self.theirs.recv(65_536)
            except BlockingIOError:
                self.inbox.run_once(5.0)
        return data


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


def test_more_than_a_socket_holds_arrives_whole_and_in_order(ends: Ends) -> None:
    lines = [b"%06d " % number + LINE for number in range(2_000)]
    assert all(ends.outgoing.send(line) for line in lines)
    assert ends.read(sum(map(len, lines))) == b"".join(lines)
    assert ends.outgoing.send(b"after\n")
    assert ends.read(6) == b"after\n"


def test_descriptors_do_not_overtake_lines(ends: Ends) -> None:
    while not ends.outgoing._unsent:
        assert ends.outgoing.send(LINE)
    assert not ends.outgoing.send_with(b"with\n", [0])


def test_what_nobody_reads_is_bounded(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "MOST_BYTES", 10_000)
    count = 0
    while ends.outgoing.send(LINE):
        count += 1
        assert count < 10_000
    assert len(ends.outgoing._unsent) <= 10_000 + len(LINE)


def test_a_process_that_is_gone_is_told_by_the_answer(ends: Ends) -> None:
    ends.theirs.close()
    assert not ends.outgoing.send(LINE)


def test_what_dies_while_it_is_written_to_is_forgotten(ends: Ends) -> None:
    while not ends.outgoing._unsent:
        ends.outgoing.send(LINE)
    ends.inbox.unwatch(ends.ours)
    ends.theirs.close()
    while ends.outgoing._unsent:
        ends.inbox.run_once(5.0)
    assert not ends.outgoing.send(LINE)

"""Messages of a process, as they come, and what it left when it went."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from duck.services.inbox import Inbox
from duck.services.incoming import Incoming
from tests.waiting import serve_until


class Ends:
    def __init__(self) -> None:
        self.inbox = Inbox()
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.messages: list[Any] = []
        self.garbled = 0
        self.ends = 0
        self.incoming = self.make()

    def make(self) -> Incoming:
        return Incoming(self.inbox, self.ours, 1_000, self.messages.append, self.is_garbled, self.has_ended)

    def is_garbled(self) -> None:
        self.garbled += 1

    def has_ended(self) -> None:
        self.ends += 1


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.incoming.close()
    made.inbox.close()
    made.ours.close()
    made.theirs.close()


def test_what_came_before_it_listens_comes_first_and_lines_that_are_none_are_told(ends: Ends) -> None:
    ends.theirs.sendall(b'{"a": 1}\nwhat\n{"b": "' + b"x" * 2_000 + b'"}\n{"c"')
    ends.incoming.listen()
    serve_until(ends.inbox, lambda: ends.garbled == 2)
    ends.theirs.sendall(b": 3}\n")
    serve_until(ends.inbox, lambda: len(ends.messages) == 2)
    assert ends.messages == [{"a": 1}, {"c": 3}] and ends.ends == 0


def test_the_end_is_told_once_and_the_socket_is_let_alone_then(ends: Ends) -> None:
    ends.incoming.listen()
    ends.theirs.close()
    serve_until(ends.inbox, lambda: ends.ends)
    ends.inbox.run_once(0.0)
    ends.incoming.take_last()
    assert ends.ends == 1


def test_what_a_process_left_is_taken_although_nobody_listens(ends: Ends) -> None:
    ends.theirs.sendall(b'{"a": 1}\n' * 100)
    ends.theirs.close()
    ends.incoming.take_last()
    assert ends.messages == [{"a": 1}] * 100 and ends.ends == 1


def test_nothing_is_taken_after_its_end_by_the_owner(ends: Ends) -> None:
    ends.theirs.sendall(b'{"a": 1}\n')
    ends.incoming.close()
    ends.incoming.take_last()
    assert ends.messages == [] and ends.ends == 0


def test_the_next_duck_of_a_process_goes_on_in_the_middle_of_a_line(ends: Ends) -> None:
    ends.theirs.sendall(b'{"a": 1}\n{"b"')
    ends.incoming.listen()
    serve_until(ends.inbox, lambda: ends.incoming.unread)
    ends.incoming.close()
    unread, ends.incoming = ends.incoming.unread, ends.make()
    ends.incoming.go_on(unread)
    ends.incoming.listen()
    ends.theirs.sendall(b": 2}\n")
    serve_until(ends.inbox, lambda: len(ends.messages) == 2)
    assert ends.messages == [{"a": 1}, {"b": 2}] and not ends.garbled

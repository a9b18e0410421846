"""The secret of TLS sessions: one for all, another one each day, handed on and never written."""

from __future__ import annotations

from collections.abc import Callable

from duck.app.session_secret import SessionSecret
from duck.net.session_keys import SECRET_BYTES
from duck.net.tls import TICKET_KEYS_S


class Inbox:
    """Remembers what is to be called, and when."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, Callable[[], object]]] = []

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> None:
        self.calls.append((delay_s, callback))


def test_it_is_told_at_once_and_is_another_one_each_day() -> None:
    now, told, inbox = 50.0, [], Inbox()
    secret = SessionSecret({}, now=lambda: now)
    secret.start(inbox, told.append)  # type: ignore[arg-type]
    assert [len(one) for one in told] == [SECRET_BYTES]
    ((delay, again),) = inbox.calls
    assert delay == TICKET_KEYS_S
    now += delay
    again()
    assert len(set(told)) == 2 and inbox.calls[1][0] == TICKET_KEYS_S


def test_the_next_duck_goes_on_with_it_for_the_rest_of_its_day() -> None:
    now, told, inbox = 50.0, [], Inbox()
    first = SessionSecret({}, now=lambda: now)
    first.start(inbox, told.append)  # type: ignore[arg-type]
    now += 1000
    SessionSecret(first.hand_over(), now=lambda: now).start(inbox, told.append)  # type: ignore[arg-type]
    assert told[0] == told[1] and inbox.calls[1][0] == TICKET_KEYS_S - 1000
    now += TICKET_KEYS_S
    SessionSecret(first.hand_over(), now=lambda: now).start(inbox, told.append)  # type: ignore[arg-type]
    assert told[2] != told[0]

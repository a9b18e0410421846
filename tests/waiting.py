"""Waiting for what comes: by a condition, never by a time; the deadline is for a test that fails.

A busy machine is slow: a deadline says nothing of how fast something has to be.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duck.services.inbox import Inbox

DEADLINE_S = 60.0
_PAUSE_S = 0.01
_MOST_PAUSE_S = 0.5

Told = Callable[[], object]


def wait_until(
    is_so: Callable[[], object], within_s: float = DEADLINE_S, told: Told = lambda: "it did not come"
) -> None:
    """Ask again and again until it is so; the failure says what `told` gives then.

    To ask takes a fifth of the time at most: what is asked may be who is waited for, or share a processor with it.
    """
    end = time.monotonic() + within_s
    while True:
        asked = time.monotonic()
        if is_so():
            return
        now = time.monotonic()
        assert now < end, told()
        time.sleep(min(max(_PAUSE_S, 4 * (now - asked)), _MOST_PAUSE_S))


def serve_until(
    inbox: Inbox, is_so: Callable[[], object], within_s: float = DEADLINE_S, told: Told = lambda: "it did not come"
) -> None:
    """Serve `inbox` until it is so; the failure says what `told` gives then."""
    end = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < end, told()
        inbox.run_once(0.02)

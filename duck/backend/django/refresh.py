"""Refresh: what running processes read again, without being replaced; see worker/refresh.py."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from duck.backend.django.child import DjangoProcess
    from duck.services.inbox import Inbox

logger = logging.getLogger("duck.django")

# A view that keeps the interpreter's lock keeps the answer, too; the browser is not kept waiting for it.
_PATIENCE_S: Final = 1.0


def refresh(processes: Iterable[DjangoProcess], what: Sequence[str], inbox: Inbox, done: Callable[[], None]) -> None:
    """Have each of `processes` read `what` again; `done` is called once: when all have, or after a while."""
    waiting = set(processes)
    is_done = False

    def finish() -> None:
        nonlocal is_done
        if not is_done:
            is_done = True
            timer.cancel()
            done()

    def answered(process: DjangoProcess, problem: str) -> None:
        if problem:
            logger.warning("The Django process %d cannot read %s again: %s.", process.pid, " and ".join(what), problem)
        waiting.discard(process)
        if not waiting:
            finish()

    timer = inbox.call_later(_PATIENCE_S, finish)
    for process in tuple(waiting):
        process.refresh(what, partial(answered, process))
    if not waiting:
        finish()

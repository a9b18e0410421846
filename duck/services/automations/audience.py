"""Audience: the observers of a dispatcher, each told once of what happens, in order, whatever becomes of the others.

    told ──StoreError──> waits ──1 s, 2 s, 4 s, ...──> told, or after ten tries given up: the log says what
                           └── what comes later of the same automation waits behind it

Who asks the store, as alerts do, may find it out of reach in this moment. That is no matter of other observers, who
would count twice what they are told twice, nor of other automations.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from duck.exceptions import StoreError

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.observer import Observer
    from duck.services.automations.run import Run

logger = logging.getLogger("duck.automations")

# The first is waited for so long, each further one twice as long as the one before.
_FIRST_S: Final = 1.0
_TRIES: Final = 10
# So much waits for one observer; each word holds the output of a run.
_MOST: Final = 500


@dataclass(frozen=True, slots=True)
class _Word:
    """What is told: a method of `Observer`, and what it is told with."""

    what: str
    declaration: Declaration
    run: Run


@dataclass(slots=True)
class _Waiting:
    """What waits of one automation; the first of it has been tried so often, and is tried again at `again`."""

    words: deque[_Word] = field(default_factory=deque)
    tries: int = 0
    again: float = 0.0


class Audience:
    """For the dispatcher's thread. Moments are of a steady clock."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._hearers = [_Hearer(each) for each in observers]

    @property
    def waits(self) -> bool:
        """Whether there is something that somebody could not be told yet."""
        return any(each.waiting for each in self._hearers)

    def tell(self, what: str, declaration: Declaration, run: Run) -> None:
        """Tell all of them; nothing is raised."""
        for each in self._hearers:
            each.tell(_Word(what, declaration, run))

    def tell_again(self, *, at_once: bool = False) -> None:
        """Tell what has waited for long enough, or `at_once` all that waits.

        Each observer is asked until the store fails it: what comes behind has the next turn.
        """
        now = time.monotonic()
        for each in self._hearers:
            each.tell_again(now, at_once=at_once)

    def give_up(self) -> None:
        """Nothing more is told."""
        for each in self._hearers:
            each.give_up()


class _Hearer:
    """One observer, and what it could not be told yet, by automations."""

    def __init__(self, observer: Observer) -> None:
        self.waiting: dict[str, _Waiting] = {}
        self._observer = observer
        self._count = 0

    def tell(self, word: _Word) -> None:
        if self.waiting:  # the store has just failed it, and asking takes seconds then
            self._keep(word)
            return
        error = self._tell(word)
        if error is not None:
            logger.error("%s is told of run %d of %s later: %s", self._name, word.run.id, word.run.name, error)
            self._keep(word)
            self._put_off(word.run.name)

    def tell_again(self, now: float, *, at_once: bool) -> None:
        # What has not failed yet comes first.
        for name, waiting in sorted(self.waiting.items(), key=lambda each: each[1].tries):
            if waiting.again > now and not at_once:
                continue
            while waiting.words:
                error = self._tell(waiting.words[0])
                if error is None:
                    self._drop_first(waiting)
                    continue
                if waiting.tries < _TRIES - 1 or at_once:
                    self._put_off(name)
                    return
                self._lose(waiting.words[0], str(error))
                self._drop_first(waiting)
                if waiting.words:
                    waiting.again = time.monotonic() + _FIRST_S
                    return
            del self.waiting[name]

    def give_up(self) -> None:
        for waiting in self.waiting.values():
            for word in waiting.words:
                self._lose(word, "Duck has ended before.")
        self.waiting.clear()
        self._count = 0

    @property
    def _name(self) -> str:
        return type(self._observer).__name__

    def _tell(self, word: _Word) -> StoreError | None:
        """Why it has to be told that again; None where it has been."""
        try:
            getattr(self._observer, word.what)(word.declaration, word.run)
        except StoreError as error:
            return error
        except Exception:
            logger.exception("What observes automations failed at %s, %s.", word.run.name, word.what)
        return None

    def _keep(self, word: _Word) -> None:
        if self._count >= _MOST:
            self._lose(word, f"{_MOST} others wait before it.")
            return
        self.waiting.setdefault(word.run.name, _Waiting()).words.append(word)
        self._count += 1

    def _drop_first(self, waiting: _Waiting) -> None:
        waiting.words.popleft()
        waiting.tries = 0
        self._count -= 1

    def _put_off(self, name: str) -> None:
        """The first of it has failed."""
        waiting = self.waiting[name]
        waiting.again = time.monotonic() + _FIRST_S * 2**waiting.tries
        waiting.tries = min(waiting.tries + 1, _TRIES)  # at the end it is tried more often

    def _lose(self, word: _Word, why: str) -> None:
        logger.error("%s was not told of run %d of %s (%s): %s", self._name, word.run.id, word.run.name, word.what, why)

"""The clocks of a node: its own, and the store's, which decides what is due.

A machine's clock may be wrong, be put forward and back, and stand still while the machine sleeps. So the store's is
compared with it at each beat, and each look compares how far the store's came with how long this process has waited.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

logger = logging.getLogger("duck.automations")

# From so much on a clock is worth a word, and a node of such a clock starts nothing: its jobs would take the wrong
# day, and certificates, for theirs.
TOLD_S: Final = 2.0
EXCLUDED_S: Final = 30.0
# An answer that took longer says too little of when it was given.
_LONGEST_ANSWER_S: Final = 4.0
# What a busy machine, or a clock that is being slewed, may come apart by between two looks.
_JUMP_S: Final = 2.0


class MachineClock:
    """This machine's."""

    def now(self) -> datetime:
        """What it shows."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that nobody sets; it stands while the machine sleeps."""
        return time.monotonic()


class ClockWatch:
    """Compares the store's clock with this machine's.

    Attributes:
        ahead_s: how far this machine's was ahead when that was last measured; negative for behind.
        jumped_s: how far the store's went beyond what has passed here, between the last two looks; 0.0 for no jump.
    """

    def __init__(self, ask: Callable[[], datetime], clock: MachineClock) -> None:
        self._ask = ask
        self._clock = clock
        self._last: tuple[datetime, float, float] | None = None  # what was shown, when, and how long that took
        self._is_told = False
        self.ahead_s = 0.0
        self.jumped_s = 0.0

    @property
    def excludes(self) -> bool:
        """Whether this node may start nothing."""
        return abs(self.ahead_s) > EXCLUDED_S

    def look(self) -> datetime:
        """What the store's clock shows.

        Raises:
            StoreError: it cannot be asked.
        """
        begun, now, here = self._clock.monotonic(), self._ask(), self._clock.monotonic()
        self.jumped_s = 0.0
        if self._last is not None:
            before, then, took_s = self._last
            apart_s = (now - before).total_seconds() - (here - then)
            # A store that answers slowly may have looked at its clock at any time meanwhile.
            if abs(apart_s) > _JUMP_S + took_s + here - begun:
                self.jumped_s = apart_s
        self._last = (now, here, here - begun)
        return now

    def measure(self) -> None:
        """Compare both clocks, and log what is wrong; the way to the store and back is halved.

        Raises:
            StoreError: it cannot be asked.
        """
        begun, shown = self._clock.monotonic(), self._clock.now()
        there = self._ask()
        took_s = self._clock.monotonic() - begun
        if took_s <= _LONGEST_ANSWER_S:
            self.ahead_s = (shown + timedelta(seconds=took_s / 2) - there).total_seconds()
        is_wrong = abs(self.ahead_s) > TOLD_S
        if is_wrong and not self._is_told:
            side = "ahead of" if self.ahead_s > 0 else "behind"
            effect = "nothing is started here until it is right" if self.excludes else "see to it"
            logger.error(
                "The clock of this machine is %.1f s %s that of the store; %s.", abs(self.ahead_s), side, effect
            )
        self._is_told = is_wrong

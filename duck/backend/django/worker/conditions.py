"""Conditions: triggers of the user's own, each asked once a second in a thread of its own.

    false ──true──> told of once ──false──> may be told of again

Whoever asks the next time, as after a reload, is told how each stood.

One that raises, or does not come back, is said once, and keeps no other one from being asked.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from typing import Any, Callable, Dict, List, Optional, Sequence

from .declared import has_django
from .failure import message_of
from .job import resolve

PERIOD_S = 1.0
HANGS_S = 30.0


class Conditions:
    """Those of this process; for one thread.

    Args:
        tell: called with the name of one that has come true or false, and with which, on its thread.
    """

    def __init__(self, tell: Callable[[str, bool], None]) -> None:
        self._tell = tell
        self._asked: List[Condition] = []
        self._watch: Optional[threading.Thread] = None
        self._is_stopped = False

    def ask(self, names: List[str], true: Sequence[str] = ()) -> None:
        """Begin with these, too, of which `true` are told of already."""
        for name in names:
            condition = Condition(name, self._tell, name in true)
            self._asked.append(condition)
            threading.Thread(target=condition.run, name=f"duck-condition {name}", daemon=True).start()
        if names and self._watch is None:
            self._watch = threading.Thread(target=self._look, name="duck-conditions", daemon=True)
            self._watch.start()

    def stop(self) -> None:
        """Ask no more."""
        self._is_stopped = True
        for condition in self._asked:
            condition.is_over = True

    def _look(self) -> None:
        while not self._is_stopped:
            time.sleep(PERIOD_S)
            for condition in tuple(self._asked):
                try:
                    condition.look(time.monotonic())
                except Exception:  # the others are looked at, and it the next time
                    traceback.print_exc()


class Condition:
    """One, by its dotted name: a class with `check_trigger`, which is made once, or an object of one."""

    def __init__(self, name: str, tell: Callable[[str, bool], None], was_true: bool = False) -> None:
        self.name = name
        self.is_over = False
        self._tell = tell
        self._was_true = was_true
        self._began = 0.0  # of the question that is under way; 0 for none
        self._said: Dict[str, bool] = {}

    def run(self) -> None:
        """Ask until it is over."""
        trigger: Any = None
        while not self.is_over:
            began = time.monotonic()
            self._began = began
            try:
                if trigger is None:
                    trigger = resolve(self.name)
                    trigger = trigger() if isinstance(trigger, type) else trigger
                self._answered(self._ask(trigger))
            except BaseException as error:  # sys.exit() as well, which would end the thread and say nothing
                self._say(f"The condition {self.name} cannot be asked: {message_of(error)}")
            self._began = 0.0
            time.sleep(max(0.0, PERIOD_S - (time.monotonic() - began)))

    def look(self, now: float) -> None:
        """Say where the question is not answered; on another thread."""
        began = self._began
        if began and now - began > HANGS_S:
            self._say(f"The condition {self.name} has not answered for {HANGS_S:g} s; it is waited for.")

    def _ask(self, trigger: Any) -> bool:
        if not has_django():
            return bool(trigger.check_trigger())
        from django.db import close_old_connections

        close_old_connections()
        try:
            return bool(trigger.check_trigger())
        finally:
            close_old_connections()

    def _answered(self, is_true: bool) -> None:
        if is_true != self._was_true:
            self._was_true = is_true
            self._tell(self.name, is_true)

    def _say(self, sentence: str) -> None:
        if sentence not in self._said and len(self._said) < 100:
            self._said[sentence] = True
            try:
                sys.stdout.write(f"{sentence}\n")
                sys.stdout.flush()
            except (OSError, ValueError):
                pass  # the project has closed or replaced it; it is asked all the same

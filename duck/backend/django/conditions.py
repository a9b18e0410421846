"""Conditions: the process of the project that asks triggers of the user's own whether their automations are to run.

Of several nodes of a machine one asks each, that which holds its lock: what comes true comes true once there.
In the file of the lock it is noted while it is true, so that neither a reload nor the next node takes that for news.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from duck.backend.django.child import READY, STARTING
from duck.backend.django.job_host import START_S, JobHost
from duck.exceptions import DuckError, ProjectError

if TYPE_CHECKING:
    from duck.backend.django.job_project import JobProject
    from duck.services.automations.event_spool import EventSpool
    from duck.services.inbox import Timer

logger = logging.getLogger("duck.automations")

_TRUE: Final = b"true\n"
# A process that has ended is replaced after so long.
_AGAIN_S: Final = 5.0


class Conditions:
    """On the inbox's thread. There is a process only while something is to be asked.

    Args:
        spool: where the lock is.

    Callbacks:
        on_true(name): one has come true.
    """

    def __init__(
        self,
        of: JobProject,
        on_true: Callable[[str], None],
        spool: EventSpool,
    ) -> None:
        self._of = of
        self._inbox = of.inbox
        self._on_true = on_true
        self._spool = spool
        self._locks: dict[str, int] = {}  # descriptors, by the name of the condition that this node asks
        self._true: set[str] = set()  # those of them that have come true, and not false since
        self._timer: Timer | None = None
        self._names: tuple[str, ...] = ()
        self._host: JobHost | None = None

    def ask(self, names: Sequence[str]) -> None:
        """These, and no others, from now on, of the project as it is now."""
        self._names = tuple(dict.fromkeys(names))
        self._end()
        for name in self._locks.keys() - set(self._names):
            self._note(name, False)
            os.close(self._locks.pop(name))
        self._look()

    def stop(self) -> None:
        """Ask no more."""
        self._names = ()
        self._release()
        if self._host is not None:
            self._host.stop(1.0)

    def kill(self) -> None:
        """End its process now."""
        self._names = ()
        self._release()
        if self._host is not None:
            self._host.kill()

    def _release(self) -> None:
        while self._locks:
            os.close(self._locks.popitem()[1])
        self._true.clear()

    def _end(self) -> None:
        if self._host is not None:
            self._host.stop(1.0)
            self._host = None

    def _look(self) -> None:
        """Ask what no other node of this machine asks; look again for what one does, and for a process that ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._names:
            return
        try:
            new = self._lock_more()
            if self._host is None and self._locks:
                self._spawn()
            elif new and self._host is not None and self._host.state is READY:
                self._ask(self._host, new)
        except Exception:  # whoever declares them has more to do than to ask
            logger.exception("The triggers of automations cannot be asked; it is tried again in %g s.", _AGAIN_S)
        finally:
            if self._host is None or len(self._locks) < len(self._names):
                self._timer = self._inbox.call_later(_AGAIN_S, self._look)

    def _lock_more(self) -> list[str]:
        """The names of those that are this node's to ask since."""
        try:
            self._spool.make()
        except DuckError as error:
            self._of.on_failed(str(error), "")
            return []
        new = []
        for name in self._names:
            if name not in self._locks:
                digest = hashlib.sha256(name.encode()).hexdigest()[:16]
                lock = self._spool.lock(f"condition-{digest}.lock")
                if lock is not None:
                    self._locks[name] = lock
                    new.append(name)
                    if os.pread(lock, len(_TRUE), 0) == _TRUE:
                        self._true.add(name)
        return new

    def _ask(self, host: JobHost, names: Sequence[str]) -> None:
        host.command("ask", conditions=list(names), true=[name for name in names if name in self._true])

    def _note(self, name: str, is_true: bool) -> None:
        """Keep how one stands, for whoever asks it next; a disk that is full only has it told of again."""
        (self._true.add if is_true else self._true.discard)(name)
        lock = self._locks.get(name)
        if lock is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(lock, 0)
                os.pwrite(lock, _TRUE if is_true else b"", 0)

    def _spawn(self) -> None:
        try:
            self._host = JobHost("conditions", self._of, self._event, self._printed, self._exited)
        except ProjectError as error:
            self._of.on_failed(str(error), "")
        else:
            self._inbox.call_later(START_S, partial(self._too_late, self._host))

    def _too_late(self, host: JobHost) -> None:
        if host.state is STARTING:
            self._of.on_failed(f"The project was not loaded for automations within {START_S:g} s.", "")
            host.kill()  # another one is tried

    def _printed(self, host: JobHost, text: str) -> None:
        self._of.on_output(text)

    def _event(self, host: JobHost, event: dict[str, Any]) -> None:
        if host is not self._host:
            return
        name = event.get("event")
        if name == "ready":
            self._ask(host, list(self._locks))
        elif name == "condition":
            if event["true"]:
                self._on_true(str(event["name"]))
            self._note(str(event["name"]), bool(event["true"]))
        elif name == "failed":
            self._of.on_failed(str(event["message"]), str(event.get("traceback", "")))

    def _exited(self, host: JobHost, code: int) -> None:
        if host is self._host:
            self._host = None
            if self._timer is None and self._names:
                self._timer = self._inbox.call_later(_AGAIN_S, self._look)

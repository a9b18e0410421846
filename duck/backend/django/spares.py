"""Spares: copies of a start that wait at a point of it, and the processes that are copied from them.

    a start is told of points ──left──> spare ──copy──> a process that goes on from there
                                          └──declined: it has read what has changed──> ended, the one before asked

A spare and what is copied from it are children of this process, which takes orphans. A spare decides by itself whether
it is stale (backend.django.worker.seen), so one that was kept is never asked in vain for long, and one that declined is
of no use any more. Without one Django is started as ever.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from duck.backend.django import stack
from duck.backend.django.child import READY, STARTING, DjangoProcess
from duck.backend.django.handles import Ends, Handles, WorkerSpec
from duck.backend.django.version import PAGES, SOCKETS
from duck.exceptions import ProjectError
from duck.services.exit import exit_sentence
from duck.services.reaper import become_subreaper

if TYPE_CHECKING:
    from duck.services.inbox import Inbox, Timer

logger = logging.getLogger("duck.django")

# In the order in which a start comes by.
LIBRARIES: Final = "libraries"
SET_UP: Final = "setup"
URLS: Final = "urls"
STAGES: Final = (LIBRARIES, SET_UP, URLS)
# Until the settings are read, and applications loaded, all processes of a version are the same.
_OF_ROLE: Final[Mapping[str, tuple[str, ...]]] = {PAGES: STAGES, SOCKETS: (LIBRARIES, SET_UP)}

_ANSWER_S: Final = 5.0  # a spare looks at some hundred files, and forks
_LOOK_AFTER_S: Final = 0.3  # who waits for a page comes first
_LIBRARIES_AFTER_S: Final = 10.0  # it costs the CPU time of a start, which whoever saves at once must not wait for

# What is looked at in a copy, and the events that tell of it.
LOOKS: Final = ("checked", "unmade")

Answered = Callable[["Handles | None", Mapping[str, Ends]], None]


class Spare:
    """One spare; on the inbox's thread."""

    def __init__(
        self,
        stage: str,
        spec: WorkerSpec,
        handles: Handles,
        inbox: Inbox,
        on_output: Callable[[str], None],
        on_looked: Callable[[dict[str, Any]], None],
        on_exit: Callable[[Spare, int], None],
    ) -> None:
        self.stage = stage
        self._inbox = inbox
        self._on_looked = on_looked
        self._on_exit = on_exit
        self._answered: Callable[[int, str], None] | None = None
        self._told: Callable[[], None] = lambda: None
        self._waiting: list[Callable[[], None]] = []
        self.why = ""  # it is of no use
        # Its socket is that of the process that went on.
        self.process = DjangoProcess(
            replace(spec, address=("", 0)), handles, inbox, self._event, on_output, self._exited
        )

    def copy(self, spec: WorkerSpec, answered: Callable[[Handles | None, Mapping[str, Ends], str], None]) -> None:
        """Have a process go on from here; `answered` is told its handles and points, or why there is none.

        Raises:
            OSError: the system has no room for the descriptors.
        """
        ends = Ends()
        ahead = STAGES[STAGES.index(self.stage) + 1 :] if spec.role != SOCKETS else ()
        points: dict[str, Ends] = {}
        try:
            for stage in ahead:
                points[stage] = Ends()
        except OSError:
            for one in (ends, *points.values()):
                one.close()
            raise
        given: list[int] = []

        def place(theirs: Mapping[str, int]) -> dict[str, int]:
            given.extend(theirs.values())
            return {name: given.index(number) for name, number in theirs.items()}

        told = {**asdict(spec), **place(ends.theirs), "parent": os.getpid(), **stack.SIGNALS}
        told["points"] = {stage: place(point.theirs) for stage, point in points.items()}
        is_told = self.process.command("copy", descriptors=given, told=told)
        for one in (ends, *points.values()):
            one.close_theirs()

        def heard(pid: int, why: str) -> None:
            self._answered = None
            timer.cancel()
            if pid and _is_child(pid):
                answered(ends.handles(pid), points, "")
            else:
                for one in (ends, *points.values()):
                    one.close()
                answered(None, {}, why or "it does not say so")
            self._is_free()

        timer = self._inbox.call_later(_ANSWER_S, lambda: self._heard(0, "it has not answered"))
        self._answered = heard
        if not is_told:
            self._heard(0, "it cannot be told")

    def tell_libraries(self, descriptor: int, done: Callable[[], None]) -> None:
        """Have it write what it has imported to `descriptor`."""
        self._told = done
        self.process.command("libraries", descriptors=[descriptor])

    def look(self, at: Sequence[str]) -> None:
        """Have a copy look at the project (see backend/django/worker/looking.py); `on_looked` is told of each."""
        self.process.command("look", at=at)

    @property
    def is_ready(self) -> bool:
        """Whether it waits for something to do."""
        return self.process.state is READY and self._answered is None

    @property
    def is_busy(self) -> bool:
        """Whether it will wait for something to do in a moment."""
        return self.process.state is STARTING or (self.process.state is READY and self._answered is not None)

    def when_free(self, do: Callable[[], None]) -> None:
        """Call `do` once, when it is busy no more, or after a while."""
        timer = self._inbox.call_later(_ANSWER_S, lambda: once())

        def once() -> None:
            timer.cancel()
            if once in self._waiting:
                self._waiting.remove(once)
                do()

        self._waiting.append(once)

    def _is_free(self) -> None:
        for do in tuple(self._waiting):
            do()

    def _heard(self, pid: int, why: str) -> None:
        if self._answered is not None:
            self._answered(pid, why)

    def _event(self, event: dict[str, Any]) -> None:
        name = event["event"]
        if name == "spare":
            self._is_free()
        elif name == "copied":
            self._heard(int(event["pid"]), "")
        elif name == "declined":
            self._heard(0, str(event["why"]))
        elif name in LOOKS:
            self._on_looked(event)
        elif name == "libraries":
            self._told()
        elif name == "unspared":
            self.why = str(event["why"])

    def _exited(self, code: int) -> None:
        self._on_exit(self, code)
        self._heard(0, "it has ended")
        self._is_free()


class Spares:
    """Of one project. Everything is called, and calls back, on the inbox's thread.

    Args:
        is_wanted: whether starts leave spares behind at all.
        on_checked(event): checks that came after a start are done; `failed` is as in that event, or None.
        on_unmade(event): models were compared with their migrations; `changes` has what no migration has.
        on_exit(): one has gone.
        spawn_libraries(descriptor): start the spare of packages, which finds there what they are.
    """

    def __init__(
        self,
        inbox: Inbox,
        on_output: Callable[[str], None],
        on_checked: Callable[[dict[str, Any]], None],
        on_unmade: Callable[[dict[str, Any]], None],
        on_exit: Callable[[], None],
        spawn_libraries: Callable[[int], tuple[WorkerSpec, Handles]],
        *,
        is_wanted: bool,
    ) -> None:
        self._inbox = inbox
        self._spawn_libraries = spawn_libraries
        self._timers: list[Timer] = []
        self._on_output = on_output
        self._on_checked = on_checked
        self._on_unmade = on_unmade
        self._on_exit = on_exit
        self._spares: dict[str, Spare] = {}
        self._living: set[Spare] = set()
        self._why: dict[str, str] = {}
        self._refusal = _refusal() if is_wanted else "they are not wanted"
        self._gathered_of = 0  # the spare that has told what is imported; it says the same again
        self._used = ""  # the stage from which the last process was copied
        self._are_models_new = (
            True  # loaded by a start that has not been looked at, or their migrations may have changed
        )
        self._is_unmade = False  # some models had no migration, when it was looked last
        self._told: set[str] = set()  # why there is none, as was said
        self._latest: dict[str, WorkerSpec] = {}  # what was asked for last, by role
        self._is_stopped = False

    def changed(self, paths: Sequence[str]) -> None:
        """These files have changed, and a version is to come because of it; none are known where anything may have."""
        if not paths or any(_is_of_migrations(path) for path in paths):
            self._are_models_new = True

    def points(self, role: str, *, is_first: bool) -> dict[str, Ends]:
        """Where a process that is spawned leaves spares: the first for pages does."""
        points: dict[str, Ends] = {}
        if not (self._refusal or self._is_stopped or role != PAGES or not is_first):
            with contextlib.suppress(OSError):  # no room for all: as many as there is
                for stage in STAGES[1:]:
                    points[stage] = Ends()
        return points

    def left(self, process: DjangoProcess, event: Mapping[str, Any]) -> None:
        """`process` has said that it left a spare behind, or why it has not."""
        stage = str(event.get("stage"))
        ends = process.points.pop(stage, None)
        if ends is None:
            return
        pid = int(event.get("pid", 0))
        if not pid or self._is_stopped or not _is_child(pid):
            ends.close()
            why = self._why[stage] = str(event.get("why", "it is no child of Duck's"))
            if not self._is_stopped and why not in self._told:
                self._told.add(why)
                logger.info("A change will load the whole project again: %s.", why)
            return
        self._enter(stage, process.spec, ends.handles(pid))

    def _enter(self, stage: str, spec: WorkerSpec, handles: Handles) -> None:
        self._end(stage)
        self._why.pop(stage, None)
        spare = Spare(stage, spec, handles, self._inbox, self._on_output, self._looked, self._exited)
        self._spares[stage] = spare
        self._living.add(spare)

    def copy(self, role: str, spec: WorkerSpec, answered: Answered) -> None:
        """Have a process go on from the last spare that has not read what has changed; `answered` is told at once or
        soon, with None where there is no such spare.
        """
        self._cancel()
        self._latest[role] = spec
        self._copy(role, spec, answered)

    def _copy(
        self, role: str, spec: WorkerSpec, answered: Answered, waited_for: frozenset[Spare] = frozenset()
    ) -> None:
        """`waited_for`: each spare is waited for once."""
        if waited_for and self._latest.get(role) is not spec:
            answered(None, {})  # given up meanwhile for another
            return
        for stage in reversed(_OF_ROLE.get(role, ())):
            spare = self._spares.get(stage)
            if spare is not None and spare.is_ready and not self._is_stopped:
                self._ask(spare, role, spec, answered, waited_for)
                return
            if spare is not None and spare.is_busy and spare not in waited_for and not self._is_stopped:
                # Somebody saves faster than a process is copied: a moment is less than a start.
                spare.when_free(partial(self._copy, role, spec, answered, waited_for | {spare}))
                return
        self._used = ""
        self._are_models_new |= role == PAGES
        answered(None, {})

    def _ask(self, spare: Spare, role: str, spec: WorkerSpec, answered: Answered, waited_for: frozenset[Spare]) -> None:
        def heard(handles: Handles | None, points: Mapping[str, Ends], why: str) -> None:
            if handles is not None:
                self._used = spare.stage
                self._are_models_new |= role == PAGES and spare.stage == LIBRARIES
                answered(handles, points)
                return
            logger.debug("The spare at %s is not used: %s.", spare.stage, why)
            if self._spares.get(spare.stage) is spare:
                self._end(spare.stage)
                self._why[spare.stage] = why
            self._copy(role, spec, answered, waited_for)

        try:
            spare.copy(spec, heard)
        except OSError as error:  # no room for its descriptors
            heard(None, {}, str(error))

    def served(self, *, are_checks_left: bool) -> None:
        """A version serves: do what was put off for its start, and prepare for the next but one."""
        self._cancel()
        at = ["checked"] if are_checks_left else []
        if self._are_models_new or self._is_unmade:
            at.append("unmade")
        if at:
            self._timers.append(self._inbox.call_later(_LOOK_AFTER_S, partial(self._look, at)))
        if LIBRARIES not in self._spares and not self._refusal:
            self._timers.append(self._inbox.call_later(_LIBRARIES_AFTER_S, self._gather_libraries))

    def _look(self, at: Sequence[str]) -> None:
        spare = self._spares.get(URLS)
        if spare is not None:
            spare.look(at)

    def _looked(self, event: dict[str, Any]) -> None:
        if event["event"] == "unmade":
            self._are_models_new = False
            self._is_unmade = bool(event["changes"])
            self._on_unmade(event)
        else:
            self._on_checked(event)

    def _gather_libraries(self) -> None:
        spare = self._spares.get(URLS)
        if spare is None or not spare.is_ready or spare.process.pid == self._gathered_of:
            return
        self._gathered_of = spare.process.pid
        file = tempfile.TemporaryFile()

        def told() -> None:
            with file:
                if LIBRARIES in self._spares or self._is_stopped:
                    return
                file.seek(0)
                try:
                    spec, handles = self._spawn_libraries(file.fileno())
                except ProjectError as error:
                    self._why[LIBRARIES] = str(error)
                else:
                    self._enter(LIBRARIES, spec, handles)

        spare.tell_libraries(file.fileno(), told)

    def _cancel(self) -> None:
        timers, self._timers = self._timers, []
        for timer in timers:
            timer.cancel()

    def discard(self) -> None:
        """None is to be used: something has changed that no spare can know of."""
        for stage in tuple(self._spares):
            self._end(stage)

    def give_up(self, why: str) -> None:
        """None is to be used any more in this run."""
        self._refusal = why
        self.discard()

    def stop(self) -> None:
        """End all of them."""
        self._is_stopped = True
        self._cancel()
        self.discard()

    @property
    def pids(self) -> list[int]:
        """Of all that have not ended."""
        return [spare.process.pid for spare in self._living]

    def snapshot(self) -> dict[str, Any]:
        """Plain values for `duck status`: each stage with its spare or why there is none."""
        if self._refusal:
            return {"why": self._refusal}
        stages: dict[str, Any] = {}
        for stage in STAGES:
            spare = self._spares.get(stage)
            if spare is not None and spare.process.state is READY:
                stages[stage] = {"pid": spare.process.pid, "uptime_s": round(spare.process.uptime_s, 3)}
            else:
                stages[stage] = {"why": self._why.get(stage, "no start has come by yet")}
        return {"stages": stages, "used": self._used or None}

    def _end(self, stage: str) -> None:
        spare = self._spares.pop(stage, None)
        if spare is not None:
            spare.process.kill()

    def _exited(self, spare: Spare, code: int) -> None:
        self._living.discard(spare)
        if self._spares.get(spare.stage) is spare:
            del self._spares[spare.stage]
            self._why[spare.stage] = spare.why or exit_sentence("it", code)
        self._on_exit()


def _refusal() -> str:
    """Why this system has no spares; empty where it has. This process takes orphans from then on."""
    if not sys.platform.startswith("linux"):
        return "this system cannot copy processes safely"
    return "" if become_subreaper() else "the kernel has no subreapers here"


def _is_child(pid: int) -> bool:
    """Whether `pid` is a child of this process; what a project's process says is not believed."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _is_of_migrations(path: str) -> bool:
    """Whether it is a migration, by where it lies: no start has to have read it."""
    return "migrations" in os.path.basename(os.path.dirname(path))

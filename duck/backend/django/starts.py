"""Starts: processes on their way from their spawn to the moment at which they may serve, within a deadline.

launch ──ready, not refused──> the others of its version are launched ──HEALTH_PATH answers──> it may serve
   └──────the spawn, the deadline, or one of these fails──> failed

A process is copied from a spare where its version may be and a spare is of use (see spares), and spawned otherwise.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from duck.backend.django import stack
from duck.backend.django.carried import member_from_values
from duck.backend.django.child import READY, STARTING, STOPPING, DjangoProcess
from duck.backend.django.handles import Ends, Handles, WorkerSpec
from duck.backend.django.health import probe_on_thread
from duck.backend.django.launcher import Launcher
from duck.backend.django.spares import Spares
from duck.backend.django.version import (
    COMING,
    GONE,
    PAGES,
    RETIRING,
    SERVING,
    SOCKETS,
    Failure,
    Member,
    Place,
    Version,
)
from duck.exceptions import DuckError

if TYPE_CHECKING:
    from traceback import FrameSummary

    from duck.backend.django.discover import Interpreter, Project
    from duck.backend.django.options import BackendOptions
    from duck.services.inbox import Inbox

logger = logging.getLogger("duck.django")

# What ends a process whose libraries do not bear to be copied.
_FAULTS: Final = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)


class Starts:
    """Of one project. Everything is called, and calls back, on the inbox's thread.

    Callbacks:
        on_output(text, title): see `DjangoProcess`; `title` is that of the process's place.
        on_event(version, member, event): what a process says; `ready` is to be given back to it.
        on_exit(version, member, code): a process has gone.
        on_ready(version, member, facts): a process may serve.
        on_failed(version, place, member, failure): one does not come up; without a member what was to be there, or all.
        max_requests(): of a new process.
        on_checked(event), on_unmade(event), on_spare_exit(): see `Spares`.

    Attributes:
        launcher: addresses and the secret.
        spares: what processes are copied from.
    """

    def __init__(
        self,
        project: Project,
        interpreter: Interpreter,
        options: BackendOptions,
        inbox: Inbox,
        *,
        on_output: Callable[[str, str], None],
        on_event: Callable[[Version, Member, dict[str, Any]], None],
        on_exit: Callable[[Version, Member, int], None],
        on_ready: Callable[[Version, Member, dict[str, Any]], None],
        on_failed: Callable[[Version, Place, Member | None, Failure], None],
        max_requests: Callable[[], int],
        on_checked: Callable[[dict[str, Any]], None],
        on_unmade: Callable[[dict[str, Any]], None],
        on_spare_exit: Callable[[], None],
    ) -> None:
        self.launcher = Launcher(project, options)
        self.spares = Spares(
            inbox,
            lambda text: on_output(text, ""),
            on_checked,
            on_unmade,
            on_spare_exit,
            self._spawn_libraries,
            is_wanted=options.spares,
        )
        self._is_stopped = False
        self._project = project
        self._interpreter = interpreter
        self._options = options
        self._inbox = inbox
        self._on_output = on_output
        self._on_event = on_event
        self._on_exit = on_exit
        self._on_ready = on_ready
        self._on_failed = on_failed
        self._max_requests = max_requests

    def launch(self, version: Version, place: Place, *, checks: str = "") -> None:
        """Start a process for `place`."""
        try:
            spec = self.launcher.spec(version, place, checks)
        except DuckError as error:
            self._on_failed(version, place, None, Failure("spawn", str(error)))
            return
        if version.is_fresh or version.state != COMING:
            self._spawn(version, place, spec)
            return
        state = version.state

        def answered(handles: Handles | None, points: Mapping[str, Ends]) -> None:
            if version.state != state or self._is_stopped:
                if handles is not None:
                    self._end(handles, points)
            elif handles is None:
                self._spawn(version, place, spec)
            else:
                self._go_on(version, place, spec, handles, points)

        self.spares.copy(place.role, spec, answered)

    def stop(self) -> None:
        """Nothing is started any more, and no spares are kept."""
        self._is_stopped = True
        self.spares.stop()

    def _spawn(self, version: Version, place: Place, spec: WorkerSpec) -> None:
        def told(event: dict[str, Any]) -> None:
            self._on_event(version, member, event)

        def ended(code: int) -> None:
            self._on_exit(version, member, code)

        points = self.spares.points(place.role, is_first=place.index == 0)
        try:
            printed = self._printing(place)
            process = DjangoProcess.spawn(spec, self._interpreter, self._inbox, told, printed, ended, points)
        except DuckError as error:
            self._on_failed(version, place, None, Failure("spawn", str(error)))
            return
        member = self._enter(version, place, process)

    def _go_on(
        self, version: Version, place: Place, spec: WorkerSpec, handles: Handles, points: Mapping[str, Ends]
    ) -> None:
        """A process was copied from a spare, and is on its way from there."""

        def told(event: dict[str, Any]) -> None:
            self._on_event(version, member, event)

        def ended(code: int) -> None:
            if -code in _FAULTS:
                self.spares.give_up(f"a process that was copied from a spare was ended by {signal.Signals(-code).name}")
            self._on_exit(version, member, code)

        process = DjangoProcess(spec, handles, self._inbox, told, self._printing(place), ended, points)
        member = self._enter(version, place, process)

    def _spawn_libraries(self, descriptor: int) -> tuple[WorkerSpec, Handles]:
        """Start the spare of packages, which finds at `descriptor` what they are."""
        spec = self.launcher.libraries_spec()
        given = {"libraries_fd": descriptor}
        handles = Handles.spawn(
            self._interpreter, spec.cwd, "_DUCK_WORKER", asdict(spec), has_terminal=True, given=given
        )
        return spec, handles

    def _end(self, handles: Handles, points: Mapping[str, Ends]) -> None:
        """A process that nobody waits for any more."""
        spec = WorkerSpec(cwd="", manage=None, address=("", 0))
        nothing: Callable[[object], None] = lambda _: None  # noqa: E731
        DjangoProcess(spec, handles, self._inbox, nothing, nothing, nothing, points).kill()

    def _enter(self, version: Version, place: Place, process: DjangoProcess) -> Member:
        member = Member(process, place, max_requests=self._max_requests())
        version.members.append(member)
        if version.state == SERVING:
            member.deadline = self._inbox.call_later(
                self._options.start_deadline_s, partial(self._too_late, version, member)
            )
        return member

    def adopt(self, version: Version, values: Mapping[str, Any]) -> None:
        """Go on with a process of `version` that was started before an exec; one that did not serve ends."""

        def told(event: dict[str, Any]) -> None:
            self._on_event(version, member, event)

        def ended(code: int) -> None:
            self._on_exit(version, member, code)

        def printed(text: str) -> None:
            self._on_output(text, member.place.title)

        process = DjangoProcess.take_over(values["process"], self._inbox, told, printed, ended)
        member = member_from_values(version, process, values)
        version.members.append(member)
        if member.state == GONE:
            process.kill()
        elif process.state is STOPPING or version.state not in (SERVING, RETIRING):
            process.stop(self._options.stop_deadline_s)

    def _printing(self, place: Place) -> Callable[[str], None]:
        return lambda text: self._on_output(text, place.title)

    def expect(self, version: Version) -> None:
        """All of `version` has to be ready within the deadline of a start."""
        version.deadline = self._inbox.call_later(self._options.start_deadline_s, partial(self._too_late, version))

    def ready(self, version: Version, member: Member, facts: dict[str, Any]) -> None:
        """A process has told `facts` and says that it is ready: see whether it may serve."""
        if member.state != COMING:
            return
        place = member.place
        member.process.close_points()
        if place.index == 0:
            for sentence in facts.get("warnings", ()):
                logger.warning("%s", sentence)
        if version.state == COMING and place.key == (PAGES, 0):
            refusal = self._options.refuse(facts)
            if refusal:
                self._on_failed(version, place, member, Failure("refused", refusal))
                return
            version.facts = facts
            self._fill(version)
        if version.state == COMING and place.role == PAGES and self._options.health_path:
            self._probe(version, member, facts)
        else:
            self._on_ready(version, member, facts)

    def _fill(self, version: Version) -> None:
        """Start the other processes of a version, now that the first has told how it is served."""
        facts = version.facts
        workers = self._options.workers
        if facts["protocol"] != "link" and workers > 1 and facts.get("in_memory_channels"):
            logger.warning(
                "The project's channel layer lives in memory, which processes do not share: one Django process is "
                "started instead of %d; name a layer such as channels_redis in CHANNEL_LAYERS for more.",
                workers,
            )
            workers = 1
        places = [version.place(PAGES, index) for index in range(1, workers)]
        if facts.get("sockets_wanted") and facts["protocol"] == "link":
            places.append(version.place(SOCKETS, 0))
        for place in places:
            if version.state == COMING:
                self.launch(version, place)

    def _probe(self, version: Version, member: Member, facts: dict[str, Any]) -> None:
        """Ask the health path of a process, on a thread: it may take long."""
        options = self._options
        path = options.health_path or "/"
        upstream = self.launcher.upstream(member.place, facts)

        def heard(why: str) -> None:
            if member.state != COMING:
                return
            if why:
                self._on_failed(version, member.place, member, Failure("health", f"The health path {path} {why}."))
            else:
                self._on_ready(version, member, facts)

        probe_on_thread(
            upstream,
            path,
            facts,
            options.prefix,
            options.start_deadline_s,
            lambda why: self._inbox.post(partial(heard, why)),
        )

    def _too_late(self, version: Version, member: Member | None = None) -> None:
        """The deadline of a start has passed: that of `version`, or of one process of a version that serves."""
        if (version if member is None else member).state != COMING:
            return
        if version.is_debugging if member is None else member.process.is_debugging:
            timer = self._inbox.call_later(self._options.start_deadline_s, partial(self._too_late, version, member))
            if member is None:
                version.deadline = timer
            else:
                member.deadline = timer
            return
        (version if member is None else member).is_late = True
        starting = [one for one in version.members if one.process.state is STARTING] if member is None else [member]
        if starting:
            starting[-1].process.ask_stack(partial(self.late, version, starting[-1]))
        elif version.members:
            self.late(version, version.members[-1])

    def late(self, version: Version, member: Member, frames: Sequence[FrameSummary] = ()) -> None:
        """`member` was not ready in time, and stands at `frames`; known for none where what asked has ended it."""
        root = self._project.root
        place = stack.place_of(frames, root)
        where = f" and is still at {place}" if place else ""
        if not where and member.process.state is READY:
            where = f" and has not answered {self._options.health_path}"
        failure = Failure(
            "deadline",
            f"Django was not ready in {self._options.start_deadline_s:g} s{where}; "
            "DJANGO_SERVER_WAIT_TIME says how long to wait.",
            stack.shown(frames),
            stack.files_of(frames, root),
        )
        if version.state == COMING:
            self._on_failed(version, member.place, None, failure)
        elif member.is_late:
            self._on_failed(version, member.place, member, failure)

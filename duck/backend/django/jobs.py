"""Jobs: runs of automations that need the project, in processes of the project's interpreter.

    lane `process`   a bounded pool, one run in each process at a time; ended by force with all that it started
    lanes `thread` and `loop`   one process for all; a run is asked to end; what does not hear it ends with the others

Processes are warm: one that has loaded the project waits for a run. They are recycled after a number of runs, and
replaced when the code is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from duck.backend.django.child import EXITED, READY, STARTING
from duck.backend.django.job_host import START_S, Job, JobHost
from duck.backend.django.job_memory import MemoryBound
from duck.exceptions import ProjectError
from duck.services.automations.engine import Ended
from duck.services.automations.memory import WEIGH_S
from duck.services.automations.run import State
from duck.services.automations.tail import news
from duck.services.exit import exit_sentence

if TYPE_CHECKING:
    from duck.backend.django.job_project import JobProject
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.engine import Printed
    from duck.services.automations.run import Run
    from duck.services.inbox import Timer

logger = logging.getLogger("duck.automations")

_END_OF_OUTPUT: Final = "\0duck ended "
# What waits on a loop costs next to nothing.
_LOOP_RUNS: Final = 1000
# So long the end of an output is waited for, when its run has ended.
_PRINTED_S: Final = 5.0
_SPAWN_AGAIN_S: Final = 5.0  # after one that the system refused


class DjangoJobs:
    """An `Executor` for what is called in the project. On the inbox's thread.

    Args:
        processes, threads: how many runs of these lanes there may be at once.
        recycle: a process ends after so many runs.
        memory: how much a process may hold.
    """

    def __init__(
        self,
        of: JobProject,
        *,
        processes: int,
        threads: int,
        recycle: int,
        memory: MemoryBound | None = None,
    ) -> None:
        self._of = of
        self._inbox = of.inbox
        self._memory = memory or MemoryBound()
        self._weighing: Timer | None = None
        self._spawning: Timer | None = None  # to try again
        self._processes = processes
        self._threads = threads
        self._recycle = recycle
        self._hosts: list[JobHost] = []
        self._shared: JobHost | None = None
        self._jobs: dict[int, Job] = {}
        self._warm: frozenset[str] = frozenset()
        self._unplaced: list[Job] = []  # taken before a process for them was ready
        self._is_stopping = False
        self._done: Callable[[], None] | None = None

    def begin(self) -> None:
        """Load the project in a first process, which tells what is declared."""
        host = self._spawn("process")
        if host is not None:
            host.tells = True

    def warm(self, lanes: Collection[str]) -> None:
        """Have a process ready for runs in these lanes, from now on: none of them waits for the project to load."""
        self._warm = frozenset(lanes)
        self._keep_warm()

    def reload(self) -> None:
        """Load the project anew; what runs ends where it is."""
        self.renew()
        self.begin()

    def renew(self) -> None:
        """Have the next runs carried out in new processes; what runs ends where it is."""
        for host in tuple(self._hosts):
            self._retire(host)
        self._shared = None

    def keep_to(self, declarations: Collection[Declaration]) -> None:
        """Begin what waits for a process as it is declared now, and not what is declared no more.

        A process that has loaded the project since knows nothing of it: its function may be gone.
        """
        declared = {each.name: each for each in declarations}
        for job in tuple(self._unplaced):
            if job.declaration.kind == "mail":
                continue  # of Duck's own
            now = declared.get(job.declaration.name)
            if now is None:
                job.facts = {"state": State.CANCELLED, "reason": "it was declared no more when it was to begin"}
                self._finish(job)
            elif now.lane == job.declaration.lane:
                job.declaration = now

    # -- an Executor ------------------------------------------------------------------------------------------------

    def room(self) -> Mapping[str, int]:
        """See `Executor`."""
        used = {"process": 0, "thread": 0, "loop": 0}
        for job in self._jobs.values():
            used[job.declaration.lane] += 1
        most = {"process": self._processes, "thread": self._threads, "loop": _LOOP_RUNS}
        return {lane: most[lane] - used[lane] for lane in most}

    def start(self, run: Run, declaration: Declaration, ended: Callable[[Ended], None]) -> None:
        """See `Executor`."""
        job = Job(run, declaration, ended)
        self._jobs[run.id] = job
        if declaration.timeout_s is not None:
            job.timers.append(
                self._inbox.call_later(declaration.timeout_s, partial(self._interrupt, job, State.TIMED_OUT))
            )
        self._place(job)

    def printed(self) -> Mapping[int, Printed]:
        """See `Executor`."""
        return news({run_id: job.tail for run_id, job in self._jobs.items()})

    def cancel(self, run_id: int) -> None:
        """See `Executor`."""
        job = self._jobs.get(run_id)
        if job is not None:
            self._interrupt(job, State.CANCELLED)

    def stop(self, deadline_s: float, done: Callable[[], None]) -> None:
        """See `Executor`."""
        self._is_stopping = True
        self._done = done
        for host in tuple(self._hosts):
            if not host.jobs:
                host.stop(1.0)
        self._inbox.call_later(deadline_s, self._cut)
        self._inbox.post(self._check_stopped)

    def kill(self) -> None:
        """See `Executor`."""
        self._is_stopping = True
        for host in self._hosts:
            host.kill()

    @property
    def pids(self) -> list[int]:
        """Its processes."""
        return [host.pid for host in self._hosts]

    # -- processes --------------------------------------------------------------------------------------------------

    def _spawn(self, lane: str) -> JobHost | None:
        try:
            host = JobHost(lane, self._of, self._event, self._printed, self._exited)
        except ProjectError as error:
            self._of.on_failed(str(error), "")
            if self._spawning is None:  # for all that wait
                self._spawning = self._inbox.call_later(_SPAWN_AGAIN_S, self._spawn_again)
            return None
        self._hosts.append(host)
        self._inbox.call_later(START_S, partial(self._too_late, host))
        return host

    def _too_late(self, host: JobHost) -> None:
        if host.state is STARTING:
            host.has_failed = True
            self._of.on_failed(f"The project was not loaded for automations within {START_S:g} s.", "")
            host.kill()

    def _retire(self, host: JobHost) -> None:
        host.retires = True
        if not host.jobs and host.state is not EXITED:
            host.stop(1.0)

    def _keep_warm(self) -> None:
        if self._is_stopping:
            return
        if self._shared is None and self._warm & {"thread", "loop"}:
            self._shared = self._spawn("shared")
        if "process" in self._warm and all(host.lane != "process" or host.retires for host in self._hosts):
            self._spawn("process")

    def _place(self, job: Job) -> None:
        """Give a run to a process that has room, or have one made for it."""
        if job.declaration.lane == "process":
            usable = [host for host in self._hosts if host.lane == "process" and not host.retires]
            free = [host for host in usable if not host.jobs and host.state is READY]
            if free:
                self._begin(job, free[0])
                return
            waiting = sum(1 for each in self._unplaced if each.declaration.lane == "process")
            if sum(1 for host in usable if host.state is STARTING) <= waiting:
                self._spawn("process")
        else:
            if self._shared is None or self._shared.state is EXITED or self._shared.retires:
                self._shared = self._spawn("shared")
            if self._shared is not None and self._shared.state is READY:
                self._begin(job, self._shared)
                return
        self._unplaced.append(job)

    def _spawn_again(self) -> None:
        self._spawning = None
        self._place_waiting()

    def _place_waiting(self) -> None:
        unplaced, self._unplaced = self._unplaced, []
        for job in unplaced:
            self._place(job)

    def _begin(self, job: Job, host: JobHost) -> None:
        run, declaration = job.run, job.declaration
        job.host = host
        host.jobs[run.id] = job
        host.begun += 1
        if host.lane == "process" and host.begun >= self._recycle:
            host.retires = True
            self._keep_warm()  # the next one loads the project meanwhile
        if self._weighing is None and self._memory.most_bytes is not None:
            self._weighing = self._inbox.call_later(WEIGH_S, self._weigh)
        host.command(
            "run",
            run=run.id,
            automation=declaration.name,
            kind=declaration.kind,
            target=declaration.target,
            details=declaration.details_table,
            lane=declaration.lane,
            context=declaration.context(run),
        )

    def _weigh(self) -> None:
        """End what holds too much, while anything runs."""
        self._weighing = self._inbox.call_later(WEIGH_S, self._weigh) if self._jobs else None
        hosts = {host.pid: host for host in self._hosts if host.jobs}
        for pid, why in self._memory.excesses(hosts).items():
            for job in hosts[pid].jobs.values():
                job.facts = {"state": State.FAILED, "reason": why}
            hosts[pid].kill()  # its exit ends the runs

    def _event(self, host: JobHost, event: dict[str, Any]) -> None:
        name = event.get("event")
        if name == "ready":
            if host.tells and not host.retires:
                self._of.on_declared(event)
            self._place_waiting()
        elif name == "failed":
            host.has_failed = True
            self._of.on_failed(str(event["message"]), str(event.get("traceback", "")))
        elif name == "output":
            prints = host.jobs.get(event["run"])
            if prints is not None:
                prints.tail.add(str(event["text"]))
        elif name == "ended":
            ends = host.jobs.get(event["run"])
            if ends is not None:
                ends.facts = event
                if host.lane != "process" or ends.is_printed:
                    self._finish(ends)
                else:  # the end of its output may be read after this; it is not waited for for ever
                    ends.timers.append(self._inbox.call_later(_PRINTED_S, partial(self._finish, ends)))

    def _printed(self, host: JobHost, text: str) -> None:
        if text.startswith(_END_OF_OUTPUT):
            host.held = ""
            job = host.jobs.get(int(text[len(_END_OF_OUTPUT) :]))
            if job is not None:
                job.is_printed = True
                if job.facts is not None:
                    self._finish(job)
            return
        if host.lane == "process" and host.jobs:
            # An empty line may be the one before the end of output.
            text, host.held = host.held + text, ""
            if text.endswith("\n") and text[:-1] in ("", "\n"):
                text, host.held = text[:-1], "\n"
            next(iter(host.jobs.values())).tail.add(text)
        else:
            self._of.on_output(text)

    # -- the end of a run -------------------------------------------------------------------------------------------

    def _interrupt(self, job: Job, because: State) -> None:
        """Ask a run to end, and see to it after its grace."""
        if job.run.id not in self._jobs or job.because is not None:
            return
        job.because = because
        if job.host is None:
            self._finish(job)
            return
        job.host.command("cancel", run=job.run.id)
        job.timers.append(self._inbox.call_later(job.declaration.grace_s, partial(self._force, job)))

    def _force(self, job: Job) -> None:
        if job.run.id not in self._jobs or job.host is None:
            return
        if job.host.lane == "process":
            job.host.kill()  # its exit ends the run
        else:
            # What it holds is given back when the others of its process have ended; new ones have a new process.
            job.tail.add("It did not end when it was asked to, and goes on until the others of its process have.\n")
            job.host.retires = True
            if job.host is self._shared:
                self._shared = None
                self._keep_warm()
            self._finish(job)

    def _finish(self, job: Job, code: int | None = None) -> None:
        if self._jobs.pop(job.run.id, None) is None:
            return
        if job in self._unplaced:
            self._unplaced.remove(job)
        for timer in job.timers:
            timer.cancel()
        facts = job.facts or {}
        state = State(facts.get("state", State.FAILED))
        reason = str(facts.get("reason", ""))
        if job.host is not None and job.host.held:
            job.tail.add(job.host.held)
            job.host.held = ""
        if facts.get("traceback"):
            job.tail.add(str(facts["traceback"]))
        if facts.get("left") and job.host is not None:
            job.tail.add(f"It left processes behind, which end with it: {facts['left']}.\n")
            job.host.retires = True  # they are of its group
        if code is not None and job.facts is None:
            reason = exit_sentence("its process", code).rstrip(".")
        if job.because is not None and state is not State.SUCCEEDED:
            state = job.because
            if state is State.TIMED_OUT:
                reason = f"not ended within {job.declaration.timeout_s:g} s"
            elif code is not None:
                reason = "ended by force"
        host = job.host
        if host is not None:
            host.jobs.pop(job.run.id, None)
            if not host.retires and host.state is READY and self._memory.is_worn(host.pid):
                host.retires = True
                self._keep_warm()
            if host.retires or self._is_stopping:
                self._retire(host)
        job.ended(Ended(state, reason, code, str(job.tail), printed=job.tail.count))
        self._check_stopped()

    def _exited(self, host: JobHost, code: int) -> None:
        if host in self._hosts:
            self._hosts.remove(host)
        if host is self._shared:
            self._shared = None
        for job in tuple(host.jobs.values()):
            self._finish(job, code)
        if host.ready or host.retires:
            self._place_waiting()
        else:  # it could not be loaded, and the next one could not either
            unplaced, self._unplaced = self._unplaced, []
            for job in unplaced:
                job.facts = {"state": State.FAILED, "reason": "the project cannot be loaded"}
                self._finish(job)
        if host.ready:
            self._keep_warm()
        elif not (host.has_failed or host.retires or self._is_stopping):  # it was killed before it could say why
            self._of.on_failed(exit_sentence("The process that loads the project", code), "")
        self._check_stopped()

    def _cut(self) -> None:
        """The deadline of a stop has passed."""
        for job in tuple(self._jobs.values()):
            job.because = State.CANCELLED
            if job.host is None:
                self._finish(job)
        for host in tuple(self._hosts):
            host.kill()

    def _check_stopped(self) -> None:
        if self._is_stopping and not self._jobs and not self._hosts and self._done is not None:
            done, self._done = self._done, None
            done()

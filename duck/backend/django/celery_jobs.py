"""Runs that the project's Celery carries out: a process of the project sends them, and sees how they go on.

    start ──carry──> sending ──sent──> sent ──begun──> begun ──ended, silent──> over
                        └──unsent: queued again, as if it had never been taken

What a message or a worker's row says of an attempt holds for every node, so a run is no node's: where its node stops or
falls silent, another takes it as the same attempt, and sees the same row. No thread waits for any of them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from duck.backend.django.child import READY, STARTING
from duck.backend.django.job_host import START_S, JobHost
from duck.exceptions import ProjectError
from duck.services.automations.declaration import LANES
from duck.services.automations.engine import NOTHING_PRINTED, Ended
from duck.services.automations.executors.url import TIMEOUT_S
from duck.services.automations.run import State
from duck.services.exit import exit_sentence

if TYPE_CHECKING:
    from duck.backend.django.job_project import JobProject
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.engine import Printed
    from duck.services.automations.run import Run
    from duck.services.inbox import Timer

logger = logging.getLogger("duck.automations")

LANE: Final = "celery"
SILENT_S: Final = 30.0
AGAIN_S: Final = 30.0
_MOST_RUNS: Final = 5_000
# What its worker needs to be heard: two of its beats, and a look at them.
_HEARD_S: Final = 5.0
_AGAIN_S: Final = (1.0, 15.0)
_BROKER_S: Final = 5.0


class Sent:
    """One run under way.

    Attributes:
        because: why it is to end; the state that it has then.
    """

    def __init__(
        self, run: Run, declaration: Declaration, ended: Callable[[Ended], None], base: str | None = None
    ) -> None:
        self.run = run
        self.base = base
        self.declaration = declaration
        self.ended = ended
        self.was_sent = False
        self.worker = ""
        self.begun: float | None = None
        self.because: State | None = None
        self.timers: list[Timer] = []

    @property
    def task(self) -> str:
        """What Celery calls it: the same for every message of one attempt, and for no other."""
        return f"{self.run.key}:{self.run.id}.{self.run.attempt}"

    def told(self) -> dict[str, Any]:
        """What the process that sends it is told."""
        run, declaration = self.run, self.declaration
        return {
            "run": run.id,
            "attempt": run.attempt,
            "task": self.task,
            "automation": declaration.name,
            "kind": declaration.kind,
            "target": declaration.target,
            "details": declaration.details_table,
            "context": declaration.context(run),
            # A request that names no time has one, for an answer may come a byte at a time.
            "timeout_s": declaration.timeout_s or (TIMEOUT_S if declaration.kind == "url" else None),
            "base": self.base,
            "grace_s": declaration.grace_s,
            "was_sent": self.was_sent,
        }


class CeleryJobs:
    """An `Executor`. On the inbox's thread.

    Args:
        app: what `celery -A` is given; looked for where it is empty.
        base: what URLs that begin with `/` are of, as workers on any machine reach it; None where that is not known.
        silent_s, again_s: see worker/carrier.py.
    """

    def __init__(
        self,
        of: JobProject,
        *,
        app: str,
        base: str | None = None,
        silent_s: float = SILENT_S,
        again_s: float = AGAIN_S,
    ) -> None:
        self._of = of
        self._inbox = of.inbox
        self._celery = {"app": app, "silent_s": silent_s, "again_s": again_s}
        self._base = base
        self._host: JobHost | None = None
        self._old: list[JobHost] = []
        self._runs: dict[int, Sent] = {}
        self._again_s = _AGAIN_S[0]
        self._broker = ""  # what is wrong with it
        self._is_stopping = False
        self._done: Callable[[], None] | None = None

    def begin(self) -> None:
        """Load the project in a process, which tells what is declared."""
        try:
            host = JobHost(LANE, self._of, self._event, self._printed, self._exited, self._celery)
        except ProjectError as error:
            self._of.on_failed(str(error), "")
            return
        host.tells = True
        self._host = host
        self._inbox.call_later(START_S, partial(self._too_late, host))

    def _too_late(self, host: JobHost) -> None:
        if host.state is STARTING:
            host.has_failed = True
            self._of.on_failed(f"The project was not loaded for automations within {START_S:g} s.", "")
            host.kill()

    def warm(self, lanes: Collection[str]) -> None:
        """See `DjangoJobs`: Celery's workers are there."""

    def keep_to(self, declarations: Collection[Declaration]) -> None:
        """See `DjangoJobs`: nothing waits here, for the broker has it already."""

    def reload(self) -> None:
        """Load the project anew."""
        if self._host is not None:
            self._old.append(self._host)
            self._host.stop(1.0)
        self.begin()

    # -- an Executor ------------------------------------------------------------------------------------------------

    def room(self) -> Mapping[str, int]:
        """See `Executor`: none while the broker is away, so that what is due waits in the store."""
        is_ready = self._host is not None and self._host.state is READY
        room = _MOST_RUNS - len(self._runs) if is_ready and not self._broker and not self._is_stopping else 0
        return dict.fromkeys(LANES, room)

    def start(self, run: Run, declaration: Declaration, ended: Callable[[Ended], None]) -> None:
        """See `Executor`."""
        self._runs[run.id] = Sent(run, declaration, ended, self._base)
        self._tell(self._runs[run.id])

    def printed(self) -> Mapping[int, Printed]:
        """See `Executor`: its worker tells the store by itself."""
        return NOTHING_PRINTED

    def cancel(self, run_id: int) -> None:
        """See `Executor`: its worker hears of it from the store, and ends it by force where it does not."""
        sent = self._runs.get(run_id)
        if sent is None or sent.because is not None:
            return
        sent.because = State.CANCELLED
        if sent.begun is None:
            self._forget(sent)
            self._finish(sent, Ended(State.CANCELLED))
            return
        self._force_after(sent, sent.declaration.grace_s)

    def stop(self, deadline_s: float, done: Callable[[], None]) -> None:
        """See `Executor`: what Celery has goes on there, and is seen to by another node, or by the next start."""
        self._is_stopping = True
        self._done = done
        for sent in tuple(self._runs.values()):
            self._give_back(sent, "its node has stopped, and Celery goes on with it")
        if self._host is not None:
            self._host.stop(1.0)
        self._inbox.post(self._check_stopped)

    def kill(self) -> None:
        """See `Executor`; Celery goes on with what it has."""
        self._is_stopping = True
        for host in self._hosts():
            host.kill()

    @property
    def pids(self) -> list[int]:
        """Its processes."""
        return [host.pid for host in self._hosts()]

    # -- the process ------------------------------------------------------------------------------------------------

    def _hosts(self) -> list[JobHost]:
        return [*self._old, *([self._host] if self._host is not None else [])]

    def _tell(self, sent: Sent) -> None:
        if self._host is not None and self._host.state is READY:  # else it is told when it is
            self._host.command("carry", **sent.told())

    def _printed(self, host: JobHost, text: str) -> None:
        self._of.on_output(text)

    def _event(self, host: JobHost, event: dict[str, Any]) -> None:
        name = event.get("event")
        if host is not self._host:
            return
        if name == "ready":
            self._again_s = _AGAIN_S[0]
            self._broker = ""
            for sent in self._runs.values():
                self._tell(sent)
            self._of.on_declared(event)
        elif name == "failed":
            host.has_failed = True
            self._of.on_failed(str(event["message"]), str(event.get("traceback", "")))
        elif name == "broker":
            self._see_broker(reachable=bool(event["reachable"]), reason=str(event["reason"]))
        elif name == "waits":
            logger.warning(
                "%d runs wait for a Celery worker to begin them, one of them for %.0f s; workers have to be there, and"
                " to have been started since duck.automation.django is in INSTALLED_APPS.",
                event["count"],
                event["for_s"],
            )
        elif (sent_ := self._runs.get(int(event.get("run", -1)))) is not None and sent_.run.attempt == event["attempt"]:
            self._of_run(sent_, str(name), event)  # what is said of an attempt before is of no concern any more

    def _of_run(self, sent: Sent, name: str, event: dict[str, Any]) -> None:
        if name == "sent":
            sent.was_sent = True
        elif name == "unsent":
            self._give_back(sent, f"it could not be sent: {event['reason']}", after_s=_BROKER_S)
        elif name == "refused":
            self._finish(sent, Ended(State.FAILED, str(event["reason"])))
        elif name == "begun":
            sent.was_sent, sent.worker, sent.begun = True, str(event["worker"]), time.monotonic()
            if sent.declaration.timeout_s is not None:
                self._force_after(sent, sent.declaration.timeout_s + sent.declaration.grace_s)
        elif name == "ended":
            state, reason, output = State(event["state"]), str(event["reason"]), str(event["output"])
            self._finish(sent, Ended(state, reason, None, output, printed=int(event["printed"])))
        elif name == "silent":
            self._lost(sent, str(event["worker"]))
        elif name == "kept":  # another node has it by now
            self._finish(sent, Ended(State.CANCELLED))

    def _see_broker(self, *, reachable: bool, reason: str) -> None:
        if reachable:
            self._broker = ""
            logger.info("Celery's broker can be reached again.")
        elif not self._broker:
            self._broker = reason
            logger.error("Celery's broker cannot be reached: %s. What is due stays queued until it can.", reason)

    def _exited(self, host: JobHost, code: int) -> None:
        if host in self._old:
            self._old.remove(host)
        if host is self._host:
            self._host = None
            if host.ready and not self._is_stopping:
                logger.error("The process that speaks to Celery has ended, and is started again.")
                self._inbox.call_later(self._again_s, self._begin_again)
                self._again_s = min(2 * self._again_s, _AGAIN_S[1])
            elif not (host.has_failed or self._is_stopping):  # it was killed before it could say why
                self._of.on_failed(exit_sentence("The process that speaks to Celery", code), "")
        self._check_stopped()

    def _begin_again(self) -> None:
        if self._host is None and not self._is_stopping:
            self.begin()

    # -- the end of a run -------------------------------------------------------------------------------------------

    def _force_after(self, sent: Sent, delay_s: float) -> None:
        sent.timers.append(self._inbox.call_later(delay_s + _HEARD_S, partial(self._force, sent)))

    def _force(self, sent: Sent) -> None:
        if self._runs.get(sent.run.id) is not sent:
            return
        is_late = sent.because is None
        sent.because = sent.because or State.TIMED_OUT
        if self._host is not None:
            self._host.command("interrupt", run=sent.run.id, is_late=is_late)
        sent.timers.append(self._inbox.call_later(_HEARD_S, partial(self._forced, sent)))

    def _forced(self, sent: Sent) -> None:
        if self._runs.get(sent.run.id) is sent:
            self._forget(sent)
            self._finish(sent, self._ended_by_force(sent))

    def _ended_by_force(self, sent: Sent) -> Ended:
        state = sent.because or State.TIMED_OUT
        reason = "ended by force"
        if state is State.TIMED_OUT:
            reason = f"not ended within {sent.declaration.timeout_s:g} s"
        return Ended(state, reason, None, f"It did not end by itself; its worker was {sent.worker}.\n")

    def _lost(self, sent: Sent, worker: str) -> None:
        limit_s = sent.declaration.timeout_s
        is_late = limit_s is not None and sent.begun is not None and time.monotonic() - sent.begun >= limit_s
        if sent.because is not None or is_late:
            self._finish(sent, self._ended_by_force(sent))
        else:
            self._finish(sent, Ended(State.LOST, f"its Celery worker {worker} fell silent"))

    def _give_back(self, sent: Sent, reason: str, after_s: float = 0.0) -> None:
        """Have it queued, as if it had not been taken: who takes it next takes the same attempt."""
        at = datetime.now(UTC) + timedelta(seconds=after_s)
        self._forget(sent)
        self._finish(sent, Ended(State.QUEUED, reason, retry_at=at, counts=False))

    def _forget(self, sent: Sent) -> None:
        if self._host is not None and self._host.state is READY:
            self._host.command("forget", run=sent.run.id)

    def _finish(self, sent: Sent, ended: Ended) -> None:
        if self._runs.pop(sent.run.id, None) is None:
            return
        for timer in sent.timers:
            timer.cancel()
        sent.ended(ended)

    def _check_stopped(self) -> None:
        if self._is_stopping and not self._hosts() and self._done is not None:
            done, self._done = self._done, None
            done()

"""DjangoBackend: the supervised project. Starts versions of it, replaces them, and replaces single processes.

A version is posted, as a generation, only when all of its processes are ready, and one that does not come up changes
nothing of what serves. The old one goes when the App has said that no front worker uses it any more, and that nothing
is in flight there: an ASGI server that is told to stop closes its WebSockets and drops requests that it has not read.

Of a version that serves, a process that dies, hangs or is worn out is replaced alone: the version is posted again, as a
generation with a new number, in which the upstreams of all others are the same values.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from duck.backend.django.carried import versions_from_values, versions_to_values
from duck.backend.django.child import EXIT_FAILED, DjangoProcess
from duck.backend.django.handles import WorkerSpec
from duck.backend.django.options import BackendOptions
from duck.backend.django.prompts import Prompts
from duck.backend.django.refresh import refresh
from duck.backend.django.starts import Starts
from duck.backend.django.terminal import Terminal
from duck.backend.django.version import (
    COMING,
    FIRST_BACKOFF_S,
    GONE,
    PAGES,
    RETIRING,
    SERVING,
    Failure,
    Member,
    Outcome,
    Place,
    Version,
)
from duck.backend.django.versions import Versions
from duck.backend.django.vitals import Vitals
from duck.services.backoff import Backoff
from duck.services.exit import exit_sentence

if TYPE_CHECKING:
    from duck.backend.django.discover import Interpreter, Project
    from duck.proxy.upstream import Generation
    from duck.services.inbox import Inbox, Timer

__all__ = ["BackendOptions", "DjangoBackend", "DjangoProcess", "Failure", "WorkerSpec"]

logger = logging.getLogger("duck.django")

# A front worker that has not said so by then hangs: whether it does is found out by its heartbeat.
_RETIRE_FALLBACK_S: Final = 10.0
# Front workers end what goes on at their own deadline first.
_LEAVE_SLACK_S: Final = 1.0
# Of all else a spare may not know that it was read: a library in C reads `.env`, or settings in a format of its own.
_SEEN: Final = (".py", ".po", ".mo")


class DjangoBackend:
    """The processes of one project. A `Service`: everything on the inbox's thread, and nothing waits.

    Callbacks:
        on_generation(generation): a new one is ready; post it to the front, then say `acknowledged`.
        on_failed(failure): one did not come up; what served before still serves. Call `replace` when a file changes.
        on_down(): no process for pages is left; the next generation is on its way.
        on_output(text, title): output of a process, by lines (see `DjangoProcess`, and `Place.title`).
        on_checked(failure): the checks that were put off for a quick start are done, or what of them failed.
        on_debugger(active): somebody is, or is no longer, at a prompt: deadlines and reloads should wait.
    """

    name = "django"

    def __init__(
        self,
        project: Project,
        interpreter: Interpreter,
        options: BackendOptions,
        inbox: Inbox,
        *,
        on_generation: Callable[[Generation], None],
        on_failed: Callable[[Failure], None],
        on_down: Callable[[], None] = lambda: None,
        on_output: Callable[[str, str], None] = lambda text, title: None,
        on_debugger: Callable[[bool], None] = lambda active: None,
        on_checked: Callable[[Failure | None], None] = lambda failure: None,
        terminal: Terminal | None = None,
    ) -> None:
        self.project = project
        self.interpreter = interpreter
        self.options = options
        self.failure: Failure | None = None  # of the last start; None once one succeeded
        self.restarts = 0
        self.on_fault: Callable[[Mapping[str, Any]], None] = lambda event: None  # a request has failed
        self.on_looked: Callable[[Mapping[str, Any]], None] = lambda event: None  # what checks have said
        self.on_unmade: Callable[[Mapping[str, Any]], None] = lambda event: None  # which migrations are to be made
        self._inbox = inbox
        self._on_generation = on_generation
        self._on_failed = on_failed
        self._on_down = on_down
        self._on_output = on_output
        self._on_debugger = on_debugger
        self._on_checked = on_checked
        self._prompts = Prompts(terminal or Terminal())
        self._number = 0  # the highest that was given out
        self._posted = 0  # the number of the last generation
        self._versions = Versions()
        self._vitals = Vitals(options, inbox, lambda: self._versions.serving(), self._worn)
        self._starts = Starts(
            project,
            interpreter,
            options,
            inbox,
            on_output=on_output,
            on_event=self._event,
            on_exit=self._exited,
            on_ready=self._take_place,
            on_failed=self._failed,
            max_requests=self._vitals.max_requests,
            on_checked=self._checked,
            on_unmade=lambda event: self.on_unmade(event),
            on_spare_exit=self._check_stopped,
        )
        self._backoff = Backoff(FIRST_BACKOFF_S)
        self._restart: Timer | None = None
        self._stopped: list[Callable[[], None]] = []
        self._stopping = False

    # -- what the App asks ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the first generation."""
        self.replace()

    def replace(self, on_outcome: Outcome | None = None, *, changed: Sequence[str] = ()) -> None:
        """Start a version beside what serves; one that is still coming is given up for it.

        `changed` are the files because of which: where they are known, and a spare can see whether it has read them, it
        goes on from a spare. `on_outcome` is called once: with None when every front worker uses it, or with why that
        will not be.
        """
        if self._stopping:
            if on_outcome is not None:
                on_outcome(Failure("stop", "Duck is about to end."))
            return
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None
        for version in self._versions:
            if version.state == COMING:
                self._abandon(version)
                version.tell_outcome(Failure("replaced", "A newer start has taken its place."))
            elif version.state == SERVING and not version.answers:
                self._start_no_more(version)
        self._number += 1
        is_fresh = not changed or not all(path.endswith(_SEEN) for path in changed)
        if is_fresh:
            self._starts.spares.discard()
        self._starts.spares.changed(changed)
        version = Version(self._number, on_outcome=on_outcome, is_fresh=is_fresh)
        self._versions.add(version)
        self._starts.expect(version)
        self._starts.launch(version, version.place(PAGES, 0), checks=self._checks())

    def acknowledged(self, number: int) -> None:
        """Every front worker uses generation `number`; what is in flight in older ones has its time from now on."""
        for version in self._versions:
            if version.state == SERVING and version.number <= number:
                version.tell_outcome(None)
        if self._versions.unused(number):
            self._inbox.call_later(
                self.options.stop_deadline_s + _LEAVE_SLACK_S, lambda: self.left(number, deadline_s=_LEAVE_SLACK_S)
            )

    def left(self, number: int, *, deadline_s: float | None = None) -> None:
        """Nothing is in flight in processes that generation `number` does without, or had its time: they may end."""
        for member in self._versions.unused(number):
            member.process.stop(self.options.stop_deadline_s if deadline_s is None else deadline_s)

    def stop(self, deadline_s: float, done: Callable[[], None]) -> None:
        """End all processes: finish what runs within `deadline_s` seconds, then by force; `done` when all are gone."""
        self._stopping = True
        self._stopped.append(done)
        self._vitals.stop()
        self._starts.stop()
        if self._restart is not None:
            self._restart.cancel()
        for version in self._versions:
            version.cancel_timers()
            version.tell_outcome(Failure("stop", "Duck is about to end."))
            for member in version.members:
                member.process.stop(deadline_s)
        self._inbox.post(self._check_stopped)

    def kill(self) -> None:
        """End all processes now, for an App that ends without order."""
        self._starts.stop()
        for member in self._versions.members():
            member.process.kill()

    def hand_over(self) -> dict[str, Any] | None:
        """What the Duck that this process becomes by an exec needs to go on with what serves; None for an end.

        Plain values; those under `descriptors` stay open over the exec. What is coming is ended by that Duck, and asked
        for again. Nothing is changed here, but that who waits for a version is told to ask again: the exec may fail.
        """
        if self._stopping:
            return None
        for version in self._versions:
            version.tell_outcome(Failure("replaced", "Duck itself is about to be replaced; ask again."))
        return {
            "number": self._number,
            **self._starts.launcher.hand_over(),
            "restarts": self.restarts,
            **versions_to_values(self._versions),
        }

    def take_over(self, values: Mapping[str, Any]) -> bool:
        """Go on with what served before the exec, `values` as `hand_over` gave them; whether it still does."""
        self._number = values["number"]
        self._starts.launcher.take_over(values)
        self.restarts = values["restarts"]
        self._versions = Versions(versions_from_values(values, self._starts.adopt))
        current = self.current
        if current is None:
            for version in self._versions:
                version.state = RETIRING
            self.left(self._number + 1)
            return False
        self._serve(current)
        for place in current.places:
            if current.at(place, SERVING) is None:
                self._start_later(current, place)
        return True

    @property
    def current(self) -> Version | None:
        """What serves now: a version with a process for pages at least."""
        return self._versions.current

    @property
    def spare_pids(self) -> list[int]:
        """Processes that wait to be copied, or are about to end."""
        return self._starts.spares.pids

    @property
    def is_debugging(self) -> bool:
        """Whether somebody is at a debugger's prompt."""
        return self._versions.is_debugging

    def snapshot(self) -> dict[str, Any]:
        """Plain values for `duck status`."""
        current = self.current
        return {
            "state": "stopping" if self._stopping else self._state(),
            "generation": current.number if current is not None else None,
            "interpreter": self.interpreter.path,
            "restarts": self.restarts,
            "failure": self.failure.message if self.failure is not None else None,
            "spares": self._starts.spares.snapshot(),
            "processes": self._versions.snapshot(),
        }

    status = snapshot  # as a `Service` has it

    def refresh(self, what: Sequence[str], done: Callable[[], None]) -> None:
        """Have what serves read `what` again (`templates`, `translations`); `done` when it has, or after a while."""
        refresh((member.process for member in self._versions.serving()), what, self._inbox, done)

    def _state(self) -> str:
        if self.current is not None:
            return SERVING
        if self._versions.is_coming:
            return COMING
        if self._restart is not None or self._versions.is_waiting:
            return "waiting"
        return "failed" if self.failure is not None else "down"

    # -- a process comes ------------------------------------------------------------------------------------------

    def _checks(self) -> str:
        """What a new version has to pass in the worker; `runserver` says by itself what Django's says."""
        if self.options.mode != "serve":
            return ""
        # Where nothing serves, a site with a missing migration is better than none.
        strict = self.current is not None and not self.options.allow_unapplied_migrations
        return "strict" if strict else "lenient"

    def _event(self, version: Version, member: Member, event: dict[str, Any]) -> None:
        name = event.get("event")
        if name == "ready":
            self._starts.ready(version, member, event)
        elif name == "pong":
            self._vitals.told(member, event)
        elif name == "failed":
            self._failed(version, member.place, member, Failure.from_event(event))
        elif name in ("left", "unspared"):
            self._starts.spares.left(member.process, event)
        elif name == "fault":
            self.on_fault(event)
        elif name == "looked":
            self.on_looked(event)
        elif name == "debugger":
            self._debugger(member.process, bool(event["active"]))
        elif name == "interrupted":
            # Ctrl-C at a prompt reached the process that has the terminal; it is meant for Duck.
            self._prompts.end(member.process)
            os.kill(os.getpid(), signal.SIGINT)

    def _take_place(self, version: Version, member: Member, facts: dict[str, Any]) -> None:
        """A process is ready: it serves from now on, with its whole version, or in place of another of that."""
        place = member.place
        member.cancel_deadline()
        before = version.at(place, SERVING)
        member.state = SERVING
        member.since = time.monotonic()
        place.upstream = self._starts.launcher.upstream(place, facts)
        place.finder = self._starts.launcher.finder(place, facts)
        if version.state == COMING:
            if version.is_complete:
                self._serve(version)
            return
        if place.key == (PAGES, 0):
            version.facts = facts
        if before is not None:
            before.state = RETIRING
        self.failure = None
        self._post(version, without=before)

    def _serve(self, version: Version) -> None:
        """A version is complete, and takes over."""
        version.cancel_timers()
        version.state = SERVING
        self.failure = None
        self._backoff = Backoff(FIRST_BACKOFF_S)
        for older in self._versions:
            if older is not version and older.state == SERVING:
                older.state = RETIRING
                self._start_no_more(older)
                self._versions.drop_if_over(older)
        self._vitals.start()
        self._post(version)
        self._starts.spares.served(are_checks_left=not version.is_fresh)

    def _checked(self, event: dict[str, Any]) -> None:
        failed = event["failed"]
        if event["looked"] is not None:
            self.on_looked(event["looked"])
        self._on_checked(Failure.from_event(failed) if failed is not None else None)

    def _post(self, version: Version, *, without: Member | None = None) -> None:
        """Tell the front which processes serve now; no more `without` from this generation on."""
        if version.number <= self._posted:
            self._number += 1
            version.number = self._number
        self._posted = version.number
        if without is not None:
            without.until = version.number
        self._on_generation(version.generation())
        self._inbox.call_later(_RETIRE_FALLBACK_S, partial(self.acknowledged, version.number))

    # -- a process does not come ----------------------------------------------------------------------------------

    def _failed(self, version: Version, place: Place, member: Member | None, failure: Failure) -> None:
        """A process does not come up: its version is given up, or tries again where it serves."""
        if member is not None and member.state != COMING:
            return
        may_pass = failure.stage == "crash" or failure.is_transient
        serves = self.options.mode == "serve"
        if version.state == COMING:
            self._abandon(version)
            self.failure = failure
            self._on_failed(failure)
            version.tell_outcome(failure)
            # By itself only where nothing else would: no change of files is awaited, nobody was told to try again.
            if self.current is None if serves else may_pass:
                self._restart_later()
        elif version.state == SERVING:
            if member is not None:
                member.state = GONE
                member.cancel_deadline()
                member.process.kill()
            holder = version.at(place, SERVING)
            if holder is not None:
                place.renew_after = time.monotonic() + place.backoff.next_s()
                logger.error("%s could not be replaced, and goes on: %s", holder.title, failure.message)
                return
            if version.answers and serves:
                logger.error("A Django process could not be started again: %s", failure.message)
            else:
                self.failure = failure
                self._on_failed(failure)
            if serves or may_pass:
                self._start_later(version, place)

    def _abandon(self, version: Version) -> None:
        version.cancel_timers()
        version.state = GONE
        for member in version.members:
            member.state = GONE
            member.process.kill()
        self._versions.drop_if_over(version)

    def _start_no_more(self, version: Version) -> None:
        """What starts in a version that is replaced ends."""
        version.cancel_timers()
        for member in version.members:
            if member.state == COMING:
                member.state = GONE
                member.process.kill()

    # -- a process goes -------------------------------------------------------------------------------------------

    def _exited(self, version: Version, member: Member, code: int) -> None:
        process = member.process
        state = member.state
        version.members.remove(member)
        self._prompts.end(process)
        if process.is_debugging:
            process.is_debugging = False
            self._on_debugger(self.is_debugging)
        if self._stopping:
            pass
        elif state == COMING and (version.is_late or member.is_late):
            self._starts.late(version, member)  # what asked where it stands has ended it
        elif state == COMING or (state == SERVING and version.state == COMING):
            if code == EXIT_FAILED:
                sentence = f"The Django process {process.pid} could not start the project."
            else:
                sentence = exit_sentence(f"The Django process {process.pid}", code)
            member.state = COMING
            # Ended by a signal it was from outside, or for want of memory: of the project's code that says nothing.
            self._failed(version, member.place, member, Failure("crash", sentence, is_transient=code < 0))
        elif state == SERVING and version.state == SERVING:
            logger.error("%s It is started again.", exit_sentence(f"The Django process {process.pid}", code))
            self._died(version, member)
        self._versions.drop_if_over(version)
        self._check_stopped()

    def _died(self, version: Version, member: Member) -> None:
        """A process of what serves has died: the others go on without it until another takes its place."""
        place = member.place
        self.restarts += 1
        place.backoff.lasted(member.served_s())
        if place.role == PAGES:
            place.upstream = place.finder = None
            if version.answers:
                self._post(version)
            else:
                self._on_down()
        if version.at(place, COMING) is None:
            self._start_later(version, place)

    def _start_later(self, version: Version, place: Place) -> None:
        if place.restart is None and not self._stopping:
            place.restart = self._inbox.call_later(place.backoff.next_s(), partial(self._start_now, version, place))

    def _start_now(self, version: Version, place: Place) -> None:
        place.restart = None
        if version.state == SERVING and version.at(place, COMING) is None:
            self._starts.launch(version, place)

    def _restart_later(self) -> None:
        if self._restart is None and not self._stopping:
            self._restart = self._inbox.call_later(self._backoff.next_s(), self._restart_now)

    def _restart_now(self) -> None:
        self._restart = None
        self.replace()

    # -- a process is worn ----------------------------------------------------------------------------------------

    def _worn(self, member: Member, why: str) -> None:
        """Replace a process while it still serves; one after the other."""
        version = self._versions.serving_with(member)
        place = member.place
        if version is None or member.state != SERVING or self._stopping or time.monotonic() < place.renew_after:
            return
        if any(other.state == COMING for other in version.members):
            return
        if why:
            logger.info("%s %s; another takes its place.", member.title, why)
        self._starts.launch(version, place)

    def _check_stopped(self) -> None:
        if self._stopping and not self._versions.members() and not self.spare_pids:
            callbacks, self._stopped = self._stopped, []
            for done in callbacks:
                done()

    def _debugger(self, process: DjangoProcess, active: bool) -> None:
        if active:
            self._prompts.begin(process)
        else:
            self._prompts.end(process)
        self._on_debugger(self.is_debugging)

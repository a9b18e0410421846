"""One node that claims and carries runs out, until it is told to stop: `duck automations run`, or part of an App.

    declarations of settings and of the project -> dispatcher -> executors; the store is shared by all nodes

What the project declares is told by a process of the project's interpreter, each time that it loads it.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from duck.app.address import is_of_this_machine
from duck.app.alert_mail import JobMail
from duck.app.automation_declarations import Found, read_channels
from duck.app.automation_engine import open_engine
from duck.app.automation_observers import Spoken, Until, unplanned
from duck.app.automation_own import own_source
from duck.app.automation_project import ProjectSide, below, celery_jobs, django_jobs
from duck.app.automation_report import NodeReport
from duck.app.dispatcher_class import dispatcher_class
from duck.backend.django.conditions import Conditions
from duck.exceptions import DuckError, SettingsError
from duck.logs import ProcessOutput, to_console, wants_colour
from duck.services.automations.alerts.alerts import Alerts
from duck.services.automations.event_spool import EventSpool
from duck.services.automations.executors.by_kind import ByKind
from duck.services.automations.executors.shell import ShellCommands
from duck.services.automations.executors.url import Requests
from duck.services.automations.file_watch import FileWatch
from duck.services.automations.places import event_directory
from duck.services.automations.target import TARGETS
from duck.services.inbox import Inbox
from duck.settings import views
from duck.settings.reread import reread

if TYPE_CHECKING:
    from duck.backend.django.celery_jobs import CeleryJobs
    from duck.backend.django.jobs import DjangoJobs
    from duck.services.automations.executor import Executor
    from duck.services.inbox import Timer
    from duck.settings.load import Settings

logger = logging.getLogger("duck.automations")

# How long an end waits for receivers of alerts, as long as runs may end, and after that.
_ALERTS_S: Final = 5.0
_LEAST_S: Final = 1.0
# And one for what waited for the outcome of the run that it was for.
_LAST_S: Final = 3600.0
# How often it is looked whether the one run is over that this node was made for.
_LOOK_S: Final = 1.0
# A project that cannot be loaded, and a store that cannot be used, are tried again after this, twice as long each time,
# up to the second.
_FIRST_AGAIN_S: Final = 5.0
_MOST_AGAIN_S: Final = 60.0


class Automations:
    """One node.

    Args:
        name: what it is called; by default its host and process id.
        run_id: plan nothing, carry out what is queued, and end with the end of this run and of what waits for it.
        inbox: made by itself where none is given.
        base: the address of the project's own pages; None where nobody serves them here.

    Attributes:
        report: what it tells of itself.
        on_declared: called with how many automations are declared, each time that they have been loaded.
        on_unloaded: called with why the project cannot be loaded, or the store not be used.
        tells: whether it logs what is declared, and what comes next.
        stop_s: how long runs may go on where it is ended by a signal.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        name: str | None = None,
        run_id: int | None = None,
        inbox: Inbox | None = None,
        base: str | None = None,
    ) -> None:
        self.on_declared: Callable[[int], None] = lambda count: None
        self.on_unloaded: Callable[[str], None] = lambda message: None
        self.tells = run_id is None
        self.stop_s = views.closing(settings).longest_s
        self._settings = settings
        self._run_id = run_id
        self._side = ProjectSide(settings)
        self._inbox = inbox or Inbox()
        in_celery = settings["AUTOMATION_ENGINE"] == "celery"
        site: str | None = settings["AUTOMATION_SITE"]
        base = site.rstrip("/") if site is not None else base
        of = self._side.for_jobs(settings, self._inbox, self._failed, self._printed)
        self._jobs: DjangoJobs | CeleryJobs | None = None
        self._mail_jobs: DjangoJobs | None = None
        mails: DjangoJobs | None = None
        if of is not None:
            runs_in = replace(of, on_declared=self._declared)
            if in_celery:
                # On another machine "localhost" is another site.
                known = base if site is not None or (base is not None and not is_of_this_machine(base)) else None
                self._jobs = celery_jobs(settings, runs_in, known)
                # Mail is no run that Celery could know of; its process is started with the first one.
                mails = self._mail_jobs = django_jobs(settings, of)
            else:
                self._jobs = mails = django_jobs(settings, runs_in)
        shell = ShellCommands(
            self._inbox,
            self._side.root or settings.base_dir,
            settings["AUTOMATION_PROCESSES"],
            settings["AUTOMATION_MEMORY"],
        )
        requests = Requests(self._inbox, settings["AUTOMATION_THREADS"], base)
        executors: dict[str, Executor] = {"shell": shell, "url": requests}
        if self._jobs is not None:
            executors |= dict.fromkeys(TARGETS if in_celery else ("command", "call", "task"), self._jobs)
        self._executor = ByKind(executors)
        name = name or f"{socket.gethostname()}:{os.getpid()}"
        self._engine = engine = open_engine(settings, self._side)
        self._events = EventSpool(event_directory(settings, self._side.root))
        self._files = FileWatch(self._events, self._side.root or settings.base_dir)
        self._conditions: Conditions | None = None
        if of is not None:
            self._conditions = Conditions(replace(of, on_failed=self._unasked), self._came_true, self._events)
        self._alerts = Alerts(
            self._inbox,
            engine,
            read_channels(settings)[0],
            f"{name} on {socket.gethostname()}",
            JobMail(mails) if mails is not None else None,
        )
        self.report = NodeReport(engine, lambda: self._dispatcher.status())
        self._dispatcher = dispatcher_class(settings)(
            self._inbox,
            engine,
            self._executor,
            name,
            tags=settings["AUTOMATION_TAGS"],
            keep=settings["AUTOMATION_KEEP"],
            keep_s=settings["AUTOMATION_KEEP_FOR"],
            events=self._events if run_id is None else None,
            observers=[
                Spoken(),
                self.report.counts,
                self._alerts,
                *([] if run_id is None else [Until(run_id, self._end_soon)]),
            ],
        )
        style, colour = views.logs(settings).format, wants_colour(sys.stderr)
        self._output = ProcessOutput("automations", to_console, style=style, colour=colour)
        self._started_as = f"start of {uuid.uuid4()}"  # names of nodes come again, as in containers
        self._has_started = self._is_loaded = self._is_stopping = self._has_ended = False
        self._unloaded = ""  # why the project cannot be loaded, as told
        self._undeclared = ""  # why it is not declared to the store
        self._untriggered = ""  # and why its triggers cannot be asked
        self._again_s = self._declared_again_s = 0.0
        self._again: Timer | None = None
        self._declared_again: Timer | None = None
        self._signal = 0

    # -- as a process of its own --------------------------------------------------------------------------------------

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; 0, or 128 and the number of the signal. SIGHUP loads the project again."""
        before = {number: signal.signal(number, self._signalled) for number in _SIGNALS}
        try:
            self.begin()
            self._inbox.run()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self.kill()
            self._inbox.close()
        return 128 + self._signal if self._signal else 0

    def _signalled(self, number: int, frame: object) -> None:
        self._inbox.post(lambda: self._on_signal(number))

    def _on_signal(self, number: int) -> None:
        if number == getattr(signal, "SIGHUP", None):
            self.reload()
            return
        if self._signal:
            self._alerts.close(0.0)  # who says it twice waits for nobody
            self.kill()
            self._inbox.stop()
            return
        self._signal = number
        logger.info("Stopping; what runs has %g s to end.", self.stop_s)
        self.stop(self.stop_s, self._inbox.stop)

    # -- as part of one -----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Load what is declared, and have it run."""
        if self._run_id is not None:
            self._see_end(self._run_id)
        if self._jobs is not None:
            self._jobs.begin()
        else:
            self._use(self._side.read(self._settings, None))

    def reload(self) -> None:
        """Load the project again, and what duck.toml declares; what runs goes on."""
        if self._is_stopping:
            return
        logger.info("Loading the project's automations again.")
        self._undeclared, self._declared_again_s = "", 0.0  # who asks for it hears of it again
        try:
            for name in ("AUTOMATIONS", "AUTOMATION_ALERTS"):
                self._settings = reread(self._settings, name)
        except SettingsError as error:
            logger.error("%s Its automations stay as they were.", error)
        self._side.own.update(own_source(self._settings))
        self._alerts.use(read_channels(self._settings)[0])
        if self._mail_jobs is not None:
            self._mail_jobs.renew()
        if self._jobs is not None:
            self._jobs.reload()
        else:
            self._use(self._side.read(self._settings, None))

    def stop(self, deadline_s: float, done: Callable[[], None]) -> None:
        """Begin nothing more, and let what runs end within so many seconds, by force after that; then `done`.

        Alerts that are on their way have what is left of that, and a moment at least. May be said again, with another
        deadline.
        """
        self._is_stopping = True
        until = time.monotonic() + deadline_s
        if self._has_ended:
            self._alerts.finish(deadline_s, done)
            return
        if self._again is not None:
            self._again.cancel()
        self._files.stop()
        if self._conditions is not None:
            self._conditions.stop()
        self._alerts.tell_all()
        self._dispatcher.stop(deadline_s, lambda: self._over(until, done))

    def _over(self, until: float, done: Callable[[], None]) -> None:
        """All runs have ended, and the store is given back."""
        self._has_ended = True
        self._alerts.finish(min(_ALERTS_S, max(_LEAST_S, until - time.monotonic())), done)

    def kill(self) -> None:
        """End everything now."""
        self._files.stop()
        if self._conditions is not None:
            self._conditions.kill()
        self._executor.kill()
        self._alerts.close(_ALERTS_S)
        if self._mail_jobs is not None:
            self._mail_jobs.kill()

    # -- what it is told of -------------------------------------------------------------------------------------------

    def _declared(self, told: dict[str, Any]) -> None:
        self._side.tell(told)
        self._unloaded, self._untriggered, self._again_s, self._is_loaded = "", "", 0.0, True
        self._use(self._side.read(self._settings, told))

    def _use(self, found: Found) -> None:
        for problem in found.problems:
            logger.error("%s", problem)
        for text in found.tracebacks:
            logger.error("%s", text.rstrip())
        for warning in found.warnings if self.tells else ():
            logger.warning("%s", warning)
        self.report.zone, self.report.unusable = found.zone, len(found.problems)
        self._declare(found)

    def _declare(self, found: Found) -> None:
        if self._is_stopping:
            return
        if self._declared_again is not None:
            self._declared_again.cancel()  # what is declared since counts
        declarations = found.declarations if self._run_id is None else unplanned(found.declarations)
        try:
            self._dispatcher.declare(declarations)
            if self._jobs is not None:
                self._jobs.keep_to(found.declarations)
            self._alerts.declare(found.declarations)
            self.report.recall(each.name for each in declarations)
            if not self._has_started:
                self._dispatcher.happened("start", {}, node=self._dispatcher.node, occasion=self._started_as)
        except DuckError as error:
            self._put_off(str(error), found)
            return
        except Exception as error:
            logger.exception("What is declared could not be taken up.")
            self._put_off(f"What is declared could not be taken up ({type(error).__name__}: {error}).", found)
            return
        if self._undeclared:
            self._undeclared = self.report.hindered = ""
            self._declared_again_s = 0.0
            logger.info("The store of automations can be used now.")
        if self._run_id is None:
            self._attend(found)
        if self._jobs is not None and self._run_id is None:
            kinds = ("command", "call", "task")
            self._jobs.warm({each.lane for each in found.declarations if each.enabled and each.kind in kinds})
        if not self._has_started:
            self._has_started = True
            self._dispatcher.start()
        if found.declarations and self.tells:
            logger.info("%s", self.report.summary(len(found.declarations)))
        if self._is_loaded or self._jobs is None:
            self.on_declared(len(found.declarations))

    def _put_off(self, why: str, found: Found) -> None:
        """Try again ever more seldom; said once, and again when something else is the matter."""
        self._declared_again_s = min(max(2 * self._declared_again_s, _FIRST_AGAIN_S), _MOST_AGAIN_S)
        if why != self._undeclared:
            self._undeclared = self.report.hindered = why
            logger.error("%s Nothing is run until that is mended; it is tried again by itself.", why)
            self.on_unloaded(why)
        self._declared_again = self._inbox.call_later(self._declared_again_s, lambda: self._declare(found))

    def _attend(self, found: Found) -> None:
        """Have events told of that are waited for, and no others."""
        events = [event for each in found.declarations if each.enabled for event in each.plan.events]
        self._files.watch(dict(event.details)["path"] for event in events if event.name == "file")
        if self._conditions is not None:
            here = [each for each in found.declarations if each.enabled and self._dispatcher.takes(each)]
            asked = [event for each in here for event in each.plan.events if event.name == "condition"]
            self._conditions.ask([dict(event.details)["name"] for event in asked])
        told_by_others = [event.wanted() for event in events if event.name in ("deploy", "signal", "webhook")]
        try:
            self._events.want([each for each in told_by_others])
        except (OSError, DuckError) as error:
            logger.error("Which events automations wait for cannot be told to others: %s", error)

    def _came_true(self, name: str) -> None:
        """It is kept until the store has what it runs: how it stands is noted, and it is not told of again."""
        try:
            self._events.put("condition", {"name": name}, {"condition": name})
        except DuckError as error:
            logger.error("The condition %s has come true, and runs nothing: %s", name, error)
        self._dispatcher.wake()

    def _see_end(self, run_id: int) -> None:
        """End as well where another node has taken the run, and it is over."""
        if self._is_stopping:
            return
        self._inbox.call_later(_LOOK_S, lambda: self._see_end(run_id))
        try:
            run = self._engine.run(run_id)
        except DuckError:
            return  # the dispatcher says so
        if run is not None and run.state.is_over:
            self._end_soon()

    def _end_soon(self) -> None:
        self._is_stopping = True
        # What waits for the outcome is started in this turn.
        self._inbox.call_later(0.0, lambda: self.stop(_LAST_S, self._inbox.stop))

    def _failed(self, message: str, text: str) -> None:
        """The project cannot be loaded: what was declared stays, and at first what needs no project is run."""
        told = f"{message}{below(text)}"
        if told != self._unloaded:
            self._unloaded = told
            logger.error("The project cannot be loaded for its automations: %s", told)
        self.on_unloaded(message)
        if self._run_id is not None:
            self._inbox.stop()
        if not self._has_started:
            self._use(self._side.read(self._settings, None))
        self._again_s = min(max(2 * self._again_s, _FIRST_AGAIN_S), _MOST_AGAIN_S)
        if self._again is not None:
            self._again.cancel()
        if self._jobs is not None and not self._is_stopping:
            self._again = self._inbox.call_later(self._again_s, self._jobs.reload)

    def _unasked(self, message: str, text: str) -> None:
        told = f"{message}{below(text)}"
        if told != self._untriggered:  # they are tried again each few seconds
            self._untriggered = told
            logger.error("The triggers of automations cannot be asked: %s", told)

    def _printed(self, text: str) -> None:
        self._output.feed(text.encode("utf-8", "replace"))


_SIGNALS: Final = tuple(
    number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None
)

"""Dispatching: the process beside the front that has automations run: started, told of new code, replaced, drained.

    none ──some are declared──> starting ──loaded──> running ──exit, silence──> another one, at once or after a while
      ^                            │                    └──another Duck in this process──> leaving: its runs end
      └──────none are after all────┘

Any number of dispatchers may share a store, so that one which lets its runs end, and the next, are no matter.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

from duck.app import dispatcher_process
from duck.app.dispatcher_member import LEAVING, RUNNING, STARTING, DispatcherMember
from duck.app.member import LOOK_S
from duck.app.roll_call import RollCall
from duck.exceptions import ApplicationError, SettingsError
from duck.services.backoff import Backoff
from duck.services.child import Child
from duck.services.exit import exit_sentence
from duck.settings.automations import automations
from duck.settings.reread import reread

if TYPE_CHECKING:
    from duck.app.app import App
    from duck.app.lifecycle import Lifecycle
    from duck.services.inbox import Inbox, Timer

logger = logging.getLogger("duck.automations")

_START_S: Final = 120.0  # it loads the project
_STATUS_S: Final = 0.5
_KILL_AFTER_S: Final = 1.0
# For its own end, after that of its runs.
_END_S: Final = 2.0
# Runs that were under way when Duck was replaced; each has a timeout of its own, where one was declared.
_LEAVE_S: Final = 86_400.0


class Dispatching:
    """Of one run. For the inbox's thread.

    Attributes:
        restarts: how many processes were started in the place of others that had ended by themselves.
        succeeded: when each automation has succeeded last, in seconds since 1970.
    """

    def __init__(self, app: App, lifecycle: Lifecycle) -> None:
        self.restarts = 0
        self.succeeded: dict[str, float] = {}
        self._app = app
        self._lifecycle = lifecycle
        self._settings = lifecycle.settings
        self._view = automations(lifecycle.settings)
        self._member: DispatcherMember | None = None
        self._old: list[DispatcherMember] = []
        self._is_wanted = False
        self._tells = True
        self._is_stopping = False
        self._on_drained: Callable[[], None] | None = None
        self._backoff = Backoff()
        self._next: Timer | None = None
        self._watch: Timer | None = None
        self._reloading: list[Callable[[str], None]] = []
        self._asked = RollCall[DispatcherMember]()
        self._number = 0
        self._told = ""  # why none is there
        self._failure = ""  # what kept the last one from running

    @property
    def _inbox(self) -> Inbox:
        return self._lifecycle.inbox

    # -- whether there is one ---------------------------------------------------------------------------------------

    def take_over(self, left: Mapping[str, Any]) -> None:
        """Adopt the dispatcher of the Duck that this process was: it goes on until the next one does."""
        for values in left.get("children", ()):
            member = DispatcherMember(Child.take_over(self._inbox, values), RUNNING)
            self._attend(member)
            self._old.append(member)
        if self._old:
            self._look()

    def project_told(self, facts: Mapping[str, Any]) -> None:
        """The project has been loaded, and told these facts; an empty table where there is none, or it runs already.

        A dispatcher that is there loads the project, too; one is started where some are declared.
        """
        if self._is_stopping or self._app.disable_ipc_handler:
            return  # the latter is for tests, whose command is none to be started again
        self._is_wanted = self._is_declared(facts) and self._may_run(facts)
        if not self._is_wanted:
            self._leave_all()
        elif self._member is not None:
            self._member.child.send("reload")
        else:
            self.begin()

    def project_failed(self) -> None:
        """The project cannot be loaded: what Duck's own settings declare, and needs no project, is run all the same."""
        if self._member is None and not self._old and self._lifecycle.settings["MODE"] == "serve" and self._declared():
            self.project_told({})

    def reload(self, outcome: Callable[[str], None]) -> None:
        """Load the project again, or start; `outcome` is told why that failed, or an empty text."""
        self._reloading.append(outcome)
        self._inbox.call_later(_START_S, lambda: self._loaded(f"nothing was loaded within {_START_S:g} s", outcome))
        if self._member is not None:
            self._member.child.send("reload")
        else:
            self.begin()

    def _loaded(self, failure: str, of: Callable[[str], None] | None = None) -> None:
        told = [one for one in self._reloading if of is None or one is of]
        self._reloading = [one for one in self._reloading if one not in told]
        for outcome in told:
            outcome(failure)

    def ask(self, *, tell: bool) -> None:
        """Start one soon, where none is there. For any thread, while the App runs."""
        if self._lifecycle.on_own_thread():
            self.begin(tell=tell)
        elif self._lifecycle.started:
            self._inbox.post(lambda: self.begin(tell=tell))

    def begin(self, *, tell: bool = True) -> None:
        """Start one; nothing happens where it is there."""
        self._is_wanted = True
        self._tells = tell
        if self._member is None and not self._is_stopping:
            self._spawn()

    def _is_declared(self, facts: Mapping[str, Any]) -> bool:
        own = self._settings.is_duck_project and (self._settings.base_dir / "automations.py").is_file()
        return bool(self._view.run and (facts.get("automations") or own or self._declared()))

    def _declared(self) -> bool:
        """Whether Duck's own settings declare some, by now."""
        try:
            return bool(reread(self._settings, "AUTOMATIONS")["AUTOMATIONS"])
        except SettingsError as error:
            logger.error("%s", error)
            return self._view.declared

    def _may_run(self, facts: Mapping[str, Any]) -> bool:
        """Whether they are run here without anybody having said so: not where DEBUG is off in development."""
        if sys.platform == "win32":
            return False  # no process of Duck's own is started there but Django
        if not self._view.needs_debug or facts.get("debug", True):
            return True
        why = (
            f"The automations of this project are not run: DEBUG is off in {facts.get('settings') or 'its settings'},"
            " as where it serves others; --automations runs them here, too."
        )
        if why != self._told:
            self._told = why
            logger.warning("%s", why)
        return False

    # -- processes --------------------------------------------------------------------------------------------------

    def _spawn(self) -> None:
        self._next = None
        if self._is_stopping or not self._is_wanted or self._member is not None:
            return
        command = [sys.executable, *sys.orig_argv[1:]]
        told = {"tells": self._tells, "base": self._app.absolute_uri if self._lifecycle.addresses else None}
        try:
            child = Child.spawn(self._inbox, command, dispatcher_process.VARIABLE, told, ())
        except ApplicationError as error:
            logger.error("%s The dispatcher of automations is tried again.", error)
            self._next = self._inbox.call_later(1.0, self._spawn)
            return
        self._member = DispatcherMember(child)
        self._attend(self._member)
        self._look()
        futures = self._lifecycle.futures
        if futures["automations-dispatcher"] is None:
            future: Future[Any] = Future()
            futures["automations-dispatcher"] = future
            future.set_running_or_notify_cancel()

    def _attend(self, member: DispatcherMember) -> None:
        member.child.on_message = lambda message: self._said(member, message)
        member.child.on_exit = lambda code: self._exited(member, code)

    def _said(self, member: DispatcherMember, message: dict[str, Any]) -> None:
        member.is_there()
        event = message.get("event")
        if event in ("alive", "status"):
            member.status = message["status"]
            member.snapshot = message["snapshot"]
            if member is self._member:
                self.succeeded = message["succeeded"]
            self._asked.answered(message.get("id", 0), member)
        elif event == "declared":
            self._came(member, message["count"])
        elif event == "unloaded":
            self._loaded(message["message"])
        elif event == "failed":
            self._failed(message)

    def _came(self, member: DispatcherMember, count: int) -> None:
        """It has loaded what is declared."""
        if member is not self._member:
            return
        member.state = RUNNING
        self._failure = ""
        self._loaded("")
        for old in tuple(self._old):
            self._leave(old)
        if count == 0 and not self._view.alone:
            # Nothing is declared after all; the next time that the project is loaded it is looked at again.
            self._is_wanted = False
            self._leave_all()

    def _failed(self, message: Mapping[str, Any]) -> None:
        """It cannot do anything; its exit follows."""
        self._failure = message["message"]
        self._loaded(self._failure)
        self._is_wanted = self._is_wanted and message["passes"]  # else until the next load of the project
        if message["message"] != self._told:
            self._told = message["message"]
            logger.error("Automations cannot be run: %s", self._told)

    def _leave_all(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._member is not None:
            self._old.append(self._member)
            self._member = None
        for old in tuple(self._old):
            self._leave(old)

    def _leave(self, member: DispatcherMember) -> None:
        """Have it begin nothing more, and end with its runs."""
        if member.state != LEAVING:
            member.state = LEAVING
            member.child.send("stop", deadline_s=_LEAVE_S)

    def _exited(self, member: DispatcherMember, code: int) -> None:
        self._lifecycle.overview.dispatcher_ended(member.name)
        self._asked.gone(member)
        if member in self._old:
            self._old.remove(member)
        else:
            self._member = None
            if not self._is_stopping and self._is_wanted:
                self._replace(member, code)
        self._check_drained()

    def _replace(self, member: DispatcherMember, code: int) -> None:
        self._backoff.lasted(member.child.uptime_s)
        delay_s = self._backoff.next_s(waits=code == dispatcher_process.EXIT_FAILED)
        self.restarts += 1
        if code != dispatcher_process.EXIT_FAILED:
            ended = exit_sentence(f"The dispatcher of automations, process {member.child.pid},", code)
            logger.error("%s Another one is started%s.", ended, f" in {delay_s:g} s" if delay_s else "")
        self._next = self._inbox.call_later(delay_s, self._spawn)

    def _look(self) -> None:
        """End who hangs."""
        members = self._members()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._is_stopping or not members:
            return
        self._watch = self._inbox.call_later(LOOK_S, self._look)
        for member in members:
            allowed_s = max(_START_S, self._view.silence_s) if member.state == STARTING else self._view.silence_s
            member.end_if_silent(allowed_s, "The dispatcher of automations", logger)

    # -- the end ----------------------------------------------------------------------------------------------------

    def drain(self, deadline_s: float, done: Callable[[], None], *, takes_backlog: bool = False) -> None:
        """Have nothing more begun, and let what runs end until the App's longest deadline; then `done`."""
        self._is_stopping = True
        self._on_drained = done
        if self._next is not None:
            self._next.cancel()
        stop_s = max(deadline_s, min(self._view.stop_s, self._lifecycle.ending.longest_s))
        for member in self._members():
            member.state = LEAVING
            member.child.send("stop", deadline_s=stop_s)
            self._inbox.call_later(stop_s + _END_S, member.child.kill)
        self._check_drained()

    def abort(self) -> None:
        """End now."""
        self._is_stopping = True
        for member in self._members():
            member.child.send("stop", deadline_s=0.0)
            self._inbox.call_later(_KILL_AFTER_S, member.child.kill)

    def kill(self) -> None:
        """End at once, for an App that ends without order."""
        self._is_stopping = True
        for member in self._members():
            member.child.kill()

    def hand_over(self) -> dict[str, Any]:
        """What the Duck that this process becomes needs to adopt them."""
        return {"children": [member.child.hand_over() for member in self._members()]}

    def _check_drained(self) -> None:
        if self._on_drained is not None and not self._members():
            done, self._on_drained = self._on_drained, None
            done()

    # -- how it is --------------------------------------------------------------------------------------------------

    @property
    def pids(self) -> list[int]:
        """Of all processes."""
        return [member.child.pid for member in self._members()]

    @property
    def is_there(self) -> bool:
        """Whether there is one, or one that ended is about to be replaced; always where it is all that is run."""
        return self._member is not None or self._next is not None or self._view.alone

    @property
    def state(self) -> str:
        """`starting` or `running`; empty where there is none."""
        return self._member.state if self._member is not None else ""

    def refresh(self, done: Callable[[], None]) -> None:
        """Ask for the state; `done` is called when it has come, or after a short while."""
        members = {member for member in self._members() if member.state != STARTING}
        self._number += 1
        number = self._number
        for member in members:
            member.child.send("status", id=number)
        self._asked.ask(number, members, done)
        self._inbox.call_later(_STATUS_S, lambda: self._asked.end(number))

    def report(self) -> dict[str, Any]:
        """What `duck status` shows; `processes` are for `app.status.describe_process`. Empty where there is none."""
        members = self._members()
        if not members and not self.restarts and not self._failure:
            return {}
        said = dict(self._member.status) if self._member is not None else {}
        said = {"state": self.state or "none", **said, "restarts": self.restarts}
        if self._failure:
            said["failure"] = self._failure
        said["processes"] = [member.process() for member in members]
        return said

    def snapshots(self) -> dict[str, dict[str, Any]]:
        """What each process counts (`Figures.snapshot`), by its name; not older than a second.

        How many runs wait in the store only one of them tells.
        """
        told = {member.name: member.snapshot for member in self._members() if member.snapshot}
        for old in self._old:
            if old.name in told:
                told[old.name] = {**old.snapshot, "now": {**old.snapshot["now"], "queued": 0}}
        return told

    def _members(self) -> list[DispatcherMember]:
        return [*([self._member] if self._member is not None else ()), *self._old]

"""DjangoBackend: the supervised project. Starts generations of processes, replaces them, and restarts what crashed.

A generation is posted only when all of its processes are ready, and one that does not come up changes nothing of what
serves. The old one goes when the App has said that no front worker uses it any more, or after a while.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from duck.backend.django import stack
from duck.backend.django.child import EXIT_FAILED, STARTING, DjangoProcess, WorkerSpec, exit_sentence
from duck.backend.django.terminal import Terminal
from duck.backend.django.version import COMING, GONE, RETIRING, SERVING, Failure, Version
from duck.exceptions import DuckError
from duck.proxy.upstream import Upstream, upstream_from_values
from duck.services.state import private_directory

if TYPE_CHECKING:
    from traceback import FrameSummary

    from duck.backend.django.discover import Interpreter, Project
    from duck.proxy.upstream import Generation
    from duck.services.inbox import Inbox, Timer

__all__ = ["BackendOptions", "DjangoBackend", "DjangoProcess", "Failure", "WorkerSpec"]

logger = logging.getLogger("duck.django")

IDENTITY_FIELD: Final = "x-duck-identity"

_FIRST_BACKOFF_S: Final = 0.25
_MAX_BACKOFF_S: Final = 30.0
_STEADY_S: Final = 10.0  # what has served so long did not crash because of its start
_RETIRE_FALLBACK_S: Final = 3.0


@dataclass(frozen=True)
class BackendOptions:
    """How the project is run.

    Attributes:
        run_directory: existing directory of mode 0700 for the processes' sockets; its path is short.
        mode: `runserver` (manage.py is run) or `serve` (the entry module is imported).
        threads: of the WSGI process.
        start_deadline_s: until a generation is ready; a debugger's prompt stops the clock.
        stop_deadline_s: for requests in flight in a generation that was replaced.
        bundle: directory that holds the ASGI server for projects that have none, or None.
        use_tcp: loopback ports and a secret instead of Unix sockets.
    """

    run_directory: str
    settings: str | None = None
    mode: str = "runserver"
    threads: int = 16
    start_deadline_s: float = 60.0
    stop_deadline_s: float = 30.0
    bundle: str | None = None
    wsgi: str | None = None
    asgi: str | None = None
    prefix: str = ""
    use_tcp: bool = not hasattr(socket, "AF_UNIX")


class DjangoBackend:
    """The processes of one project. A `Service`: everything on the inbox's thread, and nothing waits.

    Callbacks:
        on_generation(generation): a new one is ready; post it to the front, then say `acknowledged`.
        on_failed(failure): one did not come up; what served before still serves. Call `replace` when a file changes.
        on_down(): nothing serves any more; the next generation is on its way.
        on_output(text): output of the processes, by lines (see `DjangoProcess`).
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
        on_output: Callable[[str], None] = lambda text: None,
        on_debugger: Callable[[bool], None] = lambda active: None,
        terminal: Terminal | None = None,
    ) -> None:
        self.project = project
        self.interpreter = interpreter
        self.options = options
        self.failure: Failure | None = None  # of the last start; None once one succeeded
        self.restarts = 0
        self._inbox = inbox
        self._on_generation = on_generation
        self._on_failed = on_failed
        self._on_down = on_down
        self._on_output = on_output
        self._on_debugger = on_debugger
        self._terminal = terminal or Terminal()
        self._waiting: list[DjangoProcess] = []  # for the terminal, which one prompt has at a time
        self._secret = secrets.token_hex(16)
        self._number = 0
        self._versions: list[Version] = []  # all with a living process, and the one coming
        self._backoff_s = 0.0
        self._restart: Timer | None = None
        self._stopped: list[Callable[[], None]] = []
        self._stopping = False

    # -- what the App asks ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the first generation."""
        self.replace()

    def replace(self, on_outcome: Callable[[Failure | None], None] | None = None) -> None:
        """Start a generation beside what serves; one that is still coming is given up for it.

        `on_outcome` is called once: with None when it serves, or with why it does not.
        """
        if self._stopping:
            if on_outcome is not None:
                on_outcome(Failure("stop", "Duck is about to end."))
            return
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None
        for version in tuple(self._versions):
            if version.state == COMING:
                self._abandon(version)
                self._tell_outcome(version, Failure("replaced", "A newer start has taken its place."))
        self._number += 1
        version = Version(self._number, on_outcome=on_outcome)
        self._versions.append(version)
        version.deadline = self._inbox.call_later(self.options.start_deadline_s, partial(self._too_late, version))
        self._spawn(version, "pages")

    def acknowledged(self, number: int) -> None:
        """Every front worker uses generation `number`, and nothing is in flight in older ones: these may end."""
        for version in tuple(self._versions):
            if version.number < number and version.state == RETIRING:
                for process in version.processes.values():
                    process.stop(self.options.stop_deadline_s)

    def stop(self, deadline_s: float, done: Callable[[], None]) -> None:
        """End all processes: finish what runs within `deadline_s` seconds, then by force; `done` when all are gone."""
        self._stopping = True
        self._stopped.append(done)
        if self._restart is not None:
            self._restart.cancel()
        for version in tuple(self._versions):
            version.cancel_deadline()
            for process in version.processes.values():
                process.stop(deadline_s)
        self._inbox.post(self._check_stopped)

    def kill(self) -> None:
        """End all processes now, for an App that ends without order."""
        for version in self._versions:
            for process in version.processes.values():
                process.kill()

    def hand_over(self) -> dict[str, Any] | None:
        """What the Duck that this process becomes by an exec needs to go on with its processes; None where none serve.

        Plain values. A generation that is coming is ended: who wants it asks again.
        """
        for version in tuple(self._versions):
            version.cancel_deadline()
            if version.state == COMING:
                self._abandon(version)
        if self.current is None or self._stopping:
            return None
        return {
            "number": self._number,
            "secret": self._secret,
            "restarts": self.restarts,
            "versions": [version.hand_over() for version in self._versions if version.state in (SERVING, RETIRING)],
        }

    def take_over(self, values: Mapping[str, Any]) -> bool:
        """Go on with what served before the exec, `values` as `hand_over` gave them; whether anything does."""
        self._number = values["number"]
        self._secret = values["secret"]
        self.restarts = values["restarts"]
        for value in values["versions"]:
            version = Version(value["number"], value["state"])
            version.facts = value["facts"]
            version.upstreams = {role: upstream_from_values(upstream) for role, upstream in value["upstreams"].items()}
            self._versions.append(version)
            for role, told in value["processes"].items():
                version.processes[role] = process = DjangoProcess.take_over(
                    told,
                    self._inbox,
                    partial(self._event, version, role),
                    self._on_output,
                    partial(self._exited, version, role),
                )
                if version.state == RETIRING:
                    # Its deadline has begun anew, which is better than none.
                    process.stop(self.options.stop_deadline_s)
        current = self.current
        if current is not None:
            self._serve(current)
        return current is not None

    @property
    def current(self) -> Version | None:
        """What serves now."""
        return next((version for version in reversed(self._versions) if version.state == SERVING), None)

    @property
    def is_debugging(self) -> bool:
        """Whether somebody is at a debugger's prompt."""
        return any(version.is_debugging for version in self._versions)

    def snapshot(self) -> dict[str, Any]:
        """Plain values for `duck status`."""
        current = self.current
        return {
            "state": "stopping" if self._stopping else self._state(),
            "generation": current.number if current is not None else None,
            "interpreter": self.interpreter.path,
            "restarts": self.restarts,
            "failure": self.failure.message if self.failure is not None else None,
            "processes": [entry for version in self._versions for entry in version.snapshot()],
        }

    def status(self) -> Mapping[str, Any]:
        """The same as `snapshot`, by the name that a `Service` has for it."""
        return self.snapshot()

    def _state(self) -> str:
        if self.current is not None:
            return SERVING
        if any(version.state == COMING for version in self._versions):
            return COMING
        return "waiting" if self._restart is not None else "failed" if self.failure is not None else "down"

    # -- a generation comes ---------------------------------------------------------------------------------------

    def _spawn(self, version: Version, role: str) -> None:
        options = self.options
        address: str | tuple[str, int] = ("127.0.0.1", 0)
        if not options.use_tcp:
            address = os.path.join(options.run_directory, f"django-{version.number}-{role}.sock")
        spec = WorkerSpec(
            cwd=str(self.project.root),
            manage=str(self.project.manage),
            address=address,
            role="auto" if role == "pages" else role,
            mode=options.mode,
            threads=options.threads,
            settings=options.settings,
            secret=self._secret,
            identity_field=IDENTITY_FIELD,
            bundle=options.bundle,
            wsgi=options.wsgi,
            asgi=options.asgi,
            prefix=options.prefix,
        )
        try:
            if not options.use_tcp:
                # Cleaners of temporary directories may have taken it away.
                private_directory(Path(options.run_directory))
            process = DjangoProcess.spawn(
                spec,
                self.interpreter,
                self._inbox,
                partial(self._event, version, role),
                self._on_output,
                partial(self._exited, version, role),
            )
        except DuckError as error:
            self._fail(version, Failure("spawn", str(error)))
            return
        version.processes[role] = process

    def _event(self, version: Version, role: str, event: dict[str, Any]) -> None:
        name = event.get("event")
        if name == "ready":
            self._ready(version, role, event)
        elif name == "failed":
            files = tuple(event.get("files", ()))
            failure = Failure(
                event["stage"], event["message"], event.get("traceback", ""), files, bool(event.get("transient"))
            )
            self._fail(version, failure)
        elif name == "debugger":
            self._debugger(version.processes[role], bool(event["active"]))
        elif name == "interrupted":
            # Ctrl-C at a prompt reached the process that has the terminal; it is meant for Duck.
            self._take_terminal(version.processes[role])
            os.kill(os.getpid(), signal.SIGINT)

    def _ready(self, version: Version, role: str, facts: dict[str, Any]) -> None:
        if version.state != COMING:
            return
        for sentence in facts.get("warnings", ()):
            logger.warning("%s", sentence)
        address = facts["address"]
        protocol = facts["protocol"]
        version.upstreams[role] = Upstream(
            protocol,
            address if isinstance(address, str) else (address[0], address[1]),
            facts["slots"],
            f"django {role} {facts['pid']}",
            secret=self._secret if protocol == "http" or not isinstance(address, str) else "",
            identity_field=IDENTITY_FIELD if protocol == "http" else "",
        )
        finder = facts.get("finder")
        if role == "pages" and finder:
            version.upstreams["finder"] = Upstream(
                "link",
                finder if isinstance(finder, str) else (finder[0], finder[1]),
                1,
                f"django finder {facts['pid']}",
                secret="" if isinstance(finder, str) else self._secret,
            )
        if role == "pages":
            version.facts = facts
            if facts.get("sockets_wanted") and protocol == "link":
                self._spawn(version, "sockets")
                return
        self._serve(version)

    def _serve(self, version: Version) -> None:
        version.cancel_deadline()
        version.state = SERVING
        version.serving_since = time.monotonic()
        self.failure = None
        for older in self._versions:
            if older is not version and older.state == SERVING:
                older.state = RETIRING
        self._on_generation(version.generation())
        self._tell_outcome(version, None)
        self._inbox.call_later(_RETIRE_FALLBACK_S, partial(self.acknowledged, version.number))

    # -- a generation goes ----------------------------------------------------------------------------------------

    def _too_late(self, version: Version) -> None:
        if version.state != COMING:
            return
        if version.is_debugging:
            version.deadline = self._inbox.call_later(self.options.start_deadline_s, partial(self._too_late, version))
            return
        version.is_late = True
        starting = [process for process in version.processes.values() if process.state is STARTING]
        if starting:
            starting[-1].ask_stack(partial(self._told_late, version))
        else:
            self._told_late(version, [])

    def _told_late(self, version: Version, frames: list[FrameSummary]) -> None:
        root = self.project.root
        place = stack.place_of(frames, root)
        where = f" and is still at {place}" if place else ""
        self._fail(
            version,
            Failure(
                "deadline",
                f"Django was not ready in {self.options.start_deadline_s:g} s{where}; "
                "DJANGO_SERVER_WAIT_TIME says how long to wait.",
                stack.shown(frames),
                stack.files_of(frames, root),
            ),
        )

    def _fail(self, version: Version, failure: Failure) -> None:
        """A coming generation is given up. Started again by itself only where a change of files is not awaited."""
        if version.state != COMING:
            return
        self._abandon(version)
        self.failure = failure
        self._on_failed(failure)
        self._tell_outcome(version, failure)
        if failure.stage == "crash" or failure.is_transient or self.options.mode == "serve":
            self._restart_later()

    def _tell_outcome(self, version: Version, failure: Failure | None) -> None:
        tell, version.on_outcome = version.on_outcome, None
        if tell is not None:
            tell(failure)

    def _abandon(self, version: Version) -> None:
        version.cancel_deadline()
        version.state = GONE
        for process in version.processes.values():
            process.kill()
        if not version.processes:
            self._versions.remove(version)

    def _exited(self, version: Version, role: str, code: int) -> None:
        process = version.processes.pop(role)
        self._take_terminal(process)
        if process.is_debugging:
            process.is_debugging = False
            self._on_debugger(self.is_debugging)
        if version.state == COMING and version.is_late and not self._stopping:
            self._told_late(version, [])  # what asked where it stands has ended it
        elif version.state == COMING and not self._stopping:
            if code == EXIT_FAILED:
                sentence = f"The Django process {process.pid} could not start the project."
            else:
                sentence = exit_sentence(process.pid, code)
            self._fail(version, Failure("crash", sentence))
        elif version.state == SERVING and not self._stopping:
            logger.error("%s It is started again.", exit_sentence(process.pid, code))
            self._crashed(version, role)
        if not version.processes and version.state != COMING and version in self._versions:
            self._versions.remove(version)
        self._check_stopped()

    def _crashed(self, version: Version, role: str) -> None:
        """A process of what serves has died: a new generation comes up beside what is left of this one."""
        self.restarts += 1
        if version.serving_s() > _STEADY_S:
            self._backoff_s = 0.0
        if role == "pages":
            version.state = RETIRING
            self._on_down()
        if not any(other.state == COMING for other in self._versions):
            self._restart_later()

    def _restart_later(self) -> None:
        if self._restart is not None or self._stopping:
            return
        delay, self._backoff_s = (
            self._backoff_s,
            min(_MAX_BACKOFF_S, self._backoff_s * 2) if self._backoff_s else _FIRST_BACKOFF_S,
        )
        self._restart = self._inbox.call_later(delay, self._restart_now)

    def _restart_now(self) -> None:
        self._restart = None
        self.replace()

    def _check_stopped(self) -> None:
        if self._stopping and not any(version.processes for version in self._versions):
            callbacks, self._stopped = self._stopped, []
            for done in callbacks:
                done()

    # -- the terminal ---------------------------------------------------------------------------------------------

    def _debugger(self, process: DjangoProcess, active: bool) -> None:
        if active:
            if self._terminal.borrower is not None:
                self._waiting.append(process)
            else:
                self._lend_terminal(process)
        else:
            self._take_terminal(process)
        self._on_debugger(self.is_debugging)

    def _lend_terminal(self, process: DjangoProcess) -> None:
        self._terminal.lend(process.pid)
        process.command("terminal", granted=True)

    def _take_terminal(self, process: DjangoProcess) -> None:
        """Take back what `process` may have, and lend it to the next that waits."""
        if process in self._waiting:
            self._waiting.remove(process)
        self._terminal.take_back(process.pid)
        if self._waiting and self._terminal.borrower is None:
            self._lend_terminal(self._waiting.pop(0))

"""DjangoService: the Django that stands behind, as the App sees it: found, started, held, mended, loaded again.

    starting ──ready──> running ──replace, crash──> holding ──ready──> running
       └──────failed──> broken <──────failed (nothing serves)──┘
                          └──file of the failure changed──> starting

A server that runs already (DJANGO_ADDR) is `running` from the start, and is never touched.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from duck.backend.django.commands import StartupCommands
from duck.backend.django.discover import bundle_directory, find_interpreter, find_project
from duck.backend.django.process import BackendOptions, DjangoBackend
from duck.exceptions import ApplicationError, ProjectError
from duck.logs import ProcessOutput, to_console, wants_colour
from duck.proxy.upstream import Generation, Upstream
from duck.services.automations.places import event_directory
from duck.services.machine import django_workers
from duck.services.recovery import Recovery
from duck.services.remarks import Remarks, check_failed
from duck.settings import views

if TYPE_CHECKING:
    from duck.backend.django.discover import Interpreter, Project
    from duck.backend.django.process import Failure
    from duck.backend.django.terminal import Terminal
    from duck.services.inbox import Inbox
    from duck.settings.load import Settings

logger = logging.getLogger("duck.django")

STARTING: Final = "starting"
RUNNING: Final = "running"
HOLDING: Final = "holding"
BROKEN: Final = "broken"

# Connections at once to a server that Duck did not start: what it does with them is its own matter.
_FOREIGN_SLOTS: Final = 128


class DjangoService:
    """A `Service`: on the inbox's thread, nothing waits.

    Attributes:
        root: directory of manage.py; None for a server that runs already.
        state: see the module's diagram.
        came: ids of the processes that the last generation has brought, all of it or those that others made room for.
        took_s: how long their start took, in seconds.
        on_failure: called with why it could not be started or loaded again, and whether what ran before goes on; or
            with None, once it could.
        remarks: what it says of the project by itself.
        has_run: the commands that a Duck in this process has run before Django; they are not run again.
        on_fault: called with what a worker tells of a request that failed, in development.
    """

    name = "django"

    def __init__(
        self, settings: Settings, inbox: Inbox, project: Project | None = None, interpreter: Interpreter | None = None
    ) -> None:
        self.root: Path | None = project.root if project is not None else None
        self.state = STARTING
        self.came: list[int] = []
        self.took_s = 0.0
        self.on_failure: Callable[[Failure | None, bool], None] = lambda failure, serves: None
        self.on_fault: Callable[[Mapping[str, Any]], None] = lambda event: None
        self._settings = settings
        self._view = views.django(settings)
        self._inbox = inbox
        self._project = project
        self._interpreter = interpreter
        self._backend: DjangoBackend | None = None
        self._commands: StartupCommands | None = None
        self.has_run: list[list[str]] = []
        self.remarks = Remarks(lambda text: self._print(text, "django"))
        self._recovery = Recovery(inbox, project, interpreter, self.replace)
        self._last: Generation | None = None
        self._began = 0.0
        self._serving: dict[int, float] = {}  # processes of the last generation
        self._told = ""  # the traceback of the last failure
        self._outputs: dict[str, ProcessOutput] = {}  # by the process's name
        self._on_generation: Callable[[Generation, Callable[[], None], Callable[[], None]], None]
        self._on_broken: Callable[[Mapping[str, Any]], None]
        self._on_hold: Callable[[str], None]
        self._on_debugged: Callable[[], None]

    @classmethod
    def find(cls, settings: Settings, inbox: Inbox) -> DjangoService | None:
        """The Django that `settings` mean; None where a Duck project has none and nobody asked for one.

        Raises:
            ProjectError: it, or an interpreter for it, cannot be found.
        """
        view = views.django(settings)
        if view.use is False:
            return None
        if view.address is not None:
            return cls(settings, inbox)
        try:
            project = find_project(settings.project_dir, view.project)
        except ProjectError:
            if view.use is None:
                return None
            raise
        python = str(view.python) if view.python is not None else None
        return cls(settings, inbox, project, find_interpreter(project, python, os.environ))

    def attach(
        self,
        directory: Path,
        *,
        on_generation: Callable[[Generation, Callable[[], None], Callable[[], None]], None],
        on_broken: Callable[[Mapping[str, Any]], None],
        on_hold: Callable[[str], None],
        on_debugged: Callable[[], None] = lambda: None,
        refuse: Callable[[Mapping[str, Any]], str] = lambda facts: "",
        terminal: Terminal | None = None,
        has_frontend: bool = False,
    ) -> None:
        """Say where its sockets go and who is told; before `start`.

        Args:
            directory: existing, of mode 0700.
            on_generation: a generation is ready; the second argument is to be called once every worker uses it, the
                third once nothing is in flight any more at what it does without.
            on_broken: nothing serves, and the start failed with this: `stage`, `message`, `traceback`, `files`.
            on_hold: let requests wait, for the reason given.
            on_debugged: nobody is at a debugger's prompt any more.
            refuse: why a project that tells these facts is not to be served, in a sentence; empty where it is.
            terminal: lent to a debugger's prompt.
            has_frontend: a front-end server is at the same addresses.
        """
        self._on_debugged = on_debugged
        self._on_generation = on_generation
        self._on_broken = on_broken
        self._on_hold = on_hold
        if self._project is None or self._interpreter is None:
            return
        view, production = self._view, views.production(self._settings)
        options = BackendOptions(
            run_directory=str(directory),
            settings=view.settings_module,
            mode=self._settings["MODE"],
            workers=self.workers,
            threads=view.threads,
            start_deadline_s=view.wait_s,
            stop_deadline_s=views.closing(self._settings).longest_s,
            bundle=bundle_directory(),
            wsgi=view.wsgi,
            asgi=view.asgi,
            prefix=views.listening(self._settings).prefix or "",
            max_requests=production.max_requests,
            memory_limit_bytes=production.memory_limit,
            heartbeat_timeout_s=production.heartbeat_timeout_s,
            view_deadline_s=production.view_timeout_s,
            health_path=production.health_path,
            allow_unapplied_migrations=production.allow_unapplied_migrations,
            refuse=refuse,
            spares=views.reload(self._settings).spares,
            has_frontend=has_frontend,
            events=self._events(),
        )
        self._backend = DjangoBackend(
            self._project,
            self._interpreter,
            options,
            self._inbox,
            on_generation=self._came,
            on_failed=self._failed,
            on_down=self._down,
            on_output=lambda text, title: self._print(text, f"django {title}".rstrip()),
            on_debugger=self._debugger,
            terminal=terminal,
            on_checked=self._checked,
        )
        self._backend.on_fault = lambda event: self.on_fault(event)
        self._backend.on_looked = self.remarks.checks_said
        self._backend.on_unmade = self.remarks.models_said
        if view.commands and [list(one) for one in view.commands] != self.has_run:
            self._commands = self.commands(view.commands, self._prepared)

    # -- a Service ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the first generation, after the commands that go before it."""
        if self._backend is None:
            self._adopt()
            return
        self._began = time.monotonic()
        if self._commands is not None:
            self._commands.start()
        else:
            self._backend.start()

    def stop(self, deadline_s: float, done: Callable[[], None]) -> None:
        """End its processes within `deadline_s` seconds, by force after that."""
        self._recovery.forget()
        if self._commands is not None:
            self._commands.kill()
        if self._backend is None:
            done()
        else:
            self._backend.stop(deadline_s, done)

    def kill(self) -> None:
        """End its processes now."""
        self._recovery.forget()
        if self._commands is not None:
            self._commands.kill()
        if self._backend is not None:
            self._backend.kill()

    def status(self) -> Mapping[str, Any]:
        """Plain values for `duck status`; `processes` are for `app.status.describe_process`."""
        said: dict[str, Any] = {"state": self.state, "address": _written(self._view.address)}
        facts = self._last.facts if self._last is not None else {}
        if self._backend is not None and self._interpreter is not None:
            said |= self._backend.snapshot() | {"state": self.state}
            said |= {
                "project": str(self.root),
                "settings": facts.get("settings") or self._view.settings_module,
                "interpreter": self._interpreter.path,
                "interpreter_origin": self._interpreter.origin,
                "python": self._interpreter.python_version,
                "django": self._interpreter.django_version,
                "debug": facts.get("debug"),
                "processes": [{**entry, "role": f"django {entry['role']}"} for entry in self._processes()],
            }
        return {key: value for key, value in said.items() if value is not None}

    @property
    def interpreter(self) -> str:
        """The Python that runs it; empty for a server that runs already."""
        return self._interpreter.path if self._interpreter is not None else ""

    @property
    def workers(self) -> int:
        """How many processes answer pages."""
        return django_workers(views.production(self._settings).django_workers, os.environ)  # type: ignore[arg-type]

    # -- what the App asks ----------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether requests are answered by it."""
        return self.state == RUNNING

    @property
    def is_debugging(self) -> bool:
        """Whether somebody is at a debugger's prompt: then nothing is loaded again."""
        return self._backend is not None and self._backend.is_debugging

    def owns_process(self, pid: int) -> bool:
        """Whether it waits for the exit status of `pid`."""
        return self._backend is not None and (pid in self.pids or pid in self._backend.spare_pids)

    @property
    def pids(self) -> list[int]:
        """Its processes."""
        return [entry["pid"] for entry in self._processes()]

    def _serving_in(self, generation: Generation) -> dict[int, float]:
        """The processes that serve in one generation, and for how many seconds they have been there."""
        which = (generation.number, "serving")
        return {one["pid"]: one["uptime_s"] for one in self._processes() if (one["generation"], one["state"]) == which}

    def check(self, paths: Sequence[str], checked: Callable[[SyntaxError | None], None]) -> None:
        """Whether the Python files among `paths` can be compiled; see `Recovery.check`."""
        self._recovery.check(paths, checked)

    def has_seen(self, paths: list[str]) -> bool:
        """Whether all `paths` are as they were when a change of them started the project, which needs no second one."""
        return self._recovery.has_seen(paths)

    def commands(
        self,
        commands: Sequence[Sequence[str]],
        done: Callable[[Failure | None], None],
        origin: str = "DJANGO_COMMANDS_ON_STARTUP",
    ) -> StartupCommands:
        """`commands` of manage.py in the project's interpreter, to be started; what they print is shown."""
        assert self._project is not None and self._interpreter is not None
        module = self._view.settings_module
        return StartupCommands(
            commands,
            self._project,
            self._interpreter,
            module,
            self._inbox,
            self._print_command,
            done,
            origin,
            self._events(),
        )

    def _events(self) -> str:
        """Where signals are told to automations; empty where there is no place for it."""
        try:
            return str(event_directory(self._settings, self.root))
        except ApplicationError:
            return ""

    @property
    def is_preparing(self) -> bool:
        """Whether commands that go before the start are under way."""
        return self._commands is not None and self._commands.is_running

    def refresh(self, what: Sequence[str], done: Callable[[], None]) -> None:
        """Have `templates` or `translations` read again by what serves; `done` is called when they are."""
        if self._backend is not None:
            self._backend.refresh(what, done)

    def replace(self, paths: Sequence[str] = ()) -> None:
        """Load the project again, since the files at `paths` have changed; requests wait meanwhile."""
        if self._backend is None:
            return
        if self.is_preparing:
            return  # Django is loaded after them, as it is then
        self._recovery.forget()
        if self.state in (RUNNING, HOLDING):
            self.state = HOLDING
            self._on_hold("Django loads changed files")
        else:
            self.state = STARTING
            self._on_hold("Django starts")
        self._began = time.monotonic()
        if self._commands is not None:
            self._commands.start()
        else:
            self._backend.replace(changed=paths)

    def reload(self, outcome: Callable[[Failure | None, int], None]) -> None:
        """Load the project again beside what serves, which goes on where that fails.

        `outcome` is called once, with None and the number of the generation that every worker uses, or the failure.
        """
        assert self._backend is not None
        self._recovery.forget()
        if self.state == BROKEN:
            self.state = STARTING
            self._on_hold("Django starts")
        self._began = time.monotonic()

        def ended(failure: Failure | None) -> None:
            outcome(failure, self._last.number if self._last is not None else 0)

        self._backend.replace(ended)

    def hand_over(self) -> Mapping[str, Any] | None:
        """What the Duck that this process becomes needs to go on with the processes; None where there are none."""
        return self._backend.hand_over() if self._backend is not None else None

    def take_over(self, values: Mapping[str, Any]) -> bool:
        """Go on with the processes of the Duck that this process was; whether there were any that serve."""
        self._began = time.monotonic()
        return self._backend is not None and self._backend.take_over(values)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences to show at the start."""
        return self._interpreter.passed_over if self._interpreter is not None else ()

    def banner(self) -> dict[str, str]:
        """Its part of `app.banner.BannerFacts`."""
        if self._interpreter is None:
            return {"django": _written(self._view.address) or ""}
        return {
            "django": STARTING,
            "project": str(self.root),
            "settings_module": self._view.settings_module or os.environ.get("DJANGO_SETTINGS_MODULE", ""),
            "python": self._interpreter.path,
            "python_origin": self._interpreter.origin,
            "python_version": self._interpreter.python_version,
            "django_version": self._interpreter.django_version,
        }

    # -- what the backend tells -----------------------------------------------------------------------------------

    def _prepared(self, failure: Failure | None) -> None:
        assert self._backend is not None
        if failure is not None:
            self._failed(failure)
            return
        self._commands = None
        self.has_run = [list(one) for one in self._view.commands]
        self._backend.start()

    def _came(self, generation: Generation) -> None:
        assert self._backend is not None
        backend = self._backend
        before, now = self._serving, self._serving_in(generation)
        fresh = now.keys() - before.keys()
        self.came = [pid for pid in now if pid in fresh]
        is_whole = len(fresh) == len(now)
        self.took_s = time.monotonic() - self._began if is_whole else max((now[pid] for pid in fresh), default=0.0)
        self._serving = now
        self.state = RUNNING
        self._last = generation
        self._told = ""
        self._recovery.forget()
        self.on_failure(None, True)
        number = generation.number
        self._on_generation(generation, lambda: backend.acknowledged(number), lambda: backend.left(number))

    def _failed(self, failure: Failure) -> None:
        assert self._backend is not None
        # What a command has printed, or the attempt before this one has met, stands above already.
        told = failure.stage == "command" or failure.traceback == self._told
        text = f"\n{failure.traceback.rstrip()}" if failure.traceback and not told else ""
        self._told = failure.traceback
        serves = self._backend.current is not None and self._last is not None
        if failure.stage == "refused" and self._last is None:
            # Duck ends, since nothing that happens later would mend it.
            logger.error("Django could not be started: %s", failure.message)
            self.state = BROKEN
            self._on_broken(asdict(failure))
            return
        what = "What ran before keeps running" if serves else "Duck keeps running"
        again = self._recovery.sentence(failure)
        self._recovery.watch(failure)  # before it is told: who reads it may mend the file at once
        logger.error("Django could not be started: %s%s\n%s; %s.", failure.message, text, what, again)
        self.on_failure(failure, serves)
        if self._passes(failure):
            return
        if serves and self._last is not None:
            self.state = RUNNING
            self._on_generation(self._last, lambda: None, lambda: None)
        else:
            self.state = BROKEN
            self._on_broken(asdict(failure))

    def _passes(self, failure: Failure) -> bool:
        """In production, where code that has served was killed as it started again: requests wait on for the next."""
        killed = failure.stage == "crash" and failure.is_transient
        return killed and self.state == HOLDING and views.production(self._settings).serves

    def _checked(self, failure: Failure | None) -> None:
        if failure is not None:
            check_failed(failure)
            self.on_failure(failure, False)  # it is not what ran before that serves

    def _down(self) -> None:
        self.state = HOLDING
        self._began = time.monotonic()
        self._on_hold("Django ended unexpectedly and is started again")

    def _debugger(self, active: bool) -> None:
        if not active:
            self._on_debugged()

    def _print_command(self, text: str) -> None:
        self._print(text, "manage.py")

    def _print(self, text: str, name: str) -> None:
        if self._backend is not None and self._backend.is_debugging:
            # A prompt is no line yet, and nobody debugs by prefixed lines.
            to_console(text, at_once=True)
        else:
            output = self._outputs.get(name)
            if output is None:
                style, colour = self._settings["LOG_FORMAT"], wants_colour(sys.stderr)
                self._outputs[name] = output = ProcessOutput(name, to_console, style=style, colour=colour)
            output.feed(text.encode("utf-8", "replace"))

    # -- below ----------------------------------------------------------------------------------------------------

    def _processes(self) -> list[dict[str, Any]]:
        return self._backend.snapshot()["processes"] if self._backend is not None else []

    def _adopt(self) -> None:
        address = self._view.address
        assert address is not None
        if isinstance(address, str):
            address = address.removeprefix("unix:")
        name = f"Django at {_written(self._view.address)}"
        # Nobody here starts it again: a request that cannot reach it is answered at once.
        upstream = Upstream("http", address, _FOREIGN_SLOTS, name, patient=False)
        self.state = RUNNING
        self._last = Generation(1, (upstream,), (upstream,))
        self._on_generation(self._last, lambda: None, lambda: None)


def _written(address: str | tuple[str, int] | None) -> str | None:
    if isinstance(address, tuple):
        return f"{address[0]}:{address[1]}"
    return address

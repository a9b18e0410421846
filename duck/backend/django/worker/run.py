"""The life of a Django process: launch, check, load, report, serve, stop."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from typing import Any, Dict, List, Optional

from . import attribution, debugger, measure
from .control import Control, die_with_parent, tie_group
from .cycles import leave_alone, look_again
from .entry import Choice, choose, has_memory_layer, import_wsgi_first, load_wsgi
from .facts import project_facts, static_finder
from .failure import EXIT_FAILED, StartError, describe
from .faults import MAX_TEXT, tell_faults, unapplied
from .frontend import one_origin
from .launch import enter_directory, replaced_command, run_manage, set_prefix, set_up
from .libraries import changed_variables
from .measured import MeasuredSlot
from .places import place_facts
from .seen import Seen
from .signals import follow
from .slot import Slot
from .spare import SET_UP, URLS, Points, be_libraries, start_again
from .spec import Spec, take_spec
from .stack import tell_on_signal
from .unmade import unmade
from .wsgi import WSGIServer, listen

EXIT_STOPPED = 0
_NAMED = 3  # of missing migrations
EXIT_UNFINISHED = 4  # the deadline of a stop passed with requests in flight


class Process:
    """This process: what it was asked, how far it has come."""

    def __init__(self, spec: Spec, *, is_tied: bool = False) -> None:
        self.spec = spec
        self.stage = "import"
        self.code: Optional[int] = None  # of the exit, once the end was asked for
        named = spec.settings or os.environ.get("DJANGO_SETTINGS_MODULE")
        self._named_by = "--django-settings or DJANGO_SETTINGS_MODULE" if named else spec.manage or "the entry module"
        # While it does not listen the kernel alone ends it with the App.
        self._seen = Seen() if spec.points and is_tied else None
        self.control = Control(spec.control_fd, listens=self._seen is None)
        self.points = Points(spec, self.control, self._seen, {"checked": self._check, "unmade": unmade})
        tell_on_signal(spec.stack_signal, spec.stack_fd, self.control, spec.stacks_signal)
        self.debugger = debugger.install(self.control, is_terminal_wanted=spec.mode == "runserver")

    def run(self) -> int:
        """Serve until told to stop; the exit code."""
        leave_alone()
        try:
            enter_directory(self.spec)
            if self._seen is not None:
                self._seen.watch()
            if self.spec.mode == "runserver":
                attribution.install(self.spec.cwd)
            if self.spec.mode == "runserver" and self.spec.manage:
                run_manage(self.spec, self.serve)
            else:
                import_wsgi_first(self.spec)
                self.serve()
        except BaseException as error:
            # What manage.py does after the command, or makes of the SystemExit of a stop, changes nothing.
            if self.code is None:
                self.control.send("failed", **describe(error, self.stage, self._watched(), self._named_by))
                self.code = EXIT_FAILED
        return self.code if self.code is not None else EXIT_STOPPED

    def serve(self) -> None:
        """Check, load, report and serve: what stands in the place of the command `runserver`."""
        self.stage = "settings"
        set_up()
        known = self.spec.libraries_know
        if known is not None and not changed_variables(self.spec.environ) <= known:
            start_again(self.spec)
        set_prefix(self.spec)
        measures = is_measured(self.spec)
        if measures:
            measure.install()
        if self._seen is not None:
            self._seen.settle(self.spec.manage)
            close_connections()
        self.points.leave(SET_UP)
        self.stage = "checks"
        is_deferred = self.spec.deferred and URLS in self.spec.points
        if self._is_in_place_of_runserver() and not is_deferred:
            self.control.send("looked", **run_checks())
        missing = production_checks(self.spec.checks) if self.spec.checks else []
        self.stage = "import"
        choice = choose(self.spec)
        application = choice.application if choice.protocol == "http" else load_wsgi(self._wsgi_name(choice))
        self.stage = "urls"
        load_urls()
        if self._seen is not None:
            close_connections()
        if not self.points.leave(URLS) and is_deferred:
            self.stage = "checks"
            self.control.send("looked", **run_checks())
        self.points.end()
        follow(self.spec.events, self.control)
        self.control.listen()
        own_origin = one_origin() if self.spec.frontend else []
        if measures:
            tell_faults(self.control)
        self.stage = "facts"
        facts = project_facts(self.spec)
        if self.spec.mode == "runserver":
            project = os.path.dirname(os.path.abspath(self.spec.manage or "manage.py"))
            facts.update(place_facts(project, self._seen.files() if self._seen is not None else ()))
        facts.update(
            protocol=choice.protocol,
            entry=choice.entry,
            sockets_wanted=choice.sockets_wanted,
            asgi_server=None,
            in_memory_channels=has_memory_layer(),
            measures=measures,
            warnings=choice.warnings
            + missing
            + own_origin
            + (replaced_command() if self._is_in_place_of_runserver() else []),
        )
        self.stage = "address"
        look_again()
        close_connections()
        if choice.protocol == "http":
            from .asgi import serve_asgi

            self.stage = "server"
            self.code = serve_asgi(self.spec, self.control, self.debugger, choice, facts)
        else:
            self.code = self._serve_wsgi(application, facts)

    def _check(self) -> Dict[str, Any]:
        """The checks, for a copy of this process that does nothing else: what they say, or the facts of a failure."""
        try:
            return {"looked": run_checks(), "failed": None}
        except BaseException as error:
            return {"looked": None, "failed": describe(error, "checks", self._watched(), self._named_by)}

    def _is_in_place_of_runserver(self) -> bool:
        """Whether this process says what runserver would say; the one for sockets alone does not say it again."""
        return self.spec.mode == "runserver" and self.spec.role != "sockets"

    def _wsgi_name(self, choice: Choice) -> str:
        return "" if choice.entry == "django.core.wsgi" else choice.entry

    def _serve_wsgi(self, application: Any, facts: "dict[str, Any]") -> int:
        from .closing import quick_closing

        spec = self.spec
        listener, address = listen(spec.address, spec.threads)
        server = WSGIServer(
            listener,
            application,
            threads=spec.threads,
            secret=spec.secret,
            find=static_finder(),
            is_quick=quick_closing(),
            slot_class=MeasuredSlot if facts["measures"] else Slot,
        )
        asked = threading.Event()
        deadline_s = 0.0

        def stop(seconds: float) -> None:
            nonlocal deadline_s
            deadline_s = seconds
            asked.set()

        def ping(command: "dict[str, Any]") -> None:
            self.control.send("pong", **server.vitals(float(command.get("view_deadline_s", 0.0))))

        self.control.on_stop = stop
        self.control.on_ping = ping
        server.start()
        self.control.send("ready", address=address, slots=spec.threads, **facts)
        asked.wait()
        finished = server.stop(deadline_s, abandon=self.debugger.is_active)
        return EXIT_STOPPED if finished else EXIT_UNFINISHED

    def _watched(self) -> List[str]:
        """Project files whose change may mend a failure whose traceback names none: manage.py and the settings."""
        files = [os.path.abspath(self.spec.manage)] if self.spec.manage else []
        module = sys.modules.get(os.environ.get("DJANGO_SETTINGS_MODULE", ""))
        path = getattr(module, "__file__", None)
        if path:
            files.append(os.path.abspath(path))
        return files


def is_measured(spec: Spec) -> bool:
    """Whether it is counted what requests cost: in development, with DEBUG on."""
    from django.conf import settings

    return spec.mode == "runserver" and bool(settings.DEBUG)


def run_checks() -> Dict[str, Any]:
    """The system checks and the notice of unapplied migrations.

    What Django's runserver would print, as `text`: the App shows it where it is news. `unapplied` names migrations.

    Raises:
        SystemCheckError: a check failed.
        CommandError: the settings cannot serve any request.
    """
    from django.conf import settings
    from django.core.management.base import BaseCommand, CommandError

    if not settings.DEBUG and not settings.ALLOWED_HOSTS:
        raise CommandError("You must set settings.ALLOWED_HOSTS if DEBUG is False.")
    out = io.StringIO()
    command = BaseCommand(stdout=out, stderr=out)
    command.stdout.write("Performing system checks...\n\n")
    command.check(display_num_errors=True)
    checked = out.tell()
    command.check_migrations()
    # Only where Django has something to say of them is it looked for their names.
    return {"text": out.getvalue()[-MAX_TEXT:], "unapplied": unapplied() if out.tell() != checked else []}


def production_checks(level: str) -> List[str]:
    """The system checks, and a look for missing migrations; sentences to show.

    Raises:
        SystemCheckError: a check failed.
        StartError: with `level` `strict`: migrations have not been applied.
    """
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management.base import BaseCommand
    from django.db import DEFAULT_DB_ALIAS, connections
    from django.db.migrations.executor import MigrationExecutor

    BaseCommand().check()
    try:
        executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except ImproperlyConfigured:
        return []  # no database is set
    except Exception as error:
        if level == "strict":
            raise
        return [f"Whether migrations are missing cannot be told: {error}"]
    if not plan:
        return []
    names = [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    what = "a migration has" if len(names) == 1 else f"{len(names)} migrations have"
    sentence = f"{what} not been applied ({', '.join(names[:_NAMED])}{more})"
    if level == "strict":
        raise StartError(f"{sentence}; run `manage.py migrate`, or set ALLOW_UNAPPLIED_MIGRATIONS")
    return [f"{sentence[0].upper()}{sentence[1:]}; run `manage.py migrate`."]


def load_urls() -> None:
    """Import the URLconf now, so that an error in it is a failure to start and not of the first request."""
    from django.conf import settings
    from django.urls import get_resolver

    if getattr(settings, "ROOT_URLCONF", None):
        _ = get_resolver().url_patterns


def close_connections() -> None:
    """Close what the checks opened: connections belong to threads, and this one serves nobody."""
    from django.db import connections

    connections.close_all()


def main() -> int:
    """Run as told by the environment; the exit code."""
    spec = take_spec()
    is_tied = tie_group(spec.lifeline_fd)
    die_with_parent(spec.parent, is_tied=is_tied)
    # A view that reads the terminal without a debugger gets an error; by default it would stop the whole group.
    if hasattr(signal, "SIGTTIN"):
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            # Into a pipe, as on a terminal: a line is seen when it is written.
            reconfigure(line_buffering=True)
    if spec.survey is not None:
        from .survey import look

        look(spec, spec.survey)
    if spec.libraries_fd >= 0:
        be_libraries(spec)
    code = Process(spec, is_tied=is_tied).run()
    sys.stdout.flush()
    sys.stderr.flush()
    return code

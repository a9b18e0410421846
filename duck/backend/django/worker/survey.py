"""Looking at the project without serving it, for `duck check` and `duck routes`.

The project is brought up as for a start. Then come the parts that were asked for, each reported when it is known and
independent of the others: a part that fails is reported as a start's failure would be, and the next one follows.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, List, NoReturn, Optional, Tuple

from .control import Control
from .entry import asgi_name, choose, import_wsgi_first, load_wsgi, wsgi_name
from .facts import project_facts
from .failure import describe
from .launch import enter_directory, run_manage, set_prefix, set_up
from .run import load_urls
from .stack import tell_on_signal

if TYPE_CHECKING:
    from .spec import Spec

_STATIC_S = 3.0
_STATIC_FILES = 50_000


class Survey:
    """What is asked of one project, and what was found.

    Args:
        asked: `parts`, by name; for the part `path` also `path`, decoded, and `prefix`, None for FORCE_SCRIPT_NAME.
    """

    def __init__(self, spec: Spec, asked: Dict[str, Any]) -> None:
        self._spec = spec
        self._asked = asked
        self._was_entered = False
        self._choice: Any = None
        self.control = Control(spec.control_fd)
        tell_on_signal(spec.stack_signal, spec.stack_fd, self.control)

    def run(self) -> None:
        """Bring the project up, and report."""
        spec = self._spec
        named = spec.settings or os.environ.get("DJANGO_SETTINGS_MODULE")
        named_by = "--django-settings or DJANGO_SETTINGS_MODULE" if named else spec.manage or "the entry module"
        try:
            self._stage("settings")
            enter_directory(spec)
            if spec.mode == "runserver" and spec.manage:
                run_manage(spec, self._look)
            else:
                import_wsgi_first(spec)
                self._look()
        except BaseException as error:
            # What manage.py does after the command changes nothing.
            if not self._was_entered:
                self.control.send("failed", part="settings", **describe(error, "settings", [], named_by))
        self.control.send("end")

    def _look(self) -> None:
        set_up()
        self._was_entered = True
        set_prefix(self._spec)
        parts: Dict[str, Callable[[], Any]] = {
            "entry": self._entry,
            "urls": load_urls,
            "facts": self._facts,
            "checks": self._checks,
            "migrations": self._migrations,
            "static": self._static,
            "routes": self._routes,
            "path": self._path,
            "automations": self._automations,
            "cost": self._cost,
        }
        self.control.send("found", part="settings", facts=None)
        for part in self._asked["parts"]:
            self._stage(part)
            try:
                self.control.send("found", part=part, facts=parts[part]())
            except BaseException as error:
                self.control.send("failed", part=part, **describe(error, part, []))

    def _stage(self, part: str) -> None:
        self.control.send("stage", part=part)

    # -- the parts ------------------------------------------------------------------------------------------------

    def _entry(self) -> Dict[str, Any]:
        """What would serve what; the applications are loaded, with their middleware."""
        choice = self._choice = choose(self._spec)
        server: Optional[str] = None
        if choice.protocol == "link":
            load_wsgi("" if choice.entry == "django.core.wsgi" else choice.entry)
        if choice.protocol == "http" or choice.sockets_wanted:
            from .asgi import find_driver

            server = find_driver(self._spec.bundle).__name__.replace("Driver", "").lower()
        return {
            "protocol": choice.protocol,
            "entry": choice.entry,
            "why": choice.why,
            "sockets_wanted": choice.sockets_wanted,
            "warnings": choice.warnings,
            "server": server,
            "wsgi": wsgi_name(self._spec),
            "asgi": asgi_name(self._spec),
        }

    def _facts(self) -> Dict[str, Any]:
        from django.conf import settings

        key = str(settings.SECRET_KEY)
        return {
            **project_facts(self._spec),
            # As Django's own check security.W009 judges it; the key itself stays here.
            "secret_key_is_weak": key.startswith("django-insecure-") or len(key) < 50 or len(set(key)) < 5,
            "csrf_trusted_origins": [str(origin) for origin in settings.CSRF_TRUSTED_ORIGINS],
        }

    def _checks(self) -> Dict[str, Any]:
        """Django's system checks: those that fail, and by their names those of deployment that would."""
        from django.core import checks

        found = checks.run_checks()
        names = {message.id for message in found}
        deployment = checks.run_checks(include_deployment_checks=True, tags=["security"])
        return {
            "messages": [
                {
                    "level": int(message.level),
                    "id": message.id,
                    "text": str(message.msg),
                    "hint": str(message.hint or ""),
                    "object": "" if message.obj is None else _label(message.obj),
                }
                for message in found
                if not message.is_silenced() and message.level >= checks.WARNING
            ],
            "silenced": sum(message.is_silenced() for message in found),
            "deployment": sorted(
                str(message.id) for message in deployment if message.id not in names and not message.is_silenced()
            ),
        }

    def _migrations(self) -> Dict[str, Any]:
        """Those of the default database that are not applied; nothing is written, a missing file not made."""
        from django.core.exceptions import ImproperlyConfigured
        from django.db import DEFAULT_DB_ALIAS, connections
        from django.db.migrations.executor import MigrationExecutor
        from django.db.migrations.loader import MigrationLoader

        connection = connections[DEFAULT_DB_ALIAS]
        name = str(connection.settings_dict.get("NAME") or "")
        told: Dict[str, Any] = {"vendor": connection.vendor, "name": name, "missing_file": None}
        try:
            if connection.vendor == "sqlite" and name and ":memory:" not in name and not name.startswith("file:"):
                if not os.path.exists(name):
                    # To connect would make it.
                    loader = MigrationLoader(None, ignore_no_migrations=True)
                    return {**told, "missing_file": os.path.abspath(name), "unapplied": _names(loader.graph.nodes)}
            executor = MigrationExecutor(connection)
            executor.loader.check_consistent_history(connection)
            plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
            told["unapplied"] = _names((migration.app_label, migration.name) for migration, _ in plan)
            told["conflicts"] = sorted(executor.loader.detect_conflicts())
        except ImproperlyConfigured:
            return {**told, "vendor": None, "unapplied": []}  # no database is configured, as Django's runserver sees it
        finally:
            connections.close_all()
        return told

    def _static(self) -> Dict[str, Any]:
        """Whether what the finders find was collected: names in STATIC_ROOT that are missing, or of another size."""
        from django.apps import apps
        from django.conf import settings

        if not apps.is_installed("django.contrib.staticfiles") or not settings.STATIC_ROOT:
            return {"looked": 0}
        from django.contrib.staticfiles.finders import get_finders

        root = str(settings.STATIC_ROOT)
        end = time.monotonic() + _STATIC_S
        seen = set()
        missing: List[str] = []
        changed: List[str] = []
        for finder in get_finders():
            # What collectstatic leaves out when nobody asks it otherwise.
            for path, storage in finder.list(["CVS", ".*", "*~"]):
                name = os.path.join(getattr(storage, "prefix", None) or "", path)
                if name in seen:
                    continue
                seen.add(name)
                if len(seen) > _STATIC_FILES or time.monotonic() > end:
                    return {"looked": len(seen), "missing": missing, "changed": changed, "all": False}
                try:
                    size = os.path.getsize(os.path.join(root, name))
                except OSError:
                    missing.append(name)
                    continue
                try:
                    if size != os.path.getsize(storage.path(path)):
                        changed.append(name)
                except (OSError, NotImplementedError):
                    pass  # a finder whose files are not in the file system
        return {"looked": len(seen), "missing": missing, "changed": changed, "all": True}

    def _routes(self) -> List[Dict[str, Any]]:
        from .routes import routes

        return routes()

    def _automations(self) -> Dict[str, Any]:
        """What is declared, and what is wrong with it; all that is run is imported."""
        from django.conf import settings

        from .declared import find_automations
        from .problems import problems_of

        own = self._asked.get("own") or {}
        found = find_automations(own)
        found["problems"] = problems_of(found, own, imports=True)
        return {"zone": settings.TIME_ZONE if settings.USE_TZ else None, **found}

    def _path(self) -> Dict[str, Any]:
        """What answers the path that was asked for: a static file by the finders, a view, or neither."""
        from django.conf import settings

        from .facts import static_finder
        from .routes import decide

        path: str = self._asked["path"]
        url = settings.STATIC_URL or ""
        found = static_finder()(path[len(url) :]) if url and path.startswith(url) and path != url else None
        prefix: Optional[str] = self._asked["prefix"]
        if prefix is None:
            prefix = (settings.FORCE_SCRIPT_NAME or "").rstrip("/")
        within = path == prefix or path.startswith(prefix + "/")
        told = decide(path[len(prefix) :] or "/" if within else path)
        return {**told, "prefix": prefix if within else "", "file": os.fsdecode(found) if found is not None else None}

    def _cost(self) -> Dict[str, Any]:
        from .cost import cost

        application = self._choice.application if self._choice is not None else None
        return cost(application)


def _label(target: Any) -> str:
    label = getattr(getattr(target, "_meta", None), "label", None)
    return str(label) if label is not None else str(target)


def _names(nodes: Any) -> List[str]:
    pairs: List[Tuple[str, str]] = sorted(nodes)
    return [f"{app}.{name}" for app, name in pairs]


def look(spec: Spec, asked: Dict[str, Any]) -> NoReturn:
    """Look as asked, and end this process."""
    sys.dont_write_bytecode = True  # nothing that stays is written
    Survey(spec, asked).run()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of the project's have nothing to wait for.
    os._exit(0)

"""Requests that fail are told to the App, in development with DEBUG on: what a browser shows beside Django's page."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Dict, List, Optional

from .failure import text_of
from .measure import uncounted

if TYPE_CHECKING:
    from .control import Control

MAX_TEXT = 200_000
_MAX_NAMED = 50


def tell_faults(control: Control) -> None:
    """Report each exception that a view lets pass, by the event `fault`."""
    from django.core.signals import got_request_exception

    def told(sender: object, request: Any = None, **more: Any) -> None:
        error = sys.exc_info()[1]
        if error is None or request is None:
            return
        try:
            control.send("fault", page=request.get_full_path(), **facts_of(error))
        except Exception:
            pass  # a page of Django's is shown in any case

    # Kept by the signal alone.
    got_request_exception.connect(told, weak=False, dispatch_uid="duck-faults")


def facts_of(error: BaseException) -> Dict[str, Any]:
    """What the App is told of `error`."""
    return {
        "traceback": text_of(error)[-MAX_TEXT:],
        "template": template_of(error),
        "unapplied": unapplied() if is_of_database(error) else [],
        "database": is_of_database(error),
    }


def template_of(error: BaseException) -> Optional[Dict[str, Any]]:
    """File and line in the template during whose work it happened; None for none, or where nobody knows."""
    debug = getattr(error, "template_debug", None)
    if isinstance(debug, dict) and debug.get("line"):
        return {"file": str(debug.get("name") or ""), "line": int(debug["line"])}
    # Jinja2 says it by itself.
    if type(error).__name__ == "TemplateSyntaxError" and getattr(error, "filename", None):
        return {"file": str(error.filename), "line": int(getattr(error, "lineno", 1) or 1)}  # type: ignore[attr-defined]
    return None


def is_of_database(error: BaseException) -> bool:
    """Whether a missing migration may be behind it: a table or a column that is not there."""
    names = {kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "django.db.utils"}
    return bool(names & {"ProgrammingError", "OperationalError"})


def unapplied() -> List[str]:
    """The migrations that have not been applied; none where that cannot be told."""
    from django.db import DEFAULT_DB_ALIAS, connections
    from django.db.migrations.executor import MigrationExecutor

    try:
        with uncounted():
            executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
            plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except Exception:
        return []
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan[:_MAX_NAMED]]

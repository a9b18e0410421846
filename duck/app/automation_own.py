"""What Duck's own settings name for the project's Python to look up: `automations.py` of a Duck project, dotted names.

`AUTOMATIONS = {"automations.report": {"trigger": "duck.automation.NoTrigger"}}` names an `Automation` object, or a
class of such, and its trigger. Duck imports neither: a job process does, in which the Duck project's modules come last.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from duck.backend.django.discover import Interpreter, Project

if TYPE_CHECKING:
    from duck.settings.load import Settings


def is_by_names(name: str, table: Any) -> bool:
    """Whether an entry of AUTOMATIONS names an object and its trigger."""
    return "." in name and isinstance(table, Mapping) and isinstance(table.get("trigger"), str)


def own_source(settings: Settings) -> dict[str, Any]:
    """What a job process is told of it (see `worker.declared`): where to look, and triggers by the names of objects."""
    named = {name: table["trigger"] for name, table in settings["AUTOMATIONS"].items() if is_by_names(name, table)}
    return {
        "path": str(settings.base_dir) if settings.is_duck_project else "",
        "named": named,
        "origin": str(settings.origin("AUTOMATIONS")),
    }


def own_project(settings: Settings) -> tuple[Project, Interpreter] | None:
    """For job processes of a Duck project without Django: its directory, and Duck's own Python.

    None where nothing is declared that would need one.
    """
    if not settings.is_duck_project:
        return None
    directory = settings.base_dir
    tables = settings["AUTOMATIONS"].items()
    calls = any(is_by_names(name, table) or "call" in table for name, table in tables)
    if not calls and not (directory / "automations.py").is_file():
        return None
    version = ".".join(map(str, sys.version_info[:3]))
    return Project(directory, directory / "main.py"), Interpreter(sys.executable, "Duck's own", version, "")

"""What Duck's own settings name for the project's Python to look up: `automations.py` of a Duck project, dotted names.

`AUTOMATIONS = {"automations.report": {"trigger": "duck.automation.NoTrigger"}}` names an `Automation` object, or a
class of such, and its trigger. Duck imports neither: a job process does, in which the Duck project's modules come last.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from duck.backend.django.discover import Interpreter, Project
from duck.backend.django.worker.settings_file import entries_in
from duck.services.automations.declaration import events_of

if TYPE_CHECKING:
    from duck.settings.load import Settings


_MOST_WAITING: Final = 100
_MOST_TARGETS: Final = 200


_HEADER: Final = re.compile(r"""\s*\[\s*automations\s*\.\s*(?:"([^"\\]+)"|'([^']+)'|([A-Za-z0-9_-]+))\s*[\].]""")
"""`[automations.NAME]`, or a table within it."""


def is_by_names(name: str, table: Any) -> bool:
    """Whether an entry of AUTOMATIONS names an object and its trigger."""
    return "." in name and isinstance(table, Mapping) and isinstance(table.get("trigger"), str)


def origins(settings: Settings) -> Callable[[str], str]:
    """Where each entry of AUTOMATIONS was given: the line of its table, or of its key in Python, where it has one."""
    whole, lines = settings.origin("AUTOMATIONS"), dict[str, int]()
    file = settings.file
    if whole.source == "file" and file is not None and file.suffix == ".toml":
        with suppress(OSError, UnicodeDecodeError):
            for number, content in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
                if match := _HEADER.match(content):
                    lines.setdefault(match[1] or match[2] or match[3], number)
    elif whole.source == "file" and file is not None:
        lines.update(entries_in("AUTOMATIONS", str(file)))
    return lambda name: f"{file}:{lines[name]}" if name in lines else str(whole)


def own_source(settings: Settings) -> dict[str, Any]:
    """What a job process is told of it (see `worker.declared`): where to look, and for what."""
    tables = settings["AUTOMATIONS"].items()
    places = origins(settings)
    by_names = [(name, table["trigger"]) for name, table in tables if is_by_names(name, table)]
    named = {name: {"trigger": trigger, "origin": places(name)} for name, trigger in by_names}
    # They are told in the environment, which has a bound: of very many the first are looked for.
    waiting = [
        {"name": name, "table": table, "origin": places(name)}
        for name, table in tables
        if name not in named and any(event.name in ("signal", "condition") for event in events_of(table))
    ][:_MOST_WAITING]
    targets = [
        {"name": name, "table": {kind: table[kind]}, "origin": places(name)}
        for name, table in tables
        if isinstance(table, Mapping)
        for kind in ("call", "task", "command")
        if kind in table
    ][:_MOST_TARGETS]
    return {
        "path": str(settings.base_dir) if settings.is_duck_project else "",
        "named": named,
        "events": waiting,
        "targets": targets,
    }


def own_project(settings: Settings) -> tuple[Project, Interpreter] | None:
    """For job processes of a Duck project without Django: its directory, and Duck's own Python.

    None where nothing is declared that would need one.
    """
    if not settings.is_duck_project:
        return None
    directory = settings.base_dir
    tables = settings["AUTOMATIONS"].items()
    calls = any(is_by_names(name, table) or (isinstance(table, Mapping) and "call" in table) for name, table in tables)
    if not calls and not (directory / "automations.py").is_file():
        return None
    version = ".".join(map(str, sys.version_info[:3]))
    return Project(directory, directory / "main.py"), Interpreter(sys.executable, "Duck's own", version, "")

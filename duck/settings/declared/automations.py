"""Automations: what is scheduled, and how runs are carried out and kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from duck.settings import kinds
from duck.settings.kinds import Kind
from duck.settings.setting import MIB, Setting

DISPATCHER: Final = "duck.services.automations.dispatcher.Dispatcher"


def _anything(raw: Any, base: Path) -> Any:
    if isinstance(raw, Mapping):
        return dict(raw)
    raise ValueError('give a table such as {command = "clearsessions", every = "1d"}')


def _check_class(value: str) -> None:
    if not all(part.isidentifier() for part in value.split(".")) or "." not in value:
        raise ValueError("give the dotted name of a class, such as shop.automations.Dispatcher")


def _check_database(value: str | None) -> None:
    # Its value is not repeated: it may hold a password.
    if value is not None and not value.startswith(("postgresql://", "postgres://")):
        raise ValueError('give a URL such as "postgresql://user@host/name"')


def _check_site(value: str | None) -> None:
    if value is None:
        return
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError('give an address without a path, such as "https://shop.example.org"')


AUTOMATIONS: Final = (
    Setting(
        "Automations",
        "RUN_AUTOMATIONS",
        kinds.BOOLEAN,
        True,
        "Whether a Duck that serves runs the project's automations, too, where it declares any. By default it does, but"
        " `duck runserver` only while Django's DEBUG is on.",
        flags=("--automations/--no-automations",),
    ),
    Setting(
        "Automations",
        "AUTOMATIONS_ONLY",
        kinds.BOOLEAN,
        False,
        "Whether `duck serve` runs automations and nothing else: it listens nowhere, and starts no Django for pages.",
        flags=("--automations-only/--no-automations-only",),
        of=("serve",),
    ),
    Setting(
        "Automations",
        "AUTOMATION_DISPATCHER",
        kinds.TEXT,
        DISPATCHER,
        "The class that has automations run, a subclass of the default one.",
        check=_check_class,
    ),
    Setting(
        "Automations",
        "AUTOMATIONS",
        kinds.table(kinds.TEXT, Kind("table", _anything), "automations by name"),
        {},
        "Automations that need no code: for each name what runs and when; `[automations.NAME]` in duck.toml.",
        # Secrets of webhooks, variables of shells and headers of requests may stand there.
        secret=True,
    ),
    Setting(
        "Automations",
        "AUTOMATION_ENGINE",
        kinds.choice("local", "django", "postgres", "celery"),
        "local",
        "What keeps the runs, and so which nodes share them: `local`, a file for all nodes of this machine; `django`,"
        ' the database of the project, whose INSTALLED_APPS has `"duck.automation.django"`; `postgres`, a PostgreSQL;'
        " `celery`, the database of the project, whose Celery workers carry runs out.",
    ),
    Setting(
        "Automations",
        "CELERY_APP",
        kinds.TEXT.or_none(),
        None,
        "The project's Celery app for `celery`, as `celery -A` takes it. By default it is looked for in the project's"
        " package.",
    ),
    Setting(
        "Automations",
        "AUTOMATION_DATABASE",
        kinds.TEXT.or_none(),
        None,
        "The database of an engine that needs one, as a URL such as `postgresql://user@host/name`."
        " By default the default database of the project.",
        check=_check_database,
        secret=True,
    ),
    Setting(
        "Automations",
        "AUTOMATION_SITE",
        kinds.TEXT.or_none(),
        None,
        "The address of the project's own site, such as `https://shop.example.org`, for automations whose `url` begins"
        " with `/`. By default that of the Duck beside which they run; Celery's workers are told none that is of one"
        " machine alone.",
        check=_check_site,
    ),
    Setting(
        "Automations",
        "AUTOMATION_PROCESSES",
        kinds.integer(1, 256),
        4,
        "How many runs may have a job process at once, on this node; so many shell commands run besides.",
        unit="runs",
    ),
    Setting(
        "Automations",
        "AUTOMATION_THREADS",
        kinds.integer(1, 1024),
        16,
        "How many runs may have a thread at once, on this node; so many URLs are asked besides.",
        unit="runs",
    ),
    Setting(
        "Automations",
        "AUTOMATION_RECYCLE",
        kinds.integer(1, 1_000_000),
        100,
        "A job process ends after so many runs, and the next run has a new one.",
        unit="runs",
    ),
    Setting(
        "Automations",
        "AUTOMATION_TAGS",
        kinds.items(kinds.NAME, "tags"),
        [],
        "What this node is for: automations whose `run_on` is one of these tags run here.",
    ),
    Setting(
        "Automations",
        "AUTOMATION_KEEP",
        kinds.integer(0, 1_000_000),
        100,
        "The latest so many runs of each automation are kept, whatever their age.",
        unit="runs",
    ),
    Setting(
        "Automations",
        "AUTOMATION_KEEP_FOR",
        kinds.duration(),
        30 * 86_400.0,
        "All runs are kept for so long.",
        unit="seconds",
    ),
    Setting(
        "Automations",
        "AUTOMATION_ALERTS",
        kinds.table(kinds.NAME, Kind("table", _anything), "channels by name"),
        {},
        "Who is told when an automation that names the channel in `alert` fails, is late, is missed, or has not run: "
        '`{webhook = "https://..."}`, `{mail = ["ops@example.org"]}`, `{mail = "admins"}`, `{log = true}`.',
        secret=True,
    ),
    Setting(
        "Automations",
        "AUTOMATION_RECYCLE_MEMORY",
        kinds.size(16 * MIB),
        512 * MIB,
        "A job process that holds more when its run has ended is replaced, whatever AUTOMATION_RECYCLE says.",
        unit="bytes",
    ),
    Setting(
        "Automations",
        "AUTOMATION_MEMORY",
        kinds.size().or_none(),
        None,
        "A job process or shell command that holds more, with all that it has started, is ended by force, and its run"
        " has failed; nothing by default.",
        unit="bytes",
    ),
)

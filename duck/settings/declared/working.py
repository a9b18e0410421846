"""Files, reload, logs and state: what Duck does beside answering by views."""

from __future__ import annotations

from typing import Final

from duck.settings import kinds
from duck.settings.setting import Setting

_deadline = kinds.duration(zero_is_off=True)


def _check_watch_files(value: list[str]) -> None:
    for pattern in value:
        if not pattern or "/" in pattern:
            raise ValueError(f'{pattern!r} in it is not one: give patterns of file names, like "*.py"')


FILES: Final = (
    Setting(
        "Static and media files",
        "SERVE_STATIC",
        kinds.BOOLEAN,
        True,
        "Whether Duck answers STATIC_URL from Django's finders or STATIC_ROOT; a miss goes to Django.",
    ),
    Setting(
        "Static and media files",
        "SERVE_MEDIA",
        kinds.BOOLEAN,
        True,
        "Whether Duck answers MEDIA_URL from MEDIA_ROOT where that is safe; off under `duck serve` unless it is said.",
        flags=("--media/--no-media",),
        of=("serve",),
        in_production=False,
    ),
)

RELOAD: Final = (
    Setting(
        "Reload",
        "AUTO_RELOAD",
        kinds.BOOLEAN,
        True,
        "Whether `duck runserver` loads again what a changed file belongs to, and tells the browser.",
        flags=("--reload/--no-reload",),
        of=("runserver",),
        in_production=False,
    ),
    Setting(
        "Reload",
        "AUTO_RELOAD_WATCH_FILES",
        kinds.items(kinds.TEXT, "patterns"),
        ["*.py"],
        "Patterns of names of files whose change needs a restart. Templates, static files, translations and `.env` are"
        " watched whatever stands here.",
        check=_check_watch_files,
    ),
    Setting(
        "Reload",
        "AUTO_RELOAD_POLL",
        _deadline.or_none(),
        None,
        "Look for changes this often, and do not ask to be told; 0 never to look."
        " By default Duck looks every second where the system does not tell: on network and container file systems,"
        " and where its limit is reached.",
        unit="seconds",
    ),
    Setting(
        "Reload",
        "AUTO_RELOAD_SPARES",
        kinds.BOOLEAN,
        True,
        "Whether a start of Django leaves copies of itself behind, from which the next one goes on.",
        in_production=False,
    ),
)

LOGS: Final = (
    Setting(
        "Logs",
        "LOG_LEVEL",
        kinds.choice("debug", "info", "warning", "error"),
        "info",
        "The least that Duck's own messages must matter to be shown; Django's output is always shown.",
        flags=("--log-level",),
    ),
    Setting(
        "Logs",
        "LOG_FORMAT",
        kinds.choice("text", "json"),
        "text",
        "How Duck's own messages are written.",
    ),
    Setting(
        "Logs",
        "ACCESS_LOG",
        kinds.choice("dev", "text", "json", "combined", "off"),
        "dev",
        "How each answered request is written to standard error; `combined` is the format of Apache and nginx.",
        flags=("--access-log",),
        in_production="text",
    ),
)

STATE: Final = (
    Setting(
        "State",
        "STATE_DIR",
        kinds.PATH.or_none(),
        None,
        "Where Duck keeps what outlives it, never in the project."
        " By default STATE_DIRECTORY, then `duck` in XDG_STATE_HOME.",
        flags=("--state-dir",),
        metavar="PATH",
    ),
)

"""What `duck serve` is told besides: processes, limits of processes, reload, who may see what."""

from __future__ import annotations

from typing import Final

from duck.settings import kinds
from duck.settings.setting import Setting

_deadline = kinds.duration(zero_is_off=True)
_SERVE = ("serve",)

MODES: Final = (
    Setting(
        "Production",
        "MODE",
        kinds.choice("runserver", "serve"),
        "runserver",
        "Whether a project is worked on or served to others; `duck runserver` and `duck serve` set it,"
        " `python main.py` goes by it. Some settings have another default under `serve`.",
        flags=("--mode",),
        of=("settings",),
    ),
)

PRODUCTION: Final = (
    Setting(
        "Production",
        "WORKERS",
        kinds.integer_or("auto", 1, 256, "a number of workers"),
        1,
        "How many front workers serve clients: processes under `duck serve`, else threads; `auto` is one for every four"
        " processors that this machine or container may use."
        " WEB_CONCURRENCY counts under `serve` where it is not given.",
        unit="workers",
        flags=("--workers",),
        metavar="N|auto",
        of=_SERVE,
        in_production="auto",
    ),
    Setting(
        "Production",
        "DJANGO_WORKERS",
        kinds.integer_or("auto", 1, 256, "a number of processes"),
        1,
        "How many Django processes there are; `auto` is one for every processor that this machine or container may use."
        " WEB_CONCURRENCY counts under `serve` where it is not given.",
        unit="processes",
        flags=("--django-workers",),
        metavar="N|auto",
        of=_SERVE,
        in_production="auto",
    ),
    Setting(
        "Production",
        "USER",
        kinds.TEXT.or_none(),
        None,
        "The user, or `user:group`, that serves where `duck serve` is started by root: addresses are bound first,"
        " privileges dropped, then Django is started.",
        flags=("--user",),
        metavar="NAME",
        of=_SERVE,
    ),
    Setting(
        "Production",
        "ALLOW_DEBUG",
        kinds.BOOLEAN,
        False,
        "Whether `duck serve` serves a project whose DEBUG is on to other machines, to whom its error pages show code.",
        flags=("--allow-debug/--no-allow-debug",),
        of=_SERVE,
    ),
    Setting(
        "Production",
        "ADMIN_LISTEN",
        kinds.LISTEN_OR_OFF.or_none(),
        None,
        "Where `/livez`, `/readyz`, `/status` and `/metrics` are answered; `off` for nowhere."
        " By default 127.0.0.1 and the port after PORT, or the next that LISTEN leaves, under `duck serve`,"
        " and nowhere under `runserver`.",
        flags=("--admin-listen",),
        metavar="URL",
        of=_SERVE,
    ),
    Setting(
        "Production",
        "HEALTH_PATH",
        kinds.PREFIX.or_none(),
        None,
        "A path of the project that has to answer 2xx or 3xx before new Django processes are used.",
        flags=("--health-path",),
        metavar="PATH",
        of=_SERVE,
    ),
    Setting(
        "Production",
        "ALLOW_UNAPPLIED_MIGRATIONS",
        kinds.BOOLEAN,
        False,
        "Whether `duck reload` goes on to code whose migrations have not been applied.",
    ),
    Setting(
        "Production",
        "MAX_REQUESTS",
        kinds.integer(0),
        0,
        "After how many requests a Django process is replaced by a new one, give or take a tenth; 0 for never.",
        unit="requests",
        flags=("--max-requests",),
        metavar="N",
        of=_SERVE,
    ),
    Setting(
        "Production",
        "MEMORY_LIMIT",
        kinds.size(),
        0,
        "The resident memory with which a Django process is replaced by a new one; 0 for any.",
        unit="bytes",
        flags=("--memory-limit",),
        metavar="BYTES",
        of=_SERVE,
    ),
    Setting(
        "Production",
        "HEARTBEAT_TIMEOUT",
        _deadline,
        30.0,
        "How long a process may say nothing until it is taken for hung: its stacks are logged and it is replaced;"
        " 0 for ever.",
        unit="seconds",
    ),
    Setting(
        "Production",
        "VIEW_TIMEOUT",
        _deadline,
        0.0,
        "How long a view may run without sending anything: then its stack is logged and its process replaced;"
        " 0 for no deadline.",
        unit="seconds",
        flags=("--view-timeout",),
        metavar="SECONDS",
        of=_SERVE,
        in_production=300.0,
    ),
    Setting(
        "Production",
        "DRAIN_DELAY",
        _deadline,
        0.0,
        "How long Duck goes on as before after SIGTERM, with `/readyz` at 503, so that a balancer stops sending first.",
        unit="seconds",
        flags=("--drain-delay",),
        metavar="SECONDS",
        of=_SERVE,
    ),
    Setting(
        "Production",
        "STREAMS_CLOSE_TIMEOUT",
        kinds.duration(),
        10.0,
        "How long answers that have begun may go on in what is replaced or stopped; event streams are ended in order"
        " before that. At least as long as SHUTDOWN_TIMEOUT.",
        unit="seconds",
    ),
    Setting(
        "Production",
        "SOCKETS_CLOSE_TIMEOUT",
        kinds.duration(),
        10.0,
        "How long WebSockets of what is replaced or stopped may go on; at least as long as SHUTDOWN_TIMEOUT.",
        unit="seconds",
    ),
    Setting(
        "Production",
        "SOCKETS_CLOSE_SPREAD",
        _deadline,
        0.0,
        "Over how long the ends of WebSockets and of event streams are spread, so that their clients do not come back"
        " all at once.",
        unit="seconds",
        in_production=5.0,
    ),
)

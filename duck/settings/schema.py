"""Every setting, declared once: parsing, checks, command line options and the reference page all come from here."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from duck.settings import kinds

if TYPE_CHECKING:
    from duck.settings.kinds import Kind

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30

SECTIONS: Final = (
    "Duck project",
    "Django",
    "Which side answers",
    "Listening",
    "Limits",
    "Deadlines",
    "Static and media files",
    "Reload",
    "Logs",
    "State",
)


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        section: one of `SECTIONS`.
        default: in the form in which it is used; a list or table is copied for each `Settings`.
        unit: `"seconds"`, `"bytes"`, `"requests"` ..., or `""`.
        sentence: what it does; ends with a full stop, may be followed by a second one on its default.
        flags: options of `duck runserver`; `("--reload/--no-reload",)` for a boolean.
        metavar: how the option's value is called in the help.
        aliases: other names that are accepted wherever the name is.
        check: refuses a value that its kind allows, with a `ValueError` that says what is right.
        secret: shown as dots.
    """

    section: str
    name: str
    kind: Kind
    default: Any
    sentence: str
    unit: str = ""
    flags: tuple[str, ...] = ()
    metavar: str = ""
    aliases: tuple[str, ...] = ()
    check: Callable[[Any], None] | None = None
    secret: bool = False

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"DUCK_{self.name}"


def _check_secret_key(value: str | None) -> None:
    if value is not None and (len(value) < 32 or len(set(value)) < 8):
        raise ValueError(
            "give at least 32 random characters, as `python -c 'import secrets; print(secrets.token_urlsafe(48))'` does"
        )


def _check_allowed_hosts(value: list[str]) -> None:
    for host in value:
        if not re.fullmatch(r"\*|\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\]", host):
            raise ValueError(f'{host!r} in it is not one: give names without port, like "example.org", ".example.org"')


def _check_watch_files(value: list[str]) -> None:
    for pattern in value:
        if not pattern or "/" in pattern:
            raise ValueError(f'{pattern!r} in it is not one: give patterns of file names, like "*.py"')


_PROJECT = "Duck project"
_DJANGO = "Django"
_SIDES = "Which side answers"
_LISTENING = "Listening"
_LIMITS = "Limits"
_DEADLINES = "Deadlines"
_FILES = "Static and media files"
_RELOAD = "Reload"
_LOGS = "Logs"
_STATE = "State"

_deadline = kinds.duration(zero_is_off=True)

_DECLARED: Final = (
    # Duck project
    Setting(
        _PROJECT,
        "SETTINGS_MODULE",
        kinds.MODULE.or_none(),
        None,
        "The settings module of the Duck project. By default `settings.py` beside a `main.py` that makes an `App`.",
        flags=("-s", "--settings"),
        metavar="MODULE",
    ),
    Setting(
        _PROJECT,
        "BASE_DIR",
        kinds.PATH.or_none(),
        None,
        "The directory of the Duck project, from which its modules are imported. By default that of its settings.",
    ),
    Setting(
        _PROJECT,
        "DEBUG",
        kinds.BOOLEAN,
        False,
        "Whether Duck's own views answer errors with details. Of a Django project Django's own DEBUG counts.",
    ),
    Setting(
        _PROJECT,
        "SECRET_KEY",
        kinds.TEXT.or_none(),
        None,
        "The secret with which a Duck project signs; it has to be random, 32 characters at least.",
        check=_check_secret_key,
        secret=True,
    ),
    Setting(
        _PROJECT,
        "ALLOWED_HOSTS",
        kinds.items(kinds.TEXT, "host names"),
        [".localhost", "127.0.0.1", "[::1]"],
        "The hosts for which Duck's own views answer; `.example.org` means its subdomains too, DOMAIN is always one."
        " Django checks hosts by its own ALLOWED_HOSTS.",
        check=_check_allowed_hosts,
    ),
    Setting(
        _PROJECT,
        "URLPATTERNS_MODULE",
        kinds.DOTTED,
        "urls",
        "The module whose `urlpatterns` are the Duck project's own URLs.",
    ),
    Setting(
        _PROJECT,
        "MIDDLEWARES",
        kinds.items(kinds.DOTTED, "dotted names"),
        [],
        "Duck middleware classes, the outermost first.",
    ),
    Setting(
        _PROJECT,
        "MIDDLEWARE_FAILURE_BEHAVIOR",
        kinds.choice("block", "ignore"),
        "block",
        "Whether a request that a middleware refuses is answered with its refusal, or goes on as if it had not.",
    ),
    Setting(
        _PROJECT,
        "TEMPLATE_DIRS",
        kinds.items(kinds.PATH, "paths"),
        ["templates"],
        "Where the templates of Duck's own views are looked for, relative to BASE_DIR.",
    ),
    Setting(
        _PROJECT,
        "ASGI",
        kinds.DOTTED,
        "duck.http.core.asgi.ASGI",
        "The class that runs the application lane; a subclass sends every request through that lane.",
    ),
    Setting(
        _PROJECT,
        "PROXY_HANDLER",
        kinds.DOTTED,
        "duck.http.core.proxyhandler.AsyncHttpProxyHandler",
        "The class that asks Django for requests in the application lane; its `get_response` is a coroutine or runs in"
        " a thread. Another class than Duck's own sends all of Django's requests through that lane.",
        aliases=("ASYNC_PROXY_HANDLER",),
    ),
    # Django
    Setting(
        _DJANGO,
        "USE_DJANGO",
        kinds.BOOLEAN.or_none(),
        None,
        "Whether Django stands behind Duck. By default it does where a Django project is named or found.",
        flags=("-dj", "--use-django/--no-use-django"),
    ),
    Setting(
        _DJANGO,
        "DJANGO_PROJECT",
        kinds.PATH.or_none(),
        None,
        "The Django project: its manage.py or the directory that holds it. By default here, then one level below.",
        flags=("--django",),
        metavar="PATH",
    ),
    Setting(
        _DJANGO,
        "DJANGO_SETTINGS_MODULE",
        kinds.DOTTED.or_none(),
        None,
        "Django's settings module. By default the environment's DJANGO_SETTINGS_MODULE, then what manage.py says.",
        flags=("--django-settings",),
        metavar="MODULE",
    ),
    Setting(
        _DJANGO,
        "PYTHON",
        kinds.PATH.or_none(),
        None,
        "The interpreter that runs Django. By default the first of the project's environments that imports Django.",
        flags=("--python",),
        metavar="PATH",
    ),
    Setting(
        _DJANGO,
        "DJANGO_WSGI",
        kinds.ENTRY.or_none(),
        None,
        "Django's WSGI entry. By default its WSGI_APPLICATION, or Django's own handler.",
        flags=("--wsgi",),
        metavar="ENTRY",
    ),
    Setting(
        _DJANGO,
        "DJANGO_ASGI",
        kinds.ENTRY.or_none(),
        None,
        "Django's ASGI entry. By default its ASGI_APPLICATION, or the `asgi` module beside the WSGI entry.",
        flags=("--asgi",),
        metavar="ENTRY",
    ),
    Setting(
        _DJANGO,
        "DJANGO_ADDR",
        kinds.SERVER.or_none(),
        None,
        "A server that runs Django already, to which Duck sends requests instead of starting a process of its own.",
    ),
    Setting(
        _DJANGO,
        "DJANGO_COMMANDS_ON_STARTUP",
        kinds.items(kinds.COMMAND, "management commands"),
        [],
        "Management commands that run, one after the other, before Django is started; it is not, while one fails.",
    ),
    Setting(
        _DJANGO,
        "DJANGO_THREADS",
        kinds.integer(1, 512, "a number of threads"),
        16,
        "Threads of the Django process, and so the views that it runs at once.",
        unit="threads",
        flags=("--django-threads",),
        metavar="N",
    ),
    Setting(
        _DJANGO,
        "DJANGO_SERVER_WAIT_TIME",
        kinds.duration(),
        60.0,
        "How long the Django process may take until it is ready; nothing waits longer than it has to.",
        unit="seconds",
    ),
    # Which side answers
    Setting(
        _SIDES,
        "DUCK_EXPLICIT_URLS",
        kinds.items(kinds.REGEX, "regular expressions"),
        [],
        "Paths that Duck answers even where its urlpatterns have no match."
        " Empty by default, so that such paths go to Django; duckframework's `.*` hides all of Django but its admin.",
    ),
    Setting(
        _SIDES,
        "DJANGO_SIDE_URLS",
        kinds.items(kinds.REGEX, "regular expressions"),
        [],
        "Paths that always go to Django, whatever Duck's urlpatterns say; an expression has to match the whole path."
        " Empty by default; duckframework's `/admin.*` would also take `/administrators` from Duck.",
    ),
    Setting(
        _SIDES,
        "DJANGO_SIDE_URLS_SKIP_MIDDLEWARES",
        kinds.BOOLEAN,
        False,
        "Whether requests that go to Django pass by Duck's MIDDLEWARES.",
    ),
    # Listening
    Setting(
        _LISTENING,
        "ADDRESS",
        kinds.HOST,
        "localhost",
        "The address to listen at; `localhost` is this machine only, `0.0.0.0` every network it is in.",
        flags=("-a", "--address"),
    ),
    Setting(
        _LISTENING,
        "PORT",
        kinds.integer(0, 65535, "a port"),
        8000,
        "The port to listen at; 0 takes a free one.",
        flags=("-p", "--port"),
    ),
    Setting(
        _LISTENING,
        "DOMAIN",
        kinds.HOST.or_none(),
        None,
        "The public name, used in the addresses that Duck prints and builds. By default ADDRESS.",
        flags=("-d", "--domain"),
    ),
    Setting(
        _LISTENING,
        "IPV6",
        kinds.BOOLEAN,
        False,
        "Whether ADDRESS is resolved to IPv6; `localhost` is then `::1`.",
        flags=("--ipv6/--no-ipv6",),
    ),
    Setting(
        _LISTENING,
        "LISTEN",
        kinds.items(kinds.LISTEN, "listening URLs"),
        [],
        "Where to listen, instead of ADDRESS and PORT: `http://address:port`, `unix:/path` or `fd:N`.",
        flags=("--listen",),
        metavar="URL",
    ),
    Setting(
        _LISTENING,
        "REQUESTS_BACKLOG",
        kinds.integer(1, 65535, "a number of connections"),
        2048,
        "Connections that wait in the kernel until they are accepted.",
        unit="connections",
    ),
    Setting(
        _LISTENING,
        "NAME",
        kinds.NAME,
        "default",
        "What tells this Duck from another one of the same project.",
        flags=("--name",),
    ),
    Setting(
        _LISTENING,
        "PREFIX",
        kinds.PREFIX.or_none(),
        None,
        "A path under which all of Django lives: it moves from PATH_INFO to SCRIPT_NAME."
        " By default Django's FORCE_SCRIPT_NAME.",
        flags=("--prefix",),
    ),
    Setting(
        _LISTENING,
        "TRUSTED_PROXIES",
        kinds.items(kinds.NETWORK, "networks"),
        [],
        "Addresses and networks of balancers in front, whose `Forwarded` and `X-Forwarded-*` are believed;"
        " `unix` is whoever comes through a Unix socket.",
    ),
    # Limits
    Setting(
        _LIMITS,
        "MAX_HEAD_BYTES",
        kinds.size(1024),
        32 * KIB,
        "The longest request line with fields; more is answered with 431.",
        unit="bytes",
    ),
    Setting(
        _LIMITS,
        "MAX_TARGET_BYTES",
        kinds.size(256),
        16 * KIB,
        "The longest request target; more is answered with 414.",
        unit="bytes",
    ),
    Setting(
        _LIMITS,
        "MAX_FIELDS",
        kinds.integer(8, 10_000),
        100,
        "The most fields a request may have; more is answered with 431.",
        unit="fields",
    ),
    Setting(
        _LIMITS,
        "MAX_BODY_BYTES",
        kinds.size(),
        GIB,
        "The longest request body; more is answered with 413.",
        unit="bytes",
        aliases=("DATA_UPLOAD_MAX_SIZE",),
    ),
    Setting(
        _LIMITS,
        "BODY_LIMITS",
        kinds.table(kinds.REGEX, kinds.size(), "regular expression to bytes"),
        {},
        "Other body limits by path: the first expression that matches the whole path replaces MAX_BODY_BYTES.",
        unit="bytes",
    ),
    Setting(
        _LIMITS,
        "MAX_SPOOL_BYTES",
        kinds.size(),
        4 * GIB,
        "How much of all bodies together may lie on disk, half of it answers that slow clients have not taken; "
        "a request's body that does not fit is answered with 503.",
        unit="bytes",
    ),
    Setting(
        _LIMITS,
        "MAX_SPOOLED_ANSWER_BYTES",
        kinds.size(),
        64 * MIB,
        "How much of one answer may lie on disk until a slow client takes it, so that its Django thread is free; "
        "beyond it, and from the start with 0, the thread waits for the client.",
        unit="bytes",
    ),
    Setting(
        _LIMITS,
        "SPOOL_DIR",
        kinds.PATH.or_none(),
        None,
        "Where large bodies wait: of requests for their end, of answers for slow clients. By default the system's "
        "directory for temporary files.",
    ),
    Setting(
        _LIMITS,
        "MAX_CONNECTIONS",
        kinds.integer(1),
        10_000,
        "Client connections at once; more are closed as they come.",
        unit="connections",
    ),
    Setting(
        _LIMITS,
        "MAX_QUEUE",
        kinds.integer(0),
        1000,
        "Requests that may wait for a free Django thread; more are answered with 503.",
        unit="requests",
    ),
    # Deadlines
    Setting(
        _DEADLINES,
        "HEAD_TIMEOUT",
        kinds.duration(),
        30.0,
        "How long a request's head may take, from its first byte or the connection's start.",
        unit="seconds",
        aliases=("REQUEST_TIMEOUT",),
    ),
    Setting(
        _DEADLINES,
        "BODY_TIMEOUT",
        kinds.duration(),
        60.0,
        "How long a request body may stand still.",
        unit="seconds",
    ),
    Setting(
        _DEADLINES,
        "MIN_BODY_RATE",
        kinds.size(),
        256,
        "The slowest a request body may come on average, after BODY_TIMEOUT; 0 for any speed.",
        unit="bytes per second",
    ),
    Setting(
        _DEADLINES,
        "KEEP_ALIVE_TIMEOUT",
        kinds.duration(),
        75.0,
        "How long an idle connection is kept for another request.",
        unit="seconds",
    ),
    Setting(
        _DEADLINES,
        "SEND_TIMEOUT",
        kinds.duration(),
        60.0,
        "How long a client may take none of its answer before the connection is cut.",
        unit="seconds",
    ),
    Setting(
        _DEADLINES,
        "PROXY_CONNECT_TIMEOUT",
        kinds.duration(),
        5.0,
        "How long a connection to a backend may take.",
        unit="seconds",
    ),
    Setting(
        _DEADLINES,
        "PROXY_READ_TIMEOUT",
        _deadline,
        600.0,
        "How long a backend may say nothing, before its answer and within it; 0 for no deadline.",
        unit="seconds",
    ),
    Setting(
        _DEADLINES,
        "QUEUE_TIMEOUT",
        kinds.duration(),
        30.0,
        "How long a request waits for a free Django thread, or for Django to be ready, before it is answered with 503.",
        unit="seconds",
    ),
    Setting(
        _DEADLINES,
        "TUNNEL_IDLE_TIMEOUT",
        _deadline,
        3600.0,
        "How long a WebSocket may be silent in both directions; 0 for no deadline.",
        unit="seconds",
    ),
    Setting(
        _DEADLINES,
        "SHUTDOWN_TIMEOUT",
        kinds.duration(),
        10.0,
        "How long what runs may go on after Ctrl-C or SIGTERM.",
        unit="seconds",
    ),
    # Static and media files
    Setting(
        _FILES,
        "SERVE_STATIC",
        kinds.BOOLEAN,
        True,
        "Whether Duck answers STATIC_URL from Django's finders or STATIC_ROOT; a miss goes to Django.",
    ),
    Setting(
        _FILES,
        "SERVE_MEDIA",
        kinds.BOOLEAN,
        True,
        "Whether Duck answers MEDIA_URL from MEDIA_ROOT where that is safe.",
    ),
    # Reload
    Setting(
        _RELOAD,
        "AUTO_RELOAD",
        kinds.BOOLEAN,
        True,
        "Whether `duck runserver` restarts what a changed file belongs to.",
        flags=("--reload/--no-reload",),
    ),
    Setting(
        _RELOAD,
        "AUTO_RELOAD_WATCH_FILES",
        kinds.items(kinds.TEXT, "patterns"),
        ["*.py"],
        "Patterns of the file names that are watched.",
        check=_check_watch_files,
    ),
    Setting(
        _RELOAD,
        "AUTO_RELOAD_POLL",
        _deadline,
        0.0,
        "Look for changes by polling, this often, where the system does not tell of them; 0 to be told.",
        unit="seconds",
    ),
    # Logs
    Setting(
        _LOGS,
        "LOG_LEVEL",
        kinds.choice("debug", "info", "warning", "error"),
        "info",
        "The least that Duck's own messages must matter to be shown; Django's output is always shown.",
        flags=("--log-level",),
    ),
    Setting(
        _LOGS,
        "LOG_FORMAT",
        kinds.choice("text", "json"),
        "text",
        "How Duck's own messages are written.",
    ),
    Setting(
        _LOGS,
        "ACCESS_LOG",
        kinds.choice("dev", "text", "json", "combined", "off"),
        "dev",
        "How each answered request is written to standard error; `combined` is the format of Apache and nginx.",
        flags=("--access-log",),
    ),
    # State
    Setting(
        _STATE,
        "STATE_DIR",
        kinds.PATH.or_none(),
        None,
        "Where Duck keeps what outlives it, never in the project."
        " By default STATE_DIRECTORY, then `duck` in XDG_STATE_HOME.",
        flags=("--state-dir",),
        metavar="PATH",
    ),
)

SETTINGS: Final = MappingProxyType({setting.name: setting for setting in _DECLARED})
"""Every setting by its name, in the order of the reference page."""

NAMES: Final = MappingProxyType(
    {name: setting for setting in _DECLARED for name in (setting.name, *setting.aliases)},
)
"""Every accepted name, aliases too."""

RUNTIME_VARIABLES: Final = frozenset(
    {
        "DUCK_DJANGO_ADDR",
        "DUCK_SECRETS_DIR",
        "DUCK_SERVER_BUFFER",
        "DUCK_SERVER_DOMAIN",
        "DUCK_SERVER_NAME",
        "DUCK_SERVER_PORT",
        "DUCK_SERVER_PROTOCOL",
        "DUCK_SERVER_URL",
        "DUCK_USES_IPV6",
        "DUCK_WORKERS",
    }
) - {setting.variable for setting in _DECLARED}
"""Variables that duckframework sets for itself: no settings, and not worth a warning."""

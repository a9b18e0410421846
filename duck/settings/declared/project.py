"""The Duck project itself, and which side answers a path."""

from __future__ import annotations

import re
from typing import Final

from duck.settings import kinds
from duck.settings.setting import Setting


def _check_secret_key(value: str | None) -> None:
    if value is not None and (len(value) < 32 or len(set(value)) < 8):
        raise ValueError(
            "give at least 32 random characters, as `python -c 'import secrets; print(secrets.token_urlsafe(48))'` does"
        )


def _check_allowed_hosts(value: list[str]) -> None:
    for host in value:
        if not re.fullmatch(r"\*|\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\]", host):
            raise ValueError(f'{host!r} in it is not one: give names without port, like "example.org", ".example.org"')


PROJECT: Final = (
    Setting(
        "Duck project",
        "SETTINGS_MODULE",
        kinds.MODULE.or_none(),
        None,
        "The settings module of the Duck project. By default `settings.py` beside a `main.py` that makes an `App`.",
        flags=("-s", "--settings"),
        metavar="MODULE",
    ),
    Setting(
        "Duck project",
        "BASE_DIR",
        kinds.PATH.or_none(),
        None,
        "The directory of the Duck project, from which its modules are imported. By default that of its settings.",
    ),
    Setting(
        "Duck project",
        "DEBUG",
        kinds.BOOLEAN,
        False,
        "Whether Duck's own views answer errors with details. Of a Django project Django's own DEBUG counts.",
    ),
    Setting(
        "Duck project",
        "SECRET_KEY",
        kinds.TEXT.or_none(),
        None,
        "The secret with which a Duck project signs; it has to be random, 32 characters at least.",
        check=_check_secret_key,
        secret=True,
    ),
    Setting(
        "Duck project",
        "ALLOWED_HOSTS",
        kinds.items(kinds.TEXT, "host names"),
        [".localhost", "127.0.0.1", "[::1]"],
        "The hosts for which Duck's own views answer; `.example.org` means its subdomains too, DOMAIN is always one."
        " Django checks hosts by its own ALLOWED_HOSTS.",
        check=_check_allowed_hosts,
    ),
    Setting(
        "Duck project",
        "URLPATTERNS_MODULE",
        kinds.DOTTED,
        "urls",
        "The module whose `urlpatterns` are the Duck project's own URLs.",
    ),
    Setting(
        "Duck project",
        "MIDDLEWARES",
        kinds.items(kinds.DOTTED, "dotted names"),
        [],
        "Duck middleware classes, the outermost first.",
    ),
    Setting(
        "Duck project",
        "MIDDLEWARE_FAILURE_BEHAVIOR",
        kinds.choice("block", "ignore"),
        "block",
        "Whether a request that a middleware refuses is answered with its refusal, or goes on as if it had not.",
    ),
    Setting(
        "Duck project",
        "TEMPLATE_DIRS",
        kinds.items(kinds.PATH, "paths"),
        ["templates"],
        "Where the templates of Duck's own views are looked for, relative to BASE_DIR.",
    ),
    Setting(
        "Duck project",
        "ASGI",
        kinds.DOTTED,
        "duck.http.core.asgi.ASGI",
        "The class that runs the application lane; a subclass sends every request through that lane.",
    ),
    Setting(
        "Duck project",
        "PROXY_HANDLER",
        kinds.DOTTED,
        "duck.http.core.proxyhandler.AsyncHttpProxyHandler",
        "The class that asks Django for requests in the application lane; its `get_response` is a coroutine or runs in"
        " a thread. Another class than Duck's own sends all of Django's requests through that lane.",
        aliases=("ASYNC_PROXY_HANDLER",),
    ),
)

SIDES: Final = (
    Setting(
        "Which side answers",
        "DUCK_EXPLICIT_URLS",
        kinds.items(kinds.REGEX, "regular expressions"),
        [],
        "Paths that Duck answers even where its urlpatterns have no match."
        " Empty by default, so that such paths go to Django; duckframework's `.*` hides all of Django but its admin.",
    ),
    Setting(
        "Which side answers",
        "DJANGO_SIDE_URLS",
        kinds.items(kinds.REGEX, "regular expressions"),
        [],
        "Paths that always go to Django, whatever Duck's urlpatterns say; an expression has to match the whole path."
        " Empty by default; duckframework's `/admin.*` would also take `/administrators` from Duck.",
    ),
    Setting(
        "Which side answers",
        "DJANGO_SIDE_URLS_SKIP_MIDDLEWARES",
        kinds.BOOLEAN,
        False,
        "Whether requests that go to Django pass by Duck's MIDDLEWARES.",
    ),
)

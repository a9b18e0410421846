"""A Django project that has the application `duck.automation.django`, with links to its store."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from duck.backend.django.discover import find_interpreter, find_project
from duck.backend.django.store import StoreProcess
from duck.services.automations.engines.django import DjangoEngine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.postgres import Postgres

APP = "duck.automation.django"

MANAGE = """import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site1.settings")
execute_from_command_line(sys.argv)
"""

SETTINGS = """import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "of a test"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "site1.urls"
STATIC_URL = "/static/"
INSTALLED_APPS = {applications!r}
MIDDLEWARE = {middleware!r}
TEMPLATES = [
    {{
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {{
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        }},
    }}
]
DATABASES = {{"default": {database}}}
USE_TZ = True
{more}
"""

SQLITE = '{"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}'
ADMIN_APPLICATIONS = [
    f"django.contrib.{name}" for name in ("admin", "auth", "contenttypes", "sessions", "messages", "staticfiles")
]
ADMIN_MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
ADMIN_URLS = """from django.contrib import admin
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls)]
"""


def write_project(
    directory: Path, *, settings: str = "", has_admin: bool = False, database: str = SQLITE, has_store: bool = True
) -> Path:
    """One in `directory`, not migrated; its root.

    Args:
        settings: more of them, as Python.
        database: the default one, as Python.
    """
    root = directory / "project"
    (root / "site1").mkdir(parents=True)
    (root / "manage.py").write_text(MANAGE)
    (root / "site1" / "__init__.py").touch()
    (root / "site1" / "settings.py").write_text(
        SETTINGS.format(
            applications=[*(ADMIN_APPLICATIONS if has_admin else ()), *([APP] if has_store else ())],
            middleware=ADMIN_MIDDLEWARE if has_admin else [],
            database=database,
            more=settings,
        )
    )
    (root / "site1" / "urls.py").write_text(ADMIN_URLS if has_admin else "urlpatterns = []\n")
    return root


def migrate(root: Path, python: str = sys.executable) -> None:
    """Make its tables."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO")}
    done = subprocess.run(
        [python, "manage.py", "migrate", "-v0"], cwd=root, env=environ, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def database_of(postgres: Postgres, name: str) -> str:
    """One of a server, as Python."""
    told = {"ENGINE": "django.db.backends.postgresql", "NAME": name, "USER": "duck", "HOST": "127.0.0.1"}
    return repr({**told, "PORT": postgres.port})


def link_to(root: Path, python: str = sys.executable, **options: Any) -> StoreProcess:
    """The link to the store of the project there."""
    environ = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    project = find_project(root, None)
    return StoreProcess(project, find_interpreter(project, python, environ), None, **options)


class KeptLink:
    """A link that goes on when its engine is closed."""

    def __init__(self, link: StoreProcess) -> None:
        self._link = link

    def call(self, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `StoreLink`."""
        return self._link.call(name, arguments)

    def attend(self, inbox: Any, on_change: Any) -> None:
        """Nothing: a test waits."""

    def close(self) -> None:
        """Nothing."""


class KeptStore:
    """The store of a project, for one test after the other: processes of it are started once.

    Args:
        postgres: where its database is, instead of SQLite.
        most: how many engines a test may open. All are started at once and here: a process ends with the thread that
            has started it.
    """

    def __init__(self, directory: Path, postgres: Postgres | None = None, most: int = 5) -> None:
        self.url = ""
        database = SQLITE
        if postgres is not None:
            name = postgres.make_database()
            self.url, database = postgres.url(name), database_of(postgres, name)
        self.root = write_project(directory, database=database)
        migrate(self.root)
        self._links = [link_to(self.root) for _ in range(most)]
        for link in self._links:
            link.call("now", {})
        self._free: list[StoreProcess] = []

    def begin(self) -> None:
        """Forget what the test before has left."""
        tables = [f"duck_automations_{name}" for name in ("execution", "run", "automation", "node", "told")]
        if self.url:
            import psycopg

            with psycopg.connect(self.url, autocommit=True) as connection:
                connection.execute(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY")
        else:
            with sqlite3.connect(self.root / "db.sqlite3", timeout=10) as database:
                for table in tables:
                    database.execute(f"DELETE FROM {table}")
                database.execute("DELETE FROM sqlite_sequence")
            database.close()
        self._free = list(self._links)

    def open(self) -> DjangoEngine:
        """One more engine; on any thread."""
        return DjangoEngine(KeptLink(self._free.pop()))

    def close(self) -> None:
        """End the processes."""
        for link in self._links:
            link.close()

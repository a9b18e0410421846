"""The Django project, the process that runs it, and how it is started."""

from __future__ import annotations

from typing import Final

from duck.settings import kinds
from duck.settings.setting import Setting

DJANGO: Final = (
    Setting(
        "Django",
        "USE_DJANGO",
        kinds.BOOLEAN.or_none(),
        None,
        "Whether Django stands behind Duck. By default it does where a Django project is named or found.",
        flags=("-dj", "--use-django/--no-use-django"),
    ),
    Setting(
        "Django",
        "DJANGO_PROJECT",
        kinds.PATH.or_none(),
        None,
        "The Django project: its manage.py or the directory that holds it. By default here, then one level below.",
        flags=("--django",),
        metavar="PATH",
    ),
    Setting(
        "Django",
        "DJANGO_SETTINGS_MODULE",
        kinds.DOTTED.or_none(),
        None,
        "Django's settings module. By default the environment's DJANGO_SETTINGS_MODULE, then what manage.py says.",
        flags=("--django-settings",),
        metavar="MODULE",
    ),
    Setting(
        "Django",
        "PYTHON",
        kinds.PATH.or_none(),
        None,
        "The interpreter that runs Django. By default the first of the project's environments that imports Django.",
        flags=("--python",),
        metavar="PATH",
    ),
    Setting(
        "Django",
        "DJANGO_WSGI",
        kinds.ENTRY.or_none(),
        None,
        "Django's WSGI entry. By default its WSGI_APPLICATION, or Django's own handler.",
        flags=("--wsgi",),
        metavar="ENTRY",
    ),
    Setting(
        "Django",
        "DJANGO_ASGI",
        kinds.ENTRY.or_none(),
        None,
        "Django's ASGI entry; named without a WSGI entry, it serves pages as well."
        " By default its ASGI_APPLICATION, or the `asgi` module beside the WSGI entry.",
        flags=("--asgi",),
        metavar="ENTRY",
    ),
    Setting(
        "Django",
        "DJANGO_ADDR",
        kinds.SERVER.or_none(),
        None,
        "A server that runs Django already, to which Duck sends requests instead of starting a process of its own.",
    ),
    Setting(
        "Django",
        "DJANGO_COMMANDS_ON_STARTUP",
        kinds.items(kinds.COMMAND, "management commands"),
        [],
        "Management commands that run, one after the other, before Django is started; it is not, while one fails. "
        "They belong to a start of Duck: where it starts again in its process, they run only if the list has changed "
        "or they have not ended well.",
    ),
    Setting(
        "Django",
        "DJANGO_THREADS",
        kinds.integer(1, 512, "a number of threads"),
        16,
        "Threads of the Django process, and so the views that it runs at once.",
        unit="threads",
        flags=("--django-threads",),
        metavar="N",
        in_production=8,
    ),
    Setting(
        "Django",
        "DJANGO_SERVER_WAIT_TIME",
        kinds.duration(),
        60.0,
        "How long the Django process may take until it is ready; nothing waits longer than it has to.",
        unit="seconds",
    ),
)

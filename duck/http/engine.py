"""Django's own form parser and template engine, lent to Duck's views.

Both read Django's settings. The front holds none: a Django project lives in processes of its own. So the first use here
configures Django with its defaults, unless the Duck project has set Django up for itself in this process.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_lock = threading.Lock()
_engines: dict[tuple[str, ...], Any] = {}


def configure_django() -> None:
    """Give Django its default settings in this process, if nobody has given it any.

    DJANGO_SETTINGS_MODULE is not followed: it names the settings of the project behind the wall, which the front never
    imports. A Duck project whose own views use Django's models calls `django.setup()` where its urlpatterns are made;
    that is before the first request, and is what counts then.
    """
    settings = import_module("django.conf").settings
    with _lock:
        if not settings.configured:
            # Translations belong to apps, of which there are none here: looking for theirs would fail.
            settings.configure(USE_TZ=True, USE_I18N=False)


def template_engine(dirs: Iterable[str | Path]) -> Any:
    """A `django.template.Engine` that looks for templates in `dirs`; autoescaping is on; made once for each `dirs`."""
    configure_django()
    key = tuple(str(item) for item in dirs)
    engine = _engines.get(key)
    if engine is None:
        engine = _engines[key] = import_module("django.template").Engine(dirs=list(key))
    return engine


def render_template(name: str, context: Mapping[str, Any], dirs: Iterable[str | Path]) -> str:
    """The template `name` of `dirs`, rendered. Blocks on the file system: not for a loop's thread.

    Raises:
        django.template.TemplateDoesNotExist: none of `dirs` has it.
    """
    engine = template_engine(dirs)
    made = import_module("django.template").Context(dict(context))
    return str(engine.get_template(name).render(made))

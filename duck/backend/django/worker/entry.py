"""The project's WSGI and ASGI entries, and which of them serves what.

sockets wanted    the ASGI application serves websockets, or is none that Duck knows
all through ASGI  there is no WSGI entry; its `http` is not Django's own; it serves websockets over a channel layer
                  that lives in memory: in two processes `group_send` would reach nobody; the project's `runserver` is
                  Daphne's: an asynchronous stream, which never ends, would not leave through WSGI; or it alone was
                  named to Duck, as one names it to uvicorn
"""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
import traceback
from importlib import import_module
from typing import TYPE_CHECKING, Any, List, Optional

from .failure import StartError, message_of
from .launch import find_settings

if TYPE_CHECKING:
    from .spec import Spec

PLAIN = "plain"  # Django's own handler, nothing else
SOCKETS = "sockets"  # Django's own for http, and websockets
OTHER = "other"  # anything else: all of it must be served by it

_NO_WSGI = "the project has no WSGI entry"
_OWN_PAGES = "its ASGI entry answers pages by more than Django's own handler"
_NAMED = "it was named to Duck, and no WSGI entry was"
_DAPHNE = "Daphne is among its applications, and no WSGI entry was named to Duck"
_ONE_MEMORY = "a channel layer lives in memory, which two processes do not share"


def load(dotted: str) -> Any:
    """The object named `package.module.name` or `package.module:name`; a module alone means its `application`."""
    module_name, separator, name = dotted.partition(":")
    if not separator:
        module_name, _, name = dotted.rpartition(".")
        if not module_name or _is_module(dotted):
            module_name, name = dotted, "application"
    module = import_module(module_name)
    try:
        target: Any = module
        for part in name.split("."):
            target = getattr(target, part)
    except AttributeError:
        raise StartError(f"module {module_name!r} has no {name!r}; name the entry as 'package.module:name'") from None
    return target


def _is_module(dotted: str) -> bool:
    try:
        return importlib.util.find_spec(dotted) is not None
    except (ImportError, ValueError):
        return False


def sibling_entry(settings_module: Optional[str], name: str) -> Optional[str]:
    """`package.wsgi:application` (or asgi) for the nearest package around the settings module that holds it."""
    package = (settings_module or "").rpartition(".")[0]
    while package:
        if _is_module(f"{package}.{name}"):
            return f"{package}.{name}:application"
        package = package.rpartition(".")[0]
    return None


def lone_entry(directory: str, name: str) -> Optional[str]:
    """`package.wsgi:application` (or asgi) for the only package in `directory` that holds that module."""
    found = [
        package
        for package in sorted(os.listdir(directory))
        if package.isidentifier() and os.path.isfile(os.path.join(directory, package, name + ".py"))
    ]
    return f"{found[0]}.{name}:application" if len(found) == 1 else None


def _found_entry(spec: Spec, settings_module: Optional[str], name: str) -> Optional[str]:
    """By the settings that manage.py names; one that leaves that to a module of its own names none to be read."""
    if settings_module is None:
        return lone_entry(spec.cwd, name)
    return sibling_entry(settings_module, name)


def import_wsgi_first(spec: Spec) -> Optional[str]:
    """For `serve`: import the entry as gunicorn would, before anything of Django, and give its name.

    wsgi.py may load an environment file or choose other settings than manage.py does. Where none is found the settings
    are named in the environment, and None is given.
    """
    settings_module = find_settings(spec)
    dotted = spec.wsgi or _found_entry(spec, settings_module, "wsgi")
    if dotted is None or spec.role == "sockets" or _is_asgi_alone_named(spec):
        asgi = spec.asgi or _found_entry(spec, settings_module, "asgi")
        if asgi is not None:
            load(asgi)
            return None
    if dotted is not None:
        load(dotted)
    elif settings_module is not None:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings_module)
    return dotted


def _is_asgi_alone_named(spec: Spec) -> bool:
    return bool(spec.asgi and not spec.wsgi)


def wsgi_name(spec: Spec) -> Optional[str]:
    """The dotted name of the WSGI entry; `""` for Django's default one, None where the project has none."""
    from django.conf import settings

    if spec.wsgi:
        return spec.wsgi
    dotted: Optional[str] = getattr(settings, "WSGI_APPLICATION", None)
    asgi = spec.asgi or getattr(settings, "ASGI_APPLICATION", None)
    if dotted is None:
        return None if asgi else ""
    # A project that went over to ASGI may have deleted wsgi.py and kept the setting.
    if not _is_module(dotted.rpartition(".")[0]) and (asgi or asgi_name(spec)):
        return None
    return dotted


def load_wsgi(dotted: str) -> Any:
    """The WSGI application; `dotted` as `wsgi_name` gives it."""
    if dotted:
        return load(dotted)
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()


def asgi_name(spec: Spec) -> Optional[str]:
    """The dotted name of the ASGI entry: named by Duck's setting, by Django's, or beside the WSGI entry."""
    from django.conf import settings

    if spec.asgi:
        return spec.asgi
    dotted: Optional[str] = getattr(settings, "ASGI_APPLICATION", None)
    if dotted:
        return dotted
    wsgi: str = getattr(settings, "WSGI_APPLICATION", None) or ""
    beside = wsgi.replace(":", ".").rpartition(".")[0].rpartition(".")[0]
    if beside and _is_module(beside + ".asgi"):
        return beside + ".asgi:application"
    return sibling_entry(os.environ.get("DJANGO_SETTINGS_MODULE"), "asgi")


class Choice:
    """What this process serves.

    Attributes:
        protocol: `link` (WSGI) or `http` (ASGI).
        entry: dotted name of the entry, for people.
        why: a sentence's end that says why all goes through ASGI; empty where it does not.
        sockets_wanted: upgrades go to the ASGI entry: a second process where `protocol` is `link`, else this one.
        warnings: sentences for the log.
        application: the loaded ASGI application, when `protocol` is `http`.
        is_django: that application's `lifespan` is not its own: Django's handler refuses it loudly.
    """

    def __init__(self, protocol: str, entry: str) -> None:
        self.protocol = protocol
        self.entry = entry
        self.why = ""
        self.sockets_wanted = False
        self.warnings: List[str] = []
        self.application: Any = None
        self.is_django = False


def choose(spec: Spec) -> Choice:
    """Decide, by the settings and the ASGI application, what this process serves (see the module's docstring)."""
    wsgi = wsgi_name(spec)
    if spec.role == "pages":
        return Choice("link", wsgi or "django.core.wsgi")
    asgi = asgi_name(spec)
    if spec.role == "sockets":
        if asgi is None:
            raise StartError("the project has no ASGI entry for websockets; set ASGI_APPLICATION in its settings")
        return _through_asgi(asgi, load(asgi))
    choice = Choice("link", wsgi or "django.core.wsgi")
    named = _is_asgi_alone_named(spec)
    daphne = not spec.wsgi and is_served_by_daphne()
    if asgi is None or (not daphne and not named and _is_stock(asgi)):
        if wsgi is None and asgi is not None:
            return _through_asgi(asgi, load(asgi), _NO_WSGI)
        return choice
    try:
        application = load(asgi)
    except Exception as error:
        if wsgi is None or named:
            raise
        traceback.print_exception(type(error), error, error.__traceback__)
        choice.warnings.append(
            f"The ASGI entry {asgi} cannot be imported ({message_of(error)}); pages are served through WSGI, "
            "WebSockets not at all."
        )
        return choice
    kind = classify(application)
    if wsgi is None or kind == OTHER:
        return _through_asgi(asgi, application, _NO_WSGI if wsgi is None else _OWN_PAGES)
    if kind == SOCKETS and has_memory_layer():
        return _through_asgi(asgi, application, _ONE_MEMORY)
    if named or daphne:
        return _through_asgi(asgi, application, _NAMED if named else _DAPHNE)
    choice.sockets_wanted = kind == SOCKETS
    return choice


def _through_asgi(asgi: str, application: Any, why: str = "") -> Choice:
    choice = Choice("http", asgi)
    choice.why = why
    choice.application = application
    kind = classify(application)
    choice.sockets_wanted = kind != PLAIN  # by this same process
    choice.is_django = kind != OTHER and "lifespan" not in getattr(application, "application_mapping", ())
    return choice


def classify(application: Any) -> str:
    """PLAIN, SOCKETS or OTHER for an ASGI application."""
    from django.core.handlers.asgi import ASGIHandler

    if isinstance(application, ASGIHandler):
        return PLAIN
    mapping = getattr(application, "application_mapping", None)
    if not isinstance(mapping, dict):
        return OTHER
    http = mapping.get("http")
    routing = sys.modules.get("channels.routing")
    router = getattr(routing, "ProtocolTypeRouter", None)
    # Channels answers `http` by Django's handler, or not at all, where it is not named; others have to name it.
    if isinstance(http, ASGIHandler) or (http is None and router is not None and isinstance(application, router)):
        return SOCKETS if "websocket" in mapping else PLAIN
    return OTHER


def is_served_by_daphne() -> bool:
    """Whether `manage.py runserver` is Daphne's (or Channels 3's), which serves all of ASGI_APPLICATION."""
    from django.apps import apps
    from django.conf import settings
    from django.core.management import get_commands

    is_there = apps.is_installed("daphne") or get_commands().get("runserver") in ("daphne", "channels")
    return is_there and bool(getattr(settings, "ASGI_APPLICATION", None))


def has_memory_layer() -> bool:
    """Whether a channel layer of the project lives in the memory of one process."""
    from django.conf import settings

    layers = getattr(settings, "CHANNEL_LAYERS", None) or {}
    return any(
        str(layer.get("BACKEND", "")).rpartition(".")[2] == "InMemoryChannelLayer"
        for layer in layers.values()
        if isinstance(layer, dict)
    )


def _is_stock(dotted: str) -> bool:
    """Whether the entry is the asgi.py that `startproject` writes, so that it need not be imported to be known.

    Most projects have it and never use it; importing it would load asyncio and a second stack of middleware.
    """
    module_name, separator, name = dotted.partition(":")
    if not separator:
        module_name, _, name = dotted.rpartition(".")
    try:
        found = importlib.util.find_spec(module_name)
        if found is None or found.origin is None or name != "application":
            return False
        with open(found.origin, "rb") as file:
            tree = ast.parse(file.read())
    except (ImportError, OSError, SyntaxError, ValueError):
        return False
    return all(_is_stock_statement(node) for node in tree.body)


def _is_stock_statement(node: ast.stmt) -> bool:
    text = ast.unparse(node)
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) or text.startswith(
            "os.environ.setdefault('DJANGO_SETTINGS_MODULE', "
        )
    return text in (
        "import os",
        "from django.core.asgi import get_asgi_application",
        "application = get_asgi_application()",
    )

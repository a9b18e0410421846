"""Lane: what the application lane answers with, compiled once from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from duck.exceptions import SettingsError
from duck.http.core.chain import BLOCK, MiddlewareChain, load_middlewares
from duck.http.middleware import HostsMiddleware
from duck.http.routing import Resolver, Sides

if TYPE_CHECKING:
    from duck.http.core.proxyhandler import AsyncHttpProxyHandler


class Lane:
    """Routes, sides and middlewares of one Duck project.

    Args:
        settings: by name; of these are read DEBUG, URLPATTERNS (a list of routes) or URLPATTERNS_MODULE, MIDDLEWARES,
            MIDDLEWARE_FAILURE_BEHAVIOR, ALLOWED_HOSTS, USE_DJANGO, DUCK_EXPLICIT_URLS, DJANGO_SIDE_URLS,
            DJANGO_SIDE_URLS_SKIP_MIDDLEWARES. All may be missing.

    Attributes:
        own: the chain of what Duck's views answer; ALLOWED_HOSTS is checked first.
        proxied: the chain of what Django answers; Django checks the host by its own.
        proxy: asks Django; None where there is none.

    Raises:
        SettingsError: a setting that names what cannot be imported, or is no expression.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        self.debug = bool(settings.get("DEBUG", False))
        self.resolver = Resolver(load_urlpatterns(settings))
        use_django = bool(settings.get("USE_DJANGO", False))
        self.sides = Sides(
            self.resolver,
            explicit=settings.get("DUCK_EXPLICIT_URLS") or (),
            django=settings.get("DJANGO_SIDE_URLS") or (),
            use_django=use_django,
        )
        behavior = settings.get("MIDDLEWARE_FAILURE_BEHAVIOR") or BLOCK
        middlewares = load_middlewares(settings.get("MIDDLEWARES") or ())
        hosts = HostsMiddleware(settings.get("ALLOWED_HOSTS") or (), debug=self.debug)
        # A host that is not allowed is refused whatever MIDDLEWARE_FAILURE_BEHAVIOR says.
        self.hosts = MiddlewareChain([hosts], debug=self.debug)
        self.own = MiddlewareChain(middlewares, behavior=behavior, debug=self.debug)
        skips = bool(settings.get("DJANGO_SIDE_URLS_SKIP_MIDDLEWARES", False))
        self.proxied = MiddlewareChain(() if skips else middlewares, behavior=behavior, debug=self.debug)
        self.proxy: AsyncHttpProxyHandler | None = None


def load_urlpatterns(settings: Mapping[str, Any]) -> Any:
    """The routes of URLPATTERNS, or of the module that URLPATTERNS_MODULE names; none where both are missing."""
    routes = settings.get("URLPATTERNS")
    if routes is not None:
        return routes
    name = settings.get("URLPATTERNS_MODULE")
    if not name:
        return ()
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise SettingsError(f"URLPATTERNS_MODULE names {name!r}, and there is no such module; correct it") from error
    routes = getattr(module, "urlpatterns", None)
    if routes is None:
        raise SettingsError(
            f"URLPATTERNS_MODULE names {name!r}, which has no urlpatterns; add a list of that name to it"
        )
    return routes

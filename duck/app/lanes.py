"""From settings to the site of a worker: limits, sides, and the lane of Duck's own views."""

from __future__ import annotations

import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from duck.app.frontend import frontend_config
from duck.app.hooks import webhooks
from duck.app.https import challenge_directory
from duck.exceptions import DuckError, SettingsError
from duck.http.site import SiteConfig
from duck.net.farewell import Farewell
from duck.proxy.upstream import QueueLimits
from duck.settings import views

if TYPE_CHECKING:
    from collections.abc import Callable

    from duck.app.app import App
    from duck.http.core.lane import Lane
    from duck.http.ducksight.config import DuckSightConfig
    from duck.net.interfaces import Handler
    from duck.proxy.handler import ProxyHandler
    from duck.settings.load import Settings


def site_config(
    app: App,
    settings: Settings,
    *,
    use_django: bool,
    with_own_side: bool = True,
    ducksight: DuckSightConfig | None = None,
) -> SiteConfig:
    """What every worker's site is made of. Imports the urlpatterns and the gateway of a Duck project, where wanted.

    Raises:
        SettingsError: a module that settings name cannot be imported.
    """
    application, decide, through = None, None, False
    if settings.is_duck_project and with_own_side and not app.skip_setup:
        application, decide, through = _application_lane(app, settings, use_django=use_django)
    bodies, proxy, files = views.bodies(settings), views.proxy(settings), views.files(settings)
    listening, https = views.listening(settings), views.https(settings)
    closing = views.closing(settings)
    hsts = [("Strict-Transport-Security", https.hsts)] if https.hsts else []
    return SiteConfig(
        max_body_bytes=bodies.max_body_bytes,
        body_limits=bodies.limits,
        max_spool_bytes=bodies.max_spool_bytes,
        max_spooled_answer_bytes=bodies.max_spooled_answer_bytes,
        spool_dir=str(bodies.spool_dir) if bodies.spool_dir is not None else None,
        read_timeout_s=proxy.read_timeout_s,
        hold_timeout_s=max(proxy.queue_timeout_s, views.django(settings).wait_s),
        queue=QueueLimits(proxy.max_queue, proxy.queue_timeout_s, proxy.connect_timeout_s),
        tunnel_idle_s=proxy.tunnel_idle_timeout_s,
        farewell=Farewell(closing.spread_s, closing.sockets_s, closing.streams_s),
        trusted_proxies=listening.trusted_proxies,
        prefix=listening.prefix,
        static=files.static,
        media=files.media,
        use_django=use_django,
        challenges=challenge_directory(settings),
        webhooks=webhooks(settings),
        fields=https.fields,
        secure_fields=(*hsts, *https.secure_fields),
        development=not views.production(settings).serves,
        application=application,
        decide=decide,
        through_application=through,
        ducksight=ducksight,
        frontend=frontend_config(settings),
    )


def _application_lane(
    app: App, settings: Settings, *, use_django: bool
) -> tuple[Callable[[ProxyHandler], Handler], Callable[[str], str], bool]:
    """Of a Duck project: what makes a worker's lane, what decides on a path, whether Django's URLs pass through it."""
    # Not above: a Django project alone needs none of it, and starts without it.
    from duck.http.core.asgi import ASGI
    from duck.http.core.proxyhandler import AsyncHttpProxyHandler, for_a_loop
    from duck.http.handlers import AppHandler
    from duck.net.server import Trust

    sides = views.sides(settings)
    lane = _lane_settings(settings, use_django=use_django)
    gateway = _load_class("ASGI", sides.asgi)
    asks = _load_class("PROXY_HANDLER", sides.proxy_handler)
    # Compiled here once for the decision, and so that all of it is known to load before a worker does the same.
    decide = load_lane(settings, use_django=use_django).sides.decide
    trusted = views.listening(settings).trusted_proxies
    through = gateway is not ASGI or asks is not AsyncHttpProxyHandler
    through = through or (bool(sides.middlewares) and not sides.django_skips_middlewares)

    def application(direct: ProxyHandler) -> Handler:
        return AppHandler(
            app,
            gateway(lane),
            proxy=direct if use_django else None,
            trust=Trust(trusted),
            debug=sides.debug,
            max_body_bytes=settings["MAX_BODY_BYTES"],
            spool=direct.spool,
            proxy_class=lambda handler: for_a_loop(asks(handler)),
        )

    return application, decide, through


def load_lane(settings: Settings, *, use_django: bool) -> Lane:
    """What a Duck project's own side answers; its urlpatterns and middlewares are imported.

    Raises:
        SettingsError: one of them cannot be.
    """
    from duck.http.core.lane import Lane

    lane: Lane = _guarded("URLPATTERNS_MODULE", lambda: Lane(_lane_settings(settings, use_django=use_django)))
    return lane


def _lane_settings(settings: Settings, *, use_django: bool) -> dict[str, Any]:
    return {**settings, "USE_DJANGO": use_django, "ALLOWED_HOSTS": views.sides(settings).allowed_hosts}


def _load_class(setting: str, dotted: str) -> Callable[..., Any]:
    module, _, name = dotted.rpartition(".")
    found = _guarded(setting, lambda: getattr(import_module(module), name, None))
    if found is None:
        raise SettingsError(f"{setting} is {dotted!r}, and {module} has no {name}; correct it.")
    return found  # type: ignore[no-any-return]


def _guarded(setting: str, load: Callable[[], Any]) -> Any:
    """What `load` gives; whatever a module of the user's raises is told as one sentence."""
    try:
        return load()
    except DuckError:
        raise
    except (Exception, SystemExit) as error:
        text = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
        raise SettingsError(
            f"What {setting} names cannot be imported; mend {_place(error)}: {type(error).__name__}: {text}."
        ) from error


def _place(error: BaseException) -> str:
    """File and line of the innermost frame that somebody may edit: none of Duck's, Python's or a package's."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    here, place = str(Path(__file__).resolve().parents[1]), "it"
    for frame in traceback.extract_tb(error.__traceback__):
        path = frame.filename
        if not path.startswith((here, "<", sys.prefix, sys.base_prefix)) and "site-packages" not in path:
            place = f"{path}:{frame.lineno}"
    return place

"""Site: what answers every exchange of one worker, chosen by path; and what the App steers.

    reserved paths -> static files -> media files -> Duck's own views -> Django

Outside a Duck project there are no views of Duck's, and every path but the reserved ones is Django's.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

from duck.exceptions import BackendUnreachable
from duck.http.challenges import PREFIX, ChallengeFiles
from duck.http.ducksight.access import is_loopback_name
from duck.http.ducksight.sight import Sight
from duck.http.errors import error_answer
from duck.http.file_names import url_prefix
from duck.http.files import MediaFiles, StaticFiles
from duck.http.finder import LinkFinder
from duck.http.frontend import Frontend
from duck.http.routing import match_path
from duck.http.waiting import READY_PATH, load_again_when_ready
from duck.net.exchange import FILES
from duck.net.farewell import Farewell
from duck.net.server import Trust
from duck.proxy.gate import HOLDING, OPEN
from duck.proxy.handler import ProxyHandler
from duck.proxy.rules import ForwardRules, identify
from duck.proxy.spool import Spool
from duck.proxy.upstream import QueueLimits
from duck.wire.answer_fields import AnswerFields, encoded

if TYPE_CHECKING:
    from duck.http.ducksight.config import DuckSightConfig
    from duck.http.ducksight.inspection import Tell
    from duck.http.frontend import FrontendConfig, FrontendState
    from duck.http.webhooks import Webhooks
    from duck.net.clock import Clock
    from duck.net.exchange import Exchange
    from duck.net.interfaces import Handler
    from duck.proxy.upstream import Generation

logger = logging.getLogger("duck.http")

_RESERVED: Final = b"/.duck/"
_LOOPBACK: Final = ("127.", "::1")


@dataclass(frozen=True)
class SiteConfig:
    """What a site needs of the settings; sizes in bytes, times in seconds, None or 0 for no bound.

    Attributes:
        body_limits: expressions matched against the whole path, and bytes; the first that matches replaces
            `max_body_bytes`.
        prefix: path prefix that moves to SCRIPT_NAME; None for Django's FORCE_SCRIPT_NAME, `""` for none.
        farewell: to WebSockets and streams of Django processes that are replaced.
        static, media: whether Duck answers those files where the project allows it.
        use_django: False where all answers are Duck's own.
        challenges: directory of answers to http-01 challenges, given on plain HTTP; None to leave their paths alone.
        webhooks: makes those of a worker; None for none.
        fields, secure_fields: added to all answers that do not have them, and to those over HTTPS.
        development: `runserver`: failures are shown to clients of this machine, and `/.duck/` is reserved in DEBUG.
        application: makes the application lane's handler, given the direct lane's; None outside a Duck project.
        decide: `"duck"` or `"django"` for a path as routes see it; with `application`.
        share: this front among so many, from 0 (see Backends).
        ducksight: None without DuckSight.
        frontend: the front-end development server beside Django; None for none.
        through_application: Django's URLs, too, pass the application lane, for Duck's middlewares.
    """

    max_body_bytes: int = 1 << 30
    body_limits: tuple[tuple[str, int], ...] = ()
    max_spool_bytes: int = 16 << 30
    max_spooled_answer_bytes: int = 64 << 20
    spool_dir: str | None = None
    read_timeout_s: float | None = None
    hold_timeout_s: float = 60.0
    queue: QueueLimits = field(default_factory=QueueLimits)
    tunnel_idle_s: float | None = None
    farewell: Farewell = field(default_factory=Farewell)
    trusted_proxies: tuple[str, ...] = ()
    prefix: str | None = None
    static: bool = True
    media: bool = True
    use_django: bool = True
    challenges: str | None = None
    webhooks: Callable[[asyncio.AbstractEventLoop, Clock], Webhooks] | None = None
    fields: tuple[tuple[str, str], ...] = ()
    secure_fields: tuple[tuple[str, str], ...] = ()
    development: bool = False
    application: Callable[[ProxyHandler], Handler] | None = None
    decide: Callable[[str], str] | None = None
    through_application: bool = False
    share: tuple[int, int] = (0, 1)
    ducksight: DuckSightConfig | None = None
    frontend: FrontendConfig | None = None


class Site:
    """The handler of one worker, on its loop.

    Attributes:
        proxy: the direct lane.
        facts: what the worker of the present generation told about the project.
        failure: what a start reported that failed, until the next one works.
        sight: DuckSight, where it is wanted; it is off where the project's DEBUG is.
    """

    def __init__(self, config: SiteConfig, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self.facts: dict[str, Any] = {}
        self.failure: dict[str, Any] | None = None
        self._config = config
        self._loop = loop
        self._clock = clock
        self.spool = Spool(config.spool_dir, config.max_spool_bytes, config.max_spooled_answer_bytes)
        self.spool.sweep()
        self._trust = trust = Trust(config.trusted_proxies)
        self.proxy = ProxyHandler(
            loop,
            clock,
            self.spool,
            trust,
            read_timeout_s=config.read_timeout_s or 0.0,
            hold_timeout_s=config.hold_timeout_s,
            tunnel_idle_s=config.tunnel_idle_s or 0.0,
            limits=config.queue,
            share=config.share,
            farewell=config.farewell,
            on_broken=self._show_failure,
        )
        self._frontend = self._make_frontend(config.frontend) if config.frontend is not None else None
        self._body_limits = [(re.compile(pattern), size) for pattern, size in config.body_limits]
        self._decide = config.decide
        self._application = config.application(self.proxy) if config.application is not None else None
        self._files: list[tuple[bytes, Handler]] = []
        self._prefix = (config.prefix or "").rstrip("/").encode()
        self._reserves = config.development
        self.sight = Sight(config.ducksight, loop) if config.ducksight is not None else None
        if self.sight is not None:
            server = config.frontend.name if config.frontend is not None else ""
            self.sight.record(self, clock, config.max_body_bytes, file_server=server)
        self._challenges = ChallengeFiles(config.challenges) if config.challenges is not None else None
        self._webhooks = config.webhooks(loop, clock) if config.webhooks is not None else None
        fields, secure = encoded(config.fields), encoded(config.secure_fields)
        self._fields = AnswerFields(fields)
        self._secure_fields = AnswerFields([*secure, *fields])
        # Browsers would refuse plain HTTP to every project on this machine that is ever worked on at that port.
        self._local_fields = AnswerFields(fields, [b"strict-transport-security"])
        self._has_fields = config.development or bool(self._secure_fields)

    # -- steering: by the App, on this loop -----------------------------------------------------------------------

    def switch(self, generation: Generation, on_left: Callable[[], None] | None = None) -> None:
        """Send requests to `generation` from now on, those that wait too; `on_left`: see `ProxyHandler.switch`."""
        facts = self.facts = generation.facts
        self.failure = None
        self.proxy.rules = self._rules(facts)
        self._reserves = self._config.development and bool(facts.get("debug", True))
        self._files = self._file_handlers(facts)
        if self.sight is not None:
            self.sight.turn(bool(facts.get("debug")))
        if self._frontend is not None:
            static = [prefix.decode() for prefix, files in self._files if isinstance(files, StaticFiles)]
            self._frontend.project(facts, static[0] if static else None)
        self.proxy.switch(generation, on_left)

    def hold(self, reason: str) -> None:
        """Let requests for Django wait."""
        logger.debug("requests wait: %s", reason)
        self.proxy.gate.hold()

    def broken(self, failure: dict[str, Any]) -> None:
        """Django cannot be started: answer with what it reported."""
        self.failure = failure
        self.proxy.gate.break_()

    def turn_frontend(self, state: FrontendState) -> None:
        """The front-end server has come, or is gone."""
        if self._frontend is not None:
            self._frontend.turn(state)

    def drain(self, farewell: Farewell) -> None:
        """The worker is to end: end what would not end by itself; everything else is answered."""
        self.proxy.drain(farewell)
        if self._frontend is not None:
            self._frontend.drain(farewell)
        drain = getattr(self._application, "drain", None)
        if drain is not None:
            drain(farewell)
        if self.sight is not None:
            self.sight.drain()

    def tell_browsers(self, message: Mapping[str, Any], at: int) -> None:
        """Tell the browsers that look at pages of this site (see `ducksight.channel`)."""
        if self.sight is not None:
            self.sight.tell(message, at)

    def inspect(self, question: Mapping[str, Any], tell: Tell) -> None:
        """Answer a question about recorded requests (see `ducksight.inspection`)."""
        if self.sight is None:
            tell(None)
        else:
            self.sight.inspect(question, tell)

    def snapshot(self) -> dict[str, Any]:
        """What `Server.snapshot` adds of backends."""
        return self.proxy.snapshot()

    def close(self) -> None:
        """The worker ends."""
        self.proxy.close()
        if self._frontend is not None:
            self._frontend.close()
        self.spool.close()

    # -- exchanges ------------------------------------------------------------------------------------------------

    def handle(self, exchange: Exchange) -> None:
        """Answer `exchange` (`Handler`)."""
        if self.sight is not None:
            self.sight.begin(exchange)
        path = exchange.request.path
        if exchange.peer.trusted:
            # For every lane and for the log: a file's client is no other than a page's.
            exchange.peer = identify(exchange.request, exchange.peer, self._trust)
        if self._has_fields:
            exchange.answer_fields = self._fields_for(exchange)
        frontend = self._frontend
        if frontend is not None and not path.startswith(_RESERVED) and frontend.takes(exchange, self.handle):
            return
        # A client may encode any byte (RFC 3986 §2.4), and has to encode some: files look at what it stands for.
        decoded = unquote_to_bytes(path) if b"%" in path else path
        for prefix, files in self._files:
            if decoded.startswith(prefix):
                exchange.backend = FILES
                files.handle(exchange)
                return
        if self._challenges is not None and path.startswith(PREFIX) and exchange.peer.scheme == b"http":
            self._challenges.handle(exchange)
            return
        if self._webhooks is not None and path in self._webhooks.secrets:
            self._webhooks.handle(exchange)
            return
        if self._reserves and path.startswith(_RESERVED):
            self._answer_reserved(exchange)
            return
        if self.sight is not None:
            self.sight.prepare(exchange)
        self.pass_on(exchange)

    def _fields_for(self, exchange: Exchange) -> AnswerFields | None:
        if self._config.development and is_loopback_name(exchange.request.authority):
            return self._local_fields
        return (self._secure_fields if exchange.peer.scheme == b"https" else self._fields) or None

    def pass_on(self, exchange: Exchange) -> None:
        """Answer what is no file: by Duck's own views or by Django."""
        request = exchange.request
        if self._body_limits and request.content_length != 0:
            routed = match_path(request.path)
            for pattern, size in self._body_limits:
                if pattern.fullmatch(routed):
                    exchange.max_body_bytes = size
                    break
            else:
                exchange.max_body_bytes = self._config.max_body_bytes
        if self._application is not None and (
            self._config.through_application or self._decide is None or self._decide(match_path(request.path)) == "duck"
        ):
            self._application.handle(exchange)
        elif self._config.use_django:
            if self._prefix and not self.proxy.rules.split_prefix(request.path)[0]:
                self._not_found(exchange)
            elif (self._config.static or self._config.media) and self.proxy.gate.state is HOLDING:
                # Where files lie is known once Django is there: what waits starts again from the files.
                self.proxy.gate.wait(exchange, lambda: self.handle(exchange))
            else:
                if self._frontend is not None:
                    self._frontend.follow(exchange)
                self.proxy.handle(exchange)
        elif self._frontend is None or not self._frontend.takes_missing(exchange):
            self._not_found(exchange)

    def pass_missing(self, exchange: Exchange) -> None:
        """Answer what is below the URL of files and no file: by the front end's server or by the views."""
        exchange.backend = ""
        if self._frontend is None or not self._frontend.takes_missing(exchange):
            self.pass_on(exchange)

    def _answer_reserved(self, exchange: Exchange) -> None:
        """`/.duck/ready` tells a waiting page whether to load again; the rest is DuckSight's, or not there."""
        sight = self.sight if self.sight is not None and self.sight.is_on else None
        if exchange.request.path == READY_PATH and (sight is None or sight.is_asked_by_us(exchange)):
            ready = self.proxy.gate.state is OPEN
            head, body = error_answer(200 if ready else 503, title="Ready" if ready else "Not ready", detail="")
            exchange.response.answer(head, body)
        elif sight is not None:
            sight.endpoints.handle(exchange)
        else:
            self._not_found(exchange)

    def _not_found(self, exchange: Exchange) -> None:
        exchange.response.answer(*error_answer(404, request=exchange.request))

    def _show_failure(self, exchange: Exchange) -> None:
        """The page of a project that could not be started; what failed is shown on this machine alone."""
        failure = self.failure or {}
        # What a proxy on this machine passes on (a tunnel, say) comes from elsewhere, trusted or not.
        peer = exchange.peer
        relayed = peer.via != "" or exchange.request.block.claims != []
        local = self._config.development and peer.host.startswith(_LOOPBACK) and not relayed
        message = str(failure.get("message") or "")
        head, body = error_answer(
            503,
            title=str(failure.get("title") or "Django could not be started"),
            detail=(message if local else "") or "The application behind this server could not be started.",
            request=exchange.request,
            debug=local,
            traceback=str(failure.get("traceback") or "") or None,
            fields=[(b"Retry-After", b"5")],
        )
        exchange.error = BackendUnreachable("the project could not be started")
        if local and exchange.request.method == b"GET":
            body = load_again_when_ready(head, body, is_told=exchange.response is not exchange)
        exchange.response.answer(head, body)

    # -- from the facts of a generation ---------------------------------------------------------------------------

    def _rules(self, facts: dict[str, Any]) -> ForwardRules:
        prefix = self._config.prefix
        if prefix is None:
            prefix = str(facts.get("force_script_name") or "")
        name, value = facts.get("secure_proxy_ssl_header") or ("", "https")
        return ForwardRules(
            prefix=prefix.rstrip("/").encode(),
            secure_name=str(name).removeprefix("HTTP_").replace("_", "-").lower().encode(),
            secure_value=str(value).encode(),
        )

    def _file_handlers(self, facts: dict[str, Any]) -> list[tuple[bytes, Handler]]:
        """The static and media files that Duck answers, the longer prefix first."""
        handlers: list[tuple[bytes, Handler]] = []
        rest = _Rest(self)
        static = facts.get("static") or {}
        url = str(static.get("url") or "")
        prefix = url_prefix(url)
        if self._config.static and static.get("installed") and prefix is not None:
            if facts.get("debug") and static.get("finders"):
                finder = LinkFinder(self.proxy)
                handlers.append(
                    (prefix.encode(), StaticFiles(url, rest, find=finder, now=self._clock.time, soon=self._soon))
                )
            elif static.get("root"):
                root = str(static["root"])
                handlers.append(
                    (prefix.encode(), StaticFiles(url, rest, root=root, now=self._clock.time, soon=self._soon))
                )
        media = facts.get("media") or {}
        url = str(media.get("url") or "")
        prefix = url_prefix(url)
        if self._config.media and media.get("served") and media.get("root") and prefix is not None:
            root = str(media["root"])
            handlers.append((prefix.encode(), MediaFiles(url, root, rest, now=self._clock.time, soon=self._soon)))
        return sorted(handlers, key=lambda handler: -len(handler[0]))

    def _make_frontend(self, config: FrontendConfig) -> Frontend:
        own, site = self.proxy, self._config
        frontend = Frontend(
            config,
            self._loop,
            self._clock,
            own.spool,
            self._trust,
            site.queue,
            hold_timeout_s=site.hold_timeout_s,
            tunnel_idle_s=site.tunnel_idle_s or 0.0,
            farewell=site.farewell,
        )
        frontend.is_on = site.development and not site.use_django  # else the project's DEBUG decides
        return frontend

    def _soon(self, callback: Callable[[], None]) -> object:
        return self._loop.call_soon(callback)


class _Rest:
    """Where a file that is not there leads: on to the views."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def handle(self, exchange: Exchange) -> None:
        self._site.pass_missing(exchange)

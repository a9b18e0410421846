"""What running code receives: small frozen values, each with what one part of Duck needs.

Settings are ground and import nothing above them, so `LimitsView` has the fields of `duck.net.limits.Limits` and the
App makes the one from the other with `dataclasses.asdict`.

A list, as long as there are parts: each value stands beside the others, and the function that makes it below.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from duck.exceptions import SettingsError
from duck.settings.declared.certificates import LETS_ENCRYPT, LETS_ENCRYPT_STAGING
from duck.settings.listen import ListenAddress, parse_listen

if TYPE_CHECKING:
    from duck.settings.load import Settings


@dataclass(frozen=True)
class ListeningView:
    """Where to listen, and what Duck calls itself.

    Attributes:
        addresses: one or more; of `http` the host may be a name, to be resolved for IPv6 if `ipv6`.
        domain: the public name, without a port.
        is_site: whether it is all addresses, for the names of DOMAINS.
        lan: whether it is all addresses, for other devices in the network of who develops.
        prefix: None for Django's own FORCE_SCRIPT_NAME, else a path without its final slash, `""` for none.
        http2: whether HTTP/2 is spoken.
        trusted_proxies: networks whose forwarded fields are believed; `unix` for whoever comes through a Unix socket.
    """

    addresses: tuple[ListenAddress, ...]
    domain: str
    ipv6: bool
    backlog: int
    name: str
    prefix: str | None
    trusted_proxies: tuple[str, ...]
    http2: bool
    is_site: bool = False
    lan: bool = False


@dataclass(frozen=True)
class LimitsView:
    """What one connection may cost; the fields of `duck.net.limits.Limits`."""

    max_head_bytes: int
    max_target_bytes: int
    max_fields: int
    max_body_bytes: int
    max_connections: int
    max_streams: int
    head_timeout_s: float
    body_timeout_s: float
    min_body_rate: int
    keep_alive_timeout_s: float
    send_timeout_s: float
    handshake_timeout_s: float
    max_handshakes: int


@dataclass(frozen=True)
class BodiesView:
    """What bodies may cost on their way to Django and from it.

    Attributes:
        limits: expressions and bytes; the first that matches the whole path replaces `max_body_bytes`.
        spool_dir: None for the system's directory for temporary files.
    """

    max_body_bytes: int
    limits: tuple[tuple[str, int], ...]
    max_spool_bytes: int
    max_spooled_answer_bytes: int
    spool_dir: Path | None


@dataclass(frozen=True)
class ProxyView:
    """Deadlines towards backends; None where there is none."""

    connect_timeout_s: float
    read_timeout_s: float | None
    queue_timeout_s: float
    max_queue: int
    tunnel_idle_timeout_s: float | None


@dataclass(frozen=True)
class DjangoView:
    """Which Django stands behind, and how it is run; None means "find out".

    Attributes:
        project: a manage.py or its directory.
        address: a server that runs already, `host:port` or `unix:/path`.
        commands: management commands with their arguments, taken apart.
        wait_s: until the process must be ready.
    """

    use: bool | None
    project: Path | None
    settings_module: str | None
    python: Path | None
    wsgi: str | None
    asgi: str | None
    address: str | tuple[str, int] | None
    commands: tuple[tuple[str, ...], ...]
    threads: int
    wait_s: float


@dataclass(frozen=True)
class SidesView:
    """Which side answers, and the Duck project's own views.

    Attributes:
        allowed_hosts: of Duck's own views, DOMAIN among them.
    """

    debug: bool
    allowed_hosts: tuple[str, ...]
    middlewares: tuple[str, ...]
    duck_urls: tuple[str, ...]
    django_urls: tuple[str, ...]
    django_skips_middlewares: bool
    asgi: str
    proxy_handler: str


@dataclass(frozen=True)
class FilesView:
    """Whether Duck answers static and media files."""

    static: bool
    media: bool


@dataclass(frozen=True)
class ReloadView:
    """Whether and how changes are watched; `poll_s` is 0 to be told only, None to look where nobody tells.

    Attributes:
        spares: whether copies of Django's starts are kept.
    """

    enabled: bool
    patterns: tuple[str, ...]
    poll_s: float | None
    spares: bool


@dataclass(frozen=True)
class ProductionView:
    """How `duck serve` differs from `duck runserver`; None or 0 where there is no bound.

    Attributes:
        serves: whether it is `duck serve`.
        workers, django_workers: how many processes; `"auto"` for as many as the machine suggests.
        admin: where health and figures are answered; None for nowhere, `"default"` for beside the first listener.
        health_path: asked of new Django processes before they are used.
    """

    serves: bool
    workers: int | str
    django_workers: int | str
    user: str | None
    allow_debug: bool
    admin: ListenAddress | str | None
    health_path: str | None
    allow_unapplied_migrations: bool
    max_requests: int
    memory_limit: int
    heartbeat_timeout_s: float
    view_timeout_s: float
    drain_delay_s: float


@dataclass(frozen=True)
class ClosingView:
    """What is under way in what is replaced or stopped: how long it may go on.

    Attributes:
        deadline_s: requests without an answer.
        streams_s: answers that have begun.
        sockets_s: WebSockets.
        spread_s: over how long the ends of those that would not end by themselves are spread.
    """

    deadline_s: float
    streams_s: float
    sockets_s: float
    spread_s: float

    @property
    def longest_s(self) -> float:
        """When nothing is under way any more."""
        return max(self.deadline_s, self.streams_s, self.sockets_s)


@dataclass(frozen=True)
class HttpsView:
    """HTTPS, and what plain HTTP is answered.

    Attributes:
        enabled: whether any address speaks HTTPS.
        is_site: whether it is the site of DOMAINS on the ports of HTTP and HTTPS, on all addresses.
        pairs: files of certificates and of their keys, as they were given.
        redirect: whether plain HTTP at `redirect_port` is redirected.
        hsts: the value of Strict-Transport-Security; `""` for none.
        fields, secure_fields: added to all answers, and to those over HTTPS.
    """

    enabled: bool
    is_site: bool
    pairs: tuple[tuple[str, str], ...]
    trusts_readable_keys: bool
    client_certificates: str
    client_ca: str | None
    redirect: bool
    redirect_port: int
    redirect_status: int
    hsts: str
    fields: tuple[tuple[str, str], ...]
    secure_fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class CertificatesView:
    """For which names certificates are obtained, and how.

    Attributes:
        domains: as they were written; none where no certificate is to be obtained.
        staging: the directory that is asked after failures; None for none.
        hook: the command of dns-01, taken apart; None for http-01.
        eab: the identifier and the key, a secret, of an account that `directory` has already; None for none.
    """

    domains: tuple[str, ...]
    email: str | None
    agree_tos: bool
    directory: str
    ca_file: Path | None
    staging: str | None
    profile: str | None
    hook: tuple[str, ...] | None
    dns_wait_s: float
    eab: tuple[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class LogsView:
    """What is written, and how (see `duck.logs`)."""

    level: str
    format: str
    access: str


def listening(settings: Settings) -> ListeningView:
    """Where to listen: LISTEN, else ADDRESS and PORT; of a site by DOMAINS every address, on HTTPS's own port."""
    addresses = tuple(parse_listen(url) for url in settings["LISTEN"])
    secure = settings["ENABLE_HTTPS"]
    lan = settings["LAN"] and settings["MODE"] != "serve"
    if lan:
        _refuse_other_addresses(settings)
        addresses = (ListenAddress("https" if secure else "http", host="*", port=settings["PORT"], tls=secure),)
    elif not addresses and _is_site(settings):
        addresses = (ListenAddress("https", host="*", port=443, tls=True),)
    elif not addresses:
        host = str(settings["ADDRESS"]).strip("[]")
        addresses = (ListenAddress("https" if secure else "http", host=host, port=settings["PORT"], tls=secure),)
    elif secure:
        addresses = tuple(replace(one, tls=True) if one.scheme == "fd" else one for one in addresses)
    return ListeningView(
        addresses=addresses,
        domain=settings["DOMAIN"] or settings["ADDRESS"],
        ipv6=settings["IPV6"],
        backlog=settings["REQUESTS_BACKLOG"],
        name=settings["NAME"],
        prefix=None if settings["PREFIX"] is None else settings["PREFIX"].rstrip("/"),
        trusted_proxies=tuple(settings["TRUSTED_PROXIES"]),
        http2=settings["HTTP2"],
        is_site=_is_site(settings),
        lan=lan,
    )


def _refuse_other_addresses(settings: Settings) -> None:
    for name, value in (("LISTEN", ", ".join(settings["LISTEN"])), ("ADDRESS", settings["ADDRESS"])):
        if value and settings.is_given(name):
            raise SettingsError(
                f"{name} is {value}, and --lan (LAN) listens at every address of this machine; keep one of them."
            )


def limits(settings: Settings) -> LimitsView:
    """What one connection may cost. Of several body limits the largest counts here; routes check their own."""
    return LimitsView(
        max_head_bytes=settings["MAX_HEAD_BYTES"],
        max_target_bytes=settings["MAX_TARGET_BYTES"],
        max_fields=settings["MAX_FIELDS"],
        max_body_bytes=max(settings["MAX_BODY_BYTES"], *settings["BODY_LIMITS"].values(), 0),
        max_connections=settings["MAX_CONNECTIONS"],
        max_streams=settings["MAX_STREAMS"],
        head_timeout_s=settings["HEAD_TIMEOUT"],
        body_timeout_s=settings["BODY_TIMEOUT"],
        min_body_rate=settings["MIN_BODY_RATE"],
        keep_alive_timeout_s=settings["KEEP_ALIVE_TIMEOUT"],
        send_timeout_s=settings["SEND_TIMEOUT"],
        handshake_timeout_s=settings["SSL_HANDSHAKE_TIMEOUT"],
        max_handshakes=settings["SSL_MAX_HANDSHAKES"],
    )


def bodies(settings: Settings) -> BodiesView:
    """What bodies may cost."""
    return BodiesView(
        max_body_bytes=settings["MAX_BODY_BYTES"],
        limits=tuple(settings["BODY_LIMITS"].items()),
        max_spool_bytes=settings["MAX_SPOOL_BYTES"],
        max_spooled_answer_bytes=settings["MAX_SPOOLED_ANSWER_BYTES"],
        spool_dir=settings["SPOOL_DIR"],
    )


def proxy(settings: Settings) -> ProxyView:
    """Deadlines towards backends."""
    return ProxyView(
        connect_timeout_s=settings["PROXY_CONNECT_TIMEOUT"],
        read_timeout_s=settings["PROXY_READ_TIMEOUT"] or None,
        queue_timeout_s=settings["QUEUE_TIMEOUT"],
        max_queue=settings["MAX_QUEUE"],
        tunnel_idle_timeout_s=settings["TUNNEL_IDLE_TIMEOUT"] or None,
    )


def django(settings: Settings) -> DjangoView:
    """Which Django stands behind. Outside a Duck project there always is one."""
    address: str | tuple[str, int] | None = settings["DJANGO_ADDR"]
    if address is not None and not str(address).startswith("unix:"):
        host, _, port = str(address).rpartition(":")
        address = (host.strip("[]"), int(port))
    use = settings["USE_DJANGO"]
    if use is None and (not settings.is_duck_project or settings["DJANGO_PROJECT"] or address):
        use = True
    return DjangoView(
        use=use,
        project=settings["DJANGO_PROJECT"],
        settings_module=settings["DJANGO_SETTINGS_MODULE"],
        python=settings["PYTHON"],
        wsgi=settings["DJANGO_WSGI"],
        asgi=settings["DJANGO_ASGI"],
        address=address,
        commands=tuple(tuple(shlex.split(command)) for command in settings["DJANGO_COMMANDS_ON_STARTUP"]),
        threads=settings["DJANGO_THREADS"],
        wait_s=settings["DJANGO_SERVER_WAIT_TIME"],
    )


def sides(settings: Settings) -> SidesView:
    """Which side answers; DOMAIN and DOMAINS are always allowed hosts."""
    hosts = list(settings["ALLOWED_HOSTS"])
    named = [settings["DOMAIN"]] if settings["DOMAIN"] else []
    # A pattern of Django's for all below: `.example.org`.
    named += [name.removeprefix("*") for name in settings["DOMAINS"]]
    hosts += [name for name in dict.fromkeys(named) if name not in hosts]
    return SidesView(
        debug=settings["DEBUG"],
        allowed_hosts=tuple(hosts),
        middlewares=tuple(settings["MIDDLEWARES"]),
        duck_urls=tuple(settings["DUCK_EXPLICIT_URLS"]),
        django_urls=tuple(settings["DJANGO_SIDE_URLS"]),
        django_skips_middlewares=settings["DJANGO_SIDE_URLS_SKIP_MIDDLEWARES"],
        asgi=settings["ASGI"],
        proxy_handler=settings["PROXY_HANDLER"],
    )


def files(settings: Settings) -> FilesView:
    """Whether Duck answers static and media files."""
    return FilesView(static=settings["SERVE_STATIC"], media=settings["SERVE_MEDIA"])


def reload(settings: Settings) -> ReloadView:
    """Whether and how changes are watched."""
    return ReloadView(
        enabled=settings["AUTO_RELOAD"],
        patterns=tuple(settings["AUTO_RELOAD_WATCH_FILES"]),
        poll_s=settings["AUTO_RELOAD_POLL"],
        spares=settings["MODE"] == "runserver" and settings["AUTO_RELOAD"] and settings["AUTO_RELOAD_SPARES"],
    )


def production(settings: Settings) -> ProductionView:
    """How `duck serve` differs."""
    serves = settings["MODE"] == "serve"
    said = settings["ADMIN_LISTEN"]
    admin: ListenAddress | str | None = None
    if said not in (None, "off"):
        admin = parse_listen(said)
    elif said is None and serves:
        admin = "default"
    return ProductionView(
        serves=serves,
        workers=settings["WORKERS"],
        django_workers=settings["DJANGO_WORKERS"],
        user=settings["USER"],
        allow_debug=settings["ALLOW_DEBUG"],
        admin=admin,
        health_path=settings["HEALTH_PATH"],
        allow_unapplied_migrations=settings["ALLOW_UNAPPLIED_MIGRATIONS"],
        max_requests=settings["MAX_REQUESTS"],
        memory_limit=settings["MEMORY_LIMIT"],
        heartbeat_timeout_s=settings["HEARTBEAT_TIMEOUT"],
        view_timeout_s=settings["VIEW_TIMEOUT"],
        drain_delay_s=settings["DRAIN_DELAY"],
    )


def closing(settings: Settings) -> ClosingView:
    """How long what is under way may go on; nothing is cut earlier than a request that waits for its answer."""
    deadline_s = settings["SHUTDOWN_TIMEOUT"]
    return ClosingView(
        deadline_s=deadline_s,
        streams_s=max(deadline_s, settings["STREAMS_CLOSE_TIMEOUT"]),
        sockets_s=max(deadline_s, settings["SOCKETS_CLOSE_TIMEOUT"]),
        spread_s=settings["SOCKETS_CLOSE_SPREAD"],
    )


def https(settings: Settings) -> HttpsView:
    """HTTPS, and what plain HTTP is answered."""
    is_site = _is_site(settings)
    chains = [str(path) for path in settings["SSL_CERTFILE_LOCATION"]]
    keys = [str(path) for path in settings["SSL_PRIVATE_KEY_LOCATION"]]
    if keys and len(keys) != len(chains):
        raise SettingsError(
            f"There are {len(chains)} certificates and {len(keys)} private keys; give --keyfile"
            " (SSL_PRIVATE_KEY_LOCATION) once for each --certfile (SSL_CERTFILE_LOCATION), in the same order."
        )
    clients = settings["SSL_CLIENT_CERTIFICATES"]
    if clients != "none" and settings["SSL_CA_FILE"] is None:
        raise SettingsError(
            f"SSL_CLIENT_CERTIFICATES is {clients}, and nothing says whose certificates are right;"
            " name the authorities with --ca-file (SSL_CA_FILE)."
        )
    enabled = is_site or any(address.tls for address in listening(settings).addresses) or settings["ENABLE_HTTPS"]
    given = settings.is_given("FORCE_HTTPS")
    return HttpsView(
        enabled=enabled,
        is_site=is_site,
        pairs=tuple(zip(chains, keys or chains, strict=True)),
        trusts_readable_keys=settings["SSL_ALLOW_READABLE_KEYS"],
        client_certificates=clients,
        client_ca=None if settings["SSL_CA_FILE"] is None else str(settings["SSL_CA_FILE"]),
        redirect=settings["FORCE_HTTPS"] if given else is_site,
        redirect_port=80
        if is_site and not settings.is_given("FORCE_HTTPS_BIND_PORT")
        else settings["FORCE_HTTPS_BIND_PORT"],
        redirect_status=settings["FORCE_HTTPS_STATUS"],
        hsts=_hsts(settings),
        fields=tuple(settings["SECURITY_HEADERS"].items()),
        secure_fields=tuple(settings["SSL_SECURITY_HEADERS"].items()),
    )


def _is_site(settings: Settings) -> bool:
    """Whether it is `duck serve --domain` without a word on where to listen."""
    if settings["MODE"] != "serve" or not settings["DOMAINS"]:
        return False
    if settings.is_given("ENABLE_HTTPS") and not settings["ENABLE_HTTPS"]:
        return False
    return not any(settings.is_given(name) for name in ("LISTEN", "ADDRESS", "PORT"))


def _hsts(settings: Settings) -> str:
    """RFC 6797 §6.1."""
    if not settings["HSTS_MAX_AGE"]:
        return ""
    value = f"max-age={settings['HSTS_MAX_AGE']:.0f}"
    value += "; includeSubDomains" if settings["HSTS_INCLUDE_SUBDOMAINS"] else ""
    return value + ("; preload" if settings["HSTS_PRELOAD"] else "")


def certificates(settings: Settings) -> CertificatesView:
    """For which names certificates are obtained, and how."""
    directory, staging, hook = settings["ACME_DIRECTORY"], settings["ACME_STAGING_DIRECTORY"], settings["ACME_DNS_HOOK"]
    if staging is None and directory == LETS_ENCRYPT:
        staging = LETS_ENCRYPT_STAGING
    return CertificatesView(
        domains=tuple(settings["DOMAINS"]),
        email=settings["EMAIL"],
        agree_tos=settings["AGREE_TOS"],
        directory=directory,
        ca_file=settings["ACME_CA_FILE"],
        staging=staging,
        profile=settings["ACME_PROFILE"],
        hook=None if hook is None else tuple(shlex.split(hook)),
        dns_wait_s=settings["ACME_DNS_WAIT"],
        eab=_external_account(settings),
    )


def _external_account(settings: Settings) -> tuple[str, str] | None:
    """Raises:
    SettingsError: one of the two is given without the other.
    """
    kid, key = settings["ACME_EAB_KID"], settings["ACME_EAB_HMAC_KEY"]
    if kid is None and key is None:
        return None
    if kid is None or key is None:
        given, missing = ("ACME_EAB_KID", "ACME_EAB_HMAC_KEY") if key is None else ("ACME_EAB_HMAC_KEY", "ACME_EAB_KID")
        raise SettingsError(f"{given} is set and {missing} is not; set both, or neither.")
    return kid, key


def logs(settings: Settings) -> LogsView:
    """What is written, and how."""
    return LogsView(level=settings["LOG_LEVEL"], format=settings["LOG_FORMAT"], access=settings["ACCESS_LOG"])

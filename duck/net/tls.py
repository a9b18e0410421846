"""The certificates of a server, chosen by name, and changed while it serves.

    ClientHello ──> front context ──names the host──> table: exact, wildcard, first ──> that certificate's context

The front context stays: it holds the keys of session tickets, so that clients resume across a change of certificates.
A change replaces the table; connections that are there keep what they have. Other processes with the same secret have
the same keys (`session_keys`).
"""

from __future__ import annotations

import hashlib
import ssl
import sys
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from duck.exceptions import SSLError
from duck.net.certificate import load_pair, read_certificate
from duck.net.session_keys import keyed_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from duck.settings.views import HttpsView

# RFC 9325 §4.2: forward secrecy and authenticated encryption only. TLS 1.3 has suites of its own, all of that kind.
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
# The keys of tickets are made anew after so long: who steals them reads no more than that of TLS 1.2.
TICKET_KEYS_S: Final = 24 * 3600.0

NONE: Final = "none"
REQUESTED: Final = "requested"
REQUIRED: Final = "required"
_VERIFY: Final = {NONE: ssl.CERT_NONE, REQUESTED: ssl.CERT_OPTIONAL, REQUIRED: ssl.CERT_REQUIRED}


@dataclass(frozen=True)
class TlsConfig:
    """What TLS is served with.

    Attributes:
        pairs: files of a certificate with its chain, and of its key; the first is for clients that name no host that
            another one holds.
        names: of each pair, where they are known, and the files known to be right; empty to read them here.
        client_certificates: whether clients are asked for one: `none`, `requested` or `required`.
        client_ca: PEM file of the authorities that clients' certificates may be from.
        protocols: for ALPN, the preferred one first.
        trusts_readable_keys: a key that others may read is accepted, too: a mounted secret has no other mode.
    """

    pairs: tuple[tuple[str, str], ...]
    names: tuple[tuple[str, ...], ...] = ()
    client_certificates: str = NONE
    client_ca: str | None = None
    protocols: tuple[str, ...] = ("h2", "http/1.1")
    trusts_readable_keys: bool = False


def protocols(*, http2: bool) -> tuple[str, ...]:
    """What ALPN offers, the preferred one first; `Server.protocol_for` has a class for each."""
    return ("h2", "http/1.1") if http2 else ("http/1.1",)


def tls_config(
    view: HttpsView, pairs: tuple[tuple[str, str], ...], names: tuple[tuple[str, ...], ...] = (), *, http2: bool
) -> TlsConfig:
    """What the settings say of TLS, for the certificates in `pairs`."""
    return TlsConfig(
        pairs,
        names,
        client_certificates=view.client_certificates,
        client_ca=view.client_ca if view.client_certificates != NONE else None,
        protocols=protocols(http2=http2),
        trusts_readable_keys=view.trusts_readable_keys,
    )


class Contexts:
    """What handshakes are made with; for any number of loops and threads.

    Attributes:
        asks_clients: whether clients are asked for a certificate.
        shares_sessions: whether whoever has the same secret resumes what began here.

    Raises:
        SSLError: a file is missing, unreadable or wrong.
    """

    def __init__(self, config: TlsConfig, now: Callable[[], float] = time.monotonic) -> None:
        _silence_bad_names()
        self._now = now
        self._lock = threading.Lock()
        self.config = config
        self.asks_clients = config.client_certificates != NONE
        self._is_loaded = False
        self._exact: dict[str, ssl.SSLContext] = {}
        self._wild: dict[str, ssl.SSLContext] = {}
        self._default: ssl.SSLContext
        self._front: ssl.SSLContext
        self._stale_at = 0.0
        self._secret = b""
        self.shares_sessions = False
        self._verification: tuple[Any, ...] = ()
        self.reload(config)

    @property
    def front(self) -> ssl.SSLContext:
        """What a handshake begins with."""
        if self._now() >= self._stale_at:
            self._secret = b""  # whoever shares it has a new one by now, or is not there any more
            self._renew_front()
        return self._front

    def share_sessions(self, secret: bytes) -> None:
        """Resume sessions that began with others who have `secret`, from now on and for a day."""
        with self._lock:
            self._secret = secret
            self._renew_front()

    def reload(self, config: TlsConfig | None = None) -> None:
        """Read the files again, or those of another `config`; on an error all stays as it was.

        Raises:
            SSLError: a file is missing, unreadable or wrong.
        """
        with self._lock:
            config = config or replace(self.config, names=())
            if not config.pairs:
                raise SSLError("There is no certificate to serve HTTPS with; give one with --certfile and --keyfile.")
            exact: dict[str, ssl.SSLContext] = {}
            wild: dict[str, ssl.SSLContext] = {}
            contexts = []
            names = config.names or tuple(
                read_certificate(chain, key, trusts_readable=config.trusts_readable_keys).names
                for chain, key in config.pairs
            )
            for (chain, key_file), own in zip(config.pairs, names, strict=True):
                context = _context(config)
                load_pair(context, chain, key_file)
                contexts.append(context)
                for name in own:
                    table, key = (wild, name[2:]) if name.startswith("*.") else (exact, name)
                    table.setdefault(key, context)
            verification = _verification(config)
            changed = not self._is_loaded or verification != self._verification
            self.config, self._verification, self._is_loaded = config, verification, True
            self._exact, self._wild, self._default = exact, wild, contexts[0]
            if changed:
                # Sessions that other authorities let in are not resumed.
                self.asks_clients = config.client_certificates != NONE
                self._renew_front()
            else:
                self._front.set_alpn_protocols(list(config.protocols))

    def _renew_front(self) -> None:
        config, secret = self.config, self._secret
        if secret:
            # Who asks clients for other certificates, or by other authorities, has other keys.
            purpose = hashlib.sha256(repr(self._verification).encode()).digest()
            front, self.shares_sessions = keyed_context(lambda: _context(config), secret, purpose)
        else:
            front, self.shares_sessions = _context(config), False
        front.sni_callback = self._choose
        self._front = front
        self._stale_at = self._now() + TICKET_KEYS_S

    def _choose(self, connection: ssl.SSLObject, name: str | None, front: ssl.SSLContext) -> None:
        """Give `connection` the certificate for `name`; called by OpenSSL within each handshake."""
        context = self._default
        if name:
            name = name.lower().rstrip(".")
            found = self._exact.get(name)
            if found is None:
                found = self._wild.get(name.partition(".")[2])  # one label, and no more (RFC 9525 §6.3)
            if found is not None:
                context = found
        connection.context = context


def _context(config: TlsConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(list(config.protocols))
    if config.client_certificates != NONE:
        try:
            context.load_verify_locations(cafile=config.client_ca)
        except (OSError, ssl.SSLError, TypeError) as error:
            raise SSLError(
                f"The authorities of clients' certificates in {config.client_ca} cannot be read:"
                f" {getattr(error, 'strerror', None) or 'it is no PEM file of certificates'};"
                " name one with --ca-file."
            ) from error
        context.verify_mode = _VERIFY[config.client_certificates]
    return context


def _verification(config: TlsConfig) -> tuple[Any, ...]:
    if config.client_ca is None or config.client_certificates == NONE:
        return (config.client_certificates,)
    try:
        with open(config.client_ca, "rb") as file:
            return config.client_certificates, file.read()
    except OSError:
        return config.client_certificates, config.client_ca


def _silence_bad_names() -> None:
    """Have nothing printed of names that are no ASCII: `ssl` has nobody to raise that to, and clients may send any."""
    before = sys.unraisablehook
    if getattr(before, "is_of_duck", False):
        return

    def tell(unraisable: Any) -> None:
        if not (isinstance(unraisable.exc_value, UnicodeDecodeError) and isinstance(unraisable.object, bytes)):
            before(unraisable)

    tell.is_of_duck = True  # type: ignore[attr-defined]
    sys.unraisablehook = tell

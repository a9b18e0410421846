"""Https: the certificates of an App, from before anything is bound until the end: checked, watched, told to the front.

Where they come from is not decided here: from files that the settings name, or from what `provide` was given. They
change by their files changing, which is looked for, or by `change`; then each worker reads them again (`reload_tls`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from duck.app.session_secret import SessionSecret
from duck.exceptions import SSLError
from duck.net.certificate import Certificate, in_utc, read_certificate
from duck.net.tls import TlsConfig, tls_config
from duck.services.plain_values import revived
from duck.services.state import state_directory
from duck.settings import views

if TYPE_CHECKING:
    from duck.services.inbox import Inbox, Timer
    from duck.settings.load import Settings

logger = logging.getLogger("duck.app")

Pair = tuple[str, str]

LOOK_S: Final = 2.0
# A certificate is replaced before its key, or after it: for so long that is no fault.
_SETTLE_LOOKS: Final = 5


class Https:
    """The HTTPS of one run; for the inbox's thread.

    Attributes:
        enabled: whether any address speaks HTTPS.
        certificates: what is served, once `check` has read it.
        sessions: what lets clients resume them; None before `start`, and without HTTPS.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pairs: tuple[Pair, ...] = ()
        self.certificates: tuple[Certificate, ...] = ()
        self._tell: Callable[[TlsConfig], None] = lambda config: None
        self._inbox: Inbox | None = None
        self._timer: Timer | None = None
        self._seen: tuple[object, ...] = ()
        self._looks_wrong = 0
        self.sessions: SessionSecret | None = None

    @property
    def enabled(self) -> bool:
        """Whether any address speaks HTTPS."""
        return views.https(self._settings).enabled

    def provide(self, pairs: Sequence[Pair]) -> None:
        """Serve these, where the settings name none; before `check`."""
        self._pairs = tuple(pairs)

    def config(self) -> TlsConfig | None:
        """What the front serves with, after `check`; None without HTTPS."""
        return self._config(self.certificates) if self.enabled else None

    def _config(self, certificates: tuple[Certificate, ...]) -> TlsConfig:
        pairs = tuple((certificate.chain, certificate.key) for certificate in certificates)
        # A front process is told the names: to read them takes 10 MB of libraries.
        names = tuple(certificate.names for certificate in certificates)
        return tls_config(views.https(self._settings), pairs, names, http2=self._settings["HTTP2"])

    def check(self) -> None:
        """Read all files, as the user who serves.

        Raises:
            SSLError: one of them is missing, unreadable or wrong, or there is none.
        """
        if self.enabled:
            self.certificates = read_pairs(self._settings, self._present())
            self._seen = _signature(self._files())

    def start(
        self,
        inbox: Inbox,
        tell: Callable[[TlsConfig], None],
        share: Callable[[bytes], None],
        handed: Mapping[str, Any],
    ) -> None:
        """Look for changes from now on.

        Args:
            tell: takes what the front shall serve with.
            share: takes what all front workers make the keys of sessions from.
            handed: what `hand_over` gave to the Duck before.
        """
        self._tell = tell
        if self.enabled:
            self.sessions = SessionSecret(handed)
            self.sessions.start(inbox, share)
            self._inbox = inbox
            self._timer = inbox.call_later(LOOK_S, self._look)

    def hand_over(self) -> dict[str, Any]:
        """For the next Duck of this process."""
        return {} if self.sessions is None else self.sessions.hand_over()

    def stop(self) -> None:
        """Look no more."""
        if self.sessions is not None:
            self.sessions.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def change(self, pairs: Sequence[Pair]) -> None:
        """Serve these from now on, where the settings name none: new connections get them, and none is dropped.

        Raises:
            SSLError: one of them cannot be used; what is served stays.
        """
        certificates = read_pairs(self._settings, tuple(pairs))
        self._pairs = tuple(pairs)
        self._take(certificates, _signature(self._files()))

    def _take(self, certificates: tuple[Certificate, ...], seen: tuple[object, ...]) -> None:
        self.certificates, self._seen, self._looks_wrong = certificates, seen, 0
        self._tell(self._config(certificates))
        first = certificates[0]
        logger.info(
            "New connections get the certificate%s of %s, valid until %s.",
            "s" if len(certificates) > 1 else "",
            ", ".join(certificate.chain for certificate in certificates),
            in_utc(first.not_after),
        )

    def _look(self) -> None:
        assert self._inbox is not None
        self._timer = self._inbox.call_later(LOOK_S, self._look)
        seen = _signature(self._files())
        if seen == self._seen:
            return
        try:
            self._take(read_pairs(self._settings, self._present()), seen)
        except SSLError as error:
            self._looks_wrong += 1
            if self._looks_wrong == _SETTLE_LOOKS:
                logger.error("The changed certificate is not used, and the one before is served on: %s", error)
                self._seen, self._looks_wrong = seen, 0

    def _present(self) -> tuple[Pair, ...]:
        return views.https(self._settings).pairs or self._pairs

    def _files(self) -> list[str]:
        view = views.https(self._settings)
        files = [path for pair in self._present() for path in pair]
        return [*files, view.client_ca] if view.client_ca is not None else files


def challenge_directory(settings: Settings) -> str | None:
    """Where answers to http-01 challenges lie while an authority may ask; None where no certificate is obtained."""
    if not (views.production(settings).serves and views.certificates(settings).domains):
        return None
    return str(state_directory(settings["STATE_DIR"], make=False) / "acme" / "challenges")


def read_pairs(settings: Settings, pairs: tuple[Pair, ...]) -> tuple[Certificate, ...]:
    """The certificates in `pairs`.

    Raises:
        SSLError: one of them cannot be used, or there is none.
    """
    if not pairs:
        raise SSLError(
            "HTTPS is enabled and there is no certificate for it: name one with --certfile (SSL_CERTFILE_LOCATION) and"
            " --keyfile (SSL_PRIVATE_KEY_LOCATION), or give --domain (DOMAINS), for which one is obtained."
        )
    trusts = views.https(settings).trusts_readable_keys
    return tuple(read_certificate(chain, key, trusts_readable=trusts) for chain, key in pairs)


def config_to_values(config: TlsConfig | None) -> dict[str, Any] | None:
    """`config` as JSON can carry it."""
    return None if config is None else asdict(config)


def config_from_values(values: Mapping[str, Any] | None) -> TlsConfig | None:
    """What `config_to_values` made."""
    return None if values is None else revived(TlsConfig, values)


def _signature(files: Sequence[str]) -> tuple[object, ...]:
    """What differs when a file was replaced or written to, at the end of any links."""
    found: list[object] = []
    for path in files:
        try:
            told = os.stat(path)
        except OSError:
            found.append((path, None))
        else:
            found.append((path, told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns))
    return tuple(found)

"""Certificates: what an App serves HTTPS with where the settings name no files, and how that changes while it serves.

    runserver --https          of this machine's own authority, made anew before they expire
    serve --domain ...         of a public authority; self-signed until one has been obtained

    start ──> look ──due──> a pass (a process of its own) ──outcomes──> look
               └─another one has obtained one──> serve that

What lies in the state directory decides: others may have written it, and a start finds what the one before has left.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from duck.exceptions import ApplicationError, CertificateError, SSLError
from duck.net.certificate import in_utc
from duck.services.certificates import keeping, schedule
from duck.services.certificates.account import accepted_terms
from duck.services.certificates.due import due, obtained_pair, remembered, wanted_names
from duck.services.certificates.leaf import self_signed
from duck.services.certificates.local_authority import ALWAYS, LocalAuthority, machine_names
from duck.services.certificates.names import canonical, is_allowed_host, refuse_untellable
from duck.services.certificates.store import CertificateStore
from duck.services.state import state_directory
from duck.settings import views
from duck.settings.declared.certificates import LETS_ENCRYPT

if TYPE_CHECKING:
    from duck.app.https import Https
    from duck.services.certificates.store import Pair
    from duck.services.child import Child
    from duck.services.inbox import Inbox, Timer
    from duck.settings.load import Settings
    from duck.settings.views import CertificatesView

logger = logging.getLogger("duck.app")

# What another process or machine has obtained is seen so much later.
LOOK_S: Final = 30.0
_SOON_S: Final = 0.5
# Django with DEBUG and no ALLOWED_HOSTS (django.http.request.HttpRequest.get_host).
_IN_DEBUG: Final = (".localhost", "127.0.0.1", "[::1]")


class Certificates:
    """Of one run; for the inbox's thread.

    Attributes:
        pairs: files of certificate and key, the first for clients that name no host; none where the settings name
            files, or there is no HTTPS.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self.pairs: tuple[tuple[str, str], ...] = ()
        self._settings = settings
        self._clock = clock
        self._view = views.certificates(settings)
        self._state: Path | None = None
        self._public: list[str] = []  # asked of an authority, in the order of the settings
        self._local: list[str] = []  # of this machine's own
        self._authority: LocalAuthority | None = None
        self._inbox: Inbox | None = None
        self._https: Https | None = None
        self._timer: Timer | None = None
        self._child: Child | None = None
        self._under_way: list[str] = []
        self._not_before: dict[str, float] = {}  # what a pass said that is not written down
        self._hosts: tuple[str, ...] | None = None  # that Django answers for; None while that is not known
        self._waits_for_hosts = False
        self._told: set[str] = set()

    @property
    def pids(self) -> list[int]:
        """Of the process that asks an authority."""
        return [] if self._child is None else [self._child.pid]

    # -- before anything is bound ---------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Have something to serve, as the user who serves.

        Raises:
            CertificateError: a name that no authority may be asked for, terms that were not accepted, a full disk.
        """
        https = views.https(self._settings)
        if not https.enabled or https.pairs:
            return
        production = views.production(self._settings).serves
        if production and not self._view.domains:
            return  # `Https` says what is missing
        self._state = state_directory(self._settings["STATE_DIR"], project=self._settings.base_dir)
        if production:
            self._sort(wanted_names(self._view))
            if self._public:
                refuse_unaccepted_terms(self._state, self._view)
        else:
            self._authority = _own_authority(self._state)
            self._local = [name for name in _names_here(self._settings) if self._authority.permits(name)]
        self.pairs = self._present()

    def _sort(self, names: Sequence[str]) -> None:
        assert self._state is not None
        for name in names:
            try:
                refuse_name(name, self._view)
            except CertificateError:
                self._authority = self._authority or LocalAuthority.find_or_make(self._state)
                if not self._authority.permits(name):
                    raise
                self._local.append(name)
            else:
                self._public.append(name)

    def _present(self) -> tuple[tuple[str, str], ...]:
        """What there is now, in the order of the settings; self-signed where there is nothing valid."""
        assert self._state is not None
        store, now = CertificateStore(self._state), self._clock()
        found: dict[str, Pair] = {}
        for name in self._public:
            entry = store.entry(name)
            pair = entry.pair()
            if pair is None or not pair.is_valid(now) or name not in pair.names:
                # Its place is not taken: what is remembered is of a certificate of the authority's.
                entry = CertificateStore(self._state, "self-signed").entry(name)
                pair = entry.pair()
                if pair is None or not pair.is_valid(now + schedule.DAY):  # else it would change within the day
                    pair = self_signed(entry)
            found[name] = pair
        if self._local:
            assert self._authority is not None
            found[self._local[0]] = self._authority.leaf(self._local, now=datetime.fromtimestamp(now, UTC))
        order = {name: place for place, name in enumerate(map(_canonical_or_same, self._view.domains))}
        names = sorted(found, key=lambda name: order.get(name, 0))
        return tuple((str(found[name].chain), str(found[name].key)) for name in names)

    # -- while it serves ------------------------------------------------------------------------------------------

    def start(self, inbox: Inbox, https: Https, *, waits_for_hosts: bool) -> None:
        """Look at what is due, from now on.

        Args:
            waits_for_hosts: `hosts_known` will say which names Django answers for; before that no first certificate is
                ordered.
        """
        if self._state is None:
            return
        self._inbox, self._https, self._waits_for_hosts = inbox, https, waits_for_hosts
        self._look_in(0.0)

    def hosts_known(self, facts: Mapping[str, Any]) -> None:
        """Django, as it is loaded now, answers for these hosts."""
        allowed = tuple(str(host) for host in facts.get("allowed_hosts") or ())
        self._hosts = _IN_DEBUG if not allowed and facts.get("debug") else allowed
        self._waits_for_hosts = False
        self._told.clear()
        if self._inbox is not None:
            self._look_in(0.0)

    def stop(self) -> None:
        """Look no more; a pass that is under way is ended, which costs nothing."""
        self._inbox = None
        if self._timer is not None:
            self._timer.cancel()
        if self._child is not None:
            self._child.on_exit = lambda code: None
            self._child.kill()

    def status(self) -> dict[str, dict[str, Any]]:
        """What `duck status` shows, by name."""
        if self._state is None:
            return {}
        store, now = CertificateStore(self._state), self._clock()
        found = {}
        for name in self._public:
            entry = store.entry(name)
            pair = obtained_pair(entry, self._view)
            progress = remembered(entry, pair)
            found[name] = {
                "until": "none yet, self-signed" if pair is None else in_utc(pair.not_after),
                "next": in_utc(max(now, due(entry, self._view, now).at)),
                "failure": progress.error if progress.failures else self._why_refused(name),
            }
        return found

    def _look_in(self, delay_s: float) -> None:
        if self._inbox is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._inbox.call_later(delay_s, self._look)

    def _look(self) -> None:
        if self._inbox is None:
            return
        self._look_in(LOOK_S)  # whatever comes of this one
        try:
            self._serve_present()
            if self._child is None:
                self._begin_pass()
        except (CertificateError, ApplicationError, SSLError) as error:
            self._tell_once(str(error))
        now = self._clock()
        waits = [self._due_at(name, now) - now for name in self._public]
        self._look_in(min([LOOK_S, *(max(wait, _SOON_S) for wait in waits)]))

    def _serve_present(self) -> None:
        pairs = self._present()
        if pairs != self.pairs:
            assert self._https is not None
            self._https.change(pairs)
            self.pairs = pairs

    def _begin_pass(self) -> None:
        assert self._inbox is not None and self._state is not None
        now = self._clock()
        names = [name for name in self._public if self._due_at(name, now) <= now]
        if not names:
            return
        self._under_way = names
        self._child = child = keeping.spawn(self._inbox, self._state, self._view, names)
        child.on_message = self._outcome
        child.on_exit = self._ended

    def _due_at(self, name: str, now: float) -> float:
        """When something is due for `name`; far off where it cannot be now."""
        assert self._state is not None
        entry = CertificateStore(self._state).entry(name)
        at = max(due(entry, self._view, now).at, self._not_before.get(name, 0.0))
        if name in self._under_way:
            return now + LOOK_S
        if at <= now and obtained_pair(entry, self._view) is None:
            if self._waits_for_hosts:
                return now + LOOK_S
            refusal = self._why_refused(name)
            if refusal:
                self._tell_once(refusal)
                return now + LOOK_S
        return at

    def _why_refused(self, name: str) -> str:
        if self._hosts is None or is_allowed_host(name, self._hosts):
            return ""
        return (
            f"No certificate for {name} is ordered: ALLOWED_HOSTS of the project does not hold that name, so each of"
            " its requests would be answered with 400; add it there, then `duck reload`."
        )

    def _tell_once(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            logger.error("%s", sentence)

    # -- a pass ---------------------------------------------------------------------------------------------------

    def _outcome(self, message: dict[str, Any]) -> None:
        name, what = str(message.get("name")), message.get("outcome")
        self._not_before[name] = float(message.get("next", 0.0)) if what == "failed" else 0.0
        if message.get("sentence"):
            level = logging.WARNING if what == "failed" else logging.INFO
            # Another one is at it, and what it brings is taken up.
            logger.log(logging.DEBUG if message.get("kind") == "busy" else level, "%s", message["sentence"])
        if what == "obtained":
            self._look_in(0.0)

    def _ended(self, code: int) -> None:
        now = self._clock()
        self._child = None
        names, self._under_way = self._under_way, []
        if code != 0:
            logger.error("The process that asks for certificates ended with %d; it is started again in a minute.", code)
            self._not_before.update(dict.fromkeys(names, now + schedule.MINUTE))
        self._look_in(0.0)


def refuse_name(name: str, view: CertificatesView) -> None:
    """Refuse a name, canonical, that the authority of the settings must not or cannot be asked for.

    Raises:
        CertificateError: with the remedy.
    """
    refuse_untellable(name, view.directory, has_own_root=view.ca_file is not None, has_hook=view.hook is not None)


def refuse_unaccepted_terms(state: Path, view: CertificatesView) -> None:
    """Refuse a start without terms accepted; of the authority that everybody has by default they are known to be there.

    Raises:
        CertificateError: they have not been accepted, neither now nor before.
    """
    if view.directory == LETS_ENCRYPT and not view.agree_tos and not accepted_terms(state, view.directory):
        raise CertificateError(
            "Certificates are ordered from Let's Encrypt, whose terms of service are at"
            " https://letsencrypt.org/repository/; accept them by --agree-tos, once.",
            kind="terms",
        )


def _own_authority(state: Path) -> LocalAuthority:
    found = LocalAuthority.find(state)
    if found is None:
        found = LocalAuthority.find_or_make(state)
        logger.info(
            "This machine has a certificate authority for development now; browsers take it after `duck cert trust`."
        )
    return found


def _names_here(settings: Settings) -> list[str]:
    """What a developer's server is called: by itself, in its network, and in the settings."""
    listening = views.listening(settings)
    written = [*ALWAYS, *machine_names(), listening.domain, *settings["DOMAINS"]]
    hosts = [address.host for address in listening.addresses]
    written += hosts
    if any(host in ("0.0.0.0", "::", "*") for host in hosts):
        written += _own_addresses()
    names = []
    for name in written:
        try:
            names.append(canonical(name))
        except CertificateError:
            continue  # `*`, which is every address
    return list(dict.fromkeys(names))


def _own_addresses() -> list[str]:
    import psutil

    return [
        str(address.address).partition("%")[0]
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family.name in ("AF_INET", "AF_INET6")
    ]


def _canonical_or_same(name: str) -> str:
    try:
        return canonical(name)
    except CertificateError:
        return name

"""Keeper: obtains and renews what is due; one pass over all names, and what came of each.

It waits for the network and for other processes, so it runs in a process of its own (`duck cert renew`, or the one that
`keeping` starts for an App). All that it knows lies in the state directory: a pass that is killed is begun again.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509

from duck.exceptions import CertificateError
from duck.net.certificate import alternative_names, in_utc
from duck.services.certificates import schedule
from duck.services.certificates.account import account_directory
from duck.services.certificates.authority import Authority
from duck.services.certificates.challenge import DnsHook, HttpProver, Prover
from duck.services.certificates.due import due, obtained_pair, remembered, term_of
from duck.services.certificates.leaf import key_pem, new_key
from duck.services.certificates.lease import Lease
from duck.services.certificates.ledger import ISSUED, ORDERED, UNPROVED, Event, Ledger, has_known_limits, reached
from duck.services.certificates.names import refuse_untellable
from duck.services.certificates.schedule import ASK, ORDER, Progress, Step
from duck.services.certificates.store import PUBLIC, CertificateStore, Entry

if TYPE_CHECKING:
    from duck.services.certificates.leaf import PrivateKey
    from duck.settings.views import CertificatesView

OBTAINED: Final = "obtained"
ASKED: Final = "asked"
REHEARSED: Final = "rehearsed"
FAILED: Final = "failed"
IDLE: Final = "idle"

_BUSY_S: Final = 30.0


@dataclass(frozen=True)
class Outcome:
    """What came of one name: `obtained`, `asked` (when to renew), `rehearsed` (by staging), `failed` or `idle`.

    Attributes:
        sentence: for the log.
        kind: of a failure, as of `CertificateError`.
        next_at: when something is due again, in seconds since the epoch.
    """

    name: str
    what: str
    sentence: str
    next_at: float
    kind: str = ""


class Keeper:
    """One pass at a time.

    Args:
        state: the state directory.
        view: whom to ask, and how.
        clock: seconds since the epoch.
        chance: a number in [0, 1), each time another one.
        prover: shows that names are ours; by default as the settings say.
    """

    def __init__(
        self,
        state: Path,
        view: CertificatesView,
        *,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
        prover: Prover | None = None,
    ) -> None:
        self._state = state
        self._view = view
        self._clock = clock
        self._chance = chance
        self._store = CertificateStore(state)
        self._lease = Lease(state / "acme" / "lock")
        self._authorities: dict[str, Authority] = {}
        if prover is None:
            hook = view.hook
            prover = HttpProver(state / "acme" / "challenges") if hook is None else DnsHook(hook, view.dns_wait_s)
        self._prover = prover

    def run(self, names: Sequence[str], *, force: bool = False, wait_s: float = 0.0) -> Iterator[Outcome]:
        """Do what is due for `names`, as they were written; with `force` each is ordered, whatever is remembered.

        Other writers are waited for `wait_s`; a name that they have seen to meanwhile is not asked for again.
        """
        try:
            for name in names:
                yield self._see_to(name, force=force, wait_s=wait_s)
        finally:
            for authority in self._authorities.values():
                authority.close()
            self._authorities.clear()

    def _see_to(self, name: str, *, force: bool, wait_s: float) -> Outcome:
        now = self._clock()
        try:
            entry = self._store.entry(name)
        except CertificateError as error:
            return Outcome(name, FAILED, str(error), now + schedule.DAY, error.kind)
        step = due(entry, self._view, now)
        if step.what == schedule.WAIT and not force:
            return Outcome(entry.name, IDLE, "", step.at)
        seen = _fingerprint(entry)
        try:
            with self._lease.held(wait_s):
                step = due(entry, self._view, self._clock())
                if force and _fingerprint(entry) == seen:
                    step = Step(ORDER, now)
                if step.what == ASK:
                    return self._ask(entry)
                if step.what == ORDER:
                    return self._order(entry)
                return Outcome(entry.name, IDLE, "", step.at)
        except CertificateError as error:
            # Nothing of the name's own: it is not to be waited for longer and longer.
            pause = _BUSY_S if error.kind == "busy" else schedule.HOUR
            return Outcome(entry.name, FAILED, str(error), now + pause, error.kind)

    # -- one name, with the lease held ----------------------------------------------------------------------------

    def _order(self, entry: Entry) -> Outcome:
        view, progress = self._view, remembered(entry, obtained_pair(entry, self._view))
        rehearses = schedule.is_rehearsal(progress, has_staging=view.staging is not None)
        directory = view.staging if rehearses and view.staging is not None else view.directory
        ledger = Ledger(account_directory(self._state, directory) / "ledger.json")
        try:
            refuse_untellable(
                entry.name, directory, has_own_root=view.ca_file is not None, has_hook=view.hook is not None
            )
            if has_known_limits(directory):
                renews = bool(progress.certificate)
                bound = reached(ledger.read(), entry.name, self._clock(), renews=renews)
                if bound is not None:
                    raise CertificateError(
                        f"{bound.sentence}; it is asked again on {in_utc(bound.until)}.",
                        kind="limit",
                        retry_after_s=bound.until - self._clock(),
                    )
            key = new_key()
            # The key and the room for the chain are on the disk before the authority is asked.
            with entry.draft(key_pem(key)) as draft:
                authority = self._authority(directory)
                authority.open()
                ledger.add(Event(self._clock(), ORDERED, entry.name))
                before = None if rehearses else obtained_pair(entry, view)
                chain, profile = authority.obtain(entry.name, key, self._prover, profile=view.profile, before=before)
                _check(chain, key, entry.name, directory)
                if rehearses:
                    return self._rehearsed(entry, progress)
                pair = draft.complete(chain, {"kind": PUBLIC, "directory": directory, "profile": profile})
        except CertificateError as error:
            return self._failed(entry, progress, error, ledger)
        now = self._clock()
        progress = schedule.obtained(pair.term, pair.fingerprint, now, self._chance())
        with contextlib.suppress(CertificateError):  # it is renewed in time without
            ledger.add(Event(now, ISSUED, entry.name))
            entry.progress = progress
        sentence = f"The certificate for {entry.name} is valid until {in_utc(pair.not_after)}."
        return Outcome(entry.name, OBTAINED, sentence, schedule.next_step(now, pair.term, progress).at)

    def _rehearsed(self, entry: Entry, progress: Progress) -> Outcome:
        now = self._clock()
        entry.progress = schedule.rehearsed(progress, now)
        return Outcome(entry.name, REHEARSED, f"{self._view.staging} could see that {entry.name} is ours.", now)

    def _failed(self, entry: Entry, progress: Progress, error: CertificateError, ledger: Ledger) -> Outcome:
        now = self._clock()
        progress = schedule.failed(
            progress,
            now,
            self._chance(),
            error=str(error),
            kind=error.kind,
            retry_after_s=error.retry_after_s,
            term=term_of(obtained_pair(entry, self._view)),
        )
        with contextlib.suppress(CertificateError):  # a full disk may be what failed
            if error.kind == "validation":
                ledger.add(Event(now, UNPROVED, entry.name))
            entry.progress = progress
        sentence = f"No certificate for {entry.name}: {error} Tried again on {in_utc(progress.next_at)}."
        return Outcome(entry.name, FAILED, sentence, progress.next_at, error.kind)

    def _ask(self, entry: Entry) -> Outcome:
        pair = obtained_pair(entry, self._view)
        assert pair is not None, entry.name
        progress = remembered(entry, pair)
        now = self._clock()
        authority = self._authority(self._view.directory)
        with contextlib.suppress(CertificateError):  # told with the next order, at the latest
            authority.tell_contact()
        try:
            renew_at, ask_at = authority.renewal(pair)
        except CertificateError:
            # The certificate is fine meanwhile: it is asked again, and renewed in time by its age.
            renew_at, ask_at = None, now + 6 * schedule.HOUR
        progress = schedule.told(progress, renew_at, ask_at, now)
        if not progress.renew_at:
            progress = replace(progress, renew_at=schedule.usual_renewal(pair.term, self._chance()))
        entry.progress = progress
        return Outcome(entry.name, ASKED, "", schedule.next_step(now, pair.term, progress).at)

    def _authority(self, directory: str) -> Authority:
        found = self._authorities.get(directory)
        if found is None:
            view = self._view
            found = self._authorities[directory] = Authority(
                self._state,
                directory,
                ca_file=view.ca_file,
                email=view.email,
                agrees=view.agree_tos,
                # An authority's staging does not know of the account.
                eab=view.eab if directory == view.directory else None,
            )
        return found


def _check(chain: bytes, key: PrivateKey, name: str, directory: str) -> None:
    """Refuse what could not be served, whatever the authority says of it."""
    try:
        leaf = x509.load_pem_x509_certificate(chain)
    except ValueError as error:
        raise CertificateError(f"{directory} issued what is no certificate ({error}).") from error
    if leaf.public_key() != key.public_key() or name not in alternative_names(leaf):
        raise CertificateError(f"{directory} issued a certificate of another key, or for other names than {name}.")


def _fingerprint(entry: Entry) -> str:
    pair = entry.pair()
    return "" if pair is None else pair.fingerprint


def as_values(outcome: Outcome) -> dict[str, Any]:
    """As JSON has it."""
    return {
        "name": outcome.name,
        "outcome": outcome.what,
        "sentence": outcome.sentence,
        "next": outcome.next_at,
        "kind": outcome.kind,
    }

"""What is due for a name, from what lies on the disk; nobody is asked, and no library of an authority's is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from duck.services.certificates import schedule
from duck.services.certificates.names import canonical
from duck.services.certificates.store import PUBLIC

if TYPE_CHECKING:
    from duck.services.certificates.schedule import Progress, Step, Term
    from duck.services.certificates.store import Entry, Pair
    from duck.settings.views import CertificatesView


def wanted_names(view: CertificatesView) -> list[str]:
    """The names of the settings, canonical, each once.

    Raises:
        CertificateError: one of them is none.
    """
    return list(dict.fromkeys(canonical(name) for name in view.domains))


def due(entry: Entry, view: CertificatesView, now: float) -> Step:
    """What is due for `entry` at `now`, from what lies on the disk; nobody is asked."""
    pair = obtained_pair(entry, view)
    return schedule.next_step(now, term_of(pair), remembered(entry, pair))


def obtained_pair(entry: Entry, view: CertificatesView) -> Pair | None:
    """What is current, where it is of the authority that the settings name; a self-signed one is not."""
    pair = entry.pair()
    if pair is None or pair.kind != PUBLIC or entry.name not in pair.names:
        return None
    return pair if pair.about.get("directory") == view.directory else None


def remembered(entry: Entry, pair: Pair | None) -> Progress:
    """When `pair`, or the first one where it is None, is to be ordered anew."""
    return entry.progress.of("" if pair is None else pair.fingerprint)


def term_of(pair: Pair | None) -> Term | None:
    """How long `pair` is valid; None where there is none."""
    return None if pair is None else pair.term

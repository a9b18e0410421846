"""What `duck check` says of HTTPS: the certificates that are named, and whether they are for the site's names."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from duck.app.certificates import refuse_name, refuse_unaccepted_terms
from duck.app.finding import ERROR, OK, WARNING, Finding
from duck.app.force_https import NEEDS_HTTPS
from duck.app.https import read_pairs
from duck.app.premises import as_account
from duck.exceptions import CertificateError, DuckError
from duck.net.certificate import Certificate, read_certificate
from duck.services.certificates.due import wanted_names
from duck.services.certificates.local_authority import would_permit
from duck.services.state import state_directory
from duck.settings import views

if TYPE_CHECKING:
    from duck.services.privileges import Account
    from duck.settings.load import Settings
    from duck.settings.views import CertificatesView

_SOON: Final = timedelta(days=14)


def https(settings: Settings, account: Account | None, now: datetime | None = None) -> Iterator[Finding]:
    """The findings of HTTPS; none where nothing of it is wanted."""
    try:
        view = views.https(settings)
    except DuckError as error:
        yield Finding(ERROR, "https", str(error))
        return
    if not view.enabled:
        if view.redirect:
            yield Finding(ERROR, "https", NEEDS_HTTPS)
        return
    if not view.pairs:
        yield from _obtained(settings, account)
        return
    read: list[Certificate] = []
    for chain, key in view.pairs:
        try:
            with as_account(account):
                certificate = read_certificate(chain, key, trusts_readable=view.trusts_readable_keys)
        except DuckError as error:
            yield Finding(ERROR, "certificate", str(error))
            continue
        read.append(certificate)
        until = f"valid until {certificate.not_after:%Y-%m-%d}"
        if certificate.not_after - (now or datetime.now(UTC)) < _SOON:
            yield Finding(WARNING, "certificate", f"{chain} is {until} only; renew it.")
        else:
            yield Finding(OK, "certificate", f"{chain} is for {', '.join(certificate.names)}, {until}.")
    if len(read) == len(view.pairs) > 0:
        names = views.certificates(settings).domains or ((settings["DOMAIN"],) if settings["DOMAIN"] else ())
        for name in names:
            if not any(certificate.is_for(name) for certificate in read):
                sentence = f"No certificate is for {name}, so that browsers refuse it there; get one that names it."
                yield Finding(WARNING, "certificate", sentence)


def _obtained(settings: Settings, account: Account | None) -> Iterator[Finding]:
    """Without files: of this machine's own authority, or of the one that the settings name."""
    if not views.production(settings).serves:
        yield Finding(
            OK, "certificate", "It is of this machine's own authority, and browsers take it after `duck cert trust`."
        )
        return
    view = views.certificates(settings)
    try:
        if not view.domains:
            read_pairs(settings, ())
        with as_account(account):
            state = state_directory(settings["STATE_DIR"], project=settings.base_dir, make=False)
            names = wanted_names(view)
            public = [name for name in names if not _is_local(name, view)]
            if public:
                refuse_unaccepted_terms(state, view)
    except DuckError as error:
        yield Finding(ERROR, "certificate", str(error))
        return
    local = [name for name in names if name not in public]
    if local:
        sentence = f"{', '.join(local)} gets a certificate of this machine's own authority, and nobody is asked."
        yield Finding(OK, "certificate", sentence)
    if public:
        sentence = f"{view.directory} is asked for {', '.join(public)}; `duck cert doctor` looks at what could keep it."
        yield Finding(OK, "certificate", sentence)


def _is_local(name: str, view: CertificatesView) -> bool:
    """Whether the authority of this machine speaks for it.

    Raises:
        CertificateError: nobody does.
    """
    try:
        refuse_name(name, view)
    except CertificateError:
        if not would_permit(name):
            raise
        return True
    return False

"""What `duck check` says of HTTPS: the certificates that are named, and whether they are for the site's names."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from duck.app.finding import ERROR, OK, WARNING, Finding
from duck.app.force_https import NEEDS_HTTPS
from duck.app.premises import as_account
from duck.exceptions import DuckError
from duck.net.certificate import Certificate, read_certificate
from duck.settings import views

if TYPE_CHECKING:
    from duck.services.privileges import Account
    from duck.settings.load import Settings

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

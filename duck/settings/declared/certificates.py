"""Certificates: for which names Duck obtains them, from whom, and how the names are proved."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final

from duck.settings import kinds
from duck.settings.setting import Setting

LETS_ENCRYPT: Final = "https://acme-v02.api.letsencrypt.org/directory"
LETS_ENCRYPT_STAGING: Final = "https://acme-staging-v02.api.letsencrypt.org/directory"

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


def _check_domains(value: list[str]) -> None:
    for name in value:
        try:
            ipaddress.ip_address(name.strip("[]"))
            continue
        except ValueError:
            pass
        labels = name.removeprefix("*.").removesuffix(".").split(".")
        try:
            # Names in other scripts are taken as users write them.
            labels = [label if label.isascii() else label.encode("idna").decode() for label in labels]
        except UnicodeError:
            labels = [""]
        if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
            raise ValueError(
                f'{name!r} in it is none: give names like "example.org" or "*.example.org", or IP addresses'
            )


def _check_email(value: str | None) -> None:
    if value is not None and not re.fullmatch(r"[^@\s,;<>]+@[^@\s,;<>]+", value):
        raise ValueError("give an e-mail address")


def _check_hmac_key(value: str | None) -> None:
    if value is not None and not re.fullmatch(r"[A-Za-z0-9_-]{16,}={0,2}", value):
        raise ValueError("give the key as the certificate authority told it, in base64url")


def _url(raw: Any, base: object) -> str:
    if isinstance(raw, str) and re.fullmatch(r"https://[^\s/@?#]+(/[^\s?#]*)?", raw):
        return raw
    raise ValueError("give an address that begins with https://")


_URL: Final = kinds.Kind("HTTPS address", _url)

CERTIFICATES: Final = (
    Setting(
        "Certificates",
        "DOMAINS",
        kinds.items(kinds.HOST, "names"),
        [],
        "The public names of the site; the first is DOMAIN, unless that is set."
        " For these `duck serve` obtains certificates, one for each, and renews them.",
        flags=("-d", "--domain"),
        metavar="NAME",
        check=_check_domains,
    ),
    Setting(
        "Certificates",
        "EMAIL",
        kinds.TEXT.or_none(),
        None,
        "Where the certificate authority may write to; by default nowhere.",
        flags=("--email",),
        metavar="ADDRESS",
        of=("serve",),
        check=_check_email,
    ),
    Setting(
        "Certificates",
        "AGREE_TOS",
        kinds.BOOLEAN,
        False,
        "Whether the terms of the certificate authority are accepted; needed once for each, and recorded.",
        flags=("--agree-tos/--no-agree-tos",),
        of=("serve",),
    ),
    Setting(
        "Certificates",
        "ACME_DIRECTORY",
        _URL,
        LETS_ENCRYPT,
        "The certificate authority, by the address of its ACME directory (RFC 8555).",
        flags=("--acme-directory",),
        metavar="URL",
        of=("serve",),
    ),
    Setting(
        "Certificates",
        "ACME_CA_FILE",
        kinds.PATH.or_none(),
        None,
        "PEM file of the authorities that ACME_DIRECTORY's own certificate is checked by, where it is a private one.",
        flags=("--acme-ca-file",),
        metavar="PATH",
        of=("serve",),
    ),
    Setting(
        "Certificates",
        "ACME_EAB_KID",
        kinds.TEXT.or_none(),
        None,
        "The key identifier of an account that the certificate authority has already, where it binds those of ACME to"
        " such (external account binding); needed once for each.",
        flags=("--eab-kid",),
        metavar="ID",
        of=("serve",),
    ),
    Setting(
        "Certificates",
        "ACME_EAB_HMAC_KEY",
        kinds.TEXT.or_none(),
        None,
        "The key that belongs to ACME_EAB_KID, in base64url. It is a secret: all users of a machine see options, and"
        " none but the one who serves sees variables.",
        flags=("--eab-hmac-key",),
        metavar="KEY",
        of=("serve",),
        check=_check_hmac_key,
        secret=True,
    ),
    Setting(
        "Certificates",
        "ACME_STAGING_DIRECTORY",
        _URL.or_none(),
        None,
        "Where is tried again after failures, until it works there."
        " By default Let's Encrypt's own where ACME_DIRECTORY is Let's Encrypt's, else none.",
    ),
    Setting(
        "Certificates",
        "ACME_PROFILE",
        kinds.NAME.or_none(),
        None,
        "The profile of certificates that is asked for, such as `shortlived`."
        " By default the authority's own, and `shortlived` for IP addresses where it has that.",
        flags=("--acme-profile",),
        metavar="NAME",
        of=("serve",),
    ),
    Setting(
        "Certificates",
        "ACME_DNS_HOOK",
        kinds.COMMAND.or_none(),
        None,
        "A command that puts a TXT record into the DNS and takes it out again: names are proved by it (dns-01), and not"
        " over port 80; `*.` names can be proved in no other way.",
        flags=("--acme-dns-hook",),
        metavar="COMMAND",
        of=("serve",),
    ),
    Setting(
        "Certificates",
        "ACME_DNS_WAIT",
        kinds.duration(zero_is_off=True),
        10.0,
        "How long the DNS is given after ACME_DNS_HOOK until the certificate authority looks; 0 for none.",
        unit="seconds",
    ),
)

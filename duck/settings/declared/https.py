"""HTTPS: with which certificates, for which clients, and what plain HTTP is answered."""

from __future__ import annotations

import re
from typing import Final

from duck.settings import kinds
from duck.settings.setting import Setting

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
# What frames an answer is not for a setting to say.
_FRAMING = {"connection", "content-length", "date", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}


def _check_redirect_status(value: int) -> None:
    if value not in (301, 308):
        raise ValueError("give 308, which keeps method and body, or 301")


def _check_fields(value: dict[str, str]) -> None:
    for name, content in value.items():
        if not _NAME.fullmatch(name) or name.lower() in _FRAMING:
            raise ValueError(f"{name!r} in it is no field that can be added")
        if not _VALUE.fullmatch(content) or content != content.strip():
            raise ValueError(f"the value of {name!r} in it is none of a field: give one line")


_FIELDS: Final = kinds.table(kinds.TEXT, kinds.TEXT, "field name to value")

HTTPS: Final = (
    Setting(
        "HTTPS",
        "ENABLE_HTTPS",
        kinds.BOOLEAN,
        False,
        "Whether HTTPS is spoken at ADDRESS and PORT, and on TCP sockets that are handed over (`fd:N`, systemd)."
        " `duck serve` with DOMAINS and without ADDRESS, PORT and LISTEN serves HTTPS on port 443 of all addresses by"
        " default, and redirects from port 80.",
        flags=("--https/--no-https",),
    ),
    Setting(
        "HTTPS",
        "SSL_CERTFILE_LOCATION",
        kinds.items(kinds.PATH, "paths"),
        [],
        "PEM files of certificates, each with its chain; clients get the one for the name that they ask for, else the"
        " first. Changes of the files are noticed.",
        flags=("--certfile",),
        metavar="PATH",
    ),
    Setting(
        "HTTPS",
        "SSL_PRIVATE_KEY_LOCATION",
        kinds.items(kinds.PATH, "paths"),
        [],
        "PEM files of their private keys, in the same order, which only their owner and group may read."
        " By default the keys are in the files of the certificates.",
        flags=("--keyfile",),
        metavar="PATH",
    ),
    Setting(
        "HTTPS",
        "SSL_ALLOW_READABLE_KEYS",
        kinds.BOOLEAN,
        False,
        "Whether private keys that everybody may read are used, too: secrets that a platform mounts have such modes.",
    ),
    Setting(
        "HTTPS",
        "SSL_CLIENT_CERTIFICATES",
        kinds.choice("none", "requested", "required"),
        "none",
        "Whether clients are asked for a certificate. One that is given has to be valid and of SSL_CA_FILE; the views"
        " see whose it is (`SSL_CLIENT_VERIFY`, `SSL_CLIENT_S_DN`).",
        flags=("--client-certificates",),
    ),
    Setting(
        "HTTPS",
        "SSL_CA_FILE",
        kinds.PATH.or_none(),
        None,
        "PEM file of the authorities that clients' certificates may be from.",
        flags=("--ca-file",),
        metavar="PATH",
    ),
    Setting(
        "HTTPS",
        "SSL_HANDSHAKE_TIMEOUT",
        kinds.duration(),
        10.0,
        "From a connection to the end of its TLS handshake; later it is closed.",
        unit="seconds",
    ),
    Setting(
        "HTTPS",
        "SSL_MAX_HANDSHAKES",
        kinds.integer(1, 1_000_000, "a number of handshakes"),
        1024,
        "TLS handshakes that each worker has under way at once; where more begin, the oldest of them is closed.",
        unit="handshakes",
    ),
    Setting(
        "HTTPS",
        "FORCE_HTTPS",
        kinds.BOOLEAN,
        False,
        "Whether plain HTTP at FORCE_HTTPS_BIND_PORT is redirected to HTTPS; a site by DOMAINS does so at port 80.",
        aliases=("HTTPS_REDIRECT",),
        flags=("--force-https/--no-force-https",),
    ),
    Setting(
        "HTTPS",
        "FORCE_HTTPS_BIND_PORT",
        kinds.integer(0, 65535, "a port"),
        8080,
        "Where the redirect listens, on the addresses of HTTPS; 0 takes a free port, and 80 is meant for a site by"
        " DOMAINS where none is given.",
        aliases=("HTTPS_REDIRECT_BIND_PORT",),
    ),
    Setting(
        "HTTPS",
        "FORCE_HTTPS_STATUS",
        kinds.integer(301, 308, "a status"),
        308,
        "With which status GET and HEAD are redirected; other methods always with 308, which keeps method and body.",
        check=_check_redirect_status,
    ),
    Setting(
        "HTTPS",
        "HSTS_MAX_AGE",
        kinds.duration(zero_is_off=True),
        0.0,
        "How long browsers that came by HTTPS refuse plain HTTP to this host (`Strict-Transport-Security`), where the"
        " answer does not say so itself; 0 for not at all.",
        unit="seconds",
    ),
    Setting(
        "HTTPS",
        "HSTS_INCLUDE_SUBDOMAINS",
        kinds.BOOLEAN,
        False,
        "Whether HSTS_MAX_AGE is for all names below this host, too.",
    ),
    Setting(
        "HTTPS",
        "HSTS_PRELOAD",
        kinds.BOOLEAN,
        False,
        "Whether the host consents to be in the lists that browsers are delivered with, from which there is no quick"
        " way back.",
    ),
    Setting(
        "HTTPS",
        "SECURITY_HEADERS",
        _FIELDS,
        {},
        "Fields added to every answer that does not have them, such as `Referrer-Policy`; by default none.",
        check=_check_fields,
    ),
    Setting(
        "HTTPS",
        "SSL_SECURITY_HEADERS",
        _FIELDS,
        {},
        "Fields added to answers over HTTPS that do not have them; by default none.",
        check=_check_fields,
    ),
)

"""Whose certificate a client has shown, as variables that views know from nginx and Apache's mod_ssl.

SSL_CLIENT_VERIFY     SUCCESS, or NONE where none was shown; there is nothing else: a wrong one ends the handshake
SSL_CLIENT_S_DN       the subject, as RFC 4514 writes it: CN=Ada,O=Example
SSL_CLIENT_S_DN_CN    its common name
SSL_CLIENT_I_DN       the issuer
SSL_CLIENT_M_SERIAL   the serial number, in hexadecimal digits
SSL_CLIENT_V_END      until when it is valid
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Variables = tuple[tuple[str, str], ...]

NOBODY: Final[Variables] = (("SSL_CLIENT_VERIFY", "NONE"),)

# RFC 4514 §3; others stand by the names that OpenSSL gives them.
_SHORT: Final = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "userId": "UID",
}
_ESCAPED: Final = frozenset('"+,;<>\\=')


def variables_of(certificate: Mapping[str, Any] | None) -> Variables:
    """Names and values for a verified certificate as `SSLObject.getpeercert` tells it.

    An empty one means that the client was asked and showed none; None, that it was not asked.
    """
    if certificate is None:
        return ()
    if not certificate:
        return NOBODY
    subject = certificate.get("subject", ())
    names = [value for part in subject for name, value in part if name == "commonName"]
    return (
        ("SSL_CLIENT_VERIFY", "SUCCESS"),
        ("SSL_CLIENT_S_DN", distinguished_name(subject)),
        ("SSL_CLIENT_S_DN_CN", _escape(names[-1]) if names else ""),
        ("SSL_CLIENT_I_DN", distinguished_name(certificate.get("issuer", ()))),
        ("SSL_CLIENT_M_SERIAL", str(certificate.get("serialNumber", ""))),
        ("SSL_CLIENT_V_END", str(certificate.get("notAfter", ""))),
    )


def distinguished_name(parts: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    """`parts` as RFC 4514 writes them, the last first; printable ASCII only."""
    return ",".join(
        "+".join(f"{_SHORT.get(name, name)}={_escape(value)}" for name, value in part) for part in parts[::-1]
    )


def _escape(value: str) -> str:
    """RFC 4514 §2.4, and everything but printable ASCII by its UTF-8 bytes, as nginx does."""
    written = []
    for character in value:
        if character in _ESCAPED:
            written.append("\\" + character)
        elif " " <= character <= "~":
            written.append(character)
        else:
            written.append("".join(f"\\{byte:02X}" for byte in character.encode("utf-8", "surrogatepass")))
    if written and written[0] in (" ", "#"):
        written[0] = "\\" + written[0]
    if len(written) > 1 and written[-1] == " ":
        written[-1] = "\\ "
    return "".join(written)

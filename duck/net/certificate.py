"""A certificate and its key, as files: read, checked, loaded. Each fault is one sentence of its own."""

from __future__ import annotations

import os
import ssl
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from duck.exceptions import SSLError

if TYPE_CHECKING:
    from cryptography import x509

_REMEDY = "give others with --certfile and --keyfile"


@dataclass(frozen=True)
class Certificate:
    """What is known of one pair of files.

    Attributes:
        names: host names and addresses that it is for, in lower case; `*.example.org` stands for one more label.
        not_before, not_after: when it is valid, in UTC.
        fingerprint: SHA-256, in hexadecimal digits.
    """

    chain: str
    key: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    fingerprint: str

    def is_for(self, name: str) -> bool:
        """Whether clients that ask for `name`, a host name or an address, may be shown this one (RFC 9525 §6.3)."""
        name = name.lower().rstrip(".").strip("[]")
        label, _, parent = name.partition(".")
        return name in self.names or (label != "" and "*." + parent in self.names)


def load_pair(context: ssl.SSLContext, chain: str, key: str) -> None:
    """Have `context` serve the certificate in `chain`.

    Raises:
        SSLError: the files do not belong together, or OpenSSL refuses them.
    """
    try:
        context.load_cert_chain(chain, key, password=_no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise SSLError(
            f"The certificate {chain} and the key {key} cannot be used: {reason_of(error)}; {_REMEDY}."
        ) from error


def read_certificate(
    chain: str | os.PathLike[str],
    key: str | os.PathLike[str],
    *,
    trusts_readable: bool = False,
    now: datetime | None = None,
) -> Certificate:
    """The certificate in `chain`, whose private key is in `key`; both PEM.

    Raises:
        SSLError: a file is missing or unreadable, the key is not that of the certificate, others may read it (unless
            `trusts_readable`), or the certificate has expired.
    """
    # Not above: 8 MB and 0.1 s, which nobody has to pay who serves no HTTPS.
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    chain, key = os.fspath(chain), os.fspath(key)
    data = _read(chain, "certificate")
    try:
        leaf = x509.load_pem_x509_certificate(data)
    except ValueError as error:
        raise SSLError(f"{chain} holds no certificate in PEM form ({error}); {_REMEDY}.") from error
    secret = _read(key, "private key")
    if not trusts_readable:
        _check_mode(key)
    try:
        private = load_pem_private_key(secret, None)
    except TypeError as error:
        raise SSLError(f"The private key {key} is encrypted; give one without a passphrase, of mode 0600.") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SSLError(f"{key} holds no private key in PEM form; {_REMEDY}.") from error
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if leaf.public_key().public_bytes(*form) != private.public_key().public_bytes(*form):
        raise SSLError(
            f"The private key {key} is not that of the certificate {chain}; give the two that belong together."
        )
    now = now or datetime.now(UTC)
    if leaf.not_valid_after_utc < now:
        raise SSLError(f"The certificate {chain} has expired on {in_utc(leaf.not_valid_after_utc)}; renew it.")
    return Certificate(
        chain,
        key,
        _names(leaf),
        leaf.not_valid_before_utc,
        leaf.not_valid_after_utc,
        leaf.fingerprint(SHA256()).hex(),
    )


def alternative_names(certificate: x509.Certificate | x509.CertificateSigningRequest) -> tuple[str, ...]:
    """The names of its subjectAltName (RFC 5280 §4.2.1.6), in lower case; none where it has no such extension."""
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    names = [name.lower() for name in found.get_values_for_type(x509.DNSName)]
    return (*names, *(str(address) for address in found.get_values_for_type(x509.IPAddress)))


def in_utc(moment: datetime | float) -> str:
    """`moment`, in UTC or in seconds since the epoch, as sentences say it."""
    if not isinstance(moment, datetime):
        moment = datetime.fromtimestamp(moment, UTC)
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def reason_of(error: BaseException) -> str:
    """What OpenSSL says went wrong, in its own words."""
    reason = getattr(error, "reason", None)
    return str(reason).replace("_", " ").lower() if reason else str(error) or type(error).__name__


def _read(path: str, what: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except FileNotFoundError as error:
        raise SSLError(f"There is no {what} at {path}; {_REMEDY}.") from error
    except OSError as error:
        raise SSLError(
            f"The {what} {path} cannot be read: {error.strerror}; give the user who runs Duck the right."
        ) from error


def _check_mode(path: str) -> None:
    if os.name != "posix":
        return
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & 0o007:
        raise SSLError(
            f"The private key {path} has mode {mode:04o}, so that others than its owner and group can get at it;"
            " say `chmod 640` (or 600), or SSL_ALLOW_READABLE_KEYS where a mounted secret has no other mode."
        )


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    from cryptography import x509

    found = leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return alternative_names(leaf) or tuple(str(attribute.value).lower() for attribute in found)


def _no_password() -> str:
    raise ValueError("the key is encrypted")  # else OpenSSL would ask at the terminal

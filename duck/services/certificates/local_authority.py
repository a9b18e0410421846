"""The certificate authority of one developer's machine: made there, trusted there, and good for local names only.

    <state>/local-authority/{ca.pem, ca-key.pem}
    <state>/local/<name>/...                        its certificates, as in `store`

Name constraints (RFC 5280 §4.2.1.10) are in the authority's own certificate: a thief of its key could speak for
localhost, test names, private addresses and this machine, and for no site.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from duck.exceptions import CertificateError
from duck.services.certificates.leaf import BACKDATED, PrivateKey, key_pem, key_usage, new_key, server_certificate
from duck.services.certificates.lease import alone
from duck.services.certificates.names import address_of, canonical, why_private
from duck.services.certificates.private_file import make_directory, write_new
from duck.services.certificates.store import LOCAL, CertificateStore, Pair

_LIFE: Final = timedelta(days=3650)
_LEAF_LIFE: Final = timedelta(days=30)
_RENEWED_BEFORE: Final = timedelta(days=10)
_DOMAINS: Final = ("localhost", "test")
_NETWORKS: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    )
)
ALWAYS: Final = ("localhost", "127.0.0.1", "::1")


def machine_names(hostname: str | None = None) -> tuple[str, ...]:
    """What this machine is called in its own network; a name that is in the public DNS is none of them.

    `dev` alone could be the top-level domain: a constraint to it would permit all of `.dev`. Those are of letters only,
    so a name with a digit or a dash is safe; others get `.local` (multicast DNS, RFC 6762).
    """
    try:
        name = canonical(socket.gethostname() if hostname is None else hostname)
    except CertificateError:
        return ()
    if address_of(name) is not None:
        return ()
    label = name.partition(".")[0]
    found = [f"{label}.local"]
    if not label.startswith("xn--") and re.search(r"[0-9-]", label):
        found.insert(0, label)
    if "." in name and why_private(name):
        found.append(name)
    return tuple(dict.fromkeys(found))


def would_permit(name: str) -> bool:
    """Whether the authority of this machine, made now, could speak for `name`, canonical."""
    return _is_within(name, (*_DOMAINS, *machine_names()), _NETWORKS)


class LocalAuthority:
    """The authority in one state directory.

    Attributes:
        certificate: its own; self-signed.
        path: where that is, as PEM.
    """

    def __init__(self, state: Path, certificate: x509.Certificate, key: PrivateKey) -> None:
        self.path = state / "local-authority" / "ca.pem"
        self.certificate = certificate
        self._key = key
        self._store = CertificateStore(state, "local")

    @classmethod
    def find(cls, state: Path) -> LocalAuthority | None:
        """The one that was made before; None where none was.

        Raises:
            CertificateError: its files cannot be read.
        """
        directory = state / "local-authority"
        try:
            certificate = x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes())
            key = load_pem_private_key((directory / "ca-key.pem").read_bytes(), None)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise CertificateError(
                f"The local authority in {directory} cannot be read: {error}; `duck cert untrust` and remove that"
                " directory, then another one is made.",
                kind="disk",
            ) from error
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return cls(state, certificate, key)

    @classmethod
    def find_or_make(
        cls, state: Path, *, machine: Sequence[str] | None = None, now: datetime | None = None
    ) -> LocalAuthority:
        """The one that was made before, or a new one, for `machine`'s names besides.

        Raises:
            CertificateError: its files cannot be read or written.
        """
        with alone(state / "local-authority"):
            found = cls.find(state)
            now = datetime.now(UTC) if now is None else now
            if found is not None and found.certificate.not_valid_after_utc - now > _LEAF_LIFE:
                return found
            return cls._make(state, machine_names() if machine is None else machine, now)

    @classmethod
    def _make(cls, state: Path, machine: Sequence[str], now: datetime) -> LocalAuthority:
        key = new_key()
        public = key.public_key()
        own = x509.SubjectKeyIdentifier.from_public_key(public)
        mark = own.digest.hex()[:8]  # so that two of them can be told apart in a list of authorities
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Duck development"),
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, (machine[0] if machine else "this machine")[:64]),
                x509.NameAttribute(NameOID.COMMON_NAME, f"Duck local authority {mark}"),
            ]
        )
        permitted: list[x509.GeneralName] = [x509.DNSName(domain) for domain in (*_DOMAINS, *machine)]
        permitted += [x509.IPAddress(network) for network in _NETWORKS]
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + _LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.NameConstraints(permitted, None), critical=True)
            .add_extension(own, critical=False)
            .sign(key, SHA256())
        )
        directory = make_directory(state / "local-authority")
        try:
            for file, data in (("ca-key.pem", key_pem(key)), ("ca.pem", made.public_bytes(Encoding.PEM))):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(directory / file)
                write_new(directory / file, data)
        except OSError as error:
            raise CertificateError(
                f"{directory} cannot be written: {error.strerror or error}; make room, or name another place with"
                " --state-dir.",
                kind="disk",
            ) from error
        return cls(state, made, key)

    @property
    def name(self) -> str:
        """Its common name, which lists of authorities show."""
        return str(self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)

    def permits(self, name: str) -> bool:
        """Whether its constraints let it speak for `name`, canonical."""
        subtrees = self.certificate.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
        values = [getattr(subtree, "value", None) for subtree in subtrees or ()]
        networks = [value for value in values if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network)]
        return _is_within(name, [value for value in values if isinstance(value, str)], networks)

    def leaf(self, names: Iterable[str], *, now: datetime | None = None) -> Pair:
        """The certificate for `names`, kept under the first of them; made anew where there is none that will do.

        Raises:
            CertificateError: one of them is not local, or it cannot be written.
        """
        wanted = list(dict.fromkeys(canonical(name) for name in names))
        for name in wanted:
            if not self.permits(name):
                raise CertificateError(
                    f"The local authority may not speak for {name}: only for localhost, names that end in .localhost or"
                    f" .test, private addresses and this machine's own name; use {name.partition('.')[0]}.test.",
                    kind="name",
                )
        now = datetime.now(UTC) if now is None else now
        entry = self._store.entry(wanted[0])
        with alone(entry.directory):
            found = entry.pair()
            if (
                found is not None
                and set(wanted) <= set(found.names)
                and found.not_before <= now < found.not_after - _RENEWED_BEFORE
                and found.about.get("authority") == self._identifier
            ):
                return found
            key = new_key()
            made = server_certificate(
                wanted,
                key.public_key(),
                self.certificate.subject,
                self._key,
                self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value,
                now=now,
                until=min(now + _LEAF_LIFE, self.certificate.not_valid_after_utc),
            )
            # The authority goes with it: a client that trusts it has it, and `openssl s_client` can be shown it.
            chain = made.public_bytes(Encoding.PEM) + self.certificate.public_bytes(Encoding.PEM)
            return entry.write(chain, key_pem(key), {"kind": LOCAL, "authority": self._identifier})

    @property
    def _identifier(self) -> str:
        own = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return own.digest.hex()

    @staticmethod
    def renewal(pair: Pair) -> float:
        """When `leaf` would make `pair` anew, in seconds since the epoch."""
        return (pair.not_after - _RENEWED_BEFORE).timestamp()


def _is_within(
    name: str, domains: Iterable[str], networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]
) -> bool:
    """Whether `name` is one of `domains` or below it, or an address in one of `networks` (RFC 5280 §4.2.1.10)."""
    address, host = address_of(name), name.removeprefix("*.")
    if address is not None:
        return any(address in network for network in networks)
    return any(host == domain or host.endswith(f".{domain}") for domain in domains)

"""Keys, certificates of servers, and requests for them; all ECDSA on P-256."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from duck.services.certificates.lease import alone
from duck.services.certificates.names import general_names
from duck.services.certificates.store import SELF_SIGNED, Entry, Pair

PrivateKey = ec.EllipticCurvePrivateKey

# Clocks of clients may be late by so much.
BACKDATED: Final = timedelta(hours=1)
_SELF_SIGNED_LIFE: Final = timedelta(days=30)


def new_key() -> PrivateKey:
    """A new private key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: PrivateKey) -> bytes:
    """`key` as PEM, in PKCS #8."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def signing_request(key: PrivateKey, names: Sequence[str]) -> bytes:
    """A certificate signing request as PEM. The names stand in subjectAltName alone, as RFC 8555 §7.4 allows."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName(general_names(names)), critical=False)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def server_certificate(
    names: Sequence[str],
    public: ec.EllipticCurvePublicKey,
    issuer: x509.Name | None,
    signer: PrivateKey,
    issuer_key_identifier: x509.SubjectKeyIdentifier | None,
    *,
    now: datetime,
    until: datetime,
) -> x509.Certificate:
    """A certificate of a server for `names`, canonical (RFC 5280 §4.2); self-signed where there is no `issuer`."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Duck"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "self-signed" if issuer is None else "development"),
        ]
    )
    own = x509.SubjectKeyIdentifier.from_public_key(public)
    authority = own if issuer_key_identifier is None else issuer_key_identifier
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(until)
        .add_extension(x509.SubjectAlternativeName(general_names(names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(own, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority), critical=False)
        .sign(signer, SHA256())
    )


def key_usage(*, digital_signature: bool = False, signs_certificates: bool = False) -> x509.KeyUsage:
    """What a key is for: of a server to sign handshakes, of an authority to sign certificates and their revocation."""
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def self_signed(entry: Entry, *, now: datetime | None = None) -> Pair:
    """Make a self-signed certificate current in `entry`: clients warn of it, and something answers.

    Raises:
        CertificateError: it cannot be written.
    """
    now = datetime.now(UTC) if now is None else now
    key = new_key()
    made = server_certificate([entry.name], key.public_key(), None, key, None, now=now, until=now + _SELF_SIGNED_LIFE)
    with alone(entry.directory):
        return entry.write(made.public_bytes(Encoding.PEM), key_pem(key), {"kind": SELF_SIGNED})

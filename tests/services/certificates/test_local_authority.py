"""The authority of one machine: what it may speak for, and who believes it."""

from __future__ import annotations

import ipaddress
import ssl
import stat
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from duck.exceptions import CertificateError
from duck.services.certificates.leaf import new_key, server_certificate
from duck.services.certificates.local_authority import ALWAYS, LocalAuthority, machine_names
from duck.services.certificates.store import LOCAL, Pair

NAMES = [
    "localhost",
    "shop.localhost",
    "shop.test",
    "*.shop.test",
    "box-1",
    "box-1.local",
    "127.0.0.1",
    "192.168.1.7",
    "10.0.0.1",
    "::1",
    "fd00::1",
]
OTHERS = ["example.org", "test.org", "mytest", "8.8.8.8", "2606:4700::1111", "box-2", "local", "*.org"]


@pytest.fixture
def authority(state: Path) -> LocalAuthority:
    return LocalAuthority.find_or_make(state, machine=("box-1", "box-1.local"))


def subject(name: str) -> x509.verification.Subject:  # type: ignore[name-defined]
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.replace("*", "any"))


def verify(chain: list[x509.Certificate], root: x509.Certificate, name: str) -> None:
    PolicyBuilder().store(Store([root])).build_server_verifier(subject(name)).verify(chain[0], chain[1:])


def openssl_verify(chain: Path, root: Path, name: str) -> subprocess.CompletedProcess[str]:
    kind = "-verify_ip" if subject(name).__class__ is x509.IPAddress else "-verify_hostname"
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", str(root)]
    return subprocess.run(
        [*command, kind, name.replace("*", "any"), str(chain)], capture_output=True, text=True, check=False
    )


def forged(authority: LocalAuthority, name: str, tmp_path: Path) -> Path:
    """What a thief of the key would make."""
    key = load_pem_private_key((authority.path.parent / "ca-key.pem").read_bytes(), None)
    now = datetime.now(UTC)
    made = server_certificate(
        [name],
        new_key().public_key(),
        authority.certificate.subject,
        key,  # type: ignore[arg-type]
        authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value,
        now=now,
        until=now + timedelta(days=1),
    )
    path = tmp_path / "forged.pem"
    path.write_bytes(made.public_bytes(Encoding.PEM))
    return path


class TestConstraints:
    @pytest.mark.parametrize("name", NAMES)
    def test_what_it_speaks_for_is_believed(self, authority: LocalAuthority, name: str) -> None:
        assert authority.permits(name)
        pair = authority.leaf([name])
        verify(x509.load_pem_x509_certificates(pair.chain.read_bytes())[:1], authority.certificate, name)
        done = openssl_verify(pair.chain, authority.path, name)
        assert done.returncode == 0, done.stdout + done.stderr

    @pytest.mark.parametrize("name", OTHERS)
    def test_what_is_no_business_of_its_own_it_refuses(self, authority: LocalAuthority, name: str) -> None:
        assert not authority.permits(name)
        with pytest.raises(CertificateError, match="The local authority may not speak for") as caught:
            authority.leaf(["localhost", name])
        assert caught.value.kind == "name"

    @pytest.mark.parametrize("name", [name for name in OTHERS if name != "*.org"])
    def test_who_has_stolen_its_key_is_not_believed_either(
        self, authority: LocalAuthority, name: str, tmp_path: Path
    ) -> None:
        path = forged(authority, name, tmp_path)
        with pytest.raises(VerificationError):
            verify(x509.load_pem_x509_certificates(path.read_bytes()), authority.certificate, name)
        done = openssl_verify(path, authority.path, name)
        assert done.returncode != 0
        assert "permitted subtree violation" in done.stdout + done.stderr

    def test_it_makes_no_further_authority(self, authority: LocalAuthority) -> None:
        found = authority.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        assert found.critical and found.value.ca and found.value.path_length == 0
        usage = authority.certificate.extensions.get_extension_for_class(x509.KeyUsage)
        assert usage.critical and usage.value.key_cert_sign and not usage.value.digital_signature
        assert authority.certificate.extensions.get_extension_for_class(x509.NameConstraints).critical


@pytest.mark.parametrize(
    ("hostname", "names"),
    [
        ("box-1", ("box-1", "box-1.local")),
        ("web7", ("web7", "web7.local")),
        # A top-level domain: permitting it would permit all of .dev.
        ("dev", ("dev.local",)),
        ("laptop", ("laptop.local",)),
        ("xn--p1ai", ("xn--p1ai.local",)),
        ("laptop.lan", ("laptop.local", "laptop.lan")),
        ("laptop.local", ("laptop.local",)),
        ("db1.example.org", ("db1", "db1.local")),
        ("192.168.0.7", ()),
        ("not a name", ()),
    ],
)
def test_a_machines_name_never_opens_a_public_domain(hostname: str, names: tuple[str, ...]) -> None:
    assert machine_names(hostname) == names


class TestLeaf:
    def test_it_is_for_a_server_and_short(self, authority: LocalAuthority) -> None:
        pair = authority.leaf(ALWAYS)
        leaf = x509.load_pem_x509_certificate(pair.chain.read_bytes())
        extensions = leaf.extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["localhost"]
        assert set(map(str, names.get_values_for_type(x509.IPAddress))) == {"127.0.0.1", "::1"}
        usage = extensions.get_extension_for_class(x509.KeyUsage)
        assert usage.critical and usage.value.digital_signature and not usage.value.key_cert_sign
        assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
            ExtendedKeyUsageOID.SERVER_AUTH
        ]
        assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        issuer = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        assert extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == issuer.digest
        own = extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        assert own == x509.SubjectKeyIdentifier.from_public_key(leaf.public_key())
        assert leaf.not_valid_after_utc - leaf.not_valid_before_utc <= timedelta(days=31)
        assert pair.kind == LOCAL

    def test_what_is_there_and_will_do_is_used_again(self, authority: LocalAuthority) -> None:
        pair = authority.leaf(["shop.test", "www.shop.test"])
        assert authority.leaf(["shop.test"]) == pair
        assert authority.leaf(["shop.test", "api.shop.test"]) != pair

    def test_it_is_made_anew_before_it_expires(self, authority: LocalAuthority) -> None:
        pair = authority.leaf(["shop.test"])
        assert authority.leaf(["shop.test"], now=pair.not_after - timedelta(days=11)) == pair
        later = authority.leaf(["shop.test"], now=pair.not_after - timedelta(days=9))
        assert later.serial != pair.serial
        assert later.not_after > pair.not_after

    def test_one_of_another_authority_is_not_used(self, authority: LocalAuthority, state: Path) -> None:
        pair = authority.leaf(["shop.test"])
        for path in authority.path.parent.glob("*.pem"):
            path.unlink()
        other = LocalAuthority.find_or_make(state, machine=())
        assert other.name != authority.name
        assert other.leaf(["shop.test"]).issuer != pair.issuer

    def test_a_browser_that_trusts_the_authority_speaks_tls_with_it(self, authority: LocalAuthority) -> None:
        pair = authority.leaf(ALWAYS)
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=str(authority.path))
        server.load_cert_chain(pair.chain, pair.key)
        for name in ALWAYS:
            shake_hands(server, client, name)
        with pytest.raises(ssl.SSLCertVerificationError):
            shake_hands(server, client, "shop.test")


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = server.wrap_bio(up, down, server_side=True)
    there = client.wrap_bio(down, up, server_hostname=name)
    done = [False, False]
    for _ in range(10):
        for index, side in enumerate((there, here)):
            try:
                side.do_handshake()
                done[index] = True
            except ssl.SSLWantReadError:
                pass
    assert done == [True, True]


def test_files_are_their_owners_alone(authority: LocalAuthority, state: Path) -> None:
    authority.leaf(ALWAYS)
    for path in state.rglob("*"):
        if not path.is_symlink():
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_of_many_at_once_one_makes_it(state: Path) -> None:
    made: list[tuple[str, Pair]] = []

    def make() -> None:
        authority = LocalAuthority.find_or_make(state, machine=())
        made.append((authority.name, authority.leaf(ALWAYS)))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({name for name, _ in made}) == 1
    assert len({pair.serial for _, pair in made}) == 1


def test_files_that_were_damaged_are_told_of(authority: LocalAuthority, state: Path) -> None:
    authority.path.write_bytes(b"nonsense")
    with pytest.raises(CertificateError, match=r"cannot be read: .* remove that directory"):
        LocalAuthority.find_or_make(state)
    assert LocalAuthority.find(state.parent / "elsewhere") is None


def test_one_that_is_about_to_expire_is_made_anew(state: Path) -> None:
    old = LocalAuthority.find_or_make(state, machine=(), now=datetime.now(UTC) - timedelta(days=3640))
    new = LocalAuthority.find_or_make(state, machine=())
    assert new.name != old.name


def test_no_key_is_in_the_template_or_the_package() -> None:
    root = Path(__file__).resolve().parents[3]
    for directory in ("project_template", "duck"):
        for path in (root / directory).rglob("*"):
            if path.is_file() and path.suffix != ".pyc":
                assert b"PRIVATE KEY-----\n" not in path.read_bytes(), path
                assert path.suffix not in (".pem", ".key", ".crt", ".p12"), path

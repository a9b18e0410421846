"""A pair of certificate and key: what is read of it, and one sentence for each thing that can be wrong."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from duck.exceptions import SSLError
from duck.net.certificate import read_certificate
from tests.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_a_certificate_tells_its_names_in_lower_case_with_addresses(authority):
    chain, key = authority.issue("Example.org", "*.example.org", "127.0.0.1", "::1")
    assert read_certificate(chain, key).names == ("example.org", "*.example.org", "127.0.0.1", "::1")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.example.org", True),
        ("A.Example.Org.", True),
        ("a.b.example.org", False),
        ("example.org", False),
        (".example.org", False),
        ("..example.org", False),
        ("", False),
    ],
)
def test_a_wildcard_is_for_one_label_that_is_there(authority, name, expected):
    assert read_certificate(*authority.issue("*.example.org")).is_for(name) is expected


def refused(chain: str, key: str, **more: bool) -> str:
    with pytest.raises(SSLError) as caught:
        read_certificate(chain, key, **more)
    sentence = str(caught.value)
    assert re.fullmatch(r"[^\n]+\.", sentence)
    return sentence


def test_a_missing_file_is_named(authority):
    chain, key = authority.issue("a.example")
    assert refused("/nowhere/a.crt", key).startswith("There is no certificate at /nowhere/a.crt")
    assert refused(chain, "/nowhere/a.key").startswith("There is no private key at /nowhere/a.key")


def test_a_key_of_another_certificate_is_told(authority):
    chain, _ = authority.issue("a.example")
    _, key = authority.issue("b.example")
    assert refused(chain, key).startswith(f"The private key {key} is not that of the certificate {chain}")


def test_an_expired_certificate_is_told_with_its_date(authority):
    chain, key = authority.issue("a.example", days=-2)
    assert re.match(rf"The certificate {re.escape(chain)} has expired on \d{{4}}-\d\d-\d\d", refused(chain, key))


def test_what_is_no_pem_is_told(authority, tmp_path):
    chain, key = authority.issue("a.example")
    (tmp_path / "text").write_text("hello")
    os.chmod(tmp_path / "text", 0o600)
    assert "holds no certificate in PEM form" in refused(str(tmp_path / "text"), key)
    assert "holds no private key in PEM form" in refused(chain, str(tmp_path / "text"))


def test_an_encrypted_key_is_told_and_nobody_is_asked_for_a_passphrase(authority, tmp_path):
    chain, _ = authority.issue("a.example")
    key = tmp_path / "secret.key"
    made = ec.generate_private_key(ec.SECP256R1())
    key.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    os.chmod(key, 0o600)
    assert "is encrypted" in refused(chain, str(key))


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
class TestModes:
    @pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
    def test_owner_and_group_may_read_a_key(self, authority, mode):
        chain, key = authority.issue("a.example")
        os.chmod(key, mode)
        read_certificate(chain, key)

    @pytest.mark.parametrize("mode", [0o644, 0o604, 0o602])
    def test_a_key_that_others_can_get_at_is_refused(self, authority, mode):
        chain, key = authority.issue("a.example")
        os.chmod(key, mode)
        assert f"has mode {mode:04o}" in refused(chain, key)

    def test_a_mounted_secret_is_accepted_where_that_was_said(self, authority):
        chain, key = authority.issue("a.example")
        os.chmod(key, 0o644)
        read_certificate(chain, key, trusts_readable=True)

    @pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may read everything")
    def test_an_unreadable_file_is_told(self, authority):
        chain, key = authority.issue("a.example")
        os.chmod(key, 0)
        assert f"The private key {key} cannot be read" in refused(chain, key)


def test_an_unreadable_file_is_told_to_root_too(authority, tmp_path):
    chain, _ = authority.issue("a.example")
    assert f"The private key {tmp_path} cannot be read: Is a directory" in refused(chain, str(tmp_path))

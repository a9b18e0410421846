"""Which names there are, and which of them a public authority is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from duck.exceptions import CertificateError
from duck.services.certificates.names import (
    canonical,
    file_name,
    is_allowed_host,
    is_public_authority,
    refuse_untellable,
    why_private,
)
from duck.services.certificates.store import CertificateStore
from duck.settings.declared.certificates import LETS_ENCRYPT


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Example.ORG.", "example.org"),
        ("*.Example.org", "*.example.org"),
        ("bücher.example.org", "xn--bcher-kva.example.org"),
        ("localhost", "localhost"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:DB8:0::1]", "2001:db8::1"),
        (" example.org ", "example.org"),
    ],
)
def test_a_name_has_one_form(written: str, name: str) -> None:
    assert canonical(written) == name


@pytest.mark.parametrize(
    "written",
    ["", ".", "a..b", "-a.org", "a b.org", "https://a.org", "a.org:443", "1.2.3", "*.*.org", "a" * 64 + ".org"],
)
def test_what_is_no_name_is_refused(written: str) -> None:
    with pytest.raises(CertificateError, match="is no name that a certificate can be for") as caught:
        canonical(written)
    assert caught.value.kind == "name"


PRIVATE = [
    "localhost",
    "shop",
    "shop.test",
    "shop.localhost",
    "*.shop.test",
    "printer.local",
    "db.internal",
    "nas.home.arpa",
    "router.lan",
    "abc.onion",
    "127.0.0.1",
    "10.1.2.3",
    "192.168.0.1",
    "169.254.1.1",
    "100.64.0.1",
    "::1",
    "fd00::1",
    "fe80::1",
    "2001:db8::1",
    "192.0.2.1",
    "224.0.0.1",
]
PUBLIC = [
    "example.org",
    "*.example.org",
    "xn--bcher-kva.example.org",
    "8.8.8.8",
    "2606:4700::1111",
    "local.example.org",
]


@pytest.mark.parametrize("name", PRIVATE)
def test_a_private_name_is_never_told_to_a_public_authority(name: str) -> None:
    assert why_private(name)
    with pytest.raises(CertificateError, match="No public certificate authority is asked for"):
        refuse_untellable(name, LETS_ENCRYPT, has_own_root=False, has_hook=True)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is(name: str) -> None:
    assert not why_private(name)
    refuse_untellable(name, LETS_ENCRYPT, has_own_root=False, has_hook=name.startswith("*"))


@pytest.mark.parametrize(
    ("directory", "has_own_root", "public"),
    [
        (LETS_ENCRYPT, False, True),
        ("https://ca.example.org/directory", False, True),
        ("https://ca.example.org/directory", True, False),
        ("https://ca.internal/directory", False, False),
        ("https://10.0.0.7:9000/acme", False, False),
        ("https://ca/directory", False, False),
        ("https://[", False, True),
    ],
)
def test_an_authority_is_public_unless_it_is_known_not_to_be(directory: str, has_own_root: bool, public: bool) -> None:
    assert is_public_authority(directory, has_own_root=has_own_root) is public


def test_a_private_authority_is_asked_for_private_names() -> None:
    refuse_untellable("shop.test", "https://ca.internal/directory", has_own_root=False, has_hook=False)


def test_what_cannot_be_proved_so_is_refused_before_anybody_is_asked() -> None:
    with pytest.raises(CertificateError, match=r"by the DNS alone: give a command .* --acme-dns-hook"):
        refuse_untellable("*.example.org", LETS_ENCRYPT, has_own_root=False, has_hook=False)
    with pytest.raises(CertificateError, match=r"is an IP address, .* leave ACME_DNS_HOOK out"):
        refuse_untellable("8.8.8.8", LETS_ENCRYPT, has_own_root=False, has_hook=True)


@pytest.mark.parametrize(
    ("name", "allowed", "is_allowed"),
    [
        ("example.org", ["example.org"], True),
        ("example.org", ["EXAMPLE.org"], True),
        ("example.org", [".example.org"], True),
        ("www.example.org", [".example.org"], True),
        ("badexample.org", [".example.org"], False),
        ("www.example.org", ["example.org"], False),
        ("*.example.org", [".example.org"], True),
        ("*.example.org", ["www.example.org"], False),
        ("2001:db8::1", ["[2001:db8::1]"], True),
        ("example.org", ["*"], True),
        ("example.org", [], False),
    ],
)
def test_allowed_hosts_are_read_as_django_reads_them(name: str, allowed: list[str], is_allowed: bool) -> None:
    assert is_allowed_host(name, allowed) is is_allowed


def test_every_name_has_a_directory_of_its_own_which_tells_the_name(tmp_path: Path) -> None:
    names = [*PUBLIC, *PRIVATE, "a-b.org", "dead-beef"]
    assert len({file_name(name) for name in names}) == len(names)
    store = CertificateStore(tmp_path)
    for name in names:
        entry = store.entry(name)
        (entry.directory / "versions" / "000001").mkdir(parents=True)
        (entry.directory / "current").symlink_to("versions/000001")
    assert sorted(entry.name for entry in store.entries()) == sorted(names)

"""The account at an authority: bound to another one, its address changed; and what an order replaces."""

from __future__ import annotations

import dataclasses
import datetime
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from duck.services.certificates import keeping
from duck.services.certificates.account import account_directory
from duck.services.certificates.authority import Authority, certificate_id
from duck.services.certificates.keeper import ASKED, FAILED, OBTAINED, Keeper, Outcome
from duck.services.certificates.leaf import new_key
from duck.services.certificates.private_file import read_json
from duck.services.certificates.schedule import HOUR
from duck.services.certificates.store import CertificateStore
from tests.services.certificates.pebble import Pebble, challenges, running_pebble

if TYPE_CHECKING:
    from duck.settings.views import CertificatesView
    from tests.services.certificates.small_authority import SmallAuthority

NAME = "example.test"
KID, HMAC_KEY = "kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


@pytest.fixture
def keeper(state: Path, view: CertificatesView) -> Keeper:
    return Keeper(state, view, chance=lambda: 0.0)


def one(keeper: Keeper, *, force: bool = False) -> Outcome:
    (outcome,) = keeper.run([NAME], force=force)
    return outcome


@pytest.fixture(scope="module")
def binding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """A real authority that makes accounts only for those that it has."""
    with running_pebble(tmp_path_factory.mktemp("binding"), {KID: HMAC_KEY}) as made:
        yield made


class TestBinding:
    """RFC 8555 §7.3.4."""

    def test_with_it_an_account_is_made_and_a_certificate_issued(self, binding: Pebble, state: Path) -> None:
        view = binding.view(NAME, eab=(KID, HMAC_KEY))
        with challenges(state, binding.http_port):
            outcome = one(Keeper(state, view))
            assert outcome.what == OBTAINED, outcome.sentence
            # It is needed once: the account is ours from then on.
            outcome = one(Keeper(state, dataclasses.replace(view, eab=None)), force=True)
            assert outcome.what == OBTAINED, outcome.sentence
        kept = "".join(path.read_text() for path in state.rglob("*") if path.is_file() and "lock" not in path.name)
        assert HMAC_KEY not in kept and HMAC_KEY not in repr(view)

    def test_without_it_the_remedy_is_told(self, binding: Pebble, state: Path) -> None:
        outcome = one(Keeper(state, binding.view(NAME)))
        assert (outcome.what, outcome.kind) == (FAILED, "terms")
        assert "give --eab-kid (ACME_EAB_KID) and ACME_EAB_HMAC_KEY, as it told you them" in outcome.sentence
        assert Authority(state, binding.directory, ca_file=binding.ca_file).look()["binds_accounts"]

    @pytest.mark.parametrize("eab", [(KID, secrets.token_urlsafe(32)), ("another", HMAC_KEY)], ids=["key", "kid"])
    def test_a_wrong_one_is_refused_by_the_authority(self, binding: Pebble, state: Path, eab: tuple[str, str]) -> None:
        outcome = one(Keeper(state, binding.view(NAME, eab=eab)))
        assert outcome.what == FAILED and " refused: " in outcome.sentence and eab[1] not in outcome.sentence

    def test_an_authority_that_binds_none_takes_it_too(
        self, authority: SmallAuthority, view: CertificatesView, state: Path
    ) -> None:
        assert one(Keeper(state, dataclasses.replace(view, eab=(KID, HMAC_KEY)))).what == OBTAINED
        assert authority.accounts[0]["externalAccountBinding"].keys() >= {"protected", "payload", "signature"}

    def test_the_process_that_asks_is_told_of_it(self, view: CertificatesView) -> None:
        view = dataclasses.replace(view, eab=(KID, HMAC_KEY))
        assert keeping._from_values(keeping._to_values(view)) == view


class TestContact:
    """RFC 8555 §7.3.2."""

    def email(self, state: Path, authority: SmallAuthority) -> str | None:
        found: str | None = read_json(account_directory(state, authority.directory) / "account.json")["email"]
        return found

    def test_a_changed_address_is_told_with_the_next_order(
        self, authority: SmallAuthority, view: CertificatesView, state: Path
    ) -> None:
        for email in (None, "a@example.test", "b@example.test", "b@example.test", None):
            assert one(Keeper(state, dataclasses.replace(view, email=email)), force=True).what == OBTAINED
            assert self.email(state, authority) == email
        assert [account.get("contact") for account in authority.accounts] == [
            None,  # made without one
            ["mailto:a@example.test"],
            ["mailto:b@example.test"],
            [],
        ]

    def test_it_is_told_when_nothing_but_the_time_of_renewal_is_asked_for(
        self, authority: SmallAuthority, view: CertificatesView, state: Path
    ) -> None:
        assert one(Keeper(state, view)).what == OBTAINED
        later = Keeper(state, dataclasses.replace(view, email="a@example.test"), clock=lambda: time.time() + 7 * HOUR)
        assert one(later).what == ASKED
        assert authority.accounts[-1]["contact"] == ["mailto:a@example.test"] and len(authority.orders) == 1

    def test_one_that_the_authority_does_not_take_keeps_no_certificate_from_being_issued(
        self, authority: SmallAuthority, view: CertificatesView, state: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert one(Keeper(state, view)).what == OBTAINED
        authority.takes_contacts = False
        assert one(Keeper(state, dataclasses.replace(view, email="a@example.test")), force=True).what == OBTAINED
        assert "was not told of EMAIL" in caplog.text and "no such address" in caplog.text
        assert self.email(state, authority) is None  # so it is told again


class TestReplaces:
    """RFC 9773 §5."""

    def test_a_renewal_says_what_it_replaces(self, authority: SmallAuthority, keeper: Keeper, state: Path) -> None:
        assert one(keeper).what == OBTAINED
        before = CertificateStore(state).entry(NAME).pair()
        assert before is not None
        assert one(keeper, force=True).what == OBTAINED
        assert "replaces" not in authority.orders[0]
        assert authority.orders[1]["replaces"] == certificate_id(before.chain.read_bytes())

    def test_it_is_what_the_authority_is_asked_by(self, authority: SmallAuthority, state: Path, view) -> None:  # type: ignore[no-untyped-def]
        now = datetime.datetime.now(datetime.UTC)
        authority.window = now + datetime.timedelta(days=10), now + datetime.timedelta(days=12)
        assert one(Keeper(state, view)).what == OBTAINED
        assert one(Keeper(state, view, clock=lambda: time.time() + 7 * HOUR)).what == ASKED
        pair = CertificateStore(state).entry(NAME).pair()
        assert pair is not None and authority.ari == [certificate_id(pair.chain.read_bytes())]

    @pytest.mark.parametrize("error", ["alreadyReplaced", "malformed", "unauthorized"])
    def test_one_that_the_authority_does_not_take_for_that_is_an_order_as_any_other(
        self, authority: SmallAuthority, keeper: Keeper, error: str
    ) -> None:
        assert one(keeper).what == OBTAINED
        authority.knows_replaced = error
        assert one(keeper, force=True).what == OBTAINED
        assert "replaces" not in authority.orders[1]

    def test_other_refusals_stand(self, authority: SmallAuthority, keeper: Keeper) -> None:
        assert one(keeper).what == OBTAINED
        authority.knows_replaced = "rejectedIdentifier"
        assert one(keeper, force=True).what == FAILED
        assert len(authority.orders) == 1

    def test_one_without_renewal_information_is_not_told(self, authority: SmallAuthority, keeper: Keeper) -> None:
        authority.has_renewal_info = False
        assert [one(keeper, force=True).what for _ in range(2)] == [OBTAINED, OBTAINED]
        assert "replaces" not in authority.orders[1]

    def test_a_certificate_that_names_no_key_of_its_issuer_has_no_such_name(self) -> None:
        key, now = new_key(), datetime.datetime.now(datetime.UTC)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
        made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        made = made.serial_number(1).not_valid_before(now).not_valid_after(now)
        assert certificate_id(made.sign(key, SHA256()).public_bytes(Encoding.PEM)) is None

    def test_the_name_is_that_of_the_rfc(self) -> None:
        """The example of RFC 9773 §4.1: the serial number's first bit is set, so a byte of zeros stands before it."""
        key, now = new_key(), datetime.datetime.now(datetime.UTC)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
        made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        made = made.serial_number(0x8765_4321).not_valid_before(now).not_valid_after(now)
        issuer = bytes.fromhex("69885B6B87464041E1B37B847BD0AE2CDE01C8D4")
        made = made.add_extension(x509.AuthorityKeyIdentifier(issuer, None, None), critical=False)
        found = certificate_id(made.sign(key, SHA256()).public_bytes(Encoding.PEM))
        assert found == "aYhba4dGQEHhs3uEe9CuLN4ByNQ.AIdlQyE"

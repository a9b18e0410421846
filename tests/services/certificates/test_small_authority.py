"""Renewal information, profiles, staging, limits and odd answers, of an authority of the tests' own."""

from __future__ import annotations

import dataclasses
import datetime
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from duck.exceptions import CertificateError
from duck.services.certificates import keeper as keeper_module
from duck.services.certificates import keeping, lease, store
from duck.services.certificates.account import accepted_terms, account_directory
from duck.services.certificates.keeper import ASKED, FAILED, IDLE, OBTAINED, REHEARSED, Keeper, Outcome
from duck.services.certificates.ledger import ISSUED, ORDERED, UNPROVED, Event, Ledger, has_known_limits, reached
from duck.services.certificates.schedule import DAY, HOUR, MINUTE
from duck.services.certificates.store import CertificateStore
from duck.settings.declared.certificates import LETS_ENCRYPT
from tests.services.certificates.small_authority import SmallAuthority, b64, small_authority

if TYPE_CHECKING:
    from duck.settings.views import CertificatesView


class Clock:
    ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keeper(state: Path, view: CertificatesView, clock: Clock) -> Keeper:
    return Keeper(state, view, clock=clock, chance=lambda: 0.0)


def one(keeper: Keeper, name: str = "example.test", *, force: bool = False) -> Outcome:
    (outcome,) = keeper.run([name], force=force)
    return outcome


def in_days(low: float, high: float) -> tuple[datetime.datetime, datetime.datetime]:
    now = datetime.datetime.now(datetime.UTC)
    return now + datetime.timedelta(days=low), now + datetime.timedelta(days=high)


class TestRenewalInformation:
    def test_it_is_asked_for_after_hours_and_renewal_is_within_the_window(
        self, authority: SmallAuthority, keeper: Keeper, clock: Clock, state: Path
    ) -> None:
        authority.window = in_days(10, 12)
        assert one(keeper).what == OBTAINED
        assert not authority.ari
        clock.ahead_s = 7 * HOUR
        assert one(keeper).what == ASKED
        progress = CertificateStore(state).entry("example.test").progress
        start, end = (moment.timestamp() for moment in authority.window)
        assert start - 1 <= progress.renew_at <= end + 1
        pair = CertificateStore(state).entry("example.test").pair()
        assert pair is not None
        serial = pair.serial.to_bytes((pair.serial.bit_length() + 8) // 8, "big")
        assert authority.ari[0].partition(".")[2] == b64(serial)

    def test_a_window_that_has_begun_has_it_renewed_early(
        self, authority: SmallAuthority, keeper: Keeper, clock: Clock
    ) -> None:
        """As after a fault of the authority's, before it revokes."""
        assert one(keeper).what == OBTAINED
        authority.window = in_days(-2, -1)
        clock.ahead_s = 7 * HOUR
        assert one(keeper).what == ASKED
        assert one(keeper).what == OBTAINED
        assert len(authority.orders) == 2

    def test_it_is_asked_again_when_it_says(self, authority: SmallAuthority, keeper: Keeper, clock: Clock) -> None:
        authority.window, authority.retry_after = in_days(50, 51), "7200"
        assert one(keeper).what == OBTAINED
        clock.ahead_s = 7 * HOUR
        assert one(keeper).what == ASKED
        # The library has the machine's clock: its answer counts from there, and at least a minute from ours.
        assert one(keeper).what == IDLE
        clock.ahead_s += 2 * HOUR
        assert one(keeper).what == ASKED

    def test_one_that_has_none_is_left_and_its_age_counts(
        self, authority: SmallAuthority, keeper: Keeper, clock: Clock
    ) -> None:
        authority.has_renewal_info = False
        assert one(keeper).what == OBTAINED
        clock.ahead_s = 7 * HOUR
        assert one(keeper).what == ASKED
        assert one(keeper).what == IDLE
        clock.ahead_s = 61 * DAY
        assert one(keeper).what == OBTAINED

    def test_one_that_cannot_tell_it_is_no_failure(
        self, authority: SmallAuthority, keeper: Keeper, clock: Clock, state: Path
    ) -> None:
        assert one(keeper).what == OBTAINED
        clock.ahead_s = 7 * HOUR
        assert one(keeper).what == ASKED  # 404
        assert CertificateStore(state).entry("example.test").progress.failures == 0
        clock.ahead_s = 61 * DAY
        assert one(keeper).what == OBTAINED


class TestProfiles:
    def test_the_one_that_is_set_is_asked_for_and_remembered(
        self, authority: SmallAuthority, view: CertificatesView, state: Path
    ) -> None:
        authority.meta["profiles"] = {"classic": "https://ca.test/classic", "tlsserver": "https://ca.test/tls"}
        keeper = Keeper(state, dataclasses.replace(view, profile="tlsserver"))
        assert one(keeper).what == OBTAINED
        assert authority.orders[0]["profile"] == "tlsserver"
        pair = CertificateStore(state).entry("example.test").pair()
        assert pair is not None and pair.about["profile"] == "tlsserver"

    def test_one_that_is_not_offered_is_refused_with_those_that_are(
        self, authority: SmallAuthority, view: CertificatesView, state: Path
    ) -> None:
        authority.meta["profiles"] = {"classic": "https://ca.test/classic", "shortlived": "https://ca.test/short"}
        outcome = one(Keeper(state, dataclasses.replace(view, profile="short")))
        assert outcome.what == FAILED
        assert "has no profile 'short', but classic, shortlived; correct ACME_PROFILE" in outcome.sentence
        assert not authority.orders

    def test_an_address_takes_the_short_lived_one_where_there_is_one(
        self, authority: SmallAuthority, keeper: Keeper, clock: Clock
    ) -> None:
        authority.meta["profiles"] = {"classic": "https://ca.test/classic", "shortlived": "https://ca.test/short"}
        authority.life = datetime.timedelta(days=6)
        assert one(keeper, "127.0.0.1").what == OBTAINED
        assert authority.orders[0]["profile"] == "shortlived"
        assert authority.orders[0]["identifiers"] == [{"type": "ip", "value": "127.0.0.1"}]
        assert one(keeper, "example.test").what == OBTAINED
        assert not authority.orders[1].get("profile")
        clock.ahead_s = 3.1 * DAY
        assert one(keeper, "127.0.0.1").what == OBTAINED


class TestFailures:
    def test_staging_is_tried_after_two_until_it_works_there_and_then_the_authority_again(
        self, authority: SmallAuthority, view: CertificatesView, state: Path, clock: Clock
    ) -> None:
        with small_authority() as staging:
            view = dataclasses.replace(view, staging=staging.directory)
            keeper = Keeper(state, view, clock=clock, chance=lambda: 0.0)
            authority.proves = staging.proves = False
            asked = []
            for _ in range(4):
                outcome = one(keeper)
                assert (outcome.what, outcome.kind) == (FAILED, "validation")
                asked.append((len(authority.orders), len(staging.orders)))
                clock.ahead_s += 7 * HOUR
            assert asked == [(1, 0), (2, 0), (2, 1), (2, 2)]
            authority.proves = staging.proves = True
            assert one(keeper).what == REHEARSED
            assert CertificateStore(state).entry("example.test").pair() is None
            assert one(keeper).what == OBTAINED
            assert (len(authority.orders), len(staging.orders)) == (3, 3)
        pair = CertificateStore(state).entry("example.test").pair()
        assert pair is not None and pair.about["directory"] == authority.directory

    @pytest.mark.parametrize(("after", "pause_s"), [("86400", DAY), ("5", MINUTE), (None, MINUTE)])
    def test_a_limit_of_the_authority_is_waited_for(
        self, authority: SmallAuthority, keeper: Keeper, clock: Clock, after: str | None, pause_s: float
    ) -> None:
        authority.refusal = (429, "rateLimited", after)
        outcome = one(keeper)
        assert (outcome.what, outcome.kind) == (FAILED, "limit")
        assert "refused: no more of that." in outcome.sentence
        assert outcome.next_at - clock() == pytest.approx(pause_s, abs=5)
        authority.refusal = None
        assert one(keeper).what == IDLE
        clock.ahead_s = pause_s + 10
        assert one(keeper).what == OBTAINED

    def test_a_certificate_for_other_names_is_not_served(
        self, authority: SmallAuthority, keeper: Keeper, state: Path
    ) -> None:
        authority.issues_for = "other.test"
        outcome = one(keeper)
        assert "issued a certificate of another key, or for other names than example.test" in outcome.sentence
        assert CertificateStore(state).entry("example.test").pair() is None

    def test_what_is_no_acme_is_told_in_a_sentence(
        self, authority: SmallAuthority, view: CertificatesView, state: Path
    ):
        outcome = one(Keeper(state, dataclasses.replace(view, directory=f"{authority.base}/newNonce")))
        assert outcome.what == FAILED
        assert "answers what is no ACME" in outcome.sentence

    def test_a_token_that_leads_out_of_its_directory_is_refused(
        self, authority: SmallAuthority, keeper: Keeper, state: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = authority._challenge
        monkeypatch.setattr(authority, "_challenge", lambda number: real(number) | {"token": "../../x"})
        outcome = one(keeper)
        assert outcome.what == FAILED
        assert not list(state.rglob("x"))

    def test_a_name_that_is_none_is_one_sentence(self, keeper: Keeper, authority: SmallAuthority) -> None:
        outcome = one(keeper, "a b")
        assert (outcome.what, outcome.kind) == (FAILED, "name")
        assert not authority.requests

    def test_another_authority_in_the_settings_is_asked(
        self, authority: SmallAuthority, keeper: Keeper, view: CertificatesView, state: Path
    ) -> None:
        assert one(keeper).what == OBTAINED
        with small_authority() as other:
            assert one(Keeper(state, dataclasses.replace(view, directory=other.directory))).what == OBTAINED
            assert len(other.orders) == 1

    def test_a_success_that_could_not_be_noted_is_not_asked_for_again(
        self, keeper: Keeper, authority: SmallAuthority, state: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        assert one(keeper).what == OBTAINED
        clock.ahead_s = 61 * DAY

        def full(path: Path, value: object) -> None:
            raise CertificateError("full", kind="disk")

        with monkeypatch.context() as patch:
            patch.setattr(store, "write_json", full)
            assert one(keeper).what == OBTAINED
        clock.ahead_s = 0.0
        assert one(keeper).what in (ASKED, IDLE)
        assert len(authority.orders) == 2


class TestLimits:
    """Those of Let's Encrypt, counted before it counts them."""

    NOW = 1_800_000_000.0

    def events(self, count: int, what: str, *names: str, every_s: float = 60.0) -> list[Event]:
        return [Event(self.NOW - (number + 1) * every_s, what, names[number % len(names)]) for number in range(count)]

    @pytest.mark.parametrize(
        ("what", "most", "names", "says"),
        [
            (UNPROVED, 5, ["example.org"], "could not be proved 5 times within an hour"),
            (ISSUED, 5, ["example.org"], "5 certificates for example.org were issued within a week"),
            (ISSUED, 50, [f"{n}.example.org" for n in range(25)], "50 certificates for names of example.org"),
            (ORDERED, 100, ["a.org"], None),
        ],
    )
    def test_they_are_seen_when_they_are_reached_and_not_before(
        self, what: str, most: int, names: list[str], says: str | None
    ) -> None:
        assert reached(self.events(most - 1, what, *names), "example.org", self.NOW) is None
        bound = reached(self.events(most, what, *names), "example.org", self.NOW)
        if says is None:
            assert bound is None
            return
        assert bound is not None
        assert says in bound.sentence
        assert self.NOW < bound.until
        assert reached(self.events(most, what, *names), "example.org", bound.until) is None

    def test_a_renewal_does_not_count_against_its_domain(self) -> None:
        many = self.events(60, ISSUED, *[f"{n}.example.org" for n in range(30)])
        assert reached(many, "example.org", self.NOW) is not None
        assert reached(many, "example.org", self.NOW, renews=True) is None
        assert reached(self.events(5, ISSUED, "example.org"), "example.org", self.NOW, renews=True) is not None

    def test_orders_of_all_names_count_together(self) -> None:
        assert reached(self.events(300, ORDERED, "a.org", "b.net", every_s=1), "c.de", self.NOW) is not None

    def test_they_are_known_of_one_authority(self) -> None:
        assert has_known_limits(LETS_ENCRYPT)
        assert not has_known_limits("https://ca.test/directory")

    def test_an_order_beyond_one_is_not_made(
        self, authority: SmallAuthority, keeper: Keeper, state: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        monkeypatch.setattr(keeper_module, "has_known_limits", lambda directory: True)
        ledger = Ledger(account_directory(state, authority.directory) / "ledger.json")
        ledger.add(*[Event(clock() - 60 * (6 - n), ISSUED, "example.test") for n in range(5)])
        outcome = one(keeper)
        assert (outcome.what, outcome.kind) == (FAILED, "limit")
        assert "5 certificates for example.test were issued within a week" in outcome.sentence
        assert outcome.next_at - clock() == pytest.approx(7 * DAY - 360, abs=5)
        assert not authority.requests

    def test_a_ledger_forgets_after_a_week(self, tmp_path: Path) -> None:
        ledger = Ledger(tmp_path / "ledger.json")
        ledger.add(Event(0.0, ISSUED, "a.org"), Event(8 * DAY, ISSUED, "b.org"))
        assert [event.name for event in ledger.read()] == ["b.org"]
        (tmp_path / "ledger.json").write_text('{"events": [1, ["x", 2, 3], [1, "issued"]]}')
        assert ledger.read() == []


def test_terms_are_known_to_be_accepted_by_the_account(keeper: Keeper, authority: SmallAuthority, state: Path) -> None:
    assert not accepted_terms(state, authority.directory)
    assert one(keeper).what == OBTAINED
    assert accepted_terms(state, authority.directory)


def test_the_lease_of_a_machine_that_is_gone_is_waited_for_and_taken(
    keeper: Keeper, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert keeping.WAIT_S > lease.STALE_S
    monkeypatch.setattr(lease, "STALE_S", 1.0)
    (state / "acme").mkdir(mode=0o700)
    (state / "acme" / "lock.lease").write_text('{"holder": "elsewhere", "host": "elsewhere", "pid": 7, "token": "t"}')
    (outcome,) = keeper.run(["example.test"])
    assert (outcome.what, outcome.kind) == (FAILED, "busy")
    (outcome,) = keeper.run(["example.test"], wait_s=5.0)
    assert outcome.what == OBTAINED

"""`duck cert doctor`: each thing that keeps a certificate from being obtained is found, with its remedy."""

from __future__ import annotations

import dataclasses
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from duck.app.certificate_checkup import CertificateCheckup
from duck.app.finding import ERROR, OK, WARNING, Finding
from duck.exceptions import CertificateError
from duck.services.certificates import schedule
from duck.services.certificates.account import account_directory
from duck.services.certificates.caa import Caa, relevant, why_forbidden
from duck.services.certificates.leaf import self_signed
from duck.services.certificates.ledger import ISSUED, Event, Ledger
from duck.services.certificates.schedule import Progress
from duck.services.certificates.store import PUBLIC, CertificateStore
from duck.settings.declared.certificates import LETS_ENCRYPT
from duck.settings.views import CertificatesView
from tests.services.certificates.pebble import ChallengeServer, free_port


class Names:
    """A DNS of the test's own."""

    def __init__(self) -> None:
        self.known: dict[str, list[str]] = {}
        self.records: dict[str, list[Caa]] = {}
        self.broken: set[str] = set()

    def addresses(self, name: str) -> list[str]:
        self._check("A", name)
        return self.known.get(name, [])

    def caa(self, name: str) -> list[Caa]:
        self._check("CAA", name)
        return self.records.get(name, [])

    def _check(self, kind: str, name: str) -> None:
        if kind in self.broken:
            raise CertificateError(f"The DNS does not answer for {name} ({kind}): SERVFAIL.", kind="name")


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
def said() -> dict[str, Any]:
    """What the authority says of itself."""
    return {
        "terms": None,
        "caa": ["ca.test"],
        "profiles": {"classic": ""},
        "renewal_info": True,
        "binds_accounts": False,
        "clock_s": 0.4,
    }


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    return path


PRIVATE = CertificatesView(
    domains=("shop.test",),
    email=None,
    agree_tos=True,
    directory="https://ca.internal/directory",
    ca_file=None,
    staging=None,
    profile=None,
    hook=None,
    dns_wait_s=0.0,
)


@pytest.fixture
def look(state: Path, names: Names, said: dict[str, Any]):  # type: ignore[no-untyped-def]
    def findings(view: CertificatesView = PRIVATE, **more: Any) -> list[Finding]:
        made = CertificateCheckup(state, view, names, lambda: said, port=more.pop("port", free_port()), **more)
        return list(made.findings())

    return findings


def one(findings: list[Finding], topic: str) -> Finding:
    (found,) = [finding for finding in findings if finding.topic == topic]
    return found


def test_where_all_is_well_nothing_is_wrong(look, names: Names) -> None:  # type: ignore[no-untyped-def]
    names.known["shop.test"] = ["127.0.0.1"]
    findings = look()
    assert {finding.level for finding in findings} == {OK}, findings
    topics = [finding.topic for finding in findings]
    assert topics == ["authority", "clock", "name", "port 80", "CAA", "limits", "certificate"]


def test_without_a_name_there_is_nothing_to_look_at(look) -> None:  # type: ignore[no-untyped-def]
    (finding,) = look(dataclasses.replace(PRIVATE, domains=()))
    assert "give --domain" in finding.sentence


def test_an_authority_that_binds_accounts_wants_to_know_which(look, said: dict[str, Any]) -> None:  # type: ignore[no-untyped-def]
    said["binds_accounts"] = True
    finding = one(look(), "account")
    assert finding.level == ERROR and "give --eab-kid (ACME_EAB_KID)" in finding.sentence
    assert "account" not in {found.topic for found in look(dataclasses.replace(PRIVATE, eab=("kid", "key")))}


class TestName:
    def test_one_that_the_dns_does_not_know(self, look) -> None:  # type: ignore[no-untyped-def]
        finding = one(look(), "name")
        assert finding.level == ERROR
        assert "shop.test has no address in the DNS; add an A record" in finding.sentence

    def test_one_whose_servers_do_not_answer(self, look, names: Names) -> None:  # type: ignore[no-untyped-def]
        names.broken.add("A")
        finding = one(look(), "name")
        assert finding.level == ERROR
        assert "SERVFAIL. See that the name servers" in finding.sentence

    def test_one_that_must_not_be_told(self, look) -> None:  # type: ignore[no-untyped-def]
        finding = one(look(dataclasses.replace(PRIVATE, directory=LETS_ENCRYPT)), "name")
        assert finding.level == ERROR
        assert "No public certificate authority is asked for shop.test" in finding.sentence

    def test_a_public_one_with_a_private_address(self, look, names: Names) -> None:  # type: ignore[no-untyped-def]
        names.known["shop.example.org"] = ["192.168.1.7"]
        view = dataclasses.replace(PRIVATE, directory=LETS_ENCRYPT, domains=("shop.example.org",))
        finding = one(look(view), "name")
        assert finding.level == ERROR
        assert "is 192.168.1.7 in the DNS, which no public authority can reach" in finding.sentence

    def test_of_a_wildcard_no_address_is_wanted(self, look) -> None:  # type: ignore[no-untyped-def]
        view = dataclasses.replace(PRIVATE, domains=("*.shop.test",), hook=("hook",))
        assert {finding.level for finding in look(view)} == {OK}
        (finding,) = [f for f in look(dataclasses.replace(view, hook=None)) if f.level == ERROR]
        assert "by the DNS alone" in finding.sentence


class TestPort80:
    @pytest.fixture(autouse=True)
    def known(self, names: Names) -> None:
        names.known["shop.test"] = ["127.0.0.1"]

    def test_a_duck_that_serves_challenges_is_believed(self, look, state: Path) -> None:  # type: ignore[no-untyped-def]
        port = free_port()
        duck = ChallengeServer(state / "acme" / "challenges", port)
        try:
            finding = one(look(port=port), "port 80")
        finally:
            duck.close()
        assert finding.level == OK
        assert len(duck.asked) == 1
        assert not list((state / "acme" / "challenges").iterdir())

    def test_somebody_else_is_told_of(self, look, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        port = free_port()
        other = ChallengeServer(tmp_path / "nothing", port)
        try:
            finding = one(look(port=port), "port 80")
        finally:
            other.close()
        assert finding.level == ERROR
        assert f"are answered at 127.0.0.1:{port} by" in finding.sentence
        assert "with status 404, and not by Duck; end that, or have it pass /.well-known/" in finding.sentence

    def test_what_speaks_no_http_is_told_of(self, look) -> None:  # type: ignore[no-untyped-def]
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def answer() -> None:
                taken, _ = listener.accept()
                with taken:
                    taken.sendall(b"220 mail\r\n")
                    taken.recv(4096)

            thread = threading.Thread(target=answer)
            thread.start()
            finding = one(look(port=listener.getsockname()[1]), "port 80")
            thread.join()
        assert "speaks no HTTP" in finding.sentence

    def test_one_that_nobody_reaches(self, look, names: Names) -> None:  # type: ignore[no-untyped-def]
        """As seen from here: a stand-in answers at all addresses of this machine, and at no other."""
        names.known["shop.test"] = ["127.0.0.1"]
        with socket.socket() as taken:  # bound, and not listening: the stand-in cannot have it either
            taken.bind(("0.0.0.0", 0))
            finding = one(look(port=taken.getsockname()[1]), "port 80")
        assert finding.level == ERROR
        assert "is not reached at 127.0.0.1" in finding.sentence
        assert "through" in finding.sentence

    def test_each_address_is_tried(self, look, names: Names) -> None:  # type: ignore[no-untyped-def]
        names.known["shop.test"] = ["127.0.0.1", "127.0.0.2"]
        assert [finding.level for finding in look() if finding.topic == "port 80"] == [OK, OK]


class TestCaa:
    @pytest.fixture(autouse=True)
    def known(self, names: Names) -> None:
        names.known["www.shop.test"] = ["127.0.0.1"]

    VIEW = dataclasses.replace(PRIVATE, domains=("www.shop.test",))

    def test_records_of_the_name_above_count(self, look, names: Names) -> None:  # type: ignore[no-untyped-def]
        names.records["shop.test"] = [Caa(0, "issue", "other.test")]
        finding = one(look(self.VIEW), "CAA")
        assert finding.level == ERROR
        assert finding.sentence == (
            "By the CAA records of shop.test other.test may issue, and not ca.test; add the record"
            ' 0 issue "ca.test" at shop.test.'
        )
        names.records["www.shop.test"] = [Caa(0, "issue", "ca.test")]
        assert one(look(self.VIEW), "CAA").level == OK

    def test_no_answer_is_an_error(self, look, names: Names) -> None:  # type: ignore[no-untyped-def]
        names.broken.add("CAA")
        assert "an authority issues nothing then" in one(look(self.VIEW), "CAA").sentence

    def test_an_authority_that_does_not_say_its_name(self, look, names: Names, said: dict[str, Any]) -> None:  # type: ignore[no-untyped-def]
        said["caa"] = []
        names.records["shop.test"] = [Caa(0, "issue", "other.test")]
        assert one(look(self.VIEW), "CAA").level == WARNING


@pytest.mark.parametrize(
    ("records", "wildcard", "method", "why"),
    [
        ([], False, "http-01", ""),
        ([(0, "issue", "ca.test")], False, "http-01", ""),
        ([(0, "issue", "CA.test ; a=b")], False, "http-01", ""),
        ([(0, "ISSUE", "other.test"), (0, "issue", "ca.test")], False, "http-01", ""),
        ([(0, "issue", ";")], False, "http-01", "nobody may issue"),
        ([(0, "iodef", "mailto:a@b")], False, "http-01", ""),
        ([(0, "issuewild", ";")], False, "http-01", ""),
        ([(0, "issuewild", ";"), (0, "issue", "ca.test")], True, "dns-01", "nobody may issue"),
        ([(0, "issue", "ca.test")], True, "dns-01", ""),
        ([(0, "issue", "ca.test; validationmethods=dns-01")], False, "http-01", "ca.test by dns-01 may issue"),
        ([(0, "issue", "ca.test; validationmethods=dns-01,http-01")], False, "http-01", ""),
        (
            [(128, "future", "x"), (0, "issue", "ca.test")],
            False,
            "http-01",
            "there is a critical record of the unknown",
        ),
    ],
)
def test_caa_records_are_read_as_authorities_read_them(
    records: list[tuple[int, str, str]], wildcard: bool, method: str, why: str
) -> None:
    found = why_forbidden([Caa(*record) for record in records], ["ca.test"], wildcard=wildcard, method=method)
    assert found.startswith(why) and bool(found) == bool(why)


def test_the_nearest_records_count() -> None:
    asked: list[str] = []

    def ask(name: str) -> list[Caa]:
        asked.append(name)
        return [Caa(0, "issue", "x")] if name == "shop.test" else []

    assert relevant("*.www.shop.test", ask)[0] == "shop.test"
    assert asked == ["www.shop.test", "shop.test"]
    assert relevant("a.b", lambda name: []) == ("", ())


class TestTheRest:
    @pytest.fixture(autouse=True)
    def known(self, names: Names) -> None:
        names.known["shop.test"] = ["127.0.0.1"]

    @pytest.mark.parametrize(("ahead_s", "level"), [(59, OK), (-59, OK), (61, ERROR), (-4000, ERROR), (None, WARNING)])
    def test_a_clock_that_is_wrong(self, look, said: dict[str, Any], ahead_s: float | None, level: str) -> None:  # type: ignore[no-untyped-def]
        said["clock_s"] = ahead_s
        finding = one(look(), "clock")
        assert finding.level == level
        if level == ERROR:
            assert ("slow" if ahead_s and ahead_s > 0 else "fast") in finding.sentence
            assert "timedatectl" in finding.sentence

    def test_an_authority_that_is_not_reached(self, state: Path, names: Names) -> None:
        def look() -> dict[str, Any]:
            raise CertificateError("https://ca.internal/directory is not reached: Connection refused.")

        findings = list(CertificateCheckup(state, PRIVATE, names, look, port=free_port()).findings())
        assert findings[0].level == ERROR
        assert "is not reached" in findings[0].sentence

    def test_a_profile_that_there_is_not(self, look) -> None:  # type: ignore[no-untyped-def]
        finding = one(look(dataclasses.replace(PRIVATE, profile="short")), "profile")
        assert "There is no profile 'short', but classic" in finding.sentence

    def test_a_limit_that_is_reached(self, look, state: Path, names: Names) -> None:  # type: ignore[no-untyped-def]
        now = time.time()
        view = dataclasses.replace(PRIVATE, directory=LETS_ENCRYPT, domains=("example.org",), hook=("hook",))
        Ledger(account_directory(state, LETS_ENCRYPT) / "ledger.json").add(
            *[Event(now - n - 1, ISSUED, "example.org") for n in range(5)]
        )
        names.known["example.org"] = ["127.0.0.1"]
        finding = one(look(view), "limits")
        assert finding.level == ERROR
        assert "wait until" in finding.sentence

    def test_what_is_kept_is_told_with_the_last_failure(self, look, state: Path) -> None:  # type: ignore[no-untyped-def]
        entry = CertificateStore(state).entry("shop.test")
        assert "There is none for shop.test yet" in one(look(), "certificate").sentence
        entry.progress = schedule.failed(Progress(), time.time(), 0.0, error="It broke.", kind="authority")
        finding = one(look(), "certificate")
        assert (finding.level, finding.details) == (WARNING, ("Last failure: It broke.",))
        made = self_signed(entry)
        entry.write(made.chain.read_bytes(), made.key.read_bytes(), {"kind": PUBLIC, "directory": PRIVATE.directory})
        assert "is valid until" in one(look(), "certificate").sentence
        expired = one(look(clock=lambda: time.time() + 40 * schedule.DAY), "certificate")
        assert expired.level == ERROR
        assert "has expired" in expired.sentence

"""Certificates of a real authority: obtained, renewed, left alone, and what follows when it cannot be asked."""

from __future__ import annotations

import dataclasses
import json
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store

from duck.services.certificates.challenge import DnsHook
from duck.services.certificates.keeper import FAILED, IDLE, OBTAINED, Keeper, Outcome
from duck.services.certificates.store import CertificateStore, Pair
from tests.services.certificates.pebble import ChallengeServer, Pebble, challenges

# An authority takes its time, and so do processes on a busy machine.
pytestmark = pytest.mark.timeout(180)


class Clock:
    """The machine's, and as far ahead as a test wants it."""

    ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


def run(keeper: Keeper, *names: str, force: bool = False) -> list[Outcome]:
    return list(keeper.run(names, force=force))


def one(keeper: Keeper, name: str = "example.test", *, force: bool = False) -> Outcome:
    (outcome,) = run(keeper, name, force=force)
    return outcome


def pair_of(state: Path, name: str = "example.test") -> Pair:
    pair = CertificateStore(state).entry(name).pair()
    assert pair is not None
    return pair


def verify(pair: Pair, root: x509.Certificate, tmp_path: Path) -> None:
    """By two that know nothing of Duck."""
    chain = x509.load_pem_x509_certificates(pair.chain.read_bytes())
    verifier = PolicyBuilder().store(Store([root])).build_server_verifier(x509.DNSName(pair.name))
    assert verifier.verify(chain[0], chain[1:])
    (tmp_path / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    command = ["openssl", "verify", "-CAfile", str(tmp_path / "root.pem"), "-untrusted", str(pair.chain)]
    done = subprocess.run(
        [*command, "-verify_hostname", pair.name, "-purpose", "sslserver", str(pair.chain)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_names_are_obtained_and_their_chains_hold(pebble: Pebble, state: Path, tmp_path: Path) -> None:
    names = ("example.test", "www.example.test")
    with challenges(state, pebble.http_port):
        outcomes = run(Keeper(state, pebble.view(*names)), *names)
    assert [(outcome.name, outcome.what) for outcome in outcomes] == [(name, OBTAINED) for name in names], outcomes
    for name in names:
        pair = pair_of(state, name)
        assert pair.names == (name,)
        assert outcomes[names.index(name)].next_at > time.time() + 3600
        verify(pair, pebble.roots(), tmp_path)
    assert not list((state / "acme" / "challenges").iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
def test_whatever_is_written_only_the_owner_may_read(pebble: Pebble, state: Path) -> None:
    with challenges(state, pebble.http_port):
        assert one(Keeper(state, pebble.view("example.test"))).what == OBTAINED
    found = [path for path in state.rglob("*") if not path.is_symlink()]
    assert len([path for path in found if path.name == "key.pem"]) == 2  # of the account, and of the certificate
    for path in found:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_restart_asks_nothing(pebble: Pebble, state: Path) -> None:
    view = pebble.view("example.test")
    with challenges(state, pebble.http_port):
        assert one(Keeper(state, view)).what == OBTAINED
    before, log = pair_of(state), pebble.log
    assert one(Keeper(state, view)).what == IDLE
    assert pebble.log == log
    assert pair_of(state) == before


def test_it_is_renewed_in_time_with_a_new_key_and_what_was_read_before_stays(
    pebble: Pebble, state: Path, tmp_path: Path
) -> None:
    clock = Clock()
    keeper = Keeper(state, pebble.view("example.test"), clock=clock)
    with challenges(state, pebble.http_port):
        assert one(keeper).what == OBTAINED
        before = pair_of(state)
        clock.ahead_s = before.term.life_s * 0.7
        assert one(keeper).what == OBTAINED
    after = pair_of(state)
    assert after.serial != before.serial
    assert after.key.read_bytes() != before.key.read_bytes()
    assert after.not_after >= before.not_after
    verify(after, pebble.roots(), tmp_path)
    assert x509.load_pem_x509_certificate(before.chain.read_bytes()).serial_number == before.serial
    assert one(Keeper(state, pebble.view("example.test"))).what == IDLE


def test_while_the_authority_is_away_what_there_is_serves_on_and_tries_come_later_each_time(
    pebble: Pebble, state: Path
) -> None:
    clock = Clock()
    keeper = Keeper(state, pebble.view("example.test"), clock=clock, chance=lambda: 0.0)
    with challenges(state, pebble.http_port):
        assert one(keeper).what == OBTAINED
        before = pair_of(state)
        clock.ahead_s = before.term.life_s * 0.7
        pebble.suspend()
        try:
            pauses = []
            for _ in range(3):
                outcome = one(keeper)
                assert (outcome.what, outcome.kind) == (FAILED, "authority")
                assert "is not reached" in outcome.sentence
                assert "Connection refused" in outcome.sentence
                pauses.append(round(outcome.next_at - clock()))
                assert one(keeper).what == IDLE
                clock.ahead_s += pauses[-1] + 1
            assert pauses == [60, 300, 900]
            assert pair_of(state) == before
        finally:
            pebble.resume()
        # It has forgotten our account, as one that was set up anew.
        assert one(keeper).what == OBTAINED
    assert pair_of(state).serial != before.serial
    assert CertificateStore(state).entry("example.test").progress.failures == 0


def test_a_port_that_somebody_else_answers_is_told_in_the_authoritys_words(
    pebble: Pebble, state: Path, tmp_path: Path
) -> None:
    other = ChallengeServer(tmp_path / "nothing", pebble.http_port)
    try:
        outcome = one(Keeper(state, pebble.view("example.test"), chance=lambda: 0.0))
    finally:
        other.close()
    assert (outcome.what, outcome.kind) == (FAILED, "validation")
    assert "could not see that the name is ours: example.test by http-01:" in outcome.sentence
    assert "404" in outcome.sentence
    progress = CertificateStore(state).entry("example.test").progress
    assert (progress.failures, progress.unproved) == (1, 1)
    assert not list((state / "acme" / "challenges").iterdir())
    assert not list((state / "certificates" / "example.test" / "versions").iterdir())


def test_terms_are_accepted_by_saying_so_and_that_is_recorded(pebble: Pebble, state: Path) -> None:
    outcome = one(Keeper(state, pebble.view("example.test", agree_tos=False)))
    assert (outcome.what, outcome.kind) == (FAILED, "terms")
    assert "accept them by --agree-tos" in outcome.sentence
    with challenges(state, pebble.http_port):
        assert one(Keeper(state, pebble.view("example.test")), force=True).what == OBTAINED
        # Once is enough.
        view = pebble.view("www.example.test", agree_tos=False)
        assert one(Keeper(state, view), "www.example.test").what == OBTAINED
    (account,) = (state / "acme" / "accounts").glob("*/account.json")
    assert '"terms": "data:text/plain' in account.read_text()
    assert '"agreed": "20' in account.read_text()


def test_a_wildcard_is_proved_by_the_dns(pebble: Pebble, state: Path, tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    management = pebble.management
    hook.write_text(
        f"#!{sys.executable}\n"
        "import json, os, urllib.request\n"
        "made = os.environ['DUCK_ACME_ACTION'] == 'present'\n"
        "told = {'host': os.environ['DUCK_ACME_NAME'] + '.', 'value': os.environ['DUCK_ACME_VALUE']}\n"
        f"url = '{management}/' + ('set-txt' if made else 'clear-txt')\n"
        "urllib.request.urlopen(urllib.request.Request(url, json.dumps(told).encode()))\n"
        "said = os.environ['DUCK_ACME_ACTION'] + os.environ['DUCK_ACME_DOMAIN']\n"
        f"open({str(tmp_path / 'said')!r}, 'a').write(said)\n"
    )
    hook.chmod(0o755)
    waited: list[float] = []
    view = pebble.view("*.example.test", hook=(str(hook),), dns_wait_s=7.0)
    keeper = Keeper(state, view, prover=DnsHook(view.hook or (), view.dns_wait_s, sleep=waited.append))
    outcome = one(keeper, "*.example.test")
    assert outcome.what == OBTAINED, outcome
    assert pair_of(state, "*.example.test").names == ("*.example.test",)
    assert (tmp_path / "said").read_text() == "presentexample.testremoveexample.test"
    assert waited == [7.0]


def test_an_address_is_proved_over_its_port(pebble: Pebble, state: Path) -> None:
    with challenges(state, pebble.http_port):
        outcome = one(Keeper(state, pebble.view("127.0.0.1")), "127.0.0.1")
    assert outcome.what == OBTAINED, outcome
    assert pair_of(state, "127.0.0.1").names == ("127.0.0.1",)


def test_an_account_whose_key_was_lost_is_made_anew(pebble: Pebble, state: Path) -> None:
    with challenges(state, pebble.http_port):
        assert one(Keeper(state, pebble.view("example.test"))).what == OBTAINED
        (key,) = (state / "acme" / "accounts").glob("*/key.pem")
        key.unlink()
        assert one(Keeper(state, pebble.view("example.test")), force=True).what == OBTAINED
    assert key.exists()


def test_an_authority_whose_own_certificate_is_not_trusted_is_told_of(pebble: Pebble, state: Path) -> None:
    # Not to be taken for a public one, which would not be asked for a name like this.
    other = state / "other.pem"
    other.write_bytes(pebble.roots().public_bytes(Encoding.PEM))
    outcome = one(Keeper(state, pebble.view("example.test", ca_file=other)))
    assert outcome.kind == "authority"
    assert "name its authority with --acme-ca-file" in outcome.sentence


def test_of_several_processes_at_once_one_asks(pebble: Pebble, state: Path) -> None:
    """The others wait for it, and find what it has brought."""
    before = pebble.orders()
    script = (
        "import json, sys, pathlib\n"
        "from duck.services.certificates.keeper import Keeper\n"
        "from duck.settings.views import CertificatesView\n"
        "told = json.loads(sys.argv[1])\n"
        "told['ca_file'] = pathlib.Path(told['ca_file'])\n"
        "keeper = Keeper(pathlib.Path(sys.argv[2]), CertificatesView(**told))\n"
        "print([outcome.what for outcome in keeper.run(['example.test'], wait_s=100)])\n"
    )
    view = dataclasses.asdict(pebble.view("example.test"))
    told = json.dumps({**view, "ca_file": str(view["ca_file"])})
    with challenges(state, pebble.http_port):
        running = [
            subprocess.Popen(
                [sys.executable, "-c", script, told, str(state)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(3)
        ]
        said = [process.communicate(timeout=120) for process in running]
    assert sorted(out.strip() for out, _ in said) == ["['idle']", "['idle']", "['obtained']"], said
    assert pebble.orders() == before + 1
    assert not (state / "acme" / "lock.lease").exists()

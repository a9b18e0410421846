"""What an App does with its certificates as time goes by: a clock, an inbox and processes of the test's own."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from duck.app import certificates as module
from duck.app.certificates import Certificates
from duck.services.certificates import schedule
from duck.services.certificates.leaf import key_pem, new_key, server_certificate
from duck.services.certificates.schedule import DAY, HOUR, MINUTE, Progress
from duck.services.certificates.store import PUBLIC, CertificateStore, Pair
from duck.settings.load import load

DIRECTORY = "https://ca.internal/directory"


class Clock:
    now = time.time()

    def __call__(self) -> float:
        return self.now


class Inbox:
    """Keeps what is to be called; the test lets time pass."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calls: list[Call] = []

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Call:
        call = Call(self._clock.now + delay_s, callback)
        self._calls.append(call)
        return call

    def wait(self, seconds: float) -> None:
        """Until then, whatever is due is called in its order."""
        end = self._clock.now + seconds
        while True:
            due = sorted((call for call in self._calls if call.callback and call.at <= end), key=lambda call: call.at)
            if not due:
                break
            self._clock.now = max(self._clock.now, due[0].at)
            callback, due[0].callback = due[0].callback, None
            assert callback is not None
            callback()
        self._clock.now = end


class Call:
    def __init__(self, at: float, callback: Callable[[], None]) -> None:
        self.at = at
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Served:
    """In the place of `Https`."""

    def __init__(self) -> None:
        self.changes: list[tuple[tuple[str, str], ...]] = []

    def change(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.changes.append(tuple(pairs))


class Pass:
    """In the place of a process of the keeper's."""

    pid = 7

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.killed = False
        self.on_message: Callable[[dict[str, Any]], None] = lambda message: None
        self.on_exit: Callable[[int], None] = lambda code: None

    def kill(self) -> None:
        self.killed = True


class World:
    def __init__(self, state: Path, project: Path) -> None:
        self.state, self.project = state, project
        self.clock = Clock()
        self.inbox = Inbox(self.clock)
        self.served = Served()
        self.passes: list[Pass] = []

    def made(self, *domains: str, waits_for_hosts: bool = False, **values: Any) -> Certificates:
        given = {"MODE": "serve", "LISTEN": ("https://127.0.0.1:0",), "DOMAINS": domains, "ACME_DIRECTORY": DIRECTORY}
        settings = load({**given, "STATE_DIR": str(self.state), **values}, {}, self.project)
        certificates = Certificates(settings, self.clock)
        certificates.prepare()
        certificates.start(self.inbox, self.served, waits_for_hosts=waits_for_hosts)  # type: ignore[arg-type]
        return certificates

    def put(self, name: str, life: timedelta = timedelta(days=90)) -> Pair:
        """As a pass of the keeper's that has succeeded."""
        key, now = new_key(), datetime.fromtimestamp(self.clock.now, UTC)
        certificate = server_certificate([name], key.public_key(), None, key, None, now=now, until=now + life)
        entry = CertificateStore(self.state).entry(name)
        about = {"kind": PUBLIC, "directory": DIRECTORY}
        pair = entry.write(certificate.public_bytes(Encoding.PEM), key_pem(key), about)
        entry.progress = schedule.obtained(pair.term, pair.fingerprint, self.clock.now, 0.0)
        return pair


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path / "state", tmp_path / "project")
    made.state.mkdir(mode=0o700)
    made.project.mkdir()

    def spawn(inbox: object, state: Path, view: object, names: list[str]) -> Pass:
        made.passes.append(Pass(names))
        return made.passes[-1]

    monkeypatch.setattr(module.keeping, "spawn", spawn)
    return made


def kinds(pairs: tuple[tuple[str, str], ...]) -> list[str]:
    return [Path(chain).parts[-5] for chain, _ in pairs]


def test_one_pass_is_made_for_all_that_is_due_and_what_it_brings_is_served_at_once(world: World) -> None:
    certificates = world.made("a.test", "b.test")
    assert kinds(certificates.pairs) == ["self-signed", "self-signed"]
    world.inbox.wait(60)
    assert [one.names for one in world.passes] == [["a.test", "b.test"]]
    pair = world.put("b.test")
    world.passes[0].on_message({"name": "b.test", "outcome": "obtained", "sentence": "", "next": 0})
    world.inbox.wait(0)
    assert kinds(world.served.changes[-1]) == ["self-signed", "certificates"]
    assert world.served.changes[-1][1] == (str(pair.chain), str(pair.key))
    world.put("a.test")
    world.passes[0].on_exit(0)
    world.inbox.wait(HOUR)
    assert kinds(world.served.changes[-1]) == ["certificates", "certificates"]
    assert len(world.passes) == 1


def test_what_another_process_has_written_is_served_within_half_a_minute(world: World) -> None:
    world.put("a.test")
    world.made("a.test")
    world.inbox.wait(HOUR)
    assert not world.served.changes
    pair = world.put("a.test")
    world.inbox.wait(module.LOOK_S + 1)
    assert world.served.changes == [((str(pair.chain), str(pair.key)),)]


def test_a_renewal_begins_when_it_is_due_and_no_later(world: World) -> None:
    pair = world.put("a.test")
    world.made("a.test")
    world.inbox.wait(5 * HOUR)
    assert not world.passes
    world.inbox.wait(2 * HOUR)  # the authority is asked when it wants it renewed
    assert len(world.passes) == 1
    entry = CertificateStore(world.state).entry("a.test")
    entry.progress = schedule.told(entry.progress, world.clock.now + 3 * HOUR, world.clock.now + DAY, world.clock.now)
    world.passes[0].on_exit(0)
    world.inbox.wait(2.9 * HOUR)
    assert len(world.passes) == 1
    world.inbox.wait(0.2 * HOUR)
    assert len(world.passes) == 2
    assert pair.is_valid(world.clock.now)


def test_one_that_has_expired_gives_its_place_to_a_self_signed_one(world: World) -> None:
    world.put("a.test", timedelta(days=6))
    certificates = world.made("a.test")
    assert kinds(certificates.pairs) == ["certificates"]
    entry = CertificateStore(world.state).entry("a.test")
    far = world.clock.now + 30 * DAY
    entry.progress = dataclasses.replace(entry.progress, next_at=far)
    world.clock.now += 7 * DAY
    world.inbox.wait(1)
    assert kinds(world.served.changes[-1]) == ["self-signed"]
    world.put("a.test")
    world.inbox.wait(module.LOOK_S + 1)
    assert kinds(world.served.changes[-1]) == ["certificates"]


def test_a_pass_that_is_killed_is_made_again_in_a_minute(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.made("a.test")
    world.inbox.wait(1)
    world.passes[0].on_exit(-9)
    world.inbox.wait(MINUTE - 5)
    assert len(world.passes) == 1
    world.inbox.wait(10)
    assert len(world.passes) == 2
    assert "ended with -9; it is started again in a minute." in caplog.text


def test_what_failed_without_a_word_on_the_disk_is_not_tried_before_its_time(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "duck.app")
    world.made("a.test")
    world.inbox.wait(1)
    told = {"name": "a.test", "outcome": "failed", "kind": "busy", "sentence": "db2 is writing."}
    world.passes[0].on_message({**told, "next": world.clock.now + 30})
    world.passes[0].on_exit(0)
    world.inbox.wait(25)
    assert len(world.passes) == 1
    world.inbox.wait(10)
    assert len(world.passes) == 2
    assert "db2 is writing" not in caplog.text  # that is how it should be


def test_first_certificates_wait_for_django_and_renewals_do_not(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.put("a.test")
    entry = CertificateStore(world.state).entry("a.test")
    entry.progress = Progress(renew_at=1.0, certificate=entry.progress.certificate)
    certificates = world.made("a.test", "b.test", "c.test", waits_for_hosts=True)
    world.inbox.wait(HOUR)
    assert [one.names for one in world.passes] == [["a.test"]]
    world.passes[0].on_exit(1)
    certificates.hosts_known({"allowed_hosts": [".test"], "debug": False})
    world.inbox.wait(1)
    assert world.passes[1].names == ["b.test", "c.test"]
    world.passes[1].on_exit(0)
    certificates.hosts_known({"allowed_hosts": ["b.test"], "debug": False})
    world.inbox.wait(1)
    assert world.passes[2].names == ["b.test"]
    assert caplog.text.count("No certificate for c.test is ordered: ALLOWED_HOSTS") == 1
    assert "ALLOWED_HOSTS" in certificates.status()["c.test"]["failure"]
    certificates.hosts_known({"allowed_hosts": [], "debug": True})  # Django's own for development
    assert "ALLOWED_HOSTS" in certificates.status()["b.test"]["failure"]


def test_after_the_end_nothing_is_done_any_more(world: World) -> None:
    certificates = world.made("a.test")
    world.inbox.wait(1)
    assert certificates.pids == [7]
    certificates.stop()
    assert world.passes[0].killed
    world.passes[0].on_exit(-9)
    world.inbox.wait(DAY)
    assert len(world.passes) == 1


def test_a_full_disk_is_told_of_once_and_what_is_served_stays(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.put("a.test", timedelta(days=2))
    certificates = world.made("a.test")
    before = certificates.pairs
    entry = CertificateStore(world.state).entry("a.test")
    entry.progress = dataclasses.replace(entry.progress, next_at=world.clock.now + 30 * DAY)

    def full(entry: object) -> None:
        raise module.CertificateError("The disk is full.", kind="disk")

    monkeypatch.setattr(module, "self_signed", full)
    world.clock.now += 3 * DAY
    world.inbox.wait(HOUR)
    assert certificates.pairs == before
    assert caplog.text.count("The disk is full.") == 1


def test_a_look_that_fails_is_not_the_last_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.put("a.test")
    certificates = world.made("a.test")

    def fail() -> None:
        raise RuntimeError("unforeseen")

    with monkeypatch.context() as patch:
        patch.setattr(certificates, "_present", fail)
        with pytest.raises(RuntimeError):  # which an inbox logs
            world.inbox.wait(1)
    world.put("a.test")
    world.inbox.wait(module.LOOK_S + 1)
    assert len(world.served.changes) == 1


def test_that_of_a_developers_machine_is_made_anew_while_it_serves(world: World) -> None:
    certificates = world.made(MODE="runserver", DOMAINS=(), LISTEN=("https://localhost:0",))
    assert kinds(certificates.pairs) == ["local"]
    world.inbox.wait(HOUR)
    assert not world.served.changes
    world.clock.now += 21 * DAY
    world.inbox.wait(1)
    assert len(world.served.changes) == 1
    assert not world.passes


@pytest.mark.parametrize(
    ("imported", "absent"),
    [
        ("duck.app.run", ("cryptography", "acme", "requests", "dns")),
        ("duck.app.certificates", ("acme", "josepy", "requests", "dns")),
    ],
)
def test_who_asks_no_authority_loads_none_of_its_libraries(imported: str, absent: tuple[str, ...]) -> None:
    source = f"import sys, {imported}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

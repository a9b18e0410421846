"""What is kept: a certificate and its key change together, or not at all."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from duck.exceptions import CertificateError
from duck.services.certificates.leaf import key_pem, new_key, self_signed
from duck.services.certificates.private_file import read_json, write_json, write_private
from duck.services.certificates.store import SELF_SIGNED, CertificateStore, Entry, Pair


def entry_in(state: Path, name: str = "example.test") -> Entry:
    return CertificateStore(state).entry(name)


def belong_together(pair: Pair) -> bool:
    leaf = x509.load_pem_x509_certificate(pair.chain.read_bytes())
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    own = load_pem_private_key(pair.key.read_bytes(), None).public_key().public_bytes(*form)
    return leaf.public_key().public_bytes(*form) == own


def test_a_self_signed_one_is_there_at_once(state: Path) -> None:
    entry = entry_in(state)
    assert entry.pair() is None
    pair = self_signed(entry)
    assert (pair.name, pair.names, pair.kind) == ("example.test", ("example.test",), SELF_SIGNED)
    assert belong_together(pair)
    assert entry.pair() == pair
    assert (entry.current / "chain.pem").read_bytes() == pair.chain.read_bytes()


def test_versions_that_were_read_stay_for_two_more_and_then_go(state: Path) -> None:
    entry = entry_in(state)
    pairs = [self_signed(entry) for _ in range(5)]
    assert entry.pair() == pairs[-1]
    assert [pair.chain.exists() for pair in pairs] == [False, False, True, True, True]


def test_whoever_reads_while_they_change_finds_two_that_belong_together(state: Path) -> None:
    entry = entry_in(state)
    self_signed(entry)
    ended = threading.Event()
    seen: set[int] = set()
    wrong: list[Pair | None] = []

    def read() -> None:
        while not ended.is_set():
            pair = entry.pair()
            if pair is None or not belong_together(pair):
                wrong.append(pair)
            else:
                seen.add(pair.serial)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        written = {self_signed(entry).serial for _ in range(30)}
    finally:
        ended.set()
        reader.join()
    assert not wrong
    assert len(seen & written) > 1


def test_what_is_no_certificate_does_not_become_current(state: Path) -> None:
    entry = entry_in(state)
    before = self_signed(entry)
    with pytest.raises(CertificateError, match="is no certificate"):
        entry.write(b"-----BEGIN NOTHING-----", key_pem(new_key()), {})
    assert entry.pair() == before
    assert sorted(path.name for path in (entry.directory / "versions").iterdir()) == ["000001"]


@pytest.mark.parametrize("call", ["write", "fsync", "rename", "replace", "symlink"])
def test_at_whatever_step_the_disk_fails_what_was_current_is_so_still(
    state: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    entry = entry_in(state)
    before = self_signed(entry)
    count = 0

    for broken in range(12):
        real, count = getattr(os, call), 0

        def fail(*arguments: object, real=real, broken=broken, **more: object) -> object:  # type: ignore[no-untyped-def]
            nonlocal count
            count += 1
            if count > broken:
                raise OSError(28, "No space left on device")
            return real(*arguments, **more)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            try:
                self_signed(entry)
            except CertificateError as error:
                assert error.kind == "disk"
                assert "No space left on device; make room" in str(error)
        found = entry.pair()
        assert found is not None and belong_together(found)
        if count <= broken:
            assert found != before  # all steps passed
            return
    raise AssertionError(f"os.{call} is called more often than this test knows of")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory with room for one mebibyte."""
    if getattr(os, "geteuid", lambda: 1)() != 0:
        pytest.skip("only root can mount a small disk: run the tests as root")
    path = tmp_path / "small"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(path)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(path: Path) -> None:
    with (path / "filling").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def test_on_a_full_disk_the_room_is_missed_before_an_authority_is_asked(small_disk: Path) -> None:
    entry = entry_in(small_disk)
    before = self_signed(entry)
    fill(small_disk)
    with pytest.raises(CertificateError, match="No space left on device"):
        entry.draft(key_pem(new_key()))
    assert entry.pair() == before


def test_a_disk_that_fills_up_while_the_authority_works_costs_nothing(small_disk: Path) -> None:
    other = self_signed(entry_in(small_disk, "other.test"))
    entry = entry_in(small_disk)
    key = key_pem(new_key())
    with entry.draft(key) as draft:
        fill(small_disk)
        pair = draft.complete(other.chain.read_bytes(), {"kind": "acme"})
    assert pair.chain.read_bytes() == other.chain.read_bytes()
    assert pair.key.read_bytes() == key


def test_a_draft_that_a_kill_left_is_removed(state: Path) -> None:
    entry = entry_in(state)
    entry.draft(key_pem(new_key()))  # and no end to it
    self_signed(entry)
    assert [path.name for path in (entry.directory / "versions").iterdir()] == ["000001"]


def test_a_link_that_leads_elsewhere_is_not_followed(state: Path, tmp_path: Path) -> None:
    entry = entry_in(state)
    pair = self_signed(entry)
    entry.current.unlink()
    entry.current.symlink_to(pair.chain.parent.parent.parent.parent)
    assert entry.pair() is None


def test_json_that_was_cut_reads_as_nothing(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.json"
    write_json(path, {"a": 1})
    assert read_json(path) == {"a": 1}
    write_private(path, b'{"a"')
    assert read_json(path) == {}
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700

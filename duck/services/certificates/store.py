"""The certificates of a state directory, each with its key, in versions of which one is current.

    certificates/example.org/
        versions/000001/{chain.pem, key.pem, about.json}    never changed once it has its name
        versions/000002/...
        current -> versions/000002                          switched by one rename
        progress.json                                       when to renew, and what failed

Chain and key belong to one version, so they change together: who has looked up `current` once reads both of the same
one, and that stays for two more. Directories have mode 0700, files 0600.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from duck.exceptions import CertificateError
from duck.net.certificate import alternative_names
from duck.services.certificates.names import canonical, file_name, name_of_file
from duck.services.certificates.private_file import (
    make_directory,
    overwrite,
    read_json,
    sync_directory,
    unwritable,
    write_json,
    write_new,
)
from duck.services.certificates.schedule import Progress, Term

PUBLIC: Final = "acme"
SELF_SIGNED: Final = "self-signed"
LOCAL: Final = "local"

_KEPT: Final = 3
# Chains are 4 to 6 KiB; the room for one is taken before an authority is asked.
_ROOM: Final = 64 << 10


@dataclass(frozen=True)
class Pair:
    """A certificate with its chain, and its key, as files; and what is known of it.

    Attributes:
        name: what it was made for.
        names: what it is valid for.
        kind: `acme`, `local` (of the development authority) or `self-signed`.
        about: what was written beside it: `directory`, `profile` and the like.
    """

    name: str
    chain: Path
    key: Path
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    issuer: str
    serial: int
    fingerprint: str
    kind: str
    about: dict[str, Any]

    @property
    def term(self) -> Term:
        """How long it is valid."""
        return Term(self.not_before.timestamp(), self.not_after.timestamp())

    def is_valid(self, now: float) -> bool:
        """Whether clients would take it at `now`, as far as time goes."""
        return self.not_before.timestamp() <= now < self.not_after.timestamp()


class Entry:
    """What is kept for one name."""

    def __init__(self, root: Path, name: str) -> None:
        self.name = canonical(name)
        self.directory = root / file_name(self.name)
        self._versions = self.directory / "versions"
        self._current = self.directory / "current"

    @property
    def current(self) -> Path:
        """The name under which other programs find `chain.pem` and `key.pem`, whatever the version."""
        return self._current

    def version(self) -> Path | None:
        """The directory of the current version; None where there is none."""
        try:
            found = self.directory / (self._current.read_text() if _LINKS_ARE_FILES else os.readlink(self._current))
        except (OSError, ValueError):
            return None
        return found if found.parent == self._versions else None

    def pair(self) -> Pair | None:
        """What is current; None where there is none, or what is there cannot be read."""
        version = self.version()
        if version is None:
            return None
        try:
            leaf = x509.load_pem_x509_certificate((version / "chain.pem").read_bytes())
            os.stat(version / "key.pem")
        except (OSError, ValueError):
            return None
        about = read_json(version / "about.json")
        return Pair(
            self.name,
            version / "chain.pem",
            version / "key.pem",
            alternative_names(leaf),
            leaf.not_valid_before_utc,
            leaf.not_valid_after_utc,
            leaf.issuer.rfc4514_string(),
            leaf.serial_number,
            leaf.fingerprint(SHA256()).hex(),
            str(about.get("kind", "")),
            about,
        )

    def draft(self, key_pem: bytes) -> Draft:
        """A version to come, with its key and the room that its chain will need.

        Raises:
            CertificateError: there is no room for it.
        """
        make_directory(self._versions)
        for left in self._versions.glob(".draft-*"):  # of a process that was killed; the lock is ours
            shutil.rmtree(left, ignore_errors=True)
        directory = self._versions / f".draft-{secrets.token_hex(8)}"
        try:
            directory.mkdir(mode=0o700)
            try:
                write_new(directory / "key.pem", key_pem)
                write_new(directory / "chain.pem", bytes(_ROOM))
                write_new(directory / "about.json", b" " * 4096)
            except OSError:
                shutil.rmtree(directory, ignore_errors=True)
                raise
        except OSError as error:
            raise unwritable(self.directory, error) from error
        return Draft(self, directory)

    def write(self, chain_pem: bytes, key_pem: bytes, about: dict[str, Any]) -> Pair:
        """Make `chain_pem` and `key_pem` the current version.

        Raises:
            CertificateError: they cannot be written; what was current is so still.
        """
        with self.draft(key_pem) as draft:
            return draft.complete(chain_pem, about)

    @property
    def progress(self) -> Progress:
        """When to renew, and what failed."""
        return Progress.from_values(read_json(self.directory / "progress.json"))

    @progress.setter
    def progress(self, progress: Progress) -> None:
        write_json(self.directory / "progress.json", progress.as_values())

    def _adopt(self, draft: Path) -> None:
        """Give `draft` a number and make it current."""
        numbers = [int(path.name) for path in self._versions.iterdir() if path.name.isdecimal()]
        version = self._versions / f"{max(numbers, default=0) + 1:06d}"
        os.rename(draft, version)
        sync_directory(self._versions)
        self._switch(version)
        for number in sorted(numbers)[: -(_KEPT - 1)]:
            shutil.rmtree(self._versions / f"{number:06d}", ignore_errors=True)

    def _switch(self, version: Path) -> None:
        target = f"versions/{version.name}"
        temporary = self.directory / f".current-{secrets.token_hex(8)}"
        if _LINKS_ARE_FILES:
            write_new(temporary, target.encode())
        else:
            os.symlink(target, temporary)
        try:
            os.replace(temporary, self._current)
        except OSError:
            os.unlink(temporary)
            raise
        sync_directory(self.directory)


# Links need a right that users of Windows seldom have: there `current` is a file that says where.
_LINKS_ARE_FILES: Final = os.name == "nt"


class Draft:
    """A version that is being made; left without `complete`, nothing of it stays."""

    def __init__(self, entry: Entry, directory: Path) -> None:
        self._entry = entry
        self._directory = directory

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)

    def complete(self, chain_pem: bytes, about: dict[str, Any]) -> Pair:
        """Write the chain and make this version current.

        Raises:
            CertificateError: it cannot be written, or `chain_pem` is none.
        """
        import json

        try:
            x509.load_pem_x509_certificate(chain_pem)
        except ValueError as error:
            raise CertificateError(f"What was given for {self._entry.name} is no certificate: {error}.") from error
        text = json.dumps({**about, "written": datetime.now(UTC).isoformat(timespec="seconds")})
        try:
            overwrite(self._directory / "about.json", text.encode())
            overwrite(self._directory / "chain.pem", chain_pem)
            sync_directory(self._directory)
            self._entry._adopt(self._directory)
        except OSError as error:
            raise unwritable(self._entry.directory, error) from error
        pair = self._entry.pair()
        if pair is None:
            raise CertificateError(f"What was written to {self._entry.directory} is gone; see who removes files there.")
        return pair


class CertificateStore:
    """All entries below one directory.

    Args:
        state: the state directory (`services.state.state_directory`).
        kind: `certificates`, or `local` for those of the development authority.
    """

    def __init__(self, state: Path, kind: str = "certificates") -> None:
        self.root = state / kind

    def entry(self, name: str) -> Entry:
        """What is kept for `name`, which may be nothing yet."""
        return Entry(self.root, name)

    def entries(self) -> Iterator[Entry]:
        """Every entry that has a certificate, or for which it was tried in vain to obtain one, by name.

        Whether there is one that can be read, `pair` tells.
        """
        with contextlib.suppress(OSError):
            for path in sorted(self.root.iterdir()):
                with contextlib.suppress(CertificateError):
                    entry = Entry(self.root, name_of_file(path.name))
                    if entry.directory == path and (entry.version() is not None or entry.progress.failures):
                        yield entry

"""One Duck per project, settings module and name: a lock in the run directory, and the directory that goes with it.

    <run>/<key>.lock     flock held while the App lives; says as JSON who holds it
    <run>/<key>/         0700: the control socket and the Django sockets of that run

The kernel drops the lock with the process however it ends, so a leftover directory without a held lock is garbage of a
killed run, and is removed by the next start.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from duck.exceptions import AlreadyRunning
from duck.services.file_lock import try_lock
from duck.services.state import clear_directory, private_directory


@dataclass(frozen=True)
class InstanceInfo:
    """Who holds an instance lock, as written in the lock file.

    Attributes:
        addresses: URLs it listens on; empty until they are bound.
        control: path of the control socket.
        started: seconds since the epoch.
    """

    pid: int
    project: str
    settings: str
    name: str
    addresses: tuple[str, ...] = ()
    control: str = ""
    started: float = 0.0


def instance_key(project: str | os.PathLike[str], settings: str, name: str) -> str:
    """The file name (16 hex digits) of the instance for this project directory, settings module and name."""
    text = "\0".join((os.path.realpath(project), settings, name))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


class Instance:
    """The single instance, held from `acquire` until `release` or the end of the process."""

    def __init__(self, descriptor: int, lock_path: Path, directory: Path, info: InstanceInfo) -> None:
        self._descriptor = descriptor
        self._lock_path = lock_path
        self.directory = directory
        self.info = info

    @classmethod
    def acquire(
        cls,
        run: Path,
        *,
        project: str | os.PathLike[str],
        settings: str,
        name: str,
        started: float = 0.0,
        inherited: int | None = None,
        keeps_directory: bool = False,
    ) -> Instance:
        """Take the lock and make a fresh directory; what a killed run left there is removed.

        Args:
            run: the run directory (`services.state.run_directory`).
            inherited: descriptor of the lock, held already and kept over an exec.
            keeps_directory: processes that go on have their sockets in it.

        Raises:
            AlreadyRunning: another process holds it; carries its pid and addresses.
        """
        key = instance_key(project, settings, name)
        lock_path = run / f"{key}.lock"
        descriptor = _lock_patiently(lock_path) if inherited is None else inherited
        if descriptor is None:
            raise _already_running(lock_path, project, name)
        os.set_inheritable(descriptor, False)
        directory = run / key
        if not keeps_directory:
            clear_directory(directory)
        private_directory(directory)
        control = directory / "control.sock"
        control.unlink(missing_ok=True)  # of the Duck that this process was
        info = InstanceInfo(
            os.getpid(),
            os.path.realpath(project),
            settings,
            name,
            control=str(control),
            started=started,
        )
        instance = cls(descriptor, lock_path, directory, info)
        instance._write()
        return instance

    def publish(self, addresses: Sequence[str]) -> None:
        """Write the addresses that are bound now, for those who are refused and for `duck status`."""
        self.info = InstanceInfo(**{**asdict(self.info), "addresses": tuple(addresses)})
        self._write()

    @property
    def is_whole(self) -> bool:
        """Whether the lock file and the directory are where others look for them."""
        return self._has_lock_file() and self.directory.is_dir()

    def restore(self) -> None:
        """Make again what was removed; what the directory held is for its owners.

        Raises:
            AlreadyRunning: another Duck has taken the lock file's place meanwhile.
            ApplicationError: a directory cannot be made.
        """
        private_directory(self._lock_path.parent)
        if not self._has_lock_file():
            descriptor = _lock_patiently(self._lock_path)
            if descriptor is None:
                raise _already_running(self._lock_path, self.info.project, self.info.name)
            os.set_inheritable(descriptor, False)
            before, self._descriptor = self._descriptor, descriptor
            os.close(before)
            self._write()
        private_directory(self.directory)

    def fileno(self) -> int:
        """The descriptor that holds the lock; inheritable only when made so for an exec."""
        return self._descriptor

    def release(self) -> None:
        """Remove the directory and the lock file, and let the next one in; may be said again."""
        if self._descriptor < 0:
            return
        if self._has_lock_file():  # else what is there is another's
            clear_directory(self.directory)
            # Unlinked while held: whoever waits for it opens the path again and sees that the file is another.
            with contextlib.suppress(OSError):
                self._lock_path.unlink()
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)

    def _has_lock_file(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self._lock_path))
        except OSError:
            return False

    def _write(self) -> None:
        data = json.dumps(asdict(self.info)).encode()
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, data)


def running_instances(run: Path) -> list[InstanceInfo]:
    """Every instance whose lock is held, oldest first."""
    found = []
    for lock_path in sorted(run.glob("*.lock")):
        descriptor = _lock(lock_path, create=False)
        if descriptor is not None:
            os.close(descriptor)
            continue
        info = read_info(lock_path)
        if info is not None:
            found.append(info)
    return sorted(found, key=lambda info: info.started)


def read_info(lock_path: Path) -> InstanceInfo | None:
    """What the holder wrote into its lock file, or None where there is none or it is not readable."""
    try:
        said: dict[str, Any] = json.loads(lock_path.read_bytes())
        return InstanceInfo(**{**said, "addresses": tuple(said["addresses"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _already_running(lock_path: Path, project: str | os.PathLike[str], name: str) -> AlreadyRunning:
    info = read_info(lock_path)
    pid = info.pid if info else None
    addresses = info.addresses if info else ()
    who = f" with process id {pid}" if pid else ""
    where = f" at {', '.join(addresses)}" if addresses else ""
    return AlreadyRunning(
        f"Duck runs {os.fspath(project)} already{who}{where};"
        f" stop it with `duck stop`, or start a second one under another --name than {name!r}.",
        pid=pid,
        addresses=addresses,
    )


def _lock_patiently(path: Path) -> int | None:
    # `running_instances` of another process holds the lock for an instant while it looks.
    for _ in range(5):
        descriptor = _lock(path)
        if descriptor is not None:
            return descriptor
        time.sleep(0.02)
    return None


def _lock(path: Path, *, create: bool = True) -> int | None:
    """An exclusive lock on the file at `path`, or None while another process holds it (or the file is not there)."""
    flags = os.O_RDWR | (os.O_CREAT if create else 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    while True:
        try:
            descriptor = os.open(path, flags, 0o600)
        except FileNotFoundError:
            return None
        if not try_lock(descriptor):
            os.close(descriptor)
            return None
        try:
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except FileNotFoundError:
            pass
        # Removed by the one before between our open and our lock.
        os.close(descriptor)
        if not create:
            return None

"""One writer among several processes, and among several machines that share a state directory.

On one machine `flock` tells who it is, and the kernel gives it back at any death. Between machines it does so on some
network file systems only, so the holder also keeps a lease: a file that it touches every few seconds, and that another
machine may take when it has watched it untouched for long. Who watches goes by its own clock alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from duck.exceptions import CertificateError
from duck.services.certificates.private_file import make_directory, read_json, unwritable, write_new
from duck.services.file_lock import try_lock

BEAT_S: Final = 5.0
# A network file system may show for a minute what was so before (`acregmax` of NFS).
STALE_S: Final = 180.0
_LOOK_S: Final = 0.1


@contextlib.contextmanager
def locked(path: Path, *, wait_s: float = 30.0, sleep: Callable[[float], object] = time.sleep) -> Iterator[None]:
    """Hold the lock file `path` against other processes of this machine.

    Raises:
        CertificateError: another one held it for `wait_s`, or it cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        deadline = time.monotonic() + wait_s
        while not _try(path, descriptor):
            if time.monotonic() >= deadline:
                raise CertificateError(f"Another process holds {path}; it is waited for, or ended.", kind="busy")
            sleep(_LOOK_S)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Of several processes of this machine one is within at a time; `directory` is made where it is absent.

    Raises:
        CertificateError: as `locked`.
    """
    make_directory(directory)
    with locked(directory / ".lock"):
        yield


class Lease:
    """The right to write in one state directory.

    Args:
        path: the lock file; the lease lies beside it.
        holder: this machine, by default by its name and boot.
        sleep: waits so many seconds.
        now: a monotonic clock.
    """

    def __init__(
        self,
        path: Path,
        *,
        holder: str | None = None,
        sleep: Callable[[float], object] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._file = path.with_name(path.name + ".lease")
        self._holder = this_machine() if holder is None else holder
        self._token = secrets.token_hex(16)
        self._sleep = sleep
        self._now = now

    @contextlib.contextmanager
    def held(self, wait_s: float = 0.0) -> Iterator[None]:
        """Hold it; others are waited for `wait_s`.

        Raises:
            CertificateError: `busy`, another one holds it still; `disk`, it cannot be made.
        """
        make_directory(self._path.parent)
        with locked(self._path, wait_s=wait_s, sleep=self._sleep):
            self._take(wait_s)
            ended = threading.Event()
            beat = threading.Thread(target=self._beat, args=(ended,), name="duck-lease", daemon=True)
            beat.start()
            try:
                yield
            finally:
                ended.set()
                beat.join()
                if self._is_ours():
                    with contextlib.suppress(OSError):
                        os.unlink(self._file)

    def _take(self, wait_s: float) -> None:
        deadline = self._now() + wait_s
        seen, since = self._look(), self._now()
        while not self._make():
            found = self._look()
            if found is None:
                continue  # given back between the two
            if found[0].get("holder") == self._holder or self._now() - since >= STALE_S:
                # Of this machine whoever wrote it is gone, for we hold the lock; of another one it is as good as gone.
                self._remove(found)
                continue
            if found != seen:
                seen, since = found, self._now()
            if self._now() >= deadline:
                who = str(found[0].get("host", "another machine"))
                raise CertificateError(
                    f"{who} is writing to {self._path.parent} (process id {found[0].get('pid')}); it is tried again"
                    " later.",
                    kind="busy",
                )
            self._sleep(_LOOK_S)

    def _make(self) -> bool:
        text = {"holder": self._holder, "host": socket.gethostname(), "pid": os.getpid(), "token": self._token}
        try:
            write_new(self._file, json.dumps(text).encode())
        except FileExistsError:
            return False
        except OSError as error:
            raise unwritable(self._file, error) from error
        return True

    def _remove(self, found: tuple[dict[str, Any], int]) -> None:
        """Take away the lease that was looked at, and no other one that has its name meanwhile."""
        aside = self._file.with_name(f"{self._file.name}.{self._token}")
        try:
            os.rename(self._file, aside)
        except OSError:
            return
        if read_json(aside).get("token") != found[0].get("token"):
            with contextlib.suppress(OSError):
                os.link(aside, self._file)
        with contextlib.suppress(OSError):
            os.unlink(aside)

    def _look(self) -> tuple[dict[str, Any], int] | None:
        """What is written in the lease, and when it was touched last, by the clock of the file system."""
        try:
            touched = os.stat(self._file).st_mtime_ns
        except OSError:
            return None
        return read_json(self._file), touched

    def _is_ours(self) -> bool:
        return read_json(self._file).get("token") == self._token

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(BEAT_S):
            with contextlib.suppress(OSError):
                os.utime(self._file)


def this_machine() -> str:
    """This boot of this machine, or of this container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()} {boot}"


def _try(path: Path, descriptor: int) -> bool:
    try:
        return try_lock(descriptor)
    except OSError as error:
        raise unwritable(path, error) from error

"""Files that only their owner reads: after a crash, or on a full disk, the old one or the new one is there, whole."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from duck.exceptions import CertificateError


def make_directory(path: Path) -> Path:
    """`path`, made with mode 0700 where it is absent, and those above it likewise.

    Raises:
        CertificateError: it cannot be made.
    """
    try:
        if not path.is_dir():
            make_directory(path.parent)
            path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    return path


def write_new(path: Path, data: bytes) -> None:
    """Write a file that is not there yet, mode 0600, through to the disk.

    Raises:
        OSError: the disk is full, or the like; nothing is left of it.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o600)
    try:
        try:
            _write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def overwrite(path: Path, data: bytes) -> None:
    """Write `data` into a file that is there and is longer: the disk's room for it is taken already.

    Raises:
        OSError: as `write_new`; the file is then of no use.
    """
    descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    try:
        _write_all(descriptor, data)
        os.ftruncate(descriptor, len(data))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_private(path: Path, data: bytes) -> None:
    """Write the file `path`, mode 0600; whoever reads it meanwhile has the old one or the new one, whole.

    Raises:
        CertificateError: the disk is full, or the like; the old file is as it was.
    """
    make_directory(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        write_new(temporary, data)
        try:
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
        sync_directory(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error


def write_json(path: Path, value: Any) -> None:
    """The same for a value that JSON has."""
    write_private(path, json.dumps(value, indent=1, sort_keys=True).encode() + b"\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in the file `path`; an empty one where it is absent, or no JSON object."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def sync_directory(path: Path) -> None:
    """Have the names in `path` outlive a loss of power, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # a network file system that knows no such thing
    finally:
        os.close(descriptor)


def unwritable(path: Path, error: OSError) -> CertificateError:
    """The sentence for what cannot be written."""
    return CertificateError(
        f"{path} cannot be written: {error.strerror or error}; make room, or give the user who runs Duck the right,"
        " or name another place with --state-dir.",
        kind="disk",
    )


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]

"""What a process that was killed has left in the spool: directories that nobody holds any more.

Whoever makes one locks it for as long as it lives, which the system ends with the process, however that ends, and
which other containers over the same directory see as well.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import Final

if sys.platform != "win32":
    import fcntl

# A directory this young may be of a process that has just made it, and not locked it yet.
YOUNG_S: Final = 10.0


def hold(directory: str) -> int:
    """A descriptor that holds `directory` until it is closed; -1 where another process does, or it cannot be."""
    if sys.platform == "win32":
        return -1
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return -1
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return -1
    return descriptor


def sweep(parent: str, prefix: str, file_prefix: str) -> int:
    """Remove this user's directories `prefix...` below `parent` that nobody holds, with their files; tells how many."""
    swept = 0
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and _is_left(entry):
                swept += _remove(entry.path, file_prefix)
    return swept


def _is_left(entry: os.DirEntry[str]) -> bool:
    try:
        found = entry.stat(follow_symlinks=False)
        is_directory = entry.is_dir(follow_symlinks=False)
    except OSError:
        return False
    mine = hasattr(os, "geteuid") and found.st_uid == os.geteuid()
    return is_directory and mine and time.time() - found.st_mtime >= YOUNG_S


def _remove(directory: str, file_prefix: str) -> int:
    descriptor = hold(directory)
    if descriptor < 0:
        return 0
    try:
        for name in os.listdir(descriptor):
            if name.startswith(file_prefix):
                os.unlink(name, dir_fd=descriptor)
        os.rmdir(directory)
    except OSError:
        return 0
    finally:
        os.close(descriptor)
    return 1

"""Writing what is held back, before a process is copied: else each copy writes it."""

from __future__ import annotations

import fcntl
import io
import os
import stat
import sys
from typing import Any, List

from .objects import objects_of


def flush() -> None:
    """On the standard streams, and in files that the project has open."""
    for stream in (sys.stdout, sys.stderr, *_written_files()):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass


def _written_files() -> List[Any]:
    """Open files that are written to; looked for where the system tells of one, since it takes a while to find them."""
    if not _writes_files():
        return []
    writers = objects_of(io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)
    # A text is held back by its wrapper first, then by what that writes to.
    return sorted(writers, key=lambda one: not issubclass(type(one), io.TextIOWrapper))


def _writes_files() -> bool:
    try:
        for name in os.listdir("/proc/self/fd"):
            number = int(name)
            try:
                mode = os.fstat(number).st_mode
                if (
                    number > 2
                    and stat.S_ISREG(mode)
                    and fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
                ):
                    return True
            except OSError:
                pass  # that of the listing itself
    except OSError:
        return False  # no /proc; there are no spares either
    return False

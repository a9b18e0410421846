"""A lock on an open file: the kernel gives it back at any end of the process that holds it."""

from __future__ import annotations

import os
import sys

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


def try_lock(descriptor: int) -> bool:
    """Lock the file of `descriptor` for this process alone, unless another one holds it; whether it could.

    Raises:
        OSError: there are no locks on that file system.
    """
    if sys.platform == "win32":
        try:
            # Far behind the text, so that others may read it.
            os.lseek(descriptor, 1 << 20, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

"""Room for connections: each takes descriptors, of which the system lets a process have only so many."""

from __future__ import annotations

import contextlib
import sys
from typing import Final

# For listeners, Django's processes, logs, files that are sent, bodies in the spool.
RESERVE: Final = 256
_A_CONNECTION: Final = 2  # its own, and one of the backend that answers it


def make_room(connections: int) -> int:
    """Raise the soft limit of open files as far as `connections` need and the hard limit lets; how many fit.

    Where they do not all fit, a connection too many would get no answer at all: the system would leave it waiting, and
    a file or a backend that another one needs could not be opened either.
    """
    if sys.platform == "win32":
        return connections
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = RESERVE + _A_CONNECTION * connections
    if soft != resource.RLIM_INFINITY and soft < needed:
        wanted = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
        # macOS refuses more than it gives a process, whatever the hard limit says; each half is then tried.
        while wanted > soft:
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
                soft = wanted
                break
            wanted = max(soft, wanted // 2)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return connections
    return max(1, (soft - min(RESERVE, soft // 2)) // _A_CONNECTION)

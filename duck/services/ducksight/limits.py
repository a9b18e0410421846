"""Limits: what the kernel grants a user of inotify(7), told in a sentence."""

from __future__ import annotations

import errno


def exhausted(error: OSError) -> str:
    """A sentence on the limit that `error` means; empty where it means none."""
    name = {errno.ENOSPC: "max_user_watches", errno.EMFILE: "max_user_instances"}.get(error.errno or 0)
    if name is None:
        return ""
    try:
        with open(f"/proc/sys/fs/inotify/{name}", encoding="ascii") as file:
            limit = file.read().strip()
    except OSError:
        limit = "reached"
    wanted = "524288" if error.errno == errno.ENOSPC else "1024"
    return (
        f"The limit of what the kernel watches for this user is reached (fs.inotify.{name} is {limit}; "
        f"`sysctl fs.inotify.{name}={wanted}` raises it)"
    )

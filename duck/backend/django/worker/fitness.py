"""Whether this process can be copied: what a fork does not carry over, or what both copies would use at once."""

from __future__ import annotations

import os
import sys
import threading
from typing import Collection, List

_EVENT_LOOPS = ("[eventpoll]", "[eventfd]", "[io_uring]")
_SHOWN = 3
_SQLITE = b"SQLite format 3\0"  # the first 16 bytes of a database: https://www.sqlite.org/fileformat.html, 1.3.1


def why_unfit(own: Collection[int]) -> str:
    """Why it cannot, as a sentence; empty where it can. `own` are descriptors of sockets that are Duck's.

    Linux only: it looks into /proc, and says so where there is none.
    """
    why = _monkey()
    if why:
        return why
    others = [one.name for one in threading.enumerate() if one is not threading.current_thread()]
    if others:
        return f"the project has started threads while it was loaded: {', '.join(sorted(others)[:_SHOWN])}"
    try:
        if len(os.listdir("/proc/self/task")) > 1:
            return "a library has started threads while it was loaded"
        if _children():
            return "the project has started a process while it was loaded"
        for number in map(int, os.listdir("/proc/self/fd")):
            what = _what_is(number)
            if what.startswith("socket:") and number > 2 and number not in own:
                return "a connection was opened while the project was loaded, and two processes cannot share it"
            if what.endswith(_EVENT_LOOPS):
                return "an event loop was made while the project was loaded, and two processes cannot share it"
            if _is_database(number, what):
                return f"the database {what!r} is open, and two processes cannot share it"
    except OSError as error:
        return f"whether it can be copied cannot be told ({error})"
    return _open_database()


def _monkey() -> str:
    for name, package in (("gevent.monkey", "gevent"), ("eventlet.patcher", "eventlet")):
        module = sys.modules.get(name)
        if module is not None and (getattr(module, "saved", None) or getattr(module, "already_patched", None)):
            return f"{package} has replaced parts of the standard library"
    return ""


def _open_database() -> str:
    """What `close_all` leaves open: a database that lives in memory."""
    db = sys.modules.get("django.db")
    if db is None or "settings" not in vars(db.connections):
        return ""  # nobody has asked yet which there are
    open_ones: List[str] = [
        alias
        for alias in db.connections
        if hasattr(db.connections._connections, alias) and db.connections[alias].connection is not None
    ]
    return f"the database {open_ones[0]!r} is open, and two processes cannot share it" if open_ones else ""


def _is_database(number: int, what: str) -> bool:
    """Whether this is a file of SQLite, whose connections do not outlive a fork.

    It is read by the descriptor that is there: to close another one of the file would end the locks of the connection.
    """
    if not what.startswith("/") or what.startswith("/dev/"):
        return False
    try:
        return os.pread(number, len(_SQLITE), 0) == _SQLITE
    except OSError:
        return False  # a directory, or a file that is only written


def _children() -> str:
    try:
        with open("/proc/self/task/%d/children" % threading.get_native_id()) as file:
            return file.read().strip()
    except OSError:
        return ""  # a kernel that does not list them


def _what_is(number: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return ""  # that of the listing itself

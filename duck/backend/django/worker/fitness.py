"""Whether this process can be copied: what a fork does not carry over, or what both copies would use at once."""

from __future__ import annotations

import os
import re
import sys
import threading
from typing import Any, Collection, List

from .origin import by_descriptor, by_semaphore, by_thread
from .renewal import Renewal, Shared

_SHOWN = 3
_SQLITE = b"SQLite format 3\0"  # the first 16 bytes of a database: https://www.sqlite.org/fileformat.html, 1.3.1
# Of /proc/self/maps: written to, and shared with whoever has a copy; the name at its end.
_SHARED_MEMORY = re.compile(rb"^\S+ .w.s \S+ \S+ \S+ *(.*)$", re.MULTILINE)


class Fitness:
    """What was found.

    Attributes:
        why: why this process cannot be copied, as a sentence; empty where it can.
        renewal: what each copy has to make anew for itself, at once.
    """

    def __init__(self, own: Collection[int]) -> None:
        self.renewal = Renewal()
        try:
            self.why = self._why(own)
        except OSError as error:
            self.why = f"whether it can be copied cannot be told ({error})"

    def _why(self, own: Collection[int]) -> str:
        why = _monkey() or _threads() or _running_loop()
        if why:
            return why
        if _children():
            return "the project has started a process while it was loaded"
        try:
            self.renewal.look(own)
        except Shared as shared:
            made_by = _named(by_descriptor(shared.number))
            return f"{shared.what} was made while the project was loaded{made_by}, and two processes cannot share it"
        return _files() or _memory() or _open_database()


def why_unfit(own: Collection[int]) -> str:
    """Why this process cannot be copied, as a sentence; empty where it can. `own` are descriptors that are Duck's.

    Linux only: it looks into /proc, and says so where there is none.
    """
    return Fitness(own).why


def _monkey() -> str:
    for name, package in (("gevent.monkey", "gevent"), ("eventlet.patcher", "eventlet")):
        module = sys.modules.get(name)
        if module is not None and (getattr(module, "saved", None) or getattr(module, "already_patched", None)):
            return f"{package} has replaced parts of the standard library"
    return ""


def _threads() -> str:
    others = [one for one in threading.enumerate() if one is not threading.current_thread()]
    if others:
        names = ", ".join(sorted(one.name for one in others)[:_SHOWN])
        return f"the project has started threads while it was loaded: {names}{_named(by_thread(others))}"
    if len(os.listdir("/proc/self/task")) > 1:
        return "a library has started threads while it was loaded"
    return ""


def _running_loop() -> str:
    events: Any = sys.modules.get("asyncio.events")
    if events is not None and events._get_running_loop() is not None:
        return "an event loop runs already as the project is loaded"
    return ""


def _files() -> str:
    """Files of which a copy would believe what is not so: databases, and what is locked."""
    for number in map(int, os.listdir("/proc/self/fd")):
        path = _path_of(number)
        if not path or path.startswith("/dev/"):
            continue
        if _is_database(number):
            return f"the database {path!r} is open, and two processes cannot share it"
        if number > 2 and _is_locked(number):
            return f"{path!r} is locked, and two processes cannot share that"
    return ""


def _path_of(number: int) -> str:
    try:
        path = os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return ""  # that of the listing itself
    return path if path.startswith("/") else ""


def _is_database(number: int) -> bool:
    """Whether this is a file of SQLite, whose connections do not outlive a fork.

    It is read by the descriptor that is there: to close another one of the file would end the locks of the connection.
    """
    try:
        return os.pread(number, len(_SQLITE), 0) == _SQLITE
    except OSError:
        return False  # a directory, or a file that is only written


def _is_locked(number: int) -> bool:
    with open(f"/proc/self/fdinfo/{number}", "rb") as file:
        return b"\nlock:" in file.read()


def _memory() -> str:
    """Memory that a copy would go on sharing: semaphores, locks and values of `multiprocessing`, anonymous maps."""
    with open("/proc/self/maps", "rb") as file:
        found = _SHARED_MEMORY.search(file.read())
    if found is None:
        return ""
    path = os.fsdecode(found[1])
    if os.path.basename(path).startswith("sem."):
        made_by = _named(by_semaphore())
        return f"a lock between processes was made while the project was loaded{made_by}, and a copy would share it"
    named = "" if path in ("", "/dev/zero (deleted)") else f" ({path})"
    return f"memory that processes share was mapped while the project was loaded{named}, and a copy would share it"


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


def _children() -> str:
    try:
        with open("/proc/self/task/%d/children" % threading.get_native_id()) as file:
            return file.read().strip()
    except OSError:
        return ""  # a kernel that does not list them


def _named(modules: List[str]) -> str:
    return f" (by {', '.join(modules[:_SHOWN])})" if modules else ""

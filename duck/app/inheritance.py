"""What a Duck leaves to the Duck that it becomes by an exec: its listeners and its lock, and, where they go on, its
children.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from duck.net.listener import speaks_tls

VARIABLE: Final = "_DUCK_INHERITED"

# Their default is to end the process, and the new Duck takes them a while after the exec.
_HELD_BACK: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGCHLD") if hasattr(signal, name)
)


@dataclass(frozen=True)
class Inheritance:
    """Descriptors and plain values.

    Attributes:
        listeners: of bound, listening sockets, in order, and whether TLS is spoken there.
        lock: of the instance lock, held.
        fronts: front worker processes that serve, as `FrontProcesses.take_over` takes them.
        django: the Django processes that serve, as `DjangoService.take_over` takes them; None where there are none.
        run: what the Duck before was called in `duck status`; the next one has the next number.
    """

    listeners: tuple[tuple[int, bool], ...]
    lock: int
    fronts: tuple[Mapping[str, Any], ...] = ()
    django: Mapping[str, Any] | None = None
    run: int = 1
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_children(self) -> bool:
        """Whether processes go on, whose sockets have to stay where they are."""
        return bool(self.fronts) or self.django is not None


def take() -> Inheritance | None:
    """What the Duck that this process was before has left, taken out of the environment; None for a first one."""
    text = os.environ.pop(VARIABLE, "")
    if not text:
        return None
    with open(int(text), "rb") as file:
        said = json.load(file)
    return Inheritance(
        # A Duck without TLS has left descriptors alone.
        listeners=tuple((one, False) if isinstance(one, int) else (one[0], one[1]) for one in said["listeners"]),
        lock=said["lock"],
        fronts=tuple(said["fronts"]),
        django=said["django"],
        run=said["run"],
        more=said["more"],
    )


def become_new(
    listeners: Sequence[socket.socket],
    lock: int,
    *,
    fronts: Sequence[Mapping[str, Any]] = (),
    django: Mapping[str, Any] | None = None,
    run: int = 1,
    more: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> NoReturn:
    """Run this process's command again in its place: same id, same ports, same lock; `environ` is added to its own.

    Every descriptor is closed by the exec but these, and those that whoever made `fronts`, `django` and `more` has made
    to outlive it. Signals that come meanwhile wait until the new Duck takes them.

    Raises:
        OSError: nobody can be run, or there is no room for what is handed over; this process goes on as it was.
    """
    descriptors = [listener.fileno() for listener in listeners]
    said = {
        "listeners": [(listener.fileno(), speaks_tls(listener)) for listener in listeners],
        "lock": lock,
        "fronts": list(fronts),
        "django": django,
        "run": run + 1,
        "more": dict(more or {}),
    }
    hold_signals_back()
    try:
        # A file: what a Django project tells of itself may be longer than a variable can be.
        with _nameless_file() as file:
            file.write(json.dumps(said).encode())
            file.seek(0)
            for descriptor in (*descriptors, lock, file.fileno()):
                os.set_inheritable(descriptor, True)
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
                    stream.flush()
            variables = {**os.environ, **(environ or {}), VARIABLE: str(file.fileno())}
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], variables)
    finally:
        for descriptor in (*descriptors, lock):
            os.set_inheritable(descriptor, False)
        let_signals_in()


def descriptors_of(handed: Mapping[str, Any]) -> list[int]:
    """The descriptors in what `become_new` is given as `fronts`, `django` and `more`."""
    fronts, django, more = handed.get("fronts", ()), handed.get("django") or {}, handed.get("more", {})
    return [
        *(front[name] for front in fronts for name in ("control", "lifeline")),
        *django.get("descriptors", ()),
        *(descriptor for one in more.values() for descriptor in one.get("listeners", ())),
        *(child[name] for one in more.values() for child in _children(one) for name in ("control", "lifeline")),
    ]


def _children(one: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What `Child.hand_over` gave of each child that is handed over with `one`."""
    return [*one.get("children", ()), *([one["child"]] if "child" in one else [])]


def _nameless_file() -> io.FileIO:
    """A file that nobody finds; where the system has such, in memory only: there are secrets in it."""
    if hasattr(os, "memfd_create"):
        return io.FileIO(os.memfd_create("duck"), "r+")
    return tempfile.TemporaryFile(buffering=0)


def hold_signals_back() -> None:
    """Let signals wait for the next Duck."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)


def let_signals_in() -> None:
    """Take the signals that have waited since the exec; before anything is spawned, which would inherit the wait."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)

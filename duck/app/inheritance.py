"""What a Duck leaves to the Duck that it becomes by an exec: its listeners and its lock."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

VARIABLE: Final = "_DUCK_INHERITED"


@dataclass(frozen=True)
class Inheritance:
    """Descriptors.

    Attributes:
        listeners: of bound, listening sockets, in order.
        lock: of the instance lock, held.
    """

    listeners: tuple[int, ...]
    lock: int


def take() -> Inheritance | None:
    """What the Duck that this process was before has left, taken out of the environment; None for a first one."""
    text = os.environ.pop(VARIABLE, "")
    if not text:
        return None
    said = json.loads(text)
    return Inheritance(tuple(said["listeners"]), said["lock"])


def become_new(listeners: Sequence[socket.socket], lock: int) -> NoReturn:
    """Run this process's command again in its place: same id, same ports, same lock.

    Every other descriptor is closed by the exec.
    """
    descriptors = [listener.fileno() for listener in listeners]
    for descriptor in (*descriptors, lock):
        os.set_inheritable(descriptor, True)
    os.environ[VARIABLE] = json.dumps({"listeners": descriptors, "lock": lock})
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

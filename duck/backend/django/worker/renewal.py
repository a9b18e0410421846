"""What two processes must not share of the kernel, and what of that a copy can make anew for itself.

A fork gives the copy the same pipes, sockets and epolls, not others like them: what one adds to an epoll the other is
told of, what one writes to a pipe the other reads. Where such a thing is of this process alone, and nothing is under
way in it, a copy makes another at the same number, at once, so that whatever object knows the number goes on with it:

    pipe      both ends are here, and nothing is in it
    sockets   the pair by which a loop of asyncio that does not run is woken; what was written to it is written again
    epoll     all that it watches is one of these

So an event loop that was made while the project was loaded, and does not run yet, is no hindrance: Daphne makes one,
and installs Twisted's reactor on it, when it is among the applications. Anything else is one (`Shared`): a connection,
a socket of another kind, what tells of time, signals, files and processes.
"""

from __future__ import annotations

import array
import fcntl
import os
import select
import socket
import stat
import sys
import termios
from typing import Any, Collection, Dict, List, Set, Tuple

from .objects import objects_of

_KINDS = {
    "eventpoll": "an event loop",
    "io_uring": "an event loop",
    "eventfd": "an event descriptor",
    "inotify": "a watch of files",
    "fanotify": "a watch of files",
    "timerfd": "a timer",
    "signalfd": "a descriptor of signals",
    "pidfd": "a descriptor of a process",
}
_MOST_PENDING = 4096


class Shared(Exception):
    """Something that cannot be made anew: `what` it is, and a descriptor of it, `number`."""

    def __init__(self, what: str, number: int) -> None:
        super().__init__(what, number)
        self.what = what
        self.number = number


class Renewal:
    """What is to be made anew in a copy; nothing before `look`."""

    def __init__(self) -> None:
        self._pipes: List[Tuple[List[int], List[int]]] = []  # numbers of the reading ends, and of the writing ones
        self._pairs: List[Tuple[int, int, bytes]] = []  # with what waits to be read at the first
        self._epolls: List[Tuple[int, List[Tuple[int, int]]]] = []  # with numbers and events

    def look(self, own: Collection[int]) -> None:
        """Note what there is beside `own`, which is Duck's.

        Raises:
            Shared: a copy could not make it anew.
        """
        pipes: Dict[str, List[int]] = {}
        sockets: List[int] = []
        epolls: List[int] = []
        for number in map(int, os.listdir("/proc/self/fd")):
            if number <= 2 or number in own:
                continue
            what = _what_is(number)
            if what.startswith("pipe:"):
                pipes.setdefault(what, []).append(number)
            elif what.startswith("socket:"):
                sockets.append(number)
            elif what.endswith("[eventpoll]"):
                epolls.append(number)
            elif what.startswith("anon_inode:"):
                kind = what[len("anon_inode:") :].strip("[]")
                raise Shared(_KINDS.get(kind, f"a descriptor ({kind})"), number)
            elif what.startswith("/") and stat.S_ISFIFO(os.fstat(number).st_mode):
                raise Shared("a pipe", number)
        self._pipes = [_ends(numbers) for numbers in pipes.values()]
        self._pairs = _pairs(sockets) if sockets else []
        renewed = {number for numbers in pipes.values() for number in numbers} | set(sockets) | set(epolls)
        self._epolls = [(number, _watched(number, renewed)) for number in epolls]

    def carry_out(self) -> None:
        """In a copy, before anything else: make all of it anew.

        Raises:
            OSError: the system has no room for it.
        """
        for readers, writers in self._pipes:
            _replace(zip(os.pipe(), (readers, writers), strict=False))
        for reader, writer, pending in self._pairs:
            ends = socket.socketpair()
            ends[1].sendall(pending)
            _replace(((ends[0].detach(), [reader]), (ends[1].detach(), [writer])))
        made = [(select.epoll(), number, watched) for number, watched in self._epolls]
        for epoll, number, _ in made:
            os.dup2(epoll.fileno(), number, inheritable=os.get_inheritable(number))
        for epoll, _, watched in made:
            for other, events in watched:
                epoll.register(other, events)
            epoll.close()


def _replace(ends: Any) -> None:
    """Put each new descriptor in the place of the old ones, with what was set of them, and close it."""
    for new, numbers in ends:
        for number in numbers:
            fcntl.fcntl(new, fcntl.F_SETFL, fcntl.fcntl(number, fcntl.F_GETFL))
            os.dup2(new, number, inheritable=os.get_inheritable(number))
        os.close(new)


def _ends(numbers: List[int]) -> Tuple[List[int], List[int]]:
    """Of one pipe."""
    modes = {number: fcntl.fcntl(number, fcntl.F_GETFL) for number in numbers}
    readers = [number for number, mode in modes.items() if mode & os.O_ACCMODE == os.O_RDONLY]
    writers = [number for number, mode in modes.items() if mode & os.O_ACCMODE == os.O_WRONLY]
    if not readers or not writers or len(readers) + len(writers) != len(numbers) or _waiting(readers[0]):
        raise Shared("a pipe", numbers[0])
    return readers, writers


def _pairs(sockets: List[int]) -> List[Tuple[int, int, bytes]]:
    """The pairs that `sockets` are."""
    left = set(sockets)
    pairs = []
    for reader, writer in _wakers():
        if {reader, writer} <= left:
            if _waiting(reader) > _MOST_PENDING or _waiting(writer):
                break
            left -= {reader, writer}
            pairs.append((reader, writer, _peek(reader)))
    if left:
        raise Shared("a connection", min(left))
    return pairs


def _wakers() -> List[Tuple[int, int]]:
    """The descriptors by which loops of asyncio are woken that do not run: which sockets are a pair only they know."""
    module: Any = sys.modules.get("asyncio.selector_events")
    if module is None:
        return []
    found = []
    for one in objects_of(module.BaseSelectorEventLoop):
        if not one.is_running() and not one.is_closed():
            ends = [getattr(one, name, None) for name in ("_ssock", "_csock")]
            if all(type(end) is socket.socket for end in ends):
                found.append((ends[0].fileno(), ends[1].fileno()))  # type: ignore[union-attr]
    return found


def _watched(number: int, renewed: Set[int]) -> List[Tuple[int, int]]:
    """Numbers and events that epoll `number` watches; its own objects, and none that was closed since."""
    watched = []
    with open(f"/proc/self/fdinfo/{number}") as file:
        for line in file:
            if line.startswith("tfd:"):
                fields = dict(zip(*[iter(line.replace(":", " ").split())] * 2, strict=False))
                other = int(fields["tfd"])
                is_same = "ino" not in fields or int(fields["ino"], 16) == os.fstat(other).st_ino
                # Python has the number in the lower half of `data`, and nothing in the other; others may have more.
                is_plain = int(fields["data"], 16) & 0xFFFFFFFF == other
                if other not in renewed or other == number or not is_plain or not is_same:
                    raise Shared("an event loop", number)
                watched.append((other, int(fields["events"], 16)))
    return watched


def _waiting(number: int) -> int:
    """How many bytes can be read."""
    count = array.array("i", [0])
    fcntl.ioctl(number, termios.FIONREAD, count)
    return count[0]


def _peek(number: int) -> bytes:
    if not _waiting(number):
        return b""
    one = socket.socket(fileno=os.dup(number))
    with one:
        return one.recv(_MOST_PENDING, socket.MSG_PEEK | socket.MSG_DONTWAIT)


def _what_is(number: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return ""  # that of the listing itself

"""What systemd hands over and wants to hear: listening sockets, readiness, reloads, a sign of life.

    LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES      sockets of a socket unit, from descriptor 3 on (sd_listen_fds(3))
    NOTIFY_SOCKET                               where to say READY=1 and the rest (sd_notify(3))
    WATCHDOG_USEC, WATCHDOG_PID                 how often WATCHDOG=1 is expected (sd_watchdog_enabled(3))

All of them are taken out of the environment: children would take them for theirs. `Notifier.hand_over` puts those of
the notifier back for the Duck that this process becomes by an exec.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from duck.exceptions import ApplicationError
from duck.settings.listen import ListenAddress

if TYPE_CHECKING:
    from duck.services.inbox import Inbox, Timer

logger = logging.getLogger("duck.services")

_FIRST_FD: Final = 3
_SEND_S: Final = 0.5  # a systemd that takes nothing for so long is told no more of this


@dataclass(frozen=True)
class InheritedSocket:
    """A listening socket that systemd opened.

    Attributes:
        name: FileDescriptorName= of its socket unit; empty where none was told.
    """

    fd: int
    name: str

    @property
    def address(self) -> ListenAddress:
        """As `--listen fd:N` names it; `net.listener.open_listeners` adopts it."""
        return ListenAddress("fd", fd=self.fd)


def take_sockets(environ: MutableMapping[str, str], *, pid: int | None = None) -> list[InheritedSocket]:
    """The sockets that systemd handed to this process, in order; those meant for another are nobody's here.

    They are kept from children by this. An inherited environment names another process (LISTEN_PID), whose
    descriptors 3, 4, ... are something else here.

    Raises:
        ApplicationError: one of them cannot be listened on, or the variables are no numbers.
    """
    said = {name: environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")}
    if not said["LISTEN_PID"] or not said["LISTEN_FDS"]:
        return []
    for name in ("LISTEN_PID", "LISTEN_FDS"):
        if not _is_number(said[name]):
            raise ApplicationError(f"{name} is {said[name]!r}, which is no number: it is systemd's to set, unset it.")
    if int(said["LISTEN_PID"]) != (os.getpid() if pid is None else pid):
        return []
    names = said["LISTEN_FDNAMES"].split(":")
    found = []
    for number in range(int(said["LISTEN_FDS"])):
        descriptor = _FIRST_FD + number
        name = names[number] if number < len(names) else ""
        _check_listens(descriptor, name)
        os.set_inheritable(descriptor, False)
        found.append(InheritedSocket(descriptor, name))
    return found


class Notifier:
    """What is said to systemd, or to whatever has set NOTIFY_SOCKET; nothing where nobody listens.

    Attributes:
        watchdog_s: how often `watchdog` has to be said, at half the time after which systemd would end this process;
            None where it does not watch.
    """

    def __init__(self, address: str, watchdog_usec: int | None = None) -> None:
        self.watchdog_s = watchdog_usec / 2_000_000 if address and watchdog_usec else None
        self._address = address
        self._watchdog_usec = watchdog_usec
        self._has_failed = False

    @classmethod
    def take(cls, environ: MutableMapping[str, str], *, pid: int | None = None) -> Notifier:
        """As the environment says, out of which its variables are taken."""
        address = environ.pop("NOTIFY_SOCKET", "")
        usec = environ.pop("WATCHDOG_USEC", "")
        watched = environ.pop("WATCHDOG_PID", "")
        if address and address[0] not in "/@":
            logger.warning(
                "NOTIFY_SOCKET is %r, neither a path nor an abstract name; systemd is told nothing.", address
            )
            address = ""
        is_watched = _is_number(usec) and watched in ("", str(os.getpid() if pid is None else pid))
        return cls(address, int(usec) if is_watched else None)

    @property
    def is_wanted(self) -> bool:
        """Whether somebody listens."""
        return bool(self._address)

    def hand_over(self) -> Mapping[str, str]:
        """The variables for the Duck that this process becomes by an exec; it takes them out again."""
        if not self._address:
            return {}
        said = {"NOTIFY_SOCKET": self._address}
        if self._watchdog_usec:
            said |= {"WATCHDOG_USEC": str(self._watchdog_usec), "WATCHDOG_PID": str(os.getpid())}
        return said

    def ready(self, status: str = "") -> None:
        """The start, or a reload, is done: it serves."""
        self._send("READY=1", *_status(status))

    def reloading(self, status: str = "") -> None:
        """A reload begins; it ends with `ready`, whether it succeeded or not."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000 if hasattr(time, "CLOCK_MONOTONIC") else 0
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}", *_status(status))

    def stopping(self, status: str = "") -> None:
        """The end has begun."""
        self._send("STOPPING=1", *_status(status))

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(*_status(text or " "))

    def watchdog(self) -> None:
        """A sign of life."""
        self._send("WATCHDOG=1")

    def extend(self, seconds: float) -> None:
        """The start, reload or end goes on, and is to be given this much longer from now."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(_SEND_S)
                sender.sendto("\n".join(lines).encode("utf-8", "replace"), address)
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                logger.warning("systemd cannot be told %s at %s: %s.", lines[0], self._address, error.strerror or error)
        else:
            self._has_failed = False


class Watchdog:
    """Says that this process lives as often as systemd wants to hear it, while it does.

    On the inbox's thread: one that hangs says nothing, and is ended and started anew by systemd. So does one whose
    `is_well()` says no.
    """

    def __init__(self, inbox: Inbox, notifier: Notifier, is_well: Callable[[], bool] = lambda: True) -> None:
        self._inbox = inbox
        self._notifier = notifier
        self._is_well = is_well
        self._timer: Timer | None = None

    def start(self) -> None:
        """Say it now and from now on; nothing where nobody watches."""
        interval_s = self._notifier.watchdog_s
        if interval_s is None:
            return
        self._timer = self._inbox.call_later(interval_s, self.start)
        if self._is_well():
            self._notifier.watchdog()

    def stop(self) -> None:
        """Say it no more; may be said again."""
        if self._timer is not None:
            self._timer.cancel()


def _status(text: str) -> tuple[str, ...]:
    # One line: a second one would be an assignment of its own.
    return (f"STATUS={' '.join(text.splitlines())}",) if text else ()


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < len(text) < 20


def _check_listens(descriptor: int, name: str) -> None:
    which = f"The socket {descriptor}{f' ({name})' if name else ''} that systemd handed over"
    try:
        duplicate = socket.socket(fileno=os.dup(descriptor))
    except OSError as error:
        raise ApplicationError(
            f"{which} is none: {error.strerror or error}; LISTEN_FDS promises more than there is."
        ) from error
    with duplicate:
        if duplicate.type != socket.SOCK_STREAM or duplicate.family not in _families():
            raise ApplicationError(f"{which} is of another kind than HTTP comes by: use ListenStream= in its unit.")
        if hasattr(socket, "SO_ACCEPTCONN") and not duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ApplicationError(f"{which} does not listen: its unit has Accept=yes, which has to be Accept=no.")


def _families() -> set[int]:
    return {socket.AF_INET, socket.AF_INET6, getattr(socket, "AF_UNIX", socket.AF_INET)}

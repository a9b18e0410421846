"""Child: a process of Duck's own, spawned by exec, spoken to in lines of JSON, and ended with this process.

    parent -> child    {"do": "...", ...}
    child -> parent    {"event": "...", ...}

The child's end is a `Parent`. The child leads its own process group, and holds one end of a pipe at whose end the
kernel kills that group (see backend.django.worker.control). A process that becomes a new Duck by an exec hands its
children over to it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from duck.exceptions import ApplicationError
from duck.services.exit import ExitWatch
from duck.services.incoming import Incoming
from duck.services.outgoing import Outgoing

if TYPE_CHECKING:
    from duck.services.inbox import Inbox

logger = logging.getLogger("duck.services")

_MAX_UNREAD: Final = 16 << 20  # a message of the child's that is longer is none


class Child:
    """One child. Everything is called, and calls back, on the inbox's thread.

    Callbacks, set before the inbox runs again:
        on_message(message): what it said, a dictionary.
        on_exit(code): it is gone, and with it its group; negative: the signal.
    """

    def __init__(
        self,
        inbox: Inbox,
        pid: int,
        control: socket.socket,
        lifeline: int,
        started: float,
        process: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self.pid = pid
        self.started = started
        self.has_exited = False
        self.on_message: Callable[[dict[str, Any]], None] = lambda message: None
        self.on_exit: Callable[[int], None] = lambda code: None
        self._inbox = inbox
        self._control = control
        self._lifeline = lifeline
        control.setblocking(False)
        self._outgoing = Outgoing(inbox, control)
        self._incoming = Incoming(inbox, control, _MAX_UNREAD, lambda message: self.on_message(message), self._garbled)
        self._incoming.listen()
        self._exit = ExitWatch(inbox, pid, process, self._exited)

    @classmethod
    def spawn(
        cls,
        inbox: Inbox,
        command: Sequence[str],
        variable: str,
        told: Mapping[str, Any],
        descriptors: Sequence[int],
        environ: Mapping[str, str] | None = None,
    ) -> Child:
        """Start `command`; it finds `told`, with `control_fd`, `lifeline_fd` and `parent`, in environment `variable`.

        `environ` has its other variables, by default those of this process.

        Raises:
            ApplicationError: the system has no room for it.
        """
        try:
            lifeline, lifeline_in = os.pipe()
        except OSError as error:
            raise ApplicationError(f"A process cannot be started: {error.strerror}.") from error
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            os.close(lifeline)
            os.close(lifeline_in)
            raise ApplicationError(f"A process cannot be started: {error.strerror}.") from error
        said = {**told, "control_fd": theirs.fileno(), "lifeline_fd": lifeline, "parent": os.getpid()}
        try:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                env={**(os.environ if environ is None else environ), variable: json.dumps(said)},
                pass_fds=[theirs.fileno(), lifeline, *descriptors],
                process_group=0,
            )
        except OSError as error:
            ours.close()
            os.close(lifeline_in)
            raise ApplicationError(f"A process cannot be started: {error.strerror}.") from error
        finally:
            theirs.close()
            os.close(lifeline)
        return cls(inbox, process.pid, ours, lifeline_in, time.monotonic(), process)

    @classmethod
    def take_over(cls, inbox: Inbox, values: Mapping[str, Any]) -> Child:
        """The child that this process had before it became a new Duck; `values` as `hand_over` gave them."""
        for descriptor in (values["control"], values["lifeline"]):
            os.set_inheritable(descriptor, False)
        control = socket.socket(fileno=values["control"])
        child = cls(inbox, values["pid"], control, values["lifeline"], values["started"])
        child._incoming.go_on(values.get("unread", "").encode("latin-1"))
        child._outgoing.go_on(values.get("unsent", "").encode("latin-1"))
        return child

    def hand_over(self) -> dict[str, Any]:
        """What the next Duck of this process needs, descriptors made to outlive the exec."""
        for descriptor in (self._control.fileno(), self._lifeline):
            os.set_inheritable(descriptor, True)
        return {
            "pid": self.pid,
            "control": self._control.fileno(),
            "lifeline": self._lifeline,
            "started": self.started,
            # Messages of which one half has passed: without the other, what follows would be none.
            "unread": self._incoming.unread.decode("latin-1"),
            "unsent": self._outgoing.unsent.decode("latin-1"),
        }

    def send(self, do: str, **facts: Any) -> None:
        """Say something; a child that is gone is told of by its exit, one that reads nothing hangs, and is ended."""
        if self.has_exited or self._outgoing.send({"do": do, **facts}):
            return
        if self._outgoing.waits:
            logger.error("The process %d reads nothing that it is told; it is ended.", self.pid)
            self._outgoing.close()
            self.kill()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, and not its group."""
        if not self.has_exited:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it and its group now."""
        if not self.has_exited:
            # Its number cannot be another's before it is reaped.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    @property
    def uptime_s(self) -> float:
        """Seconds since it was spawned."""
        return time.monotonic() - self.started

    def _garbled(self) -> None:
        logger.warning("The process %d said what is no message.", self.pid)

    def _exited(self) -> None:
        if self.has_exited:
            return
        self.kill()
        code = self._exit.reap()
        self._incoming.take_last()
        self.has_exited = True
        self._outgoing.close()
        self._incoming.close()
        self._control.close()
        os.close(self._lifeline)
        self.on_exit(code)

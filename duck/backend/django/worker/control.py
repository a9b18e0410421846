"""The control socket: this process's reports to the App, the App's commands, and the lifeline between them.

The end of the stream means that the App is gone: then this process and whatever it started end with it.

A thread that reads it may not come to run: a view that holds the interpreter's lock for long keeps it from that. So the
kernel is asked, too. `tie_group` has it kill the whole group when the App's end of a pipe closes; `die_with_parent`
tells this process of its parent's death, which holds where something that the App forked keeps that end open.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from typing import Any, Callable, Dict, Optional

PR_SET_PDEATHSIG = 1


def tie_group(descriptor: int) -> bool:
    """Have the kernel send SIGKILL to the whole group when the other end of a pipe closes; whether it will.

    The pipe's reading end is `descriptor`, and stays open as long as this process lives. Nothing is ever written to it:
    the one event that it can have is the App's death. Linux only (`F_SETSIG`).
    """
    if not sys.platform.startswith("linux") or descriptor < 0 or os.getpgrp() != os.getpid():
        return False
    import fcntl

    os.set_inheritable(descriptor, False)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_ASYNC)
    except OSError:
        return False  # a sandbox whose kernel has no such request
    return True


def die_with_parent(parent: int, *, is_tied: bool = False) -> None:
    """Ask for a signal at the parent's death; end now where it has died already.

    Asked for after exec, by the child itself: a request made between fork and exec would need a `preexec_fn`. The
    signal is SIGKILL, or, in a tied group, one that ends the group: the kernel sends it when one thread of the App has
    ended, its files may close later, and a process that is killed in between would leave what it has started.
    """
    if sys.platform.startswith("linux"):
        number = signal.SIGKILL
        if is_tied:
            number = signal.SIGRTMAX
            signal.signal(number, lambda number, frame: end_group())
        try:
            import ctypes

            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        except (ImportError, OSError, AttributeError):
            pass  # an interpreter without ctypes: the lifeline remains
    if parent and os.getppid() != parent:
        os._exit(1)


class Control:
    """Reports and commands, as lines of JSON.

    `on_stop(deadline_s)`, `on_terminal()` and `on_ping(command)` are called on the lifeline's thread. A stop before
    `on_stop` is set ends the process: nothing has been promised to anybody yet. `on_ping` answers by `pong`; that it
    does shows that a thread gets the interpreter's lock. `on_look` goes before it, for what is looked at now and then,
    and raises nothing. `on_other` takes every other command. A process that is to be copied must have no thread: it
    does not listen until then, and the App ends it by a signal.
    """

    def __init__(self, descriptor: int, *, listens: bool = True) -> None:
        self.on_stop: Optional[Callable[[float], None]] = None
        self.on_terminal: Optional[Callable[[], None]] = None
        self.on_ping: Callable[[Dict[str, Any]], None] = lambda command: self.send("pong")
        self.on_look: Callable[[], None] = lambda: None
        self.on_other: Callable[[Dict[str, Any]], None] = lambda command: None
        self._lock = threading.RLock()  # a signal handler reports, too
        self._socket: Optional[socket.socket] = None
        self._is_listening = False
        if descriptor >= 0:
            self._socket = socket.socket(fileno=descriptor)
            self._socket.setblocking(True)
            os.set_inheritable(descriptor, False)
        if listens:
            self.listen()

    def listen(self) -> None:
        """Take commands from now on, on a thread; may be said again."""
        if self._socket is not None and not self._is_listening:
            self._is_listening = True
            threading.Thread(target=self._listen, name="duck-lifeline", daemon=True).start()

    def send(self, event: str, **facts: Any) -> None:
        """Report `event` to the App; an App that is gone is left to the lifeline."""
        line = json.dumps({"event": event, **facts}, default=str).encode() + b"\n"
        if self._socket is not None:
            try:
                with self._lock:
                    self._socket.sendall(line)
            except OSError:
                pass

    def _listen(self) -> None:
        assert self._socket is not None
        buffer = b""
        while True:
            try:
                data = self._socket.recv(65536)
            except OSError:
                data = b""
            if not data:
                end_group()
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                if line:
                    self._command(json.loads(line))

    def _command(self, command: Dict[str, Any]) -> None:
        name = command.get("command")
        if name == "stop":
            if self.on_stop is None:
                os._exit(0)
            self.on_stop(float(command.get("deadline_s", 10.0)))
        elif name == "terminal" and self.on_terminal is not None:
            self.on_terminal()
        elif name == "ping":
            self.on_look()
            self.on_ping(command)
        elif name == "refresh":
            from .refresh import refresh

            refresh(self, command)
        else:
            self.on_other(command)


def end_group() -> None:
    """End this process and all of its group at once; never a group that it does not lead."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)

"""The control socket: this process's reports to the App, the App's commands, and the lifeline between them.

The end of the stream means that the App is gone: then this process and whatever it started end with it. The same is
asked of the kernel (`PR_SET_PDEATHSIG`) where it can be, which also holds while this thread cannot run.
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


def die_with_parent(parent: int) -> None:
    """Ask for SIGKILL at the parent's death; end now where it has died already.

    Asked for after exec, by the child itself: a request made between fork and exec would need a `preexec_fn`.
    """
    if sys.platform.startswith("linux"):
        try:
            import ctypes

            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        except (ImportError, OSError, AttributeError):
            pass  # an interpreter without ctypes: the lifeline remains
    if parent and os.getppid() != parent:
        os._exit(1)


class Control:
    """Reports and commands, as lines of JSON.

    `on_stop(deadline_s)` and `on_terminal()` are called on the lifeline's thread. A stop before `on_stop` is set ends
    the process: nothing has been promised to anybody yet.
    """

    def __init__(self, descriptor: int) -> None:
        self.on_stop: Optional[Callable[[float], None]] = None
        self.on_terminal: Optional[Callable[[], None]] = None
        self._lock = threading.RLock()  # a signal handler reports, too
        self._socket: Optional[socket.socket] = None
        if descriptor >= 0:
            self._socket = socket.socket(fileno=descriptor)
            self._socket.setblocking(True)
            os.set_inheritable(descriptor, False)
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


def end_group() -> None:
    """End this process and all of its group at once; never a group that it does not lead."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)

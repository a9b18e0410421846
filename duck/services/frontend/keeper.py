"""The process between Duck and a front-end server: it starts the server, passes its output on, and ends with Duck.

The server is somebody else's program, and asks no kernel to be ended with its parent. This one does, and leads the
group that they all belong to. It is started as a file, has the standard library only, and says in lines of JSON:

    {"event": "output", "text": "..."}      whole lines, or 64 KiB of a longer one
    {"event": "failed", "message": "..."}   the command cannot be started

and is told {"do": "stop"}: end the server in order.
"""

from __future__ import annotations

import importlib.util
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

VARIABLE = "_DUCK_FRONTEND"
EXIT_FAILED = 127

_CONTROL = Path(__file__).parents[2] / "backend" / "django" / "worker" / "control.py"
_READ_BYTES = 65_536


def load_control() -> ModuleType:
    """How a process of Duck's ends with it; by its file, since nothing of Duck is on this one's path."""
    spec = importlib.util.spec_from_file_location("_duck_control", _CONTROL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Keeper:
    """Until the server has ended."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._told = told
        self._control = socket.socket(fileno=told["control_fd"])
        self._control.setblocking(True)
        self._selector = selectors.DefaultSelector()
        self._line = b""
        for descriptor in (told["control_fd"], told["lifeline_fd"]):
            os.set_inheritable(descriptor, False)

    def run(self) -> int:
        """Serve; the exit code of the server, 128 and the signal's number where one ended it."""
        rings, wakes = socket.socketpair()
        rings.setblocking(False)
        wakes.setblocking(False)
        signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _noted)
        signal.signal(signal.SIGTERM, _noted)  # it goes to the whole group, and is the server's
        try:
            process = subprocess.Popen(
                self._told["argv"],
                cwd=self._told["cwd"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            self._send("failed", message=error.strerror or str(error))
            return EXIT_FAILED
        output = process.stdout
        assert output is not None
        os.set_blocking(output.fileno(), False)
        self._selector.register(output, selectors.EVENT_READ)
        self._selector.register(self._control, selectors.EVENT_READ)
        self._selector.register(rings, selectors.EVENT_READ)
        while process.poll() is None:
            for key, _ in self._selector.select():
                if key.fileobj is output:
                    self._pass_on(output.fileno())
                elif key.fileobj is rings:
                    rings.recv(4096)
                else:
                    self._listen()
        while self._pass_on(output.fileno()):
            pass
        if self._line:
            self._send("output", text=self._line.decode("utf-8", "replace") + "\n")
        code = process.returncode
        return code if code >= 0 else 128 - code

    def _pass_on(self, descriptor: int) -> bool:
        """Pass on what the server has written; whether there may be more."""
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            try:
                self._selector.unregister(descriptor)
            except KeyError:
                pass
            return False
        whole, end, self._line = (self._line + data).rpartition(b"\n")
        if len(self._line) > _READ_BYTES:
            whole, end, self._line = whole + end + self._line, b"\n", b""
        if whole or end:
            self._send("output", text=(whole + end).decode("utf-8", "replace"))
        return True

    def _listen(self) -> None:
        try:
            data = self._control.recv(_READ_BYTES)
        except OSError:
            data = b""
        if not data:
            control.end_group()
        if b'"stop"' in data:
            os.killpg(0, signal.SIGTERM)

    def _send(self, event: str, **facts: Any) -> None:
        try:
            self._control.sendall(json.dumps({"event": event, **facts}).encode() + b"\n")
        except OSError:
            control.end_group()


def _noted(number: int, frame: FrameType | None) -> None:
    """The wake-up descriptor has told of it."""


if __name__ == "__main__":
    control = load_control()
    told = json.loads(os.environ.pop(VARIABLE))
    control.die_with_parent(told["parent"], is_tied=control.tie_group(told["lifeline_fd"]))
    sys.exit(Keeper(told).run())

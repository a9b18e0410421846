"""The dispatcher process of an App: a node of automations, told by the App what to do.

App -> process    reload   stop(deadline_s)   status(id)
process -> App    declared(count)   unloaded(message)   alive(status, snapshot, succeeded)
                  status(id, ...)   failed(message, passes)

It is started by the App as the same command, so that a main.py with settings of its own counts here, too; `App.run`
finds what it was told in the environment and comes here instead of starting anything else.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import signal
import socket
from typing import TYPE_CHECKING, Any, Final

from duck.backend.django.worker.control import die_with_parent, end_group, tie_group
from duck.exceptions import DuckError, SettingsError
from duck.services.json_lines import JsonLines

if TYPE_CHECKING:
    from duck.app.automations import Automations
    from duck.services.inbox import Inbox
    from duck.settings.load import Settings

logger = logging.getLogger("duck.automations")

VARIABLE: Final = "_DUCK_DISPATCHER"
EXIT_FAILED: Final = 3  # the failure has been reported
ALIVE_S: Final = 1.0
_READ_BYTES: Final = 65_536
_MAX_MESSAGE_BYTES: Final = 1 << 20
_MAX_UNSENT: Final = 1 << 20
_AGAIN_S: Final = 0.05


def is_dispatcher() -> bool:
    """Whether this process was started to be one."""
    return VARIABLE in os.environ


def serve(settings: Settings) -> int:
    """Dispatch until told to stop; the exit status."""
    told = json.loads(os.environ.pop(VARIABLE))
    # Nobody else pays for it.
    from duck.services.inbox import Inbox

    process = DispatcherProcess(Inbox(), told)
    from duck.app.automations import Automations

    try:
        node = Automations(settings, inbox=process.inbox, base=told["base"])
        node.tells = told["tells"]
    except DuckError as error:
        process.send("failed", message=str(error), passes=not isinstance(error, SettingsError))
        return EXIT_FAILED
    return process.run(node)


class DispatcherProcess:
    """On the inbox's thread."""

    def __init__(self, inbox: Inbox, told: dict[str, Any]) -> None:
        self.inbox = inbox
        self._told = told
        self._control = socket.socket(fileno=told["control_fd"])
        for descriptor in (self._control.fileno(), told["lifeline_fd"]):
            os.set_inheritable(descriptor, False)
        die_with_parent(told["parent"], is_tied=tie_group(told["lifeline_fd"]))
        self._control.setblocking(False)
        self._said = JsonLines(_MAX_MESSAGE_BYTES, lambda: logger.error("The App said what is no message."))
        self._unsent = b""
        self._node: Automations | None = None

    def run(self, node: Automations) -> int:
        """Dispatch until told to stop."""
        self._node = node
        if hasattr(signal, "SIGUSR2"):
            faulthandler.register(signal.SIGUSR2, all_threads=True)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the App's, who tells us
        signal.signal(signal.SIGTERM, lambda number, frame: self.inbox.post(self._terminated))
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, lambda number, frame: self.inbox.post(node.reload))
        self.inbox.watch(self._control, self._readable)
        node.on_declared = lambda count: self.send("declared", count=count)
        node.on_unloaded = lambda message: self.send("unloaded", message=message)
        node.begin()
        self._tell_alive()
        try:
            self.inbox.run()
        finally:
            node.kill()
        return 0

    # -- what the App says --------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        try:
            data = self._control.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            end_group()
        for message in self._said.feed(data):
            self._do(message)

    def _do(self, message: dict[str, Any]) -> None:
        assert self._node is not None
        do = message["do"]
        if do == "reload":
            self._node.reload()
        elif do == "status":
            self.send("status", id=message["id"], **self._node.report.figures(asks_store=True))
        elif do == "stop":
            self._node.stop(message["deadline_s"], self.inbox.stop)

    def _terminated(self) -> None:
        """SIGTERM, which the App does not send: end in order; the App starts another one."""
        assert self._node is not None
        self._node.stop(self._node.stop_s, self.inbox.stop)

    # -- what the App is told -----------------------------------------------------------------------------------------

    def _tell_alive(self) -> None:
        assert self._node is not None
        self.inbox.call_later(ALIVE_S, self._tell_alive)
        if not self._unsent:  # else the App stands still, and planned times do not wait for it
            self.send("alive", **self._node.report.figures(asks_store=False))

    def send(self, event: str, **facts: Any) -> None:
        """Say something to the App, without waiting for it."""
        waited = bool(self._unsent)
        if len(self._unsent) < _MAX_UNSENT:
            self._unsent += json.dumps({"event": event, **facts}).encode() + b"\n"
        if not waited:
            self._write()

    def _write(self) -> None:
        try:
            sent = self._control.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._unsent = b""
            return
        self._unsent = self._unsent[sent:]
        if self._unsent:
            self.inbox.call_later(_AGAIN_S, self._write)

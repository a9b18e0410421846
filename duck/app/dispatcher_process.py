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
import os
import signal
from typing import TYPE_CHECKING, Any, Final

from duck.exceptions import DuckError, SettingsError
from duck.services.parent import Parent

if TYPE_CHECKING:
    from duck.app.automations import Automations
    from duck.services.inbox import Inbox
    from duck.settings.load import Settings

VARIABLE: Final = "_DUCK_DISPATCHER"
EXIT_FAILED: Final = 3  # the failure has been reported
ALIVE_S: Final = 1.0
_MAX_MESSAGE_BYTES: Final = 1 << 20
_MAX_UNSENT: Final = 1 << 20


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
        process.flush()
        return EXIT_FAILED
    return process.run(node)


class DispatcherProcess:
    """On the inbox's thread."""

    def __init__(self, inbox: Inbox, told: dict[str, Any]) -> None:
        self.inbox = inbox
        self._app = Parent(inbox, told, self._do, most_read=_MAX_MESSAGE_BYTES, most_unsent=_MAX_UNSENT)
        self.send = self._app.send
        self.flush = self._app.flush
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
        self._app.listen()
        node.on_declared = lambda count: self.send("declared", count=count)
        node.on_unloaded = lambda message: self.send("unloaded", message=message)
        node.begin()
        self._tell_alive()
        try:
            self.inbox.run()
        finally:
            node.kill()
        self.flush()
        return 0

    # -- what the App says --------------------------------------------------------------------------------------------

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
        if not self._app.stands_still:  # planned times do not wait for it
            self.send("alive", **self._node.report.figures(asks_store=False))

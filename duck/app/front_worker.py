"""A front worker process: one loop that serves the App's listeners, told by the App what to do.

It is started by the App as the same command, so that a main.py with a class of its own derived from App counts here,
too; `App.run` finds what it was told in the environment and comes here instead of starting anything else.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import json
import os
import signal
from typing import TYPE_CHECKING, Any, Final

from duck.app.front import Front
from duck.app.front_messages import drain_orders, generation_from_values
from duck.app.https import config_from_values
from duck.app.lanes import site_config
from duck.exceptions import DuckError
from duck.http.frontend import FrontendState
from duck.net.listener import Listener
from duck.net.stats import merge
from duck.services.parent import Parent
from duck.services.plain_values import revived

if TYPE_CHECKING:
    import socket

    from duck.app.app import App
    from duck.settings.load import Settings

VARIABLE: Final = "_DUCK_FRONT"
EXIT_FAILED: Final = 3  # the failure has been reported
ALIVE_S: Final = 1.0
_MAX_MESSAGE_BYTES: Final = 32 << 20  # twice of what the App lets wait


def is_front_worker() -> bool:
    """Whether this process was started to be one."""
    return VARIABLE in os.environ


def serve(app: App, settings: Settings) -> int:
    """Serve until told to stop; the exit status."""
    return FrontWorker(app, settings, json.loads(os.environ.pop(VARIABLE))).run()


def _adopt(descriptor: int, *, tls: bool) -> Listener:
    os.set_inheritable(descriptor, False)
    listener = Listener(fileno=descriptor)
    listener.tls = tls
    return listener


class FrontWorker:
    """On the main thread: the inbox, and the App's messages; on its own: the loop."""

    def __init__(self, app: App, settings: Settings, told: dict[str, Any]) -> None:
        self._app = app
        self._settings = settings
        self._told = told
        self._inbox = app.lifecycle.inbox
        front = app.lifecycle.front
        assert isinstance(front, Front)
        self._front = front
        self._parent = Parent(self._inbox, told, self._do, most_read=_MAX_MESSAGE_BYTES)
        self._send = self._parent.send
        self._listeners: list[socket.socket] = [_adopt(descriptor, tls=tls) for descriptor, tls in told["listeners"]]
        front.tls = config_from_values(told["tls"])
        self._is_draining = False

    def run(self) -> int:
        """Serve until told to stop."""
        if hasattr(signal, "SIGUSR2"):
            faulthandler.register(signal.SIGUSR2, all_threads=True)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the App's, who tells us
        signal.signal(signal.SIGTERM, lambda number, frame: self._inbox.post(self._terminated))
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            config = site_config(self._app, self._settings, use_django=self._told["use_django"])
            count = self._told["count"]
            self._front.config = dataclasses.replace(
                config,
                max_spool_bytes=config.max_spool_bytes // count,  # what all of them may keep on disk together
                share=(self._told["number"] - 1, count),
            )
            # What the App has said meanwhile comes before the first connection.
            self._parent.listen()
            self._front.start(self._app, self._settings, self._listeners, 1)
        except DuckError as error:
            self._send("failed", message=str(error))
            self._parent.flush()
            return EXIT_FAILED
        for listener in self._listeners:
            listener.close()
        self._app.record_metadata()
        self._send("serving")
        self._tell_alive()
        self._inbox.run()
        self._parent.flush()
        return 0

    # -- what the App says ----------------------------------------------------------------------------------------

    def _do(self, message: dict[str, Any]) -> None:
        do = message["do"]
        front = self._front
        if do == "switch":
            number = message["id"]
            front.switch(
                generation_from_values(message["generation"]),
                lambda: self._send("told", id=number),
                lambda: self._send("left", id=number),
            )
        elif do == "hold":
            front.hold(message["reason"])
        elif do == "broken":
            front.broken(message["failure"])
        elif do == "turn_frontend":
            front.turn_frontend(revived(FrontendState, message["state"]))
        elif do == "reload_tls":
            config = config_from_values(message["tls"])
            if config is not None:
                front.reload_tls(config)
        elif do == "share_sessions":
            front.share_sessions(bytes.fromhex(message["secret"]))
        elif do == "status":
            self._send("status", id=message["id"], **self._figures())
        elif do == "drain":
            del message["do"]
            self._drain(**message)
        elif do == "stop":
            front.abort()
            self._inbox.stop()

    def _drain(self, deadline_s: float, **more: Any) -> None:
        server = self._front.server
        if self._is_draining or server is None:
            return
        self._is_draining = True
        server.drain(deadline_s, lambda: self._inbox.post(self._drained), **more)

    def _drained(self) -> None:
        self._send("drained")
        self._front.abort()
        self._inbox.stop()

    def _terminated(self) -> None:
        """SIGTERM, which the App does not send: end in order; the App starts another one."""
        self._drain(**drain_orders(self._settings))

    # -- what the App is told -------------------------------------------------------------------------------------

    def _tell_alive(self) -> None:
        """Said by way of the loop, so that silence means that one of both hangs."""
        self._inbox.call_later(ALIVE_S, self._tell_alive)
        server = self._front.server
        if server is not None:
            server.post(lambda: self._inbox.post(self._alive))

    def _alive(self) -> None:
        if not self._parent.stands_still:
            self._send("alive", **self._figures())

    def _figures(self) -> dict[str, Any]:
        return {**self._front.status(), "snapshot": merge(self._front.snapshots().values())}

"""The control channel: JSON lines over a Unix socket that only this user may speak to.

    client -> App   {"command": "stop", "arguments": {...}}
    App -> client   {"progress": "..."}*  then  {"ok": true, "result": {...}}  or  {"ok": false, "error": "..."}

One request at a time on a connection, several after one another. The App's side runs on its `Inbox`; `call` is the
blocking side, for the commands.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from duck.exceptions import ApplicationError

if TYPE_CHECKING:
    from duck.services.inbox import Inbox, Timer

logger = logging.getLogger("duck.services")

MAX_LINE_BYTES: Final = 64 * 1024
MAX_CONNECTIONS: Final = 32
IDLE_S: Final = 30.0
# What may wait for a client that does not read before it is dropped.
MAX_UNSENT_BYTES: Final = 1024 * 1024


class ControlError(ApplicationError):
    """The App refused the command, or did not answer it in time."""


class NotRunning(ControlError):
    """Nobody listens at the control socket."""


class Request:
    """One command on its way; ends with exactly one of `reply` and `refuse`.

    For the inbox's thread. What is said after the client has left is dropped.
    """

    __slots__ = ("_connection", "arguments", "command")

    def __init__(self, connection: _Connection, command: str, arguments: Mapping[str, Any]) -> None:
        self._connection: _Connection | None = connection
        self.command = command
        self.arguments = arguments

    def progress(self, sentence: str) -> None:
        """Say how far it is; for commands that take long."""
        if self._connection is not None:
            self._connection.send({"progress": sentence})

    def reply(self, result: Mapping[str, Any]) -> None:
        """The command is done."""
        self._finish({"ok": True, "result": result})

    def refuse(self, sentence: str) -> None:
        """The command cannot be done."""
        self._finish({"ok": False, "error": sentence})

    def _finish(self, message: Mapping[str, Any]) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.finish(message)


class ControlServer:
    """The App's end: a listening socket, mode 0600, and a function for each command."""

    def __init__(self, inbox: Inbox, path: str, commands: Mapping[str, Callable[[Request], None]]) -> None:
        self._inbox = inbox
        self._path = path
        self._commands = commands
        self._connections: set[_Connection] = set()
        self._socket: socket.socket | None = None
        self._inode = 0  # of the socket's file

    def start(self) -> None:
        """Listen. The directory of the socket is the caller's, and private."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(self._path)
            os.chmod(self._path, 0o600)
            listener.listen(16)
            self._inode = os.stat(self._path).st_ino
        except OSError as error:
            listener.close()
            raise ApplicationError(f"The control socket {self._path} cannot be made: {error.strerror}.") from error
        listener.setblocking(False)
        self._socket = listener
        self._inbox.watch(listener, self._accept)

    def close(self) -> None:
        """Stop listening, remove the socket, send what was said, and drop who is connected."""
        listener, self._socket = self._socket, None
        if listener is None:
            return
        self._inbox.unwatch(listener)
        listener.close()
        with contextlib.suppress(OSError):
            # Where the file was taken away, another Duck's may be in its place.
            if os.stat(self._path).st_ino == self._inode:
                os.unlink(self._path)
        for connection in list(self._connections):
            connection.close()

    def _accept(self) -> None:
        assert self._socket is not None
        try:
            client, _ = self._socket.accept()
        except OSError:
            return
        client.setblocking(False)
        if len(self._connections) >= MAX_CONNECTIONS or not is_own_peer(client):
            client.close()
            return
        self._connections.add(_Connection(self._inbox, client, self._dispatch, self._connections.discard))

    def _dispatch(self, request: Request) -> None:
        command = self._commands.get(request.command)
        if command is None:
            known = ", ".join(sorted(self._commands))
            request.refuse(f"{request.command!r} is no command of this Duck; it knows {known}.")
            return
        try:
            command(request)
        except Exception as error:
            logger.exception("the command %s failed", request.command)
            request.refuse(f"{request.command} failed: {error}")


class _Connection:
    """One client of the control socket."""

    __slots__ = ("_busy", "_closed_by", "_deadline", "_dispatch", "_inbox", "_socket", "_unread", "_unsent", "_writing")

    def __init__(
        self,
        inbox: Inbox,
        client: socket.socket,
        dispatch: Callable[[Request], None],
        closed_by: Callable[[_Connection], None],
    ) -> None:
        self._inbox = inbox
        self._socket = client
        self._dispatch = dispatch
        self._closed_by = closed_by
        self._unread = b""
        self._unsent = b""
        self._busy = False
        self._writing = False
        self._deadline: Timer = inbox.call_later(IDLE_S, self.close)
        inbox.watch(client, self._readable)

    def send(self, message: Mapping[str, Any]) -> None:
        if self._socket.fileno() < 0:
            return
        self._unsent += json.dumps(message).encode() + b"\n"
        self._flush()
        if len(self._unsent) > MAX_UNSENT_BYTES:
            self.close()

    def finish(self, message: Mapping[str, Any]) -> None:
        self._busy = False
        self.send(message)
        if self._socket.fileno() >= 0:
            self._deadline.cancel()
            self._deadline = self._inbox.call_later(IDLE_S, self.close)
            self._next()

    def close(self) -> None:
        if self._socket.fileno() < 0:
            return
        self._deadline.cancel()
        self._inbox.unwatch(self._socket)
        self._socket.close()
        self._closed_by(self)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._unread += data
        if len(self._unread) > MAX_LINE_BYTES:
            self.close()
            return
        self._next()

    def _next(self) -> None:
        if self._busy or b"\n" not in self._unread:
            return
        line, _, self._unread = self._unread.partition(b"\n")
        self._busy = True
        self._deadline.cancel()  # what the App works on has no deadline of the channel's
        try:
            said = json.loads(line)
            command, arguments = said["command"], said.get("arguments", {})
            if not isinstance(command, str) or not isinstance(arguments, dict):
                raise TypeError
        except (ValueError, KeyError, TypeError, AttributeError):
            self.finish({"ok": False, "error": 'A request is one line: {"command": "...", "arguments": {...}}.'})
            return
        self._dispatch(Request(self, command, arguments))

    def _flush(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
            self._unsent = self._unsent[sent:]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if bool(self._unsent) is not self._writing:
            self._writing = bool(self._unsent)
            self._inbox.unwatch(self._socket)
            # While a client is slow to read it is not read from either.
            self._inbox.watch(self._socket, self._flush if self._writing else self._readable, writable=self._writing)


def call(
    path: str,
    command: str,
    /,
    *,
    deadline_s: float,
    on_progress: Callable[[str], None] | None = None,
    **arguments: Any,
) -> dict[str, Any]:
    """Send one command to the App whose control socket is `path`, and wait for its answer.

    Args:
        deadline_s: for the whole exchange, in seconds.
        on_progress: called with each sentence said before the answer.

    Raises:
        NotRunning: nobody listens there.
        ControlError: the App refused, or went away or stayed silent before its answer.
    """
    deadline = time.monotonic() + deadline_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(deadline_s)
        try:
            client.connect(path)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NotRunning(f"No Duck listens at {path}; start one with `duck runserver`.") from error
        except OSError as error:
            raise ControlError(f"The control socket {path} cannot be used: {error.strerror or error}.") from error
        try:
            client.sendall(json.dumps({"command": command, "arguments": arguments}).encode() + b"\n")
            for message in _messages(client, deadline):
                if "progress" in message:
                    if on_progress is not None:
                        on_progress(str(message["progress"]))
                elif message.get("ok"):
                    result: dict[str, Any] = message["result"]
                    return result
                else:
                    raise ControlError(str(message.get("error", "The App refused without a reason.")))
        except TimeoutError as error:
            raise ControlError(f"Duck did not answer {command!r} within {deadline_s:g} seconds.") from error
        except (OSError, ValueError) as error:
            raise ControlError(f"The connection to Duck broke while it worked on {command!r}: {error}.") from error
    raise ControlError(f"Duck ended before it answered {command!r}.")


def is_own_peer(client: socket.socket) -> bool:
    """Whether the process at the other end of a Unix socket is run by this user or by root.

    The mode of socket and directory says so already; this holds where they were loosened.
    """
    if sys.platform == "linux":
        _, uid, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return uid in (0, os.geteuid())
    else:
        return True


def _messages(client: socket.socket, deadline: float) -> Iterator[dict[str, Any]]:
    unread = b""
    while True:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        client.settimeout(remaining)
        data = client.recv(65536)
        if not data:
            return
        unread += data
        while b"\n" in unread:
            line, _, unread = unread.partition(b"\n")
            yield json.loads(line)

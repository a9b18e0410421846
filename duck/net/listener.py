"""Listening sockets: made from what a user writes, bound before anything else is started."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from duck.exceptions import AddressInUse, ApplicationError

if TYPE_CHECKING:
    from duck.settings.listen import ListenAddress

DEFAULT_BACKLOG = 2048


class Listener(socket.socket):
    """A listening socket.

    Attributes:
        tls: whether connections begin with a TLS handshake.
    """

    __slots__ = ("tls",)

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        super().__init__(family, type, proto, fileno)
        self.tls = False

    def dup(self) -> Listener:
        """A copy, of which the same is spoken."""
        copy = super().dup()
        copy.tls = self.tls
        return copy


def speaks_tls(listener: socket.socket) -> bool:
    """Whether connections to `listener` begin with a TLS handshake."""
    return isinstance(listener, Listener) and listener.tls


def uri_of(listener: socket.socket) -> str:
    """Where `listener` listens, as a URL; `unix:/path` for a Unix socket."""
    address = listener.getsockname()
    if isinstance(address, bytes):
        return "unix:" + address.decode("utf-8", "surrogateescape").replace("\0", "@", 1)
    if isinstance(address, str):
        return f"unix:{address}"
    host, port = address[0], address[1]
    scheme = "https" if speaks_tls(listener) else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def open_listeners(
    addresses: list[ListenAddress],
    *,
    backlog: int = DEFAULT_BACKLOG,
    holder_of: Callable[[str, int], str] | None = None,
    option: str = "--port",
) -> list[socket.socket]:
    """Bound and listening sockets for `addresses`, in order, each a `Listener`.

    A name with several addresses gives several.

    `holder_of(host, port)` may say who holds a busy port, as an end of the sentence; `option` is what chooses another.

    Raises:
        AddressInUse: a port or path is held by another process; nothing stays open.
        ApplicationError: an address cannot be listened on.
    """
    opened: list[socket.socket] = []
    listener: socket.socket
    try:
        for address in addresses:
            if address.scheme == "unix":
                opened.append(_open_unix(address.path, backlog))
                continue
            found = (
                [_adopt(address.fd, backlog)]
                if address.scheme == "fd"
                else _open_tcp(address, backlog, holder_of, option)
            )
            for listener in found:
                # Whoever connects through a Unix socket is on this machine, and has ended TLS where there was any.
                listener.tls = address.tls and listener.family != getattr(socket, "AF_UNIX", None)
                opened.append(listener)
    except BaseException:
        for listener in opened:
            listener.close()
        raise
    return opened


def _open_tcp(
    address: ListenAddress, backlog: int, holder_of: Callable[[str, int], str] | None, option: str
) -> list[Listener]:
    try:
        host = None if address.host == "*" else address.host
        found = socket.getaddrinfo(
            host, address.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )
    except (socket.gaierror, UnicodeError) as error:
        raise ApplicationError(
            f"cannot listen on {address.host!r}: it is no address of this machine; `localhost` is, and `0.0.0.0` is all"
        ) from error
    opened: list[Listener] = []
    port = address.port
    failure: OSError | None = None
    for family, kind, protocol, _, where in dict.fromkeys(found):
        listener = Listener(family, kind, protocol)
        try:
            if os.name == "posix":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _watch_for_vanished_peers(listener)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((where[0], port, *where[2:]))
            listener.listen(backlog)
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRINUSE:
                for other in opened:
                    other.close()
                who = holder_of(address.host, port) if holder_of is not None else ""
                raise AddressInUse(
                    f"port {port} on {address.host} is in use{who}; choose another with {option}"
                ) from error
            failure = error
            continue
        opened.append(listener)
        port = listener.getsockname()[1]
    if opened:
        return opened
    reason = os.strerror(failure.errno or 0) if failure is not None else "no address"
    remedy = ""
    if failure is not None and failure.errno in (errno.EACCES, errno.EPERM):
        remedy = f"; {remedy_of_low_ports()}"
    elif failure is not None and failure.errno == errno.EADDRNOTAVAIL:
        remedy = "; it is no address of this machine, `0.0.0.0` is all of them"
    raise ApplicationError(f"cannot listen on {address.url}: {reason}{remedy}") from failure


def remedy_of_low_ports() -> str:
    """What gives the right to bind a port below 1024, as the end of a sentence."""
    interpreter = os.path.realpath(sys.executable)
    return (
        "a port below 1024 needs the right to bind it: have systemd open the socket, start as root with --user NAME,"
        f" say `setcap cap_net_bind_service=+ep {interpreter}`, or choose a port above"
    )


def _watch_for_vanished_peers(listener: socket.socket) -> None:
    """Have the kernel ask peers that are silent for a minute; what it accepts inherits this.

    A client that lost its network says no goodbye: its view or tunnel, which may have no deadline, would never end.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _open_unix(path: str, backlog: int) -> Listener:
    """A Unix listener; a socket file that nobody listens on any more is replaced, anything else is left alone."""
    try:
        if stat.S_ISSOCK(os.stat(path).st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.settimeout(1)
                try:
                    probe.connect(path)
                except OSError:
                    os.unlink(path)
                else:
                    raise AddressInUse(f"the socket {path} is in use; choose another path")
        else:
            raise ApplicationError(f"cannot listen on {path}: a file that is no socket is there; remove it first")
    except OSError:
        pass  # nothing is there, or nobody may look; `bind` says which
    listener = Listener(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o117)  # for the owner and its group; a directory restricts it further
        try:
            listener.bind(path)
        finally:
            os.umask(before)
        listener.listen(backlog)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        remedy = ""
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            remedy = f"; make the directory {os.path.dirname(path)}, or choose another path"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            remedy = f"; choose a path in a directory that you may write to, {os.path.dirname(path)} is none"
        elif error.errno == errno.EADDRINUSE:
            remedy = "; remove what is there, or choose another path"
        elif error.errno is None:
            remedy = f"; this one has {len(os.fsencode(path))} bytes, the system takes about 100: choose a shorter one"
        raise ApplicationError(f"cannot listen on unix:{path}: {error.strerror or error}{remedy}") from error
    return listener


def _adopt(descriptor: int, backlog: int) -> Listener:
    try:
        listener = Listener(fileno=descriptor)
        listener.listen(backlog)
    except OSError as error:
        raise ApplicationError(
            f"descriptor {descriptor} is no socket that can be listened on: {error.strerror or error}; "
            "whoever starts Duck has to hand it over"
        ) from error
    os.set_inheritable(descriptor, False)
    listener.setblocking(False)
    return listener

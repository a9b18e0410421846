"""Where an App listens: its sockets, from before anything is started until nothing new is accepted."""

from __future__ import annotations

import ipaddress
import os
import socket
from typing import TYPE_CHECKING

from duck.app.address import is_tcp, listen_addresses, public_addresses
from duck.net.listener import open_listeners, speaks_tls
from duck.services.ports import who_holds
from duck.settings.listen import ListenAddress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duck.settings.views import ListeningView


class Listening:
    """The listeners of one run.

    Attributes:
        sockets: bound and listening, in order; empty before and after.
        addresses: the same as a user writes them.
        port: of the first TCP listener, 0 where there is none.
        secure_port: of the first that speaks TLS, 0 where there is none.
    """

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []
        self.addresses: list[str] = []
        self.port = 0
        self.secure_port = 0
        self._made: set[str] = set()  # paths of Unix sockets that are Duck's to remove

    def open(self, view: ListeningView, inherited: Sequence[tuple[int, bool]] | None = None) -> None:
        """Bind what the settings say, or take over descriptors that are open already, and whether TLS is spoken there.

        Raises:
            AddressInUse, ApplicationError: nothing stays open.
        """
        addresses = (
            [ListenAddress("fd", fd=descriptor, tls=tls) for descriptor, tls in inherited]
            if inherited is not None
            else listen_addresses(view)
        )
        # One that systemd opened goes on listening when Duck ends: without its file nobody would find it again.
        self._made = {address.path for address in listen_addresses(view) if address.scheme == "unix"}
        self.sockets = open_listeners(addresses, backlog=view.backlog, holder_of=who_holds)
        self.port = next((item.getsockname()[1] for item in self.sockets if is_tcp(item)), 0)
        secure = [item for item in self.sockets if is_tcp(item) and speaks_tls(item)]
        self.secure_port = secure[0].getsockname()[1] if secure else 0
        self.addresses = public_addresses(self.sockets, view)

    @property
    def is_private(self) -> bool:
        """Whether no other machine can connect: every listener is of a loopback address or a Unix socket."""
        return all(
            not is_tcp(item) or ipaddress.ip_address(item.getsockname()[0].partition("%")[0]).is_loopback
            for item in self.sockets
        )

    @property
    def paths(self) -> list[str]:
        """Of the Unix sockets among them."""
        names = [listener.getsockname() for listener in self.sockets]
        return [name for name in names if isinstance(name, str) and name.startswith("/")]

    def close(self) -> None:
        """Accept no more, and remove the files of Unix sockets that were made for Duck; may be said again."""
        sockets, self.sockets = self.sockets, []
        for listener in sockets:
            path = listener.getsockname()
            listener.close()
            if path in self._made:
                try:
                    os.unlink(path)
                except OSError:
                    pass

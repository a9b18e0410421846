"""Who is at the other end of a client connection, and through which listener it came."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

if TYPE_CHECKING:
    from duck.net.client_certificate import Variables


class Peer:
    """The identity of a request's client, as Django will see it.

    One per connection, shared by its exchanges; a trusted proxy's request gets one of its own with what it said.

    Attributes:
        host, port: the client's address; `""` and 0 for a Unix socket.
        server_host, server_port: the listener's address; what SERVER_NAME and SERVER_PORT say.
        scheme: `b"http"` or `b"https"`.
        trusted: the connection comes from an address in TRUSTED_PROXIES.
        certificate: what the client's certificate says, where clients are asked for one (see `client_certificate`).
        via: of a request that came through a trusted proxy: that proxy's own address, else `""`.
    """

    __slots__ = (
        "certificate",
        "host",
        "http_fields",
        "identity",
        "link_fields",
        "link_port",
        "link_shared",
        "port",
        "scheme",
        "server_host",
        "server_port",
        "trusted",
        "via",
    )

    def __init__(
        self,
        host: str,
        port: int,
        server_host: str,
        server_port: int,
        *,
        scheme: bytes = b"http",
        trusted: bool = False,
        via: str = "",
        certificate: Variables = (),
    ) -> None:
        self.host = host
        self.port = port
        self.server_host = server_host
        self.server_port = server_port
        self.scheme = scheme
        self.trusted = trusted
        self.via = via
        self.certificate = certificate
        # The parts of a link frame's head that never change on this connection (wire.link.REQUEST_ITEMS).
        self.link_port = str(port).encode()
        self.link_shared = b"\0".join((scheme, host.encode(), server_host.encode(), str(server_port).encode()))
        # What every request of this connection is told to say of its client. A trusted proxy's chain of addresses
        # differs from request to request and is added by the proxy's rules.
        client = b"" if via else host.encode() or b"unknown"
        self.link_fields = b"X-Forwarded-Proto\0" + scheme
        self.http_fields = b"X-Forwarded-Proto: " + scheme + b"\r\n"
        if client:
            self.link_fields += b"\0X-Forwarded-For\0" + client
            self.http_fields += b"X-Forwarded-For: " + client + b"\r\n"
        # Who asks, for an ASGI application (backend.django.worker.identity).
        self.identity = scheme + f" {host or '-'} {port} {server_host} {server_port}".encode()
        if certificate:
            # No field of a client's can have such a name (RFC 9110 §5.1): the worker makes it a variable as it is.
            self.link_fields += b"".join(f"\0:{name}\0{value}".encode() for name, value in certificate)
            self.identity += b" " + urlencode(certificate).encode()

    def __repr__(self) -> str:
        return f"<Peer {self.host}:{self.port} by {self.scheme.decode()} to {self.server_host}:{self.server_port}>"

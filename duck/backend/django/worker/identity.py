"""The client's identity for an ASGI application: told by the front in a private field, put into the scope.

    <secret> <scheme> <client host> <client port> <server host> <server port> [<client certificate>]

The certificate is of the form `SSL_CLIENT_VERIFY=SUCCESS&SSL_CLIENT_S_DN=...`, and there only where clients are asked.

An HTTP server for ASGI has no other way in from outside; the secret of this run tells the front from anybody else who
reaches the socket.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from typing import Any, Awaitable, Callable, Dict, List, Optional, Tuple
from urllib.parse import parse_qsl

from .unanswered import Unanswered

Scope = Dict[str, Any]
Receive = Callable[[], Awaitable[Dict[str, Any]]]
Send = Callable[[Dict[str, Any]], Awaitable[None]]
Headers = List[Tuple[bytes, bytes]]

_SOCKET_SCHEMES = {"http": "ws", "https": "wss"}


class Identified:
    """Wraps an ASGI application: `scheme`, `client` and `server` of its scopes are what the front says.

    `lifespan` False answers the lifespan protocol in the application's place.

    Attributes:
        active: HTTP requests in flight.
        requests: all scopes that it has served.
        unanswered: those that have been sent nothing yet.
        loop: the one that scopes are served on; None before the first.
    """

    def __init__(self, application: Any, field: str, secret: str, *, prefix: str = "", lifespan: bool = True) -> None:
        self.active = 0
        self.requests = 0
        self.unanswered = Unanswered()
        self.loop: Optional[asyncio.AbstractEventLoop] = None
        self._application = application
        self._field = field.lower().encode()
        self._secret = secret.encode()
        self._prefix = prefix
        self._lifespan = lifespan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope."""
        kind = scope["type"]
        if self.loop is None:
            self.loop = asyncio.get_running_loop()
        if kind == "lifespan":
            await (self._application if self._lifespan else _idle_lifespan)(scope, receive, send)
            return
        scope = self._identify(scope)
        if not scope:
            await _refuse(kind, receive, send)
        else:
            await self._serve(scope, receive, send, 1 if kind == "http" else 0)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, weight: int) -> None:
        self.requests += 1
        self.active += weight
        call = self.unanswered.begin(scope, receive, send)
        try:
            await self._application(scope, call.receive, call.send)
        finally:
            self.active -= weight
            call.end()

    def vitals(self, view_deadline_s: float) -> Dict[str, Any]:
        """How this process is, told by its loop; what was sent nothing for so long (0: for ever) is told of once."""
        now = time.monotonic()
        told: Dict[str, Any] = {
            "requests": self.requests,
            "busy": self.active,
            "oldest_view_s": round(self.unanswered.oldest_s(now), 3),
        }
        stuck = self.unanswered.stuck(now, view_deadline_s) if view_deadline_s else []
        if stuck:
            told["stuck"] = stuck
        return told

    def _identify(self, scope: Scope) -> Scope:
        """The scope with what its private field tells, and without that field; empty where it tells nothing valid."""
        field = self._field
        told: Optional[bytes] = None
        headers: Headers = []
        for name, value in scope["headers"]:
            if name == field:
                if told is not None:
                    return {}
                told = value
            else:
                headers.append((name, value))
        parts = (told or b"").split(b" ")
        if len(parts) not in (6, 7) or not self._secret or not hmac.compare_digest(parts[0], self._secret):
            return {}
        scheme, client_host, client_port, server_host, server_port = (part.decode("latin-1") for part in parts[1:6])
        if not (client_port.isdigit() and server_port.isdigit()):
            return {}
        known = dict(scope)
        known["headers"] = headers
        known["scheme"] = _SOCKET_SCHEMES.get(scheme, scheme) if scope["type"] == "websocket" else scheme
        known["client"] = [client_host, int(client_port)] if client_host else None
        known["server"] = [server_host, int(server_port)]
        if len(parts) == 7:
            known["extensions"] = {**(scope.get("extensions") or {}), "tls": _tls_extension(parts[6])}
        if self._prefix:
            known["root_path"] = self._prefix
        return known


def _tls_extension(told: bytes) -> Dict[str, Any]:
    """ASGI's TLS extension, as far as the front knows; of the client's certificate only the name."""
    said = dict(parse_qsl(told.decode("latin-1")))
    return {
        "server_cert": None,
        "client_cert_chain": [],
        "client_cert_name": said.get("SSL_CLIENT_S_DN"),
        "client_cert_error": None,
        "tls_version": None,
        "cipher_suite": None,
    }


async def _idle_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """The lifespan of an application that has none: Django's handler raises, which servers log as an error."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _refuse(kind: str, receive: Receive, send: Send) -> None:
    if kind == "http":
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 403, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
    else:
        await receive()
        await send({"type": "websocket.close", "code": 1008})

"""Middlewares: what every request passes before it is answered, and its response on the way back."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Iterable
from typing import TYPE_CHECKING, ClassVar, Final

from duck.http.response import ErrorResponse, HttpResponse

if TYPE_CHECKING:
    from duck.http.request import HttpRequest

logger = logging.getLogger("duck.http")

# What a client may name as host: a name, IPv4 or bracketed IPv6 address, and a port (RFC 3986 §3.2.2).
_HOST: Final = re.compile(r"([a-z0-9.-]+|\[[a-f0-9:.]+\])(?::([0-9]{1,5}))?")
_LOCAL_HOSTS: Final = ("localhost", ".localhost", "127.0.0.1", "[::1]")


class Middleware:
    """One step of MIDDLEWARES; made once, without arguments, and shared by all requests.

    Every method may be a coroutine function, which runs on the loop, or a plain one, which runs in a thread; a
    classmethod will do.
    """

    request_ok: ClassVar[int] = 1
    request_bad: ClassVar[int] = 0

    def process_request(self, request: HttpRequest) -> int | Awaitable[int]:
        """`request_ok` to go on, `request_bad` to answer `get_error_response` instead."""
        return self.request_ok

    def process_response(self, response: HttpResponse, request: HttpRequest) -> Awaitable[None] | None:
        """Look at the response, and change it in place. Responses of Django pass here too, as HttpProxyResponse."""
        return None

    def get_error_response(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        """What answers a request that `process_request` found bad."""
        return ErrorResponse(403, request=request)


class HostsMiddleware(Middleware):
    """Refuses a request whose host is not in ALLOWED_HOSTS; first in the chain of Duck's own views.

    Django checks the host of what it answers by its own ALLOWED_HOSTS, so this is not asked there.
    """

    def __init__(self, allowed: Iterable[str], *, debug: bool) -> None:
        hosts = tuple(host.lower() for host in allowed)
        self._allowed = hosts or (_LOCAL_HOSTS if debug else ())

    async def process_request(self, request: HttpRequest) -> int:
        """Whether the host is one of those allowed."""
        if is_host_allowed(request.host, self._allowed):
            return self.request_ok
        logger.warning("refused a request for the host %r: it is not in ALLOWED_HOSTS; add it there", request.host)
        return self.request_bad

    async def get_error_response(self, request: HttpRequest) -> HttpResponse:
        """400, without the host in it: the page may be cached where it was asked for."""
        return ErrorResponse(400, "This server does not answer for that host.", request=request)


def is_host_allowed(host: str, allowed: Iterable[str]) -> bool:
    """Whether `host`, with or without a port, is one of `allowed`.

    As in Django: `*` is any host, `.example.org` that domain and all below it. `*.example.org` is all below it.
    """
    found = _HOST.fullmatch(host.lower())
    if found is None:
        return False
    name = found[1].removesuffix(".")
    for pattern in allowed:
        if pattern in ("*", name):
            return True
        if pattern.startswith(".") and (name.endswith(pattern) or name == pattern[1:]):
            return True
        if pattern.startswith("*.") and name.endswith(pattern[1:]):
            return True
    return False

"""The MicroApp that sends HTTP clients to the HTTPS address of the same resource."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duck.app.address import absolute_url
from duck.app.microapp import MicroApp
from duck.http.response import HttpResponse

if TYPE_CHECKING:
    from duck.http.request import HttpRequest


class ForceHTTPSMicroApp(MicroApp):
    """Answers every request with 308 to the same path and query at `https_domain`.

    308 and not 301: the method and the body are kept (RFC 9110 §15.4.9). The target is the public name, never the
    client's Host, so that no one can be sent elsewhere.

    Args:
        https_domain, https_port: where HTTPS is served.
    """

    def __init__(self, addr: str, port: int, *, https_domain: str, https_port: int = 443, **more: Any) -> None:
        super().__init__(addr, port, **more)
        self._base = absolute_url("https", https_domain, https_port)

    def view(self, request: HttpRequest) -> HttpResponse:
        """The redirect."""
        target = request.full_path
        return HttpResponse(b"", 308, {"Location": self._base + (target if target.startswith("/") else "/")})

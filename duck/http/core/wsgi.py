"""WSGI: the same steps as `duck.http.core.asgi.ASGI` for code that blocks; each request has a thread of its own.

The connection still belongs to the loop, so each step that touches it waits there. Name it, or a subclass, in the
setting ASGI to use it: the lane asks only whether its gateway is to be awaited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from duck.exceptions import ExpectingNoResponse, ProtocolError
from duck.http.core.asgi import ASGI
from duck.http.core.processor import AsyncRequestProcessor
from duck.http.core.proxyhandler import HttpProxyResponse
from duck.http.request import HttpRequest

if TYPE_CHECKING:
    from duck.http.core.lane import Lane
    from duck.http.request_data import RequestData
    from duck.http.response import HttpResponse
    from duck.utils.xsocket import xsocket

Result = TypeVar("Result")


class WSGI:
    """The gateway for threads. Methods mean what they mean in `ASGI`, and return instead of being awaited.

    Called in a thread of the lane's, never on the loop. A client that leaves cannot stop a thread: its waits end with
    ClientGone.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self._asgi = ASGI(settings)

    @property
    def lane(self) -> Lane:
        """What the settings were compiled to."""
        return self._asgi.lane

    def __call__(
        self,
        application: Any,
        client_socket: xsocket,
        client_address: tuple[str, int],
        request_data: RequestData,
    ) -> HttpRequest | None:
        """Answer one request; None where none could be made of what came."""
        loop = client_socket.loop
        try:
            request = self.get_request(client_socket, client_address, request_data)
        except ProtocolError as error:
            _wait(loop, self._asgi.finalize_unread(client_socket, error))
            return None
        request.application = application
        request.settings = self.settings
        request.bind(loop)
        try:
            self.start_response(request)
        finally:
            request.close()
        return request

    @staticmethod
    def get_request(client_socket: xsocket, client_address: tuple[str, int], request_data: RequestData) -> HttpRequest:
        """The request object."""
        return HttpRequest(request_data, client_socket, client_address)

    def start_response(self, request: HttpRequest, response: HttpResponse | None = None) -> None:
        """Answer `request`: with `response`, or with what `get_response` gives."""
        if response is None:
            try:
                response = self.get_response(request)
            except ExpectingNoResponse:
                return
        if isinstance(response, HttpProxyResponse) and response.is_upgrade:
            self.handle_django_connection_upgrade(request, response)
        else:
            self.finalize_response(response, request)

    def get_response(self, request: HttpRequest) -> HttpResponse:
        """The full response: view or Django, middlewares, error pages."""
        processor = AsyncRequestProcessor(request, self.lane)
        return self.produce_final_response_failsafe(request, processor.get_response, processor)

    def produce_final_response_failsafe(
        self,
        request: HttpRequest,
        response_producer_callable: Callable[..., Any],
        processor: AsyncRequestProcessor | None = None,
    ) -> HttpResponse:
        """What `response_producer_callable` gives, with the middlewares applied; an error page where it fails."""
        made = self._asgi.produce_final_response_failsafe(request, response_producer_callable, processor)
        return _wait(request.loop, made)

    def apply_middlewares_to_response(self, response: HttpResponse, request: HttpRequest) -> HttpResponse:
        """`response` after the middlewares."""
        work = self._asgi.apply_middlewares_to_response(response, request)  # type: ignore[no-untyped-call]
        made: HttpResponse = _wait(request.loop, work)
        return made

    def django_apply_middlewares_to_response(self, response: HttpProxyResponse, request: HttpRequest) -> HttpResponse:
        """Django's `response` after the middlewares."""
        made: HttpResponse = _wait(request.loop, self._asgi.django_apply_middlewares_to_response(response, request))
        return made

    def finalize_response(self, response: HttpResponse, request: HttpRequest) -> None:
        """Send `response`, and give back what it holds."""
        assert request.client_socket is not None
        try:
            self.send_response(response, request.client_socket, request)
        finally:
            _wait(request.loop, response.aclose())

    def send_response(
        self,
        response: HttpResponse,
        client_socket: xsocket,
        request: HttpRequest | None = None,
        disable_logging: bool = False,
    ) -> None:
        """Write `response` to the client."""
        _wait(client_socket.loop, self._asgi.send_response(response, client_socket, request, disable_logging))

    def handle_django_connection_upgrade(
        self,
        upgrade_request: HttpRequest,
        upgrade_response: HttpProxyResponse,
        protocol_receive_timeout: float = 10,
        protocol_receive_buffer: int = 4096,
    ) -> None:
        """Carry bytes between the client and Django, both ways, until both have ended."""
        work = self._asgi.handle_django_connection_upgrade(
            upgrade_request, upgrade_response, protocol_receive_timeout, protocol_receive_buffer
        )
        _wait(upgrade_request.loop, work)


def _wait(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Result]) -> Result:
    return asyncio.run_coroutine_threadsafe(work, loop).result()

"""ASGI: how the application lane answers, one method per step, each of which a subclass may override.

Not the ASGI of the specification of that name: it is the gateway between a connection that the server owns and what
answers on it. Name a subclass in the setting ASGI to use it.

    __call__  get_request
              start_response  get_response  produce_final_response_failsafe   view or Django, middlewares, errors
                              finalize_response  send_response
                              handle_django_connection_upgrade                instead, after a 101 of Django's
"""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Dict, Optional, ParamSpec, Tuple, TypeVar, Union, cast  # noqa: UP035

from duck.exceptions import BackendError, ClientGone, DuckError, ExpectingNoResponse, HttpError, ProtocolError
from duck.http.calls import call, in_thread
from duck.http.core.lane import Lane
from duck.http.core.processor import AsyncRequestProcessor
from duck.http.core.proxyhandler import HttpProxyResponse
from duck.http.duplex import AsyncDuplex
from duck.http.errors import django_status, format_traceback
from duck.http.request import HttpRequest
from duck.http.response import ErrorResponse, HttpResponse, TemplateResponse

if TYPE_CHECKING:
    from duck.http.request_data import RequestData
    from duck.utils.xsocket import xsocket

logger = logging.getLogger("duck.http")

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def if_error_log_then_raise(
    function: Callable[Parameters, Awaitable[Result]],
) -> Callable[Parameters, Awaitable[Result]]:
    """Log what `function` raises, and raise it; a client that left is no error."""

    @functools.wraps(function)
    async def logged(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return await function(*args, **kwargs)
        except (ClientGone, ExpectingNoResponse):
            raise
        except Exception as error:
            logger.error("the application lane failed: %s", error, exc_info=error)
            raise

    return logged


# The reference fixes these signatures, spelling included.
# ruff: noqa: UP006, UP007, UP045


class ASGI:
    """The gateway of Duck's own views, and of Django's URLs that pass Duck's middlewares.

    One instance serves all requests of a worker, on its loop; nothing of a request is kept in it.

    Args:
        settings: Duck's, by name; see `duck.http.core.lane.Lane` for those that count here.

    Attributes:
        lane: what the settings were compiled to.
    """

    def __init__(self, settings: Dict[str, Any]):
        self.settings = settings
        self.lane = Lane(settings)

    @if_error_log_then_raise
    async def __call__(
        self,
        application: Any,
        client_socket: socket.socket,
        client_address: Tuple[str, int],
        request_data: RequestData,
    ) -> Optional[HttpRequest]:
        """Answer one request.

        Args:
            application: the Duck application.
            client_socket: an `xsocket`: the exchange to answer on. The name of its type is history.
            client_address: the client's host and port.
            request_data: the parsed head.

        Returns:
            The request, once it has been answered; None where none could be made of what came.
        """
        carrier = cast("xsocket", client_socket)
        try:
            request = await self.get_request(carrier, client_address, request_data)
        except ProtocolError as error:
            await self.finalize_unread(carrier, error)
            return None
        request.application = application
        request.settings = self.settings
        request.bind(asyncio.get_running_loop())
        try:
            await self.start_response(request)
        finally:
            request.close()
        return request

    @staticmethod
    async def get_request(
        client_socket: xsocket, client_address: Tuple[str, int], request_data: RequestData
    ) -> HttpRequest:
        """The request object.

        Raises:
            ProtocolError: what came is no request for this application.
        """
        return HttpRequest(request_data, client_socket, client_address)

    async def start_response(self, request: HttpRequest, response: Optional[HttpResponse] = None):  # type: ignore[no-untyped-def]
        """Answer `request`: with `response`, or with what `get_response` gives."""
        if response is None:
            try:
                response = await self.get_response(request)
            except ExpectingNoResponse:
                return
        if isinstance(response, HttpProxyResponse) and response.is_upgrade:
            await self.handle_django_connection_upgrade(request, response)
        else:
            await self.finalize_response(response, request)

    async def get_response(self, request: HttpRequest) -> HttpResponse:
        """The full response: view or Django, middlewares, error pages.

        Raises:
            ExpectingNoResponse: there will be none, as after a WebSocketView.
        """
        processor = AsyncRequestProcessor(request, self.lane)
        return await self.produce_final_response_failsafe(request, processor.get_response, processor)

    async def produce_final_response_failsafe(
        self,
        request: HttpRequest,
        response_producer_callable: Callable,  # type: ignore[type-arg]
        processor: Optional[AsyncRequestProcessor] = None,
    ) -> HttpResponse:
        """What `response_producer_callable` gives, with the middlewares applied; an error page where it fails.

        Raises:
            ExpectingNoResponse: there will be none, as after a WebSocketView.
            ClientGone: nobody is there to answer.
        """
        try:
            response: HttpResponse = await call(response_producer_callable)
            if isinstance(response, TemplateResponse):
                await in_thread(response.render)
        except (ClientGone, ExpectingNoResponse):
            raise
        except Exception as error:
            response = self.error_response(request, error)
        try:
            if not isinstance(response, HttpProxyResponse):
                response = await self._customized(response, request)
                applied = await self.apply_middlewares_to_response(response, request)  # type: ignore[no-untyped-call]
            else:
                applied = await self.django_apply_middlewares_to_response(response, request)
            return cast("HttpResponse", applied)
        except BaseException as error:
            await response.aclose()
            if not isinstance(error, Exception) or isinstance(error, ClientGone):
                raise
            return self.error_response(request, error)

    async def apply_middlewares_to_response(self, response, request):  # type: ignore[no-untyped-def]
        """`response` after the middlewares: from the one that stopped the request, or the last, back to the first."""
        chain = request.chain if request.chain is not None else self.lane.own
        return await chain.process_response(response, request)

    async def django_apply_middlewares_to_response(self, response: HttpProxyResponse, request):  # type: ignore[no-untyped-def]
        """Django's `response` after the middlewares; what they leave alone crosses byte for byte."""
        chain = request.chain if request.chain is not None else self.lane.proxied
        return await chain.process_response(response, request)

    async def finalize_response(self, response, request: Optional[HttpRequest] = None):  # type: ignore[no-untyped-def]
        """Send `response` to the client of `request`, and give back what it holds.

        Override it to change every response last; `response.headers` of Django's answers included.
        """
        if request is None or request.client_socket is None:
            raise DuckError("a response is sent to the client of a request: finalize_response needs one")
        try:
            await self.send_response(response, request.client_socket, request)
        finally:
            await response.aclose()

    async def send_response(  # type: ignore[no-untyped-def]
        self,
        response,
        client_socket: xsocket,
        request: Optional[HttpRequest] = None,
        disable_logging: bool = False,
    ):
        """Write `response` to the client.

        Where a body fails while it is sent, the client's connection is cut: a truncated answer never looks complete.

        Args:
            disable_logging: say nothing of a body that failed.
        """
        try:
            await response.write_to(client_socket)
        except ClientGone:
            raise
        except Exception as error:
            if not client_socket.exchange.is_answered:
                raise
            # What a backend did, the direct lane has logged.
            if not disable_logging and not isinstance(error, BackendError):
                logger.error("the answer to %s was cut: %s", request, error, exc_info=_shown(error))
            client_socket.abort(error)

    async def handle_django_connection_upgrade(  # type: ignore[no-untyped-def]
        self,
        upgrade_request: HttpRequest,
        upgrade_response: HttpProxyResponse,
        protocol_receive_timeout: Union[int, float] = 10,
        protocol_receive_buffer: int = 4096,
    ):
        """Carry bytes between the client and Django, both ways, until both have ended.

        Args:
            protocol_receive_timeout: seconds that one side may go on being silent after the other has ended.
            protocol_receive_buffer: most bytes carried at once.
        """
        carrier = upgrade_request.client_socket
        assert carrier is not None
        backend = AsyncDuplex(upgrade_response.take_duplex())
        client: AsyncDuplex | None = None
        try:
            client = carrier.upgrade(upgrade_response.head())
            loop = asyncio.get_running_loop()
            name = f"duck-upgrade {upgrade_request.path[:80]}"
            up = loop.create_task(_carry(client, backend, protocol_receive_buffer), name=f"{name} up")
            down = loop.create_task(_carry(backend, client, protocol_receive_buffer), name=f"{name} down")
            try:
                await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
                await asyncio.wait((up, down), timeout=protocol_receive_timeout)
            finally:
                for task in (up, down):
                    task.cancel()
                await asyncio.gather(up, down, return_exceptions=True)
        finally:
            backend.close()
            if client is not None:
                client.close()
            await upgrade_response.aclose()

    def error_response(self, request: HttpRequest, error: Exception) -> HttpResponse:
        """The page that tells of `error`; the traceback is shown in DEBUG only, and logged for what nobody expected."""
        if isinstance(error, HttpError):
            return ErrorResponse(error.status, error.detail, request=request)
        if isinstance(error, ProtocolError) and error.status < 500:
            return ErrorResponse(error.status, f"{error}.", request=request)
        if isinstance(error, BackendError):
            logger.error("%s: %s", error.backend or "the backend", error)
            return ErrorResponse(error.status, request=request)
        status = django_status(error)
        if status is not None:
            return ErrorResponse(status, request=request)
        logger.error("the view of %s failed", request, exc_info=error)
        traceback = format_traceback(error) if self.lane.debug else None
        return ErrorResponse(500, request=request, debug=self.lane.debug, traceback=traceback)

    async def finalize_unread(self, client_socket: xsocket, error: ProtocolError) -> None:
        """Answer what no request could be made of."""
        await ErrorResponse(error.status, f"{error}.").write_to(client_socket)

    async def _customized(self, response: HttpResponse, request: HttpRequest) -> HttpResponse:
        """CUSTOM_TEMPLATES: what the project has to say for a status of an error page of Duck's."""
        custom = (self.settings.get("CUSTOM_TEMPLATES") or {}).get(response.status_code)
        if custom is None or not isinstance(response, ErrorResponse):
            return response
        made = await call(custom, response, request)
        return made if isinstance(made, HttpResponse) else response


async def _carry(source: AsyncDuplex, target: AsyncDuplex, limit: int) -> None:
    """Bytes from one to the other until the first ends, then that end."""
    try:
        while data := await source.receive(limit):
            await target.send(data)
    except ClientGone:
        target.close()
    else:
        target.send_eof()


def _shown(error: Exception) -> Exception | None:
    """`error` where its traceback says more than its text: not for what a backend did."""
    return None if isinstance(error, DuckError) else error

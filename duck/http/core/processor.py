"""The way of one request through the lane: its side, its middlewares, its view or Django."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING

from duck.exceptions import BackendUnreachable, ExpectingNoResponse
from duck.http.response import ErrorResponse, HttpResponse
from duck.http.routing import DJANGO, NotAllowed, match_path
from duck.http.views import call_view

if TYPE_CHECKING:
    from duck.http.core.lane import Lane
    from duck.http.core.proxyhandler import HttpProxyResponse
    from duck.http.request import HttpRequest


class AsyncRequestProcessor:
    """Finds the answer to one request; errors are left to the caller.

    Attributes:
        path: as routes see it.
        side: `duck` or `django`.
    """

    def __init__(self, request: HttpRequest, lane: Lane) -> None:
        self.request = request
        self.lane = lane
        self.path = match_path(request.raw_path)
        self.side = lane.sides.decide(self.path)

    async def get_response(self) -> HttpResponse:
        """The response, or what a middleware gave instead.

        Raises:
            ExpectingNoResponse: a WebSocket view has answered, and is over.
            Exception: what a view or middleware raised.
        """
        request, lane = self.request, self.lane
        if self.side == DJANGO:
            refused = await lane.proxied.process_request(request)
            return refused if refused is not None else await self.get_django_response()
        refused = await lane.hosts.process_request(request)
        if refused is None:
            refused = await lane.own.process_request(request)
        return refused if refused is not None else await self.get_view_response()

    async def get_view_response(self) -> HttpResponse:
        """What Duck's own view answers: 404 and 405 included."""
        request = self.request
        match = self.lane.resolver.resolve(self.path, request.method)
        if match is None:
            return ErrorResponse(404, request=request)
        if isinstance(match, NotAllowed):
            allowed = ", ".join(sorted(match.methods))
            return ErrorResponse(405, request=request, headers={"Allow": allowed})
        request.url_match = match
        if inspect.isclass(match.view):
            from duck.http.websocket import WebSocketView  # slow to be imported: whoever derives from it has done that

            if issubclass(match.view, WebSocketView):
                await match.view(request, *match.args, **match.kwargs).serve()
                raise ExpectingNoResponse("a WebSocket view answers by itself")
        return await call_view(match, request)

    async def get_django_response(self) -> HttpProxyResponse:
        """What Django answers, from its head on."""
        proxy = self.lane.proxy
        if proxy is None:
            raise BackendUnreachable("no Django is behind this server: USE_DJANGO is off", backend="django")
        return await proxy.get_response(self.request)


class RequestProcessor:
    """The same for a thread: waits for the loop that owns the request."""

    def __init__(self, request: HttpRequest, lane: Lane) -> None:
        self._processor = AsyncRequestProcessor(request, lane)
        self.request = request
        self.side = self._processor.side

    def get_response(self) -> HttpResponse:
        """See `AsyncRequestProcessor.get_response`; not on the loop's own thread."""
        return asyncio.run_coroutine_threadsafe(self._processor.get_response(), self.request.loop).result()

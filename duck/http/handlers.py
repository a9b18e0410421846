"""AppHandler: the application lane as a Handler."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from duck.exceptions import ClientGone, DuckError
from duck.http.calls import is_async
from duck.http.core.asgi import ASGI
from duck.http.core.proxyhandler import AsyncHttpProxyHandler
from duck.http.errors import error_answer, format_traceback
from duck.http.request_data import RequestData
from duck.net.exchange import TUNNEL
from duck.net.farewell import CONFIRM_S, Farewell
from duck.proxy.rules import identify
from duck.utils.xsocket import ssl_xsocket, xsocket

if TYPE_CHECKING:
    from duck.net.exchange import Exchange
    from duck.net.interfaces import Handler
    from duck.net.server import Trust
    from duck.proxy.spool import Spool

logger = logging.getLogger("duck.http")

MAX_BODY_BYTES: Final = 104_857_600
WSGI_THREADS: Final = 32


class AppHandler:
    """Answers exchanges with a gateway: Duck's `ASGI` or `WSGI`, a user's subclass, or any callable like them.

    Each exchange gets one task on the worker's loop, named after it and kept here. The task is cancelled when its
    client leaves; whatever becomes of it, the exchange is answered or cut.

    Args:
        application: handed to the gateway as it is.
        gateway: called as `gateway(application, client_socket, client_address, request_data)`; a coroutine function
            is awaited, any other called in a thread. One gateway for each worker.
        proxy: the direct lane's handler, for Django's URLs that pass Duck's middlewares; None where Django is not used.
        trust: whose word about the client counts (TRUSTED_PROXIES); nobody's by default.
        debug: show tracebacks.
        max_body_bytes: what Duck's views take of a request's body; Django's limit is its own.
        spool: where long bodies that Duck's views read as a whole are counted; None for nowhere.
    """

    def __init__(
        self,
        application: Any,
        gateway: Callable[..., Any],
        *,
        proxy: Handler | None = None,
        trust: Trust | None = None,
        debug: bool = False,
        max_body_bytes: int = MAX_BODY_BYTES,
        spool: Spool | None = None,
        proxy_class: Callable[[Handler], AsyncHttpProxyHandler] = AsyncHttpProxyHandler,
    ) -> None:
        self._application = application
        self._gateway = gateway
        self._trust = trust
        self._debug = debug
        self._max_body_bytes = max_body_bytes
        self._spool = spool
        self._tasks: dict[asyncio.Task[None], xsocket] = {}
        self._threads: ThreadPoolExecutor | None = None
        self._awaits = is_async(gateway)
        if not self._awaits:
            self._threads = ThreadPoolExecutor(WSGI_THREADS, thread_name_prefix="duck-wsgi")
        lane = getattr(gateway, "lane", None)
        if lane is not None and proxy is not None:
            lane.proxy = proxy_class(proxy)

    def handle(self, exchange: Exchange) -> None:
        """Start to answer `exchange`."""
        if exchange.is_over:
            return
        if self._trust is not None and exchange.peer.trusted and not exchange.peer.via:
            exchange.peer = identify(exchange.request, exchange.peer, self._trust)
        make = ssl_xsocket if exchange.peer.scheme == b"https" else xsocket
        carrier = make(exchange)
        name = f"duck-app {exchange.request.method[:16]!r} {exchange.request.target[:80]!r}"
        task = asyncio.get_running_loop().create_task(self._answer(exchange, carrier), name=name)
        self._tasks[task] = carrier
        task.add_done_callback(self._done)
        carrier.on_lost = task.cancel

    @property
    def in_flight(self) -> int:
        """How many exchanges are being answered."""
        return len(self._tasks)

    def drain(self, farewell: Farewell | None = None) -> None:
        """End what would not end by itself: WebSocket views say 1001, streams of events end by their last chunk.

        What Django answers, the direct lane ends, and the client hears of it through here.
        """
        farewell = Farewell() if farewell is None else farewell
        later = asyncio.get_running_loop().call_later
        tunnels = self._own_tunnels()
        for (task, carrier), (delay_s, _) in zip(tunnels, farewell.sockets(len(tunnels)), strict=True):
            later(delay_s, self._go_away, task, carrier)
        # And those that open meanwhile.
        later(min(max(farewell.spread_s, 1.0), farewell.sockets_s / 2), self._go_away_late)
        streams = [one.exchange for one in self._tasks.values() if one.exchange.open_ended and not one.exchange.backend]
        for exchange, delay_s in zip(streams, farewell.streams(len(streams)), strict=True):
            later(delay_s, _end_stream, exchange)

    def _own_tunnels(self) -> list[tuple[asyncio.Task[None], xsocket]]:
        return [
            (task, carrier)
            for task, carrier in self._tasks.items()
            if carrier.exchange.answer_state is TUNNEL and not carrier.exchange.backend
        ]

    def _go_away(self, task: asyncio.Task[None], carrier: xsocket) -> None:
        go_away, carrier.on_go_away = carrier.on_go_away, None
        if go_away is None:
            task.cancel()
            return
        go_away()
        # A view that waits for something else than its client does not hear of it.
        task.get_loop().call_later(CONFIRM_S, task.cancel)

    def _go_away_late(self) -> None:
        for task, carrier in self._own_tunnels():
            if carrier.on_go_away is not None:
                self._go_away(task, carrier)

    async def close(self, deadline_s: float) -> None:
        """Drain, let what runs end, at most `deadline_s` seconds; then cancel it. No exchange may come after this."""
        self.drain()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=deadline_s)
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, exchange: Exchange, carrier: xsocket) -> None:
        data = RequestData(exchange.request.copy(), exchange.peer, self._max_body_bytes, self._spool)
        address = (exchange.peer.host, exchange.peer.port)
        try:
            if self._awaits:
                await self._gateway(self._application, carrier, address, data)
            else:
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._threads, self._gateway, self._application, carrier, address, data)
        except ClientGone:
            logger.debug("the client of %r left", exchange.request)
        except Exception as error:
            self._fail(exchange, error)
            return
        if not exchange.is_over:
            self._fail(exchange, DuckError(f"the application gave no complete answer to {exchange.request!r}"))

    def _fail(self, exchange: Exchange, error: Exception) -> None:
        """Answer 500, or cut what was begun."""
        exchange.error = error
        if exchange.is_over:
            return
        if exchange.is_answered:
            logger.error("the answer to %r was cut: %s", exchange.request, error)
            exchange.response.abort(error)
            return
        # `ASGI` has logged what it raised, with its traceback.
        logged = isinstance(error, DuckError) or isinstance(self._gateway, ASGI)
        logger.error("no answer to %r: %s", exchange.request, error, exc_info=None if logged else error)
        traceback = format_traceback(error) if self._debug else None
        answer = error_answer(500, request=exchange.request, debug=self._debug, traceback=traceback)
        exchange.response.answer(*answer)

    def _done(self, task: asyncio.Task[None]) -> None:
        exchange = self._tasks.pop(task).exchange
        if task.cancelled():
            if not exchange.is_over:
                exchange.response.abort(ClientGone("the server stopped before the answer was complete"))
        elif (error := task.exception()) is not None:
            logger.error("an exchange of the application lane failed", exc_info=error)
            if not exchange.is_over:
                exchange.response.abort(DuckError("the application lane failed"))


def _end_stream(exchange: Exchange) -> None:
    exchange.leave(ClientGone("Duck went away"), in_order=exchange.streams_events)

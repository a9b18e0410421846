"""One browser's WebSocket; apart, because a Duck that no browser looks at needs no WebSockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import parse_qs

from websockets.frames import CloseCode

from duck.exceptions import ClientGone
from duck.http.ducksight.channel import MAX_MESSAGE_BYTES, MAX_PAGE
from duck.http.request import HttpRequest
from duck.http.websocket import WebSocketView

if TYPE_CHECKING:
    from duck.http.ducksight.channel import Browser, Channel
    from duck.http.request_data import RequestData
    from duck.utils.xsocket import xsocket


async def serve_browser(
    channel: Channel, client_socket: xsocket, client_address: tuple[str, int], request_data: RequestData
) -> None:
    """Carry what `channel` and one browser say to each other (a gateway of `AppHandler`)."""
    await _BrowserSocket(HttpRequest(request_data, client_socket, client_address), channel).serve()


class _BrowserSocket(WebSocketView):
    max_message_bytes: ClassVar[int] = MAX_MESSAGE_BYTES
    max_queued: ClassVar[int] = 4
    compression: ClassVar[bool] = False
    # A page that is frozen confirms nothing, and nobody waits for it.
    close_timeout_s: ClassVar[float] = 1.0

    def __init__(self, request: HttpRequest, channel: Channel) -> None:
        super().__init__(request)
        self._channel = channel

    async def run(self) -> None:
        said = parse_qs(self.request.query_string, max_num_fields=8).get("page", [""])
        browser = self._channel.join(said[0][:MAX_PAGE])
        loop = asyncio.get_running_loop()
        sender = loop.create_task(self._send_all(browser), name="duck-sight sender")
        try:
            while (message := await self.receive()) is not None:
                self._channel.received(browser, message)
        finally:
            self._channel.leave(browser)
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    async def _send_all(self, browser: Browser) -> None:
        try:
            while not browser.is_behind:
                await self.send(await browser.outbox.get())
            await self.close(CloseCode.TRY_AGAIN_LATER, "too far behind")
        except ClientGone:
            pass  # `receive` says so as well

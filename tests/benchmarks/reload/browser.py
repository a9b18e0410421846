"""What the script in a page hears of a change."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from typing import TYPE_CHECKING, Final, Protocol

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

from tests.benchmarks.reload.edits import TARGETS, TEMPLATE
from tests.benchmarks.reload.peers import BROWSER_RELOAD, DUCK
from tests.benchmarks.servers import Failed

if TYPE_CHECKING:
    from tests.benchmarks.reload.peers import Running

EVENTS: Final = "/__reload__/events/"
RETRY_S: Final = 0.1  # for its first 20 attempts, as its reload-worker.js


class Browser(Protocol):
    """A page that is open."""

    async def told(self, deadline_s: float) -> float | None:
        """When it was next told to load itself again; None where it was not in time."""

    async def close(self) -> None:
        """Leave."""


class BrowserReload:
    """The worker script of django-browser-reload: an EventSource, and another one a while after an error.

    A page loads itself again at a message `reload`, and at a `ping` with another version than the one before.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._version = ""
        self._tells: asyncio.Future[float] | None = None
        self._task: asyncio.Task[None] | None = None
        self.is_connected = asyncio.Event()

    async def open(self, deadline_s: float = 10.0) -> None:
        """Connect; returns when it has heard something.

        Raises:
            Failed: not in time.
        """
        self._task = asyncio.get_running_loop().create_task(self._listen(), name="browser")
        try:
            async with asyncio.timeout(deadline_s):
                await self.is_connected.wait()
        except TimeoutError:
            await self.close()
            raise Failed(f"nothing came from {EVENTS} within {deadline_s:g} s") from None

    async def told(self, deadline_s: float) -> float | None:
        """When it was next told to load itself again."""
        self._tells = asyncio.get_running_loop().create_future()
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(self._tells, deadline_s)
        return None

    async def close(self) -> None:
        """Leave."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    head = f"GET {EVENTS} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
                    writer.write(head.encode())
                    while line := await reader.readline():
                        if line.startswith(b"data: "):
                            self._hear(json.loads(line[6:]))
                finally:
                    writer.transport.abort()
            await asyncio.sleep(RETRY_S)

    def _hear(self, message: dict[str, str]) -> None:
        self.is_connected.set()
        version = message.get("versionId", self._version)
        is_told = message.get("type") == "reload" or bool(self._version and version != self._version)
        self._version = version
        if is_told and self._tells is not None and not self._tells.done():
            self._tells.set_result(time.monotonic())


class DuckBrowser:
    """The script that Duck puts into a page: a WebSocket, opened with the token that the page was given."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._tells: asyncio.Future[float] | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Fetch a page as a browser does, and connect.

        Raises:
            Failed: there is no script in it.
        """
        origin = f"http://127.0.0.1:{self._port}"
        fields = {"Accept": "text/html", "Sec-Fetch-Dest": "document"}
        async with httpx.AsyncClient(trust_env=False) as client:
            page = (await client.get(origin + TARGETS[TEMPLATE], headers=fields)).text
        found = re.search(r"/\.duck/client\.js\?[^\"]*token=([^\"&]+)", page)
        if found is None:
            raise Failed(f"there is no script of DuckSight in the page: {page[:500]}")
        address = f"ws://127.0.0.1:{self._port}/.duck/socket?token={found[1]}"
        socket = await connect(address, origin=Origin(origin), proxy=None)
        self._task = asyncio.get_running_loop().create_task(self._listen(socket), name="browser")

    async def told(self, deadline_s: float) -> float | None:
        """When it was next told to load itself again, or to fetch itself and take what differs."""
        self._tells = asyncio.get_running_loop().create_future()
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(self._tells, deadline_s)
        return None

    async def close(self) -> None:
        """Leave."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self, socket: ClientConnection) -> None:
        async with socket:
            async for text in socket:
                message = json.loads(text)
                if message["type"] in ("reload", "template") and self._tells is not None and not self._tells.done():
                    self._tells.set_result(time.monotonic())


async def open_browser(server: Running) -> Browser | None:
    """The page that `server` has told of changes; None where it tells nobody.

    Raises:
        Failed: it tells nothing to this one.
    """
    browsers: dict[str, type[BrowserReload | DuckBrowser]] = {BROWSER_RELOAD: BrowserReload, DUCK: DuckBrowser}
    if server.name not in browsers:
        return None
    browser = browsers[server.name](server.port)
    await browser.open()
    return browser

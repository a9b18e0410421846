"""Channel: what DuckSight and the browsers that look at a site's pages say to each other, over WebSockets.

To a browser, each message a JSON object with a `type`:

    hello                where things stand: `at`, a page that was made at another moment loads again; `editor`
    style, static        files have changed: `urls`
    template             the page is to be asked for again, and what differs put into it
    reload               the page is to be loaded again
    fault, mended        what is wrong, and that it is no more; with `page`, what is wrong with that page alone, `kept`
                         where it was told before this browser came
    notice               what is to be known and breaks nothing yet, as a fault; None for nothing
    reply                to a command: its `id`, `ok`, `text`

From a browser: `migrate`, and `open` with `file` and `line`; nothing else is taken.

`at` counts what was told, so that a page that missed something (it loaded just then, it was frozen, Duck started
again) knows it.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from duck.http.errors import error_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from duck.http.ducksight.config import DuckSightConfig
    from duck.http.handlers import AppHandler
    from duck.net.exchange import Exchange

SOCKET_PATH: Final = b"/.duck/socket"

# A browser keeps no more than 255 WebSockets to one host (Chromium), and a developer fewer tabs.
MAX_BROWSERS: Final = 256
# Messages that wait for a browser; who is further behind comes again, and loads its page again.
MAX_BEHIND: Final = 64
MAX_MESSAGE_BYTES: Final = 8192
# Pages whose faults are kept until somebody looks at them, and how long the address of one may be.
MAX_PAGES: Final = 32
MAX_PAGE: Final = 4096

COMMANDS: Final = ("migrate", "open")


class Browser:
    """One page that listens; on the channel's loop.

    Attributes:
        page: path and query of what it shows.
        outbox: messages on their way.
        is_behind: more would have had to wait than may.
    """

    __slots__ = ("is_behind", "outbox", "page")

    def __init__(self, page: str = "") -> None:
        self.page = page
        self.outbox: asyncio.Queue[str] = asyncio.Queue(MAX_BEHIND)
        self.is_behind = False

    def tell(self, text: str) -> None:
        """Send `text` in its turn."""
        try:
            self.outbox.put_nowait(text)
        except asyncio.QueueFull:
            self.is_behind = True


class Channel:
    """The browsers of one site (`Handler` of SOCKET_PATH), on its loop.

    Attributes:
        at: see the module; with the run before it, as pages are told.
        browsers: those that are connected.
    """

    def __init__(self, config: DuckSightConfig, loop: asyncio.AbstractEventLoop) -> None:
        self.browsers: set[Browser] = set()
        self._config = config
        self._loop = loop
        self._at = 0
        self._fault: Mapping[str, Any] | None = None
        self._notice: Mapping[str, Any] | None = None
        self._pages: dict[str, Mapping[str, Any]] = {}  # faults of single pages, the latest last
        self._lane: AppHandler | None = None

    @property
    def at(self) -> str:
        """As pages are told."""
        return f"{self._config.run}.{self._at}"

    def tell(self, message: Mapping[str, Any], at: int) -> None:
        """Tell all browsers that it is for; what is wrong is kept for those that come later."""
        page = message.get("page")
        if message["type"] == "notice":
            self.note(at, self._fault, message)
        elif page is not None:
            self._keep(page[:MAX_PAGE], message)
        else:
            self.note(at, fault_after(self._fault, message), self._notice)
            if message["type"] in ("reload", "template", "mended"):
                self._pages.clear()
        text = json.dumps({**message, "at": self.at})
        for browser in self.browsers:
            if page is None or browser.page == page:
                browser.tell(text)

    def _keep(self, page: str, message: Mapping[str, Any]) -> None:
        self._pages.pop(page, None)
        self._pages[page] = message
        if len(self._pages) > MAX_PAGES:
            del self._pages[next(iter(self._pages))]

    def note(self, at: int, fault: Mapping[str, Any] | None, notice: Mapping[str, Any] | None = None) -> None:
        """Know what was told before."""
        self._at = at
        self._fault = fault
        self._notice = notice

    # -- connections ----------------------------------------------------------------------------------------------

    def handle(self, exchange: Exchange) -> None:
        """Shake hands, and keep the connection (`Handler`)."""
        lane = self._lane
        if lane is None:
            # A project that is never looked at by a browser needs none of it.
            from duck.http.ducksight.socket import serve_browser
            from duck.http.handlers import AppHandler

            lane = self._lane = AppHandler(self, serve_browser)
        if lane.in_flight >= MAX_BROWSERS:
            exchange.response.answer(*error_answer(503, detail="So many pages are open already."))
        else:
            lane.handle(exchange)

    def join(self, page: str = "") -> Browser:
        """A browser that was let in, with what it shows."""
        browser = Browser(page)
        browser.tell(json.dumps({"type": "hello", "at": self.at, "editor": self._config.editor}))
        if self._notice is not None:
            browser.tell(json.dumps({**self._notice, "at": self.at}))
        if self._fault is not None:
            browser.tell(json.dumps({**self._fault, "at": self.at}))
        elif page in self._pages:
            browser.tell(json.dumps({**self._pages[page], "at": self.at, "kept": True}))
        self.browsers.add(browser)
        return browser

    def leave(self, browser: Browser) -> None:
        """It is gone."""
        self.browsers.discard(browser)

    def drain(self) -> None:
        """End all connections in order: their pages connect again, to whoever comes next."""
        if self._lane is not None:
            self._lane.drain()

    # -- what a browser says --------------------------------------------------------------------------------------

    def received(self, browser: Browser, message: str | bytes) -> None:
        """Do what a browser wants, where it may be wanted; everything else is nothing."""
        said = _command(message)
        if said is None:
            return
        name, number, arguments = said

        def reply(values: Mapping[str, Any]) -> None:
            text = json.dumps({"type": "reply", "id": number, **values})
            try:
                self._loop.call_soon_threadsafe(self._reply, browser, text)
            except RuntimeError:
                pass  # the loop has ended, and the browser with it

        self._config.on_command(name, arguments, reply)

    def _reply(self, browser: Browser, text: str) -> None:
        if browser in self.browsers:
            browser.tell(text)


def fault_after(fault: Mapping[str, Any] | None, message: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What is wrong once `message` was told, as the message that says so; None for nothing.

    A page that is loaded again shows whether Django works; only a changed template can mend a template.
    """
    kind = message["type"]
    if kind == "fault":
        return message if "page" not in message else fault
    if kind in ("reload", "mended") or (kind == "template" and fault and fault["fault"]["kind"] == "template"):
        return None
    return fault


def _command(message: str | bytes) -> tuple[str, int, dict[str, Any]] | None:
    """Name, number and arguments of what a browser wants; None for anything that is none of COMMANDS."""
    try:
        said = json.loads(message)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or said.get("type") not in COMMANDS:
        return None
    number = said.get("id")
    if type(number) is not int:
        return None
    if said["type"] == "migrate":
        return "migrate", number, {}
    file, line = said.get("file"), said.get("line")
    if type(file) is not str or type(line) is not int or not file or "\0" in file or line < 0:
        return None
    return "open", number, {"file": file, "line": line}

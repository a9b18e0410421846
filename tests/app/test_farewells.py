"""WebSockets and event streams of `duck serve`, when what serves them is replaced or stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import websockets.sync.client
from websockets.exceptions import ConnectionClosed

from tests.alive import is_alive
from tests.app.conftest import DEADLINE_S, Duck
from tests.load.project import make_project
from tests.waiting import wait_until

Start = Callable[..., Duck]
Run = Callable[..., None]

pytestmark = pytest.mark.timeout(120)

SLACK_S = 20.0  # of a busy machine

OWN = """
import asyncio
from duck.http.response import StreamingHttpResponse
from duck.http.websocket import WebSocketView
from duck.urls import path

class Echo(WebSocketView):
    async def on_receive(self, message):
        await self.send(message)

async def ticks(request):
    async def each():
        while True:
            yield b"data: tick\\n\\n"
            await asyncio.sleep(0.1)
    return StreamingHttpResponse(each(), content_type="text/event-stream")

urlpatterns = [path("/own", Echo), path("/ticks", ticks)]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nobody changes it."""
    return make_project(tmp_path_factory.mktemp("farewells") / "site")


@pytest.fixture
def duckling(site: Path, tmp_path: Path) -> Path:
    """A Duck project whose middleware all requests pass, before that Django project."""
    root = tmp_path / "duckling"
    root.mkdir()
    (root / "main.py").write_text("from duck.app import App\napp = App(addr='127.0.0.1')\n")
    (root / "settings.py").write_text(f"USE_DJANGO = True\nDJANGO_PROJECT = {str(site)!r}\nMIDDLEWARES = ['mid.Mid']\n")
    (root / "mid.py").write_text("from duck.http.middleware import Middleware\nclass Mid(Middleware):\n    pass\n")
    (root / "urls.py").write_text(OWN)
    return root


@pytest.fixture
def serve(start: Start) -> Start:
    def begin(project: Path, *arguments: str, **environ: str) -> Duck:
        user = {"DUCK_USER": "root"} if os.geteuid() == 0 else {}
        given = {"DUCK_SOCKETS_CLOSE_SPREAD": "0", **user, **environ}
        duck = start(project, *arguments, command="serve", **given)
        wait_until(lambda: "is ready after" in duck.text, 60)
        return duck

    return begin


@pytest.fixture
def run(environ: dict[str, str]) -> Run:
    """Run a `duck` command that may take long, to its end."""

    def begin(project: Path, *arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "duck", *arguments], cwd=project, env=environ, timeout=60, check=True)

    return begin


class Socket:
    """A WebSocket of a client, and how it ends."""

    def __init__(self, duck: Duck, path: str = "/ws") -> None:
        url = duck.url.replace("http:", "ws:") + path
        self.connection = websockets.sync.client.connect(url, proxy=None, open_timeout=DEADLINE_S)
        self.ended_at = 0.0
        self._thread = threading.Thread(target=self._wait, daemon=True)

    def ask(self, text: str = "hello") -> str:
        self.connection.send(text)
        return str(self.connection.recv(timeout=DEADLINE_S))

    def pid(self) -> int:
        """The Django process at the other end."""
        return int(json.loads(self.ask())["pid"])

    def watch(self) -> None:
        self._thread.start()

    def _wait(self) -> None:
        try:
            self.connection.recv()
        except ConnectionClosed:
            self.ended_at = time.monotonic()

    def closed_with(self) -> tuple[int, bool]:
        """The code of its Close, and whether that came before the client's; once it has ended."""
        self._thread.join(DEADLINE_S + SLACK_S)
        protocol = self.connection.protocol
        assert self.ended_at and protocol.close_rcvd is not None, "it ended without a Close"
        return protocol.close_rcvd.code, bool(protocol.close_rcvd_then_sent)


class Stream:
    """A streaming answer, read by a thread of its own."""

    def __init__(self, duck: Duck, path: str) -> None:
        self.text = ""
        self.error: Exception | None = None
        self.ended_at = 0.0
        self._url = duck.url + path
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            with httpx.stream("GET", self._url, timeout=60, trust_env=False) as answer:
                for text in answer.iter_text():
                    self.text += text
        except httpx.HTTPError as error:
            self.error = error
        self.ended_at = time.monotonic()

    def join(self) -> None:
        self._thread.join(60)
        assert self.ended_at


def test_a_reload_closes_websockets_over_the_spread_and_their_process_lives_until_then(
    serve: Start, site: Path, run: Run
) -> None:
    duck = serve(site, DUCK_SOCKETS_CLOSE_SPREAD="6", DUCK_SOCKETS_CLOSE_TIMEOUT="15")
    sockets = [Socket(duck) for _ in range(4)]
    (old,) = {socket.pid() for socket in sockets}
    reloading = threading.Thread(target=run, args=(site, "reload"))
    reloading.start()
    sockets[0].watch()
    assert sockets[0].closed_with() == (1001, True)
    # Its turn is in 4.5 s: the process has not been told to stop, which would close all at once.
    assert sockets[3].pid() == old
    for socket in sockets[1:]:
        socket.watch()
    assert [socket.closed_with() for socket in sockets[1:]] == [(1001, True)] * 3
    ends = [socket.ended_at for socket in sockets]
    assert ends == sorted(ends)
    assert ends[3] - ends[0] > 3  # of 4.5: whoever waits here may hear of the first one late
    reloading.join()
    wait_until(lambda: not is_alive(old))
    again = Socket(duck)
    assert again.pid() != old
    again.connection.close()


def test_a_process_that_is_replaced_alone_closes_its_websockets_too(serve: Start, site: Path) -> None:
    duck = serve(site, "--max-requests", "20")
    socket = Socket(duck)
    old = socket.pid()
    others = [Socket(duck) for _ in range(25)]  # each is a request of that process
    for one in (socket, *others):
        one.watch()
    assert {one.closed_with() for one in (socket, *others)} == {(1001, True)}
    wait_until(lambda: not is_alive(old))


def test_a_reload_and_a_stop_give_each_kind_its_own_time(serve: Start, site: Path, run: Run) -> None:
    duck = serve(site, DUCK_SHUTDOWN_TIMEOUT="1", DUCK_STREAMS_CLOSE_TIMEOUT="4", DUCK_SOCKETS_CLOSE_TIMEOUT="6")
    a_reload_ends_event_streams_in_order_at_a_deadline_of_their_own(duck, site, run)
    a_stop_gives_each_kind_its_own_time(duck)


def a_reload_ends_event_streams_in_order_at_a_deadline_of_their_own(duck: Duck, site: Path, run: Run) -> None:
    old = duck.get("/pid").json()["pid"]
    endless = Stream(duck, "/events?n=10000&every=0.1")
    short = Stream(duck, "/events?n=40&every=0.1")
    wait_until(lambda: endless.text and short.text)
    run(site, "reload")
    begun = time.monotonic()
    assert duck.get("/pid").json()["pid"] != old
    short.join()
    assert short.error is None and short.text.count("data: ") == 40
    endless.join()
    assert endless.error is None and f" {old}\n\n" in endless.text
    assert endless.ended_at - begun > 1.5
    wait_until(lambda: not is_alive(old))


def a_stop_gives_each_kind_its_own_time(duck: Duck) -> None:
    socket, stream, waiting = Socket(duck), Stream(duck, "/events?n=10000&every=0.1"), Stream(duck, "/sleep?s=60")
    assert socket.pid()
    wait_until(lambda: stream.text)
    begun = time.monotonic()
    duck.signal(signal.SIGTERM)
    socket.watch()
    assert socket.closed_with() == (1001, True)
    waiting.join()
    assert waiting.error is not None  # it had no answer yet
    stream.join()
    assert stream.error is None
    assert waiting.ended_at < stream.ended_at
    assert 1.5 < stream.ended_at - begun
    assert duck.wait() == 128 + signal.SIGTERM


def test_ducks_own_websockets_and_those_behind_its_middleware_get_a_close(
    serve: Start, duckling: Path, run: Run
) -> None:
    """Where Django is replaced only the latter; where Duck is, or ends, both."""
    duck = serve(duckling, DUCK_STREAMS_CLOSE_TIMEOUT="2", DUCK_SHUTDOWN_TIMEOUT="2")
    for how in ("reload", "reload --self", "stop"):
        farewell(duck, duckling, run, how)


def farewell(duck: Duck, duckling: Path, run: Run, how: str) -> None:
    own, behind = Socket(duck, "/own"), Socket(duck, "/ws")
    assert own.ask() == "hello"
    assert behind.pid()
    ticks, events = Stream(duck, "/ticks"), Stream(duck, "/events?n=10000&every=0.1")
    wait_until(lambda: ticks.text and events.text)
    own.watch()
    behind.watch()
    if how == "stop":
        duck.signal(signal.SIGTERM)
    else:
        run(duckling, *how.split())
    assert behind.closed_with() == (1001, True)
    events.join()
    assert events.error is None
    if how == "reload":
        # Django's alone was replaced.
        assert not own.ended_at and not ticks.ended_at
        own.connection.close()
        return
    assert own.closed_with() == (1001, True)
    ticks.join()
    assert ticks.error is None and ticks.text.endswith("data: tick\n\n")
    if how == "stop":
        assert duck.wait() == 128 + signal.SIGTERM

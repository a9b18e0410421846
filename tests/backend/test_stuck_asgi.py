"""Views of an ASGI process that do not answer: found, told of with where they stand, and their process replaced."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from duck.services.inbox import Inbox
from tests.alive import is_alive
from tests.backend.test_process import Recorder

if TYPE_CHECKING:
    from duck.proxy.upstream import Upstream
    from tests.backend.conftest import MakeProject

VIEWS = """
import asyncio, os, time
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

async def forever():
    await asyncio.Event().wait()

async def waits(request):
    await forever()

async def gathers(request):
    await asyncio.gather(forever(), asyncio.sleep(0))

async def blocks(request):
    time.sleep(60)

def sleeps(request):
    time.sleep(60)

async def naps(request):
    await asyncio.sleep(float(request.GET["s"]))
    return HttpResponse("rested")

async def takes(request):
    return HttpResponse(str(len(request.body)))

async def streams(request):
    async def chunks():
        yield b"first"
        await asyncio.sleep(float(request.GET["s"]))
        yield b"last"
    return StreamingHttpResponse(chunks())

takes.csrf_exempt = True
urlpatterns = [path(view.__name__, view) for view in (waits, gathers, blocks, sleeps, naps, takes, streams)]
"""
SETTINGS = """
ALLOWED_HOSTS = ["*"]
WSGI_APPLICATION = None
ASGI_APPLICATION = "mysite.asgi.application"
"""
SITE_PACKAGES = str(Path(psutil.__file__).parents[1])
TIMEOUT_S = 20.0


class Asgi(Recorder):
    """A backend whose views are served by one ASGI process, and the connections to it."""

    def __init__(self, stack: ExitStack, *args: Any, **options: Any) -> None:
        super().__init__(*args, bundle=SITE_PACKAGES, mode="serve", heartbeat_s=0.1, **options)
        self._stack = stack

    @property
    def page(self) -> Upstream:
        return self.generations[-1].pages[0]

    def send(self, target: str, *fields: str, body: bytes = b"", method: str = "GET") -> socket.socket:
        connection = self._stack.enter_context(socket.socket(socket.AF_UNIX))
        connection.settimeout(TIMEOUT_S)
        connection.connect(self.page.address)
        identity = f"{self.page.identity_field}: {self.page.secret} http 127.0.0.1 4000 localhost 80"
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", identity, *fields, "", ""]
        connection.sendall("\r\n".join(lines).encode() + body)
        return connection


def rest(connection: socket.socket) -> bytes:
    data = b""
    while piece := connection.recv(65_536):
        data += piece
    return data


@pytest.fixture
def make_asgi(make_project: MakeProject, run_directory: Path) -> Iterator[Callable[..., Asgi]]:
    inbox = Inbox()
    made: list[Asgi] = []
    with ExitStack() as stack:

        def make(**options: Any) -> Asgi:
            project = make_project(urls=VIEWS, settings=SETTINGS)
            made.append(
                Asgi(stack, inbox, project, run_directory, allow_unapplied_migrations=True, **options),
            )
            assert made[-1].start().pages[0].protocol == "http"
            return made[-1]

        yield make
    for asgi in made:
        if not asgi.stopped:
            asgi.backend.kill()
            asgi.stop(0)
    inbox.close()


@pytest.mark.parametrize(
    ("view", "places"),
    [("waits", ("in waits", "in forever")), ("gathers", ("in gathers", "in forever")), ("sleeps", ("in sleeps",))],
)
def test_a_stuck_view_costs_its_process_and_nobody_else_anything(
    make_asgi: Callable[..., Asgi], caplog: pytest.LogCaptureFixture, view: str, places: tuple[str, ...]
) -> None:
    asgi = make_asgi(view_deadline_s=1.0, stop_deadline_s=4.0)
    first = asgi.pids()
    stuck = asgi.send(f"/{view}?secret=1")
    asgi.until(lambda: "VIEW_TIMEOUT" in caplog.text)
    other = asgi.send("/streams?s=2", "Connection: close")
    asgi.until(lambda: len(asgi.generations) == 2)
    asgi.backend.acknowledged(2)
    assert f"GET /{view} for" in caplog.text
    assert "secret" not in caplog.text
    for place in places:
        assert place in caplog.text
    # The others of the process finish, the stuck one is cut.
    asgi.until(lambda: not set(first) & set(asgi.pids()))
    assert b"last" in rest(other)
    assert b"200 OK" not in rest(stuck)
    assert caplog.text.count("VIEW_TIMEOUT") == 1
    assert b"rested" in rest(asgi.send("/naps?s=0", "Connection: close"))


def test_a_blocked_loop_is_told_of_and_its_process_replaced(
    make_asgi: Callable[..., Asgi], caplog: pytest.LogCaptureFixture
) -> None:
    asgi = make_asgi(heartbeat_timeout_s=1.0, view_deadline_s=0.5)
    (blocked,) = asgi.pids()
    asgi.send("/blocks")
    asgi.until(lambda: len(asgi.generations) == 2)
    assert f"The Django process {blocked} (pages) has not answered for 1 s" in caplog.text
    assert "in blocks" in caplog.text
    asgi.until(lambda: not is_alive(blocked))
    assert b"rested" in rest(asgi.send("/naps?s=0", "Connection: close"))


def test_who_has_been_sent_something_or_sends_slowly_is_not_stuck(
    make_asgi: Callable[..., Asgi], caplog: pytest.LogCaptureFixture
) -> None:
    asgi = make_asgi(view_deadline_s=0.5)
    streamed = asgi.send("/streams?s=2", "Connection: close")
    slow = asgi.send("/takes", "Connection: close", "Content-Length: 10", body=b"12345", method="POST")
    end = time.monotonic() + 2
    asgi.until(lambda: time.monotonic() > end)
    slow.sendall(b"67890")
    assert rest(slow).endswith(b"10")
    assert b"last" in rest(streamed)
    assert "VIEW_TIMEOUT" not in caplog.text
    assert len(asgi.generations) == 1


def test_it_tells_how_old_its_oldest_request_without_an_answer_is(make_asgi: Callable[..., Asgi]) -> None:
    asgi = make_asgi()

    def entry() -> dict[str, Any]:
        told: dict[str, Any] = asgi.backend.snapshot()["processes"][0]
        return told

    napping = asgi.send("/naps?s=1.5", "Connection: close")
    asgi.until(lambda: entry().get("busy") == 1 and entry()["oldest_view_s"] > 0.2)
    assert b"rested" in rest(napping)
    asgi.until(lambda: entry()["busy"] == 0 and entry()["oldest_view_s"] == 0)

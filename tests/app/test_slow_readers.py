"""Clients that read slowly, before a real project with few threads."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.app.conftest import DEADLINE_S, Duck
from tests.waiting import wait_until

LENGTH = 10_000_000

URLS = f"""
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

PIECE = bytes(range(250)) * 40

urlpatterns = [
    path("", lambda request: HttpResponse("quick")),
    path("whole", lambda request: HttpResponse(PIECE * {LENGTH // 10_000})),
    path("stream", lambda request: StreamingHttpResponse(PIECE for _ in range({LENGTH // 10_000}))),
]
"""


def slow_reader(duck: Duck, path: str) -> socket.socket:
    """A client that has asked for `path` and reads nothing yet."""
    host, _, port = duck.url.partition("//")[2].partition(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    client.settimeout(DEADLINE_S)
    client.connect((host, int(port)))
    client.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
    return client


def body_of(client: socket.socket) -> bytes:
    data = bytearray()
    while piece := client.recv(1 << 20):
        data += piece
    return bytes(data).partition(b"\r\n\r\n")[2]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="the files of a process are counted in /proc")
@pytest.mark.parametrize("path", ["/whole", "/stream"])
def test_pages_are_answered_while_others_read_slowly(
    start: Callable[..., Duck], project: Path, tmp_path: Path, path: str
) -> None:
    (project / "site1" / "urls.py").write_text(URLS)
    spool = tmp_path / "spool"
    spool.mkdir()
    duck = start(project, "--django-threads", "2", DUCK_SPOOL_DIR=str(spool))
    duck.wait_for("is ready after")

    def spooled() -> list[int]:
        """Lengths of what the front has in files without a name."""
        lengths = []
        for name in os.listdir(f"/proc/{duck.pid}/fd"):
            link = f"/proc/{duck.pid}/fd/{name}"
            try:
                if os.readlink(link).startswith(str(spool)) and not os.path.isdir(link):
                    lengths.append(os.stat(link).st_size)
            except FileNotFoundError:
                continue
        return lengths

    slow = [slow_reader(duck, path) for _ in range(8)]
    try:
        assert duck.get().text == "quick"
        wait_until(lambda: len(spooled()) == 8)
        assert not [name for _, _, names in os.walk(spool) for name in names]
        for client in slow[:6]:
            body = body_of(client)
            assert len(body) == LENGTH and body == bytes(range(250)) * (LENGTH // 250)
        wait_until(lambda: len(spooled()) == 2)
    finally:
        for client in slow:
            client.close()
    wait_until(lambda: not spooled())
    assert duck.get().text == "quick"

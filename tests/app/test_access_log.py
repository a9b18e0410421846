"""The access log of a whole Duck in front of a real Django project."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.app.conftest import DEADLINE_S, Duck
from tests.waiting import wait_until

URLS = """
from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("", lambda request: HttpResponse(request.META["HTTP_X_REQUEST_ID"]))]
"""


@pytest.fixture
def told_project(project: Path) -> Path:
    """A project whose view answers with the request's id."""
    (project / "site1" / "urls.py").write_text(URLS)
    return project


def told(duck: Duck) -> list[dict[str, Any]]:
    """The requests in a JSON access log."""
    lines = [line for line in duck.text.splitlines() if line.startswith('{"time"')]
    return [line for line in map(json.loads, lines) if "target" in line]


def test_django_and_the_log_say_the_same_id_and_no_line_is_lost_at_the_end(
    start: Callable[..., Duck], told_project: Path
) -> None:
    duck = start(told_project, "--access-log", "json")
    ids = [duck.get(f"/?{number}", headers={"X-Request-ID": "mine"}).text for number in range(3)]
    with socket.create_connection(("127.0.0.1", int(duck.url.rpartition(":")[2])), DEADLINE_S) as client:
        client.sendall(b"GET /none HTTP/1.1\r\nHost : x\r\n\r\n")
        while client.recv(65_536):
            pass
    duck.signal(signal.SIGTERM)
    duck.wait()
    *lines, unread = told(duck)
    assert (unread["target"], unread["status"], unread["backend"]) == ("/none", 400, "") and unread["error"]
    assert [(line["id"], line["target"], line["status"]) for line in lines] == [
        (one, f"/?{number}", 200) for number, one in enumerate(ids)
    ]
    assert "mine" not in ids
    assert all(line["duration_ms"] >= line["upstream_ms"] > 0 for line in lines)


QUERIES = """
from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

def ask():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "1"

def page(request):
    return HttpResponse(ask() + ask())

def stream(request):
    return StreamingHttpResponse(ask() for _ in range(3))

urlpatterns = [path("page", page), path("stream", stream)]
"""


def test_queries_are_told_where_django_counts_them(start: Callable[..., Duck], own_whole_project: Path) -> None:
    project = own_whole_project  # its admin has static files
    (project / "site1" / "urls.py").write_text(QUERIES)
    duck = start(project, "--access-log", "json", "--no-reload")
    assert [duck.get(path).text for path in ("/page", "/stream", "/static/admin/css/base.css")][:2] == ["11", "111"]
    wait_until(lambda: len(told(duck)) == 3)
    page, stream, file = told(duck)
    assert (page["queries"], stream["queries"]) == (2, 3)
    assert 0 < page["database_ms"] < page["django_ms"] < page["duration_ms"]
    assert page["template_ms"] == 0
    assert "queries" not in file


@pytest.fixture
def broken_output() -> Iterator[int]:
    """A pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def test_requests_are_answered_where_nothing_can_be_logged(
    told_project: Path, environ: dict[str, str], run_dir: Path, broken_output: int
) -> None:
    path = run_dir / "site.sock"
    command = [sys.executable, "-m", "duck", "runserver", "--listen", f"unix:{path}", "--access-log", "text"]
    duck = subprocess.Popen(
        command, cwd=told_project, env=environ, stdin=subprocess.DEVNULL, stdout=broken_output, stderr=broken_output
    )
    try:
        wait_until(lambda: path.exists() or duck.poll() is not None)
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=DEADLINE_S) as client:
            assert [client.get("http://localhost/").status_code for _ in range(60)] == [200] * 60
        duck.send_signal(signal.SIGTERM)
        assert duck.wait(DEADLINE_S) in (0, 128 + signal.SIGTERM)
    finally:
        if duck.poll() is None:
            duck.kill()
            duck.wait(DEADLINE_S)

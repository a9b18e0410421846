"""A page that is streamed by each ASGI server: with its client before its end, held back by nobody, and measured."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.app.conftest import DEADLINE_S
from tests.backend.conftest import start_project
from tests.backend.test_worker_asgi import SERVERS
from tests.environments import environment

if TYPE_CHECKING:
    from tests.app.conftest import Duck

pytestmark = pytest.mark.timeout(180)  # the first time an environment is made

# Not Django's own handler, so that pages come from the ASGI server.
ASGI = """
import os
from django.core.asgi import get_asgi_application
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
django = get_asgi_application()
async def application(scope, receive, send):
    await django(scope, receive, send)
"""
URLS = """
import asyncio, os
from django.db import connection
from django.http import StreamingHttpResponse
from django.urls import path

def query():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")

async def stream(request):
    from asgiref.sync import sync_to_async
    await sync_to_async(query)()
    async def parts():
        yield "<!doctype html><html><head><title>Stream</title>"
        while not os.path.exists(request.GET["until"]):
            await asyncio.sleep(0.01)
        await sync_to_async(query)()
        yield "</head><body><p>the end</p></body></html>"
    return StreamingHttpResponse(parts())

urlpatterns = [path("stream", stream)]
"""


@pytest.mark.parametrize(("name", "requirements"), SERVERS, ids=[name for name, _ in SERVERS])
def test_a_streamed_page_has_its_client_before_its_end_and_is_measured(
    start: Callable[..., Duck],
    ask_here: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    name: str,
    requirements: tuple[str, ...],
) -> None:
    python = environment("3.11", requirements)
    (tmp_path / "project").mkdir()
    project = start_project(python, tmp_path / "project")
    (project / "mysite" / "asgi.py").write_text(ASGI)
    (project / "mysite" / "urls.py").write_text(URLS)
    with (project / "mysite" / "settings.py").open("a") as settings:
        settings.write("\nASGI_APPLICATION = 'mysite.asgi.application'\n")
    duck = start(project, "--no-reload", DUCK_PYTHON=python)
    assert f"WebSockets by {name}" in duck.wait_for("is ready after")
    until = tmp_path / "until"
    address = f"{duck.url.replace('127.0.0.1', 'localhost')}/stream"
    headers = {"Sec-Fetch-Dest": "document", "Accept": "text/html"}
    with (
        httpx.Client(timeout=DEADLINE_S, trust_env=False) as client,
        client.stream("GET", address, params={"until": str(until)}, headers=headers) as answer,
    ):
        assert answer.status_code == 200
        parts = answer.iter_text()
        begun = ""
        while "<title>Stream</title>" not in begun:
            begun += next(parts)
        # The end is not there yet: it waits for the file.
        assert not until.exists() and "the end" not in begun
        assert "/.duck/client.js" in begun.partition("<title>")[0]
        until.touch()
        rest = begun + "".join(parts)
    assert rest.endswith("<p>the end</p></body></html>")  # and nothing of what is told at the end of a stream
    told = json.loads(ask_here(project, "requests", "--json").stdout)
    stream = next(one for one in told["requests"] if one["target"].startswith("/stream"))
    assert (stream["state"], stream["status"], stream["queries"]) == ("done", 200, 2)
    timing = json.loads(ask_here(project, "requests", str(stream["id"]), "--json").stdout)["timing"]
    assert timing["database_ms"] > 0 and timing["django_ms"] > 0
    total = timing.pop("total_ms")
    assert sum(timing.values()) == pytest.approx(total, abs=0.01)

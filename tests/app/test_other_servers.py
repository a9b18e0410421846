"""Django under a server that Duck did not start: what reaches a view."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.app.conftest import DEADLINE_S, Duck
from tests.waiting import wait_until

URLS = """
import hashlib
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

@csrf_exempt
def digest(request):
    return HttpResponse(f"{request.META.get('CONTENT_LENGTH')} {hashlib.sha256(request.body).hexdigest()}")

urlpatterns = [path("digest", digest)]
"""


@pytest.fixture
def gunicorn(project: Path) -> Iterator[str]:
    """The address of gunicorn with the project."""
    pytest.importorskip("gunicorn")
    (project / "site1" / "urls.py").write_text(URLS)
    settings = project / "site1" / "settings.py"
    settings.write_text(settings.read_text() + "\nDATA_UPLOAD_MAX_MEMORY_SIZE = None\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "gunicorn", "-k", "gthread", "--bind", address, "site1.wsgi:application"]
    environ = {key: value for key, value in os.environ.items() if not key.startswith("DJANGO_")}
    process = subprocess.Popen(command, cwd=project, env=environ, stderr=subprocess.DEVNULL)
    try:
        yield address
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_a_body_in_chunks_reaches_a_view_behind_gunicorn(
    start: Callable[..., Duck], project: Path, gunicorn: str, size: int
) -> None:
    duck = start(project, DUCK_DJANGO_ADDR=gunicorn)
    body = os.urandom(size)
    expected = f"{size} {hashlib.sha256(body).hexdigest()}"
    seen: list[str] = []

    def post() -> bool:
        pieces = (body[at : at + 65_536] for at in range(0, size, 65_536))
        answer = httpx.post(duck.url + "/digest", content=pieces, timeout=DEADLINE_S, trust_env=False)
        assert "content-length" not in answer.request.headers
        seen.append(answer.text)
        return answer.status_code == 200  # gunicorn may still be starting

    wait_until(post)
    assert seen[-1] == expected

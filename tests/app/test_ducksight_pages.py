"""DuckSight in the pages of a real project: in development, in DEBUG, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from tests.app.conftest import Duck

URLS = """
from django.contrib import admin
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

PAGE = "<!doctype html><html><head><title>x</title></head><body>page</body></html>"

def broken(request):
    raise ValueError("on purpose")

urlpatterns = [
    path("", lambda request: HttpResponse(PAGE)),
    path("part", lambda request: HttpResponse("<p>part</p>")),
    path("stream", lambda request: StreamingHttpResponse(iter(PAGE))),
    path("json", lambda request: HttpResponse("{}", content_type="application/json")),
    path("broken", broken),
    path("admin/", admin.site.urls),
]
"""
PATHS = (
    *("/", "/part", "/stream", "/json", "/broken", "/missing", "/admin/login/", "/static/admin/css/base.css"),
    *("/.duck/", "/.duck/ready", "/.duck/client.js", "/.duck/socket", "/.duck/requests", "/.duck/other"),
)
BROWSER = {"Sec-Fetch-Dest": "document", "Accept": "text/html", "Accept-Encoding": "gzip"}


@pytest.fixture
def project(own_whole_project: Path) -> Path:
    """With the admin, and its static files."""
    return own_whole_project


def answers(duck: Duck, port: str, **more: Any) -> Iterator[httpx.Response]:
    with httpx.Client(base_url=f"http://localhost:{port}", trust_env=False, timeout=20, **more) as client:
        for path in PATHS:
            for method in ("GET", "HEAD", "POST"):
                for headers in (BROWSER, {}):
                    yield client.request(method, path, headers=headers)


def everything(answer: httpx.Response) -> str:
    return f"{answer.status_code} {answer.headers} {answer.text}".lower()


def test_with_debug_off_or_in_production_no_answer_has_anything_of_it(
    project: Path,
    start: Callable[..., Duck],
) -> None:
    (project / "site1" / "urls.py").write_text(URLS)
    with (project / "site1" / "settings.py").open("a") as settings:
        settings.write("\nDEBUG = False\nALLOWED_HOSTS = ['*']\n")
    for command in ("runserver", "serve"):
        duck = start(project, command=command, DUCK_ALLOW_UNAPPLIED_MIGRATIONS="yes", DUCK_USER="root")
        duck.wait_for("is ready after")
        seen = list(answers(duck, duck.url.rpartition(":")[2]))
        assert {answer.status_code for answer in seen} >= {200, 404, 500}
        for answer in seen:
            assert "/.duck" not in everything(answer).replace(str(answer.request.url.path), ""), answer.url
            assert "duck-sight" not in everything(answer) and "ducksight" not in everything(answer), answer.url
        duck.close()


def test_in_debug_pages_have_the_client_and_nothing_else_has(
    project: Path,
    start: Callable[..., Duck],
) -> None:
    (project / "site1" / "urls.py").write_text(URLS)
    duck = start(project)
    duck.wait_for("is ready after")
    port = duck.url.rpartition(":")[2]
    with_it = {
        (answer.request.method, answer.request.url.path)
        for answer in answers(duck, port)
        if "duck-sight" in everything(answer)
    }
    pages = ("/", "/part", "/stream", "/broken", "/missing", "/admin/login/")
    assert with_it == {("GET", path) for path in pages}
    tag = re.search(r'<script async src="(/\.duck/client\.js\?[^"]+)"', duck.get("/", headers=BROWSER).text)
    assert tag is not None
    address = f"http://localhost:{port}{tag[1].replace('&amp;', '&')}"
    client = httpx.get(address, trust_env=False, timeout=60)
    assert client.status_code == 200 and "Idiomorph" in client.text
    for headers in ({"Host": "rebound.example"}, {"Origin": "http://evil.example"}, {"X-Forwarded-For": "1.2.3.4"}):
        assert httpx.get(address, trust_env=False, headers=headers, timeout=60).status_code == 404
    assert httpx.get(re.sub(r"token=[^&]+", "token=x", address), trust_env=False, timeout=60).status_code == 404
    assert "client.js" not in duck.text  # the log does not tell of it, and so of no token


@pytest.mark.parametrize("arguments", [["--no-ducksight"]])
def test_it_can_be_left_out(
    project: Path,
    start: Callable[..., Duck],
    arguments: list[str],
) -> None:
    (project / "site1" / "urls.py").write_text(URLS)
    duck = start(project, *arguments)
    duck.wait_for("is ready after")
    assert "duck-sight" not in duck.get("/", headers=BROWSER).text

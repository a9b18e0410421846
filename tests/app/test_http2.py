"""HTTP/2 in front of a real Django project: what Django sees, and how it is switched off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.certificates import Authority

if TYPE_CHECKING:
    from tests.app.conftest import Duck

URLS = """
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.urls import path
from django.views.decorators.csrf import csrf_protect

def seen(request):
    return JsonResponse({
        "protocol": request.META["SERVER_PROTOCOL"], "secure": request.is_secure(), "cookies": request.COOKIES,
        "uri": request.build_absolute_uri(), "names": sorted(name for name in request.META if name.startswith("HTTP_")),
    })

def length(request):
    return JsonResponse({"length": request.META.get("CONTENT_LENGTH"), "body": len(request.body)})

@csrf_protect
def form(request):
    if request.method == "POST":
        return HttpResponse(request.POST["name"] + str(len(request.FILES["file"].read())))
    return HttpResponse(get_token(request))

def pieces(request):
    return StreamingHttpResponse(b"%d " % number * 1000 for number in range(100))

urlpatterns = [path("", seen), path("length", length), path("form", form), path("pieces", pieces)]
"""
CSRF = "MIDDLEWARE = [one for one in MIDDLEWARE if not one.endswith('CsrfViewMiddleware')]\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
def secure(project: Path, authority: Authority, start: Callable[..., Duck]) -> Callable[..., Duck]:
    (project / "site1" / "urls.py").write_text(URLS)
    with (project / "site1" / "settings.py").open("a") as settings:
        settings.write(CSRF)
    chain, key = authority.issue("localhost", "127.0.0.1")

    def begin(*arguments: str) -> Duck:
        return start(project, "--https", "--certfile", chain, "--keyfile", key, "--access-log", "text", *arguments)

    return begin


@pytest.fixture
def clients(authority: Authority) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """One that offers HTTP/2, and one that does not."""
    more = {"verify": authority.client(), "timeout": 20, "trust_env": False}
    with httpx.Client(http2=True, **more) as two, httpx.Client(**more) as one:  # type: ignore[arg-type]
        yield two, one


def test_django_is_asked_the_same(secure: Callable[..., Duck], clients: tuple[httpx.Client, httpx.Client]) -> None:
    duck = secure()
    two, one = clients
    for client in clients:
        client.cookies.update({"a": "1", "b": "2"})
    answers = [client.get(duck.url + "/?a=b") for client in clients]
    assert [answer.http_version for answer in answers] == ["HTTP/2", "HTTP/1.1"]
    first, second = (answer.json() for answer in answers)
    assert (first.pop("protocol"), second.pop("protocol")) == ("HTTP/2.0", "HTTP/1.1")
    assert first == second and first["secure"] and first["cookies"] == {"a": "1", "b": "2"}
    for client in clients:
        token = client.get(duck.url + "/form").text
        files = {"file": b"x" * 300_000}
        said = client.post(
            duck.url + "/form",
            data={"name": "n", "csrfmiddlewaretoken": token},
            files=files,
            headers={"referer": duck.url},
        )
        assert said.text == "n300000", said.text
        counted = client.post(duck.url + "/length", content=iter([b"x" * 1000] * 5)).json()
        assert counted == {"length": "5000", "body": 5000}
    assert two.get(duck.url + "/pieces").content == one.get(duck.url + "/pieces").content
    duck.wait_for("GET /?a=b HTTP/2 200")
    duck.wait_for("GET /?a=b HTTP/1.1 200")


def test_a_hundred_requests_at_once(secure: Callable[..., Duck], authority: Authority) -> None:
    duck = secure()
    uris = [f"{duck.url}/?n={number}" for number in range(100)]

    async def ask() -> list[str]:
        async with httpx.AsyncClient(http2=True, verify=authority.client(), timeout=30, trust_env=False) as client:
            answers = await asyncio.gather(*map(client.get, uris))
        assert {answer.http_version for answer in answers} == {"HTTP/2"}
        return [answer.json()["uri"] for answer in answers]

    assert asyncio.run(ask()) == uris


def test_it_can_be_switched_off(secure: Callable[..., Duck], clients: tuple[httpx.Client, httpx.Client]) -> None:
    duck = secure("--no-http2")
    assert clients[0].get(duck.url).http_version == "HTTP/1.1"


def test_a_platform_that_ends_tls_may_speak_it(project: Path, start: Callable[..., Duck]) -> None:
    duck = start(project)
    with httpx.Client(http1=False, http2=True, trust_env=False, timeout=60) as client:
        answer = client.get(duck.url)
    assert answer.http_version == "HTTP/2" and answer.text == "one"
    duck = start(project, "--no-http2", "--name", "other")
    with (
        httpx.Client(http1=False, http2=True, trust_env=False, timeout=60) as client,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        client.get(duck.url)

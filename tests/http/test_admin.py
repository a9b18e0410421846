"""What operators and balancers ask, over real sockets."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from duck.http import question
from duck.http.admin import Admin
from duck.net.limits import Limits
from duck.net.worker import Worker


class Owner:
    """The App, as the admin asks it."""

    def __init__(self) -> None:
        self.reason = ""
        self.metrics: Callable[[Callable[[bytes], None]], None] = lambda reply: reply(b"duck_up 1\n")
        self.status: Callable[[Callable[[dict[str, Any]], None]], None] = lambda reply: reply({"state": "running"})


class Site:
    """An admin's worker, and how to ask it."""

    def __init__(self, owner: Owner) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self.worker = Worker(
            "admin",
            [self._listener],
            lambda loop, clock: Admin(
                loop,
                not_ready=lambda: owner.reason,
                metrics=lambda reply: owner.metrics(reply),
                status=lambda reply: owner.status(reply),
            ),
            Limits(),
        )
        self.worker.start()

    def ask(self, path: str, method: str = "GET") -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection(self.address[0], self.address[1], timeout=10)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def close(self) -> None:
        self.worker.stop()
        self._listener.close()


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def site(owner: Owner) -> Iterator[Site]:
    site = Site(owner)
    yield site
    site.close()


def test_a_process_that_serves_is_alive_even_where_it_is_not_ready(site: Site, owner: Owner) -> None:
    owner.reason = "Django is starting"
    status, fields, body = site.ask("/livez")
    assert (status, body) == (200, b"alive\n")
    assert fields["Content-Type"].startswith("text/plain")
    assert fields["Cache-Control"] == "no-store"


def test_readiness_says_why_not(site: Site, owner: Owner) -> None:
    assert site.ask("/readyz")[::2] == (200, b"ready\n")
    owner.reason = "Duck is draining"
    assert site.ask("/readyz")[::2] == (503, b"not ready: Duck is draining\n")


def test_metrics_are_the_text_that_the_owner_tells(site: Site) -> None:
    status, fields, body = site.ask("/metrics")
    assert (status, body) == (200, b"duck_up 1\n")
    assert fields["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_status_is_json(site: Site) -> None:
    status, fields, body = site.ask("/status?pretty")
    assert (status, json.loads(body)) == (200, {"state": "running"})
    assert fields["Content-Type"] == "application/json"


def test_the_owner_may_answer_later_and_from_another_thread(site: Site, owner: Owner) -> None:
    def later(reply: Callable[[bytes], None]) -> None:
        def tell() -> None:
            reply(b"late\n")
            reply(b"again\n")

        threading.Thread(target=tell).start()

    owner.metrics = later
    assert site.ask("/metrics")[::2] == (200, b"late\n")
    assert site.ask("/livez")[0] == 200


def test_an_owner_that_does_not_answer_is_not_waited_for(
    site: Site, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(question, "ANSWER_S", 0.05)
    owner.status = lambda reply: None
    assert site.ask("/status")[0] == 503
    assert site.ask("/readyz")[0] == 200


def test_an_owner_that_fails_costs_its_own_answer_only(
    site: Site, owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(reply: Callable[[bytes], None]) -> None:
        raise KeyError("secret")

    owner.metrics = fail
    status, _, body = site.ask("/metrics")
    assert status == 503
    assert b"secret" not in body
    assert "cannot be told" in caplog.text
    assert site.ask("/livez")[0] == 200


def test_a_client_that_leaves_while_the_owner_thinks_leaves_nothing(site: Site, owner: Owner) -> None:
    asked: list[Callable[[bytes], None]] = []
    came = threading.Event()

    def keep(reply: Callable[[bytes], None]) -> None:
        asked.append(reply)
        came.set()

    owner.metrics = keep
    with socket.create_connection(site.address) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert came.wait(10)
    owner.metrics = lambda reply: reply(b"ok\n")
    asked[0](b"nobody\n")
    assert site.ask("/metrics")[::2] == (200, b"ok\n")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/METRICS", "/livez/x", "/%6Civez", "//livez"])
def test_there_is_nothing_else(site: Site, path: str) -> None:
    assert site.ask(path)[0] == 404


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz", "/status"])
def test_only_get_and_head_are_answered(site: Site, path: str) -> None:
    for method in ("POST", "DELETE", "OPTIONS"):
        status, fields, _ = site.ask(path, method)
        assert (status, fields["Allow"]) == (405, "GET, HEAD")
    status, fields, body = site.ask(path, "HEAD")
    assert (status, body) == (200, b"")
    assert fields["Content-Length"] == str(len(site.ask(path)[2]))

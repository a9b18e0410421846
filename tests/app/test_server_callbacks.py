"""Callbacks by path on a server, over real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from duck.app.microapp import MicroApp
from duck.http.core.httpd.message import MAX_BODY_BYTES, PathCallbacks, ServerMessage

Answer = Callable[..., None]


def say(text: str) -> Answer:
    def callback(server: Any, message: ServerMessage, path: str, query: Any, user_data: Any) -> None:
        message.set_status(200)
        message.set_response("text/plain", f"{text} {path} {query} {user_data}".encode())

    return callback


@pytest.fixture
def app() -> Iterator[MicroApp]:
    app = MicroApp("127.0.0.1", 0)
    app.server.add_handler("/said", say("said"), 7)
    yield app
    app.stop()


def ask(app: MicroApp, method: str, path: str, **more: Any) -> httpx.Response:
    return httpx.request(method, app.build_absolute_uri(path), timeout=10, trust_env=False, **more)


def test_the_nearest_path_counts_and_what_has_none_is_the_applications(app: MicroApp) -> None:
    app.server.add_handler("/said/deep", say("deep"))
    app.run()
    assert ask(app, "GET", "/said").text == "said /said None 7"
    assert ask(app, "GET", "/said/x?a=1&a=2&b").text == "said /said/x {'a': '2', 'b': ''} 7"
    assert ask(app, "GET", "/said/deep/er").text == "deep /said/deep/er None None"
    assert ask(app, "GET", "/saidnot").status_code == 404
    app.server.remove_handler("/said/deep")
    assert ask(app, "GET", "/said/deep").text.startswith("said")


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/a", "/a"), ("/a/", "/a"), ("/a/b/c", "/a/b"), ("/ab", None), ("/", None), ("*", None)],
)
def test_paths_are_matched_by_whole_segments(path: str, expected: str | None) -> None:
    callbacks = PathCallbacks(None)  # type: ignore[arg-type]
    callbacks.add("/a", say(""), None, early=False)
    callbacks.add("/a/b/", say(""), None, early=True)
    assert callbacks.find(path) == expected
    callbacks.add("/", say(""), None, early=False)
    assert callbacks.find(path) == (expected if expected is not None or path == "*" else "")


def test_the_body_is_complete_and_the_answer_has_the_fields_that_were_set(app: MicroApp) -> None:
    def echo(server: Any, message: ServerMessage, path: str, query: Any, user_data: Any) -> None:
        message.set_status(201)
        message.response_headers["X-Method"] = message.method
        message.response_headers["X-Agent"] = message.request_headers["User-Agent"]
        message.set_response("application/octet-stream", message.request_body)

    app.server.add_handler("/echo", echo)
    app.run()
    body = bytes(range(256)) * 4096
    answer = ask(app, "POST", "/echo", content=body, headers={"User-Agent": "tester"})
    assert (answer.status_code, answer.content) == (201, body)
    assert (answer.headers["x-method"], answer.headers["x-agent"]) == ("POST", "tester")
    assert ask(app, "POST", "/echo", content=iter([b"ab", b"cd"])).content == b"abcd"
    assert ask(app, "HEAD", "/echo").headers["content-length"] == "0"


def test_an_early_callback_refuses_before_the_body_is_sent(app: MicroApp) -> None:
    def refuse(server: Any, message: ServerMessage, path: str, query: Any, user_data: Any) -> None:
        if message.method == "PUT":
            message.set_status(403)

    app.server.add_early_handler("/said", refuse)
    app.run()
    with socket.create_connection(("127.0.0.1", app.port), timeout=10) as client:
        client.sendall(b"PUT /said HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 403")
    assert ask(app, "POST", "/said").status_code == 200


def test_a_paused_message_is_answered_by_another_thread(app: MicroApp) -> None:
    def later(server: Any, message: ServerMessage, path: str, query: Any, user_data: Any) -> None:
        message.pause()

        def finish() -> None:
            message.set_redirect(307, "/elsewhere")
            message.unpause()

        threading.Timer(0.05, finish).start()

    app.server.add_handler("/later", later)
    app.run()
    answer = ask(app, "GET", "/later")
    assert (answer.status_code, answer.headers["location"]) == (307, "/elsewhere")


def test_a_callback_that_sets_nothing_or_fails_is_a_500_and_the_server_goes_on(app: MicroApp) -> None:
    def fail(server: Any, message: ServerMessage, path: str, query: Any, user_data: Any) -> None:
        message.set_status(200)
        raise ValueError("no")

    app.server.add_handler("/nothing", lambda *arguments: None)
    app.server.add_handler("/fail", fail)
    app.run()
    assert ask(app, "GET", "/nothing").status_code == 500
    assert ask(app, "GET", "/fail").status_code == 500
    assert ask(app, "GET", "/said").status_code == 200


def test_a_body_that_is_too_long_is_refused(app: MicroApp) -> None:
    app.run()
    with socket.create_connection(("127.0.0.1", app.port), timeout=10) as client:
        client.sendall(b"PUT /said HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1))
        assert client.recv(4096).startswith(b"HTTP/1.1 413")


def test_the_asterisk_has_to_be_registered_by_itself(app: MicroApp) -> None:
    app.server.add_handler("/", say("default"))
    app.server.add_handler("*", say("asterisk"))
    app.run()
    with socket.create_connection(("127.0.0.1", app.port), timeout=10) as client:
        client.sendall(b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        with client.makefile("rb") as file:
            assert b"asterisk *" in file.read()

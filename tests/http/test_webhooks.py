"""Webhooks, over real sockets: who is let in, what is kept, and what each refusal is."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from duck.http import webhooks as module
from duck.http.webhooks import Webhooks
from duck.net.limits import Limits
from duck.net.worker import Worker

SECRET = b"a-secret-of-this-test"
OTHER = b"another-secret-of-this-test"


class Source:
    def __init__(self) -> None:
        self.found: Mapping[bytes, tuple[bytes, ...]] | None = {
            b"/hooks/build": (SECRET,),
            b"/hooks/two": (SECRET, OTHER),
            b"/hooks/unset": (),
        }
        self.full: set[bytes] = set()
        self.kept: list[tuple[str, Mapping[str, Any]]] = []
        self.error: Exception | None = None
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def look(self) -> Mapping[bytes, tuple[bytes, ...]] | None:
        found, self.found = self.found, None
        return found

    def crowded(self) -> set[bytes]:
        return self.full

    def keep(self, path: str, told: Mapping[str, Any]) -> str:
        self.may_go_on.wait(10)
        if self.error is not None:
            raise self.error
        self.kept.append((path, told))
        return f"id-{len(self.kept)}"


class Hooks:
    """A worker whose handler answers webhooks alone."""

    def __init__(self) -> None:
        self.source = Source()
        self.hooks: Webhooks | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()

        def make(loop: Any, clock: Any) -> Any:
            self.hooks = Webhooks(loop, clock, self.source)
            return self.hooks

        self.worker = Worker("hooks", [self._listener], make, Limits())
        self.worker.start()

    def ask(
        self, body: bytes = b"{}", *, path: str = "/hooks/build", method: str = "POST", **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection(*self.address, timeout=20)
        try:
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, {"Content-Type": "application/json", **fields})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def signed(self, body: bytes = b"{}", secret: bytes = SECRET, **more: Any) -> tuple[int, Any, bytes]:
        proof = hmac.new(secret, body, hashlib.sha256).hexdigest()
        return self.ask(body, X_Hub_Signature_256=f"sha256={proof}", **more)

    def close(self) -> None:
        self.worker.stop()
        self._listener.close()


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    made = Hooks()
    yield made
    made.source.may_go_on.set()
    made.close()


def test_a_signed_body_is_kept_and_answered_with_its_id(hooks: Hooks) -> None:
    body = json.dumps({"ref": "refs/heads/main"}).encode()
    status, fields, text = hooks.signed(
        body, path="/hooks/build?a=1", X_GitHub_Event="push", X_GitHub_Delivery="7", X_Api_Key="k", Cookie="c"
    )
    assert (status, json.loads(text)) == (202, {"id": "id-1"})
    assert fields["Cache-Control"] == "no-store"
    ((path, told),) = hooks.source.kept
    assert path == "/hooks/build"
    assert told == {
        "method": "POST",
        "path": "/hooks/build",
        "query": "a=1",
        "headers": {"content-type": "application/json", "x-github-event": "push", "x-github-delivery": "7"},
        "body": {"ref": "refs/heads/main"},
    }


def test_githubs_own_example_of_a_signature_is_right(hooks: Hooks) -> None:
    """From its documentation, "Validating webhook deliveries"."""
    assert hooks.hooks is not None
    hooks.hooks.secrets = {b"/hooks/build": (b"It's a Secret to Everybody",)}
    proof = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    status, _, _ = hooks.ask(b"Hello, World!", X_Hub_Signature_256=proof, Content_Type="text/plain")
    assert status == 202 and hooks.source.kept[0][1]["body"] == "Hello, World!"


def test_the_secret_itself_is_proof_too(hooks: Hooks) -> None:
    assert hooks.ask(Authorization=f"Bearer {SECRET.decode()}")[0] == 202
    assert hooks.ask(Authorization=f"bearer  {SECRET.decode()} ")[0] == 202
    assert hooks.ask(b"", Authorization=f"Bearer {SECRET.decode()}")[0] == 202
    assert hooks.source.kept[2][1]["body"] is None
    assert "authorization" not in str(hooks.source.kept).lower()


def test_each_of_two_secrets_of_a_path_is_right(hooks: Hooks) -> None:
    assert [hooks.signed(secret=secret, path="/hooks/two")[0] for secret in (SECRET, OTHER)] == [202, 202]
    assert hooks.signed(secret=OTHER)[0] == 401


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {SECRET.decode()}"},
        {"X_Hub_Signature_256": "sha256="},
        {"X_Hub_Signature_256": "sha256=" + "0" * 64},
        {"X_Hub_Signature_256": "sha256=\xff"},
        {"X_Hub_Signature": "sha1=" + "0" * 40},
    ],
    ids=repr,
)
def test_without_proof_nobody_is_let_in(hooks: Hooks, headers: dict[str, str]) -> None:
    status, fields, _ = hooks.ask(**headers)
    assert status == 401 and fields["WWW-Authenticate"] == "Bearer"
    assert hooks.source.kept == []


def test_a_path_whose_secret_cannot_be_had_lets_nobody_in(hooks: Hooks) -> None:
    assert hooks.signed(secret=b"", path="/hooks/unset")[0] == 401
    assert hooks.ask(path="/hooks/unset", Authorization="Bearer ")[0] == 401


def test_what_is_refused_before_its_body_is_read(hooks: Hooks) -> None:
    status, fields, _ = hooks.ask(method="GET")
    assert (status, fields["Allow"]) == (405, "POST")
    assert hooks.signed(b"x" * (module.MAX_BODY_BYTES + 1))[0] == 413


def test_a_body_of_no_length_is_bounded_as_well(hooks: Hooks) -> None:
    connection = socket.create_connection(hooks.address, timeout=20)
    head = f"POST /hooks/build HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET.decode()}\r\n"
    connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    try:
        for _ in range(module.MAX_BODY_BYTES // 0x8000 + 1):
            connection.sendall(chunk)
    except OSError:
        pass  # it is refused before all of it was sent
    assert connection.recv(12) == b"HTTP/1.1 413"
    connection.close()
    assert hooks.source.kept == []


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[" * 100_000, b"[" * 65 + b"]" * 65])
def test_what_is_said_to_be_json_has_to_be(hooks: Hooks, body: bytes) -> None:
    assert hooks.signed(body)[0] == 400
    assert hooks.signed(body, Content_Type="text/plain")[0] == 202


def test_more_than_a_sender_may_send_is_refused_and_in_time_not_any_more(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BURST", 3)
    monkeypatch.setattr(module, "RATE", 0.01)
    assert hooks.hooks is not None
    hooks.hooks._rates.clear()
    answers = [hooks.signed() for _ in range(12)]
    assert [status for status, _, _ in answers] == [202] * 3 + [429] * 9
    assert answers[3][1]["Retry-After"] == "1"
    hooks.hooks._rates[b"/hooks/build"] = (0.0, hooks.hooks._clock.time() - 101.0)
    assert hooks.signed()[0] == 202
    assert hooks.signed(path="/hooks/two")[0] == 202, "another path has its own"


def test_those_who_prove_nothing_use_nothing_up(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BURST", 3)
    assert hooks.hooks is not None
    hooks.hooks._rates.clear()
    assert {hooks.signed(secret=OTHER)[0] for _ in range(10)} == {401}
    assert hooks.signed()[0] == 202


def test_bodies_that_are_read_at_once_are_bounded(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_BODIES", 2)
    head = (
        f"POST /hooks/build HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET.decode()}\r\nContent-Length: 2\r\n\r\n"
    )
    waiting = [socket.create_connection(hooks.address, timeout=20) for _ in range(3)]
    for connection in waiting:
        connection.sendall(head.encode())
    # Whichever was last: of three one is refused, and with one that left there is room again.
    statuses: dict[int, bytes] = {}
    for connection in waiting:
        connection.settimeout(0.5)
        try:
            statuses[id(connection)] = connection.recv(12)
        except TimeoutError:
            pass
    assert list(statuses.values()) == [b"HTTP/1.1 429"]
    for connection in waiting:
        connection.close()
    deadline = threading.Event()
    for _ in range(100):
        if hooks.hooks is not None and hooks.hooks._bodies == 0:
            break
        deadline.wait(0.05)
    assert hooks.signed()[0] == 202


def test_what_cannot_be_kept_is_refused_and_told_of(hooks: Hooks, caplog: pytest.LogCaptureFixture) -> None:
    hooks.source.error = OSError(28, "No space left on device")
    status, fields, text = hooks.signed()
    assert (status, fields["Retry-After"]) == (503, "30") and b"No space" not in text
    assert "Webhooks are refused, 1 in the last minute at /hooks/build: [Errno 28] No space left" in caplog.text


def test_what_is_refused_is_told_once_a_minute_and_not_each_time(
    hooks: Hooks, caplog: pytest.LogCaptureFixture
) -> None:
    hooks.source.error = OSError(28, "No space left on device")
    assert [hooks.signed()[0] for _ in range(5)] == [503] * 5
    assert len(caplog.records) == 1
    assert hooks.hooks is not None
    hooks.hooks.expire(hooks.hooks._clock.time() + 61.0)
    assert [record.getMessage().partition(" at ")[0] for record in caplog.records[1:]] == [
        "Webhooks are refused, 4 in the last minute"
    ]


def test_where_too_much_waits_a_sender_that_proves_itself_is_asked_to_wait(hooks: Hooks) -> None:
    assert hooks.hooks is not None
    hooks.source.full = {b"/hooks/build"}
    hooks.hooks.expire(hooks.hooks._clock.time())
    status, fields, _ = hooks.signed()
    assert (status, fields["Retry-After"]) == (429, "30") and hooks.source.kept == []
    assert hooks.signed(secret=OTHER)[0] == 401
    assert hooks.signed(path="/hooks/two")[0] == 202, "another has room"
    hooks.source.full = set()
    hooks.hooks.expire(hooks.hooks._clock.time())
    assert hooks.signed()[0] == 202


def test_whatever_keeps_it_from_being_kept_is_answered(hooks: Hooks, caplog: pytest.LogCaptureFixture) -> None:
    hooks.source.error = RecursionError("maximum recursion depth exceeded")
    assert hooks.signed(b"[" * 64 + b"]" * 64)[0] == 503
    assert "at /hooks/build: RecursionError: maximum recursion depth exceeded" in caplog.text


def test_paths_that_come_later_are_found(hooks: Hooks) -> None:
    hooks.source.found = {b"/hooks/late": (SECRET,)}
    assert hooks.hooks is not None
    hooks.hooks.expire(0.0)
    assert hooks.signed(path="/hooks/late")[0] == 202
    assert set(hooks.hooks.secrets) == {b"/hooks/late"}

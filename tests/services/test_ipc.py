"""The control channel, over real sockets."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from duck.services import ipc
from duck.services.inbox import Inbox
from duck.services.ipc import ControlError, ControlServer, NotRunning, Request, call


@pytest.fixture
def control(tmp_path: Path):
    inbox = Inbox()
    path = str(tmp_path / "control.sock")

    def slow(request: Request) -> None:
        request.progress("one")
        request.progress("two")
        inbox.call_later(0.02, lambda: request.reply({"done": True}))

    def broken(request: Request) -> None:
        raise ValueError("no such thing")

    commands = {
        "echo": lambda request: request.reply(dict(request.arguments)),
        "slow": slow,
        "broken": broken,
        "silent": lambda request: None,
        "large": lambda request: request.reply({"text": "x" * 900_000}),
    }
    server = ControlServer(inbox, path, commands)
    server.start()
    thread = threading.Thread(target=inbox.run)
    thread.start()
    yield path
    inbox.post(server.close)
    inbox.post(inbox.stop)
    thread.join()
    inbox.close()
    assert not os.path.exists(path)


def test_a_command_is_answered(control: str) -> None:
    assert call(control, "echo", deadline_s=5, a=1, b=["x"]) == {"a": 1, "b": ["x"]}


def test_progress_comes_before_the_answer(control: str) -> None:
    said: list[str] = []
    assert call(control, "slow", deadline_s=5, on_progress=said.append) == {"done": True}
    assert said == ["one", "two"]


def test_an_unknown_command_is_refused_with_those_known(control: str) -> None:
    with pytest.raises(ControlError, match="'dance' is no command of this Duck; it knows broken, echo"):
        call(control, "dance", deadline_s=5)


def test_a_command_that_fails_is_an_answer(control: str) -> None:
    with pytest.raises(ControlError, match="no such thing"):
        call(control, "broken", deadline_s=5)
    assert call(control, "echo", deadline_s=5) == {}


def test_a_silent_app_ends_the_wait_at_the_deadline(control: str) -> None:
    with pytest.raises(ControlError, match=r"within 0\.05 seconds"):
        call(control, "silent", deadline_s=0.05)


def test_nobody_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="duck runserver"):
        call(str(tmp_path / "none.sock"), "ping", deadline_s=1)


def test_a_large_answer_reaches_a_slow_reader(control: str) -> None:
    assert len(call(control, "large", deadline_s=5)["text"]) == 900_000


def test_the_socket_is_for_its_owner_only(control: str) -> None:
    assert stat.S_IMODE(os.stat(control).st_mode) == 0o600


def test_requests_sent_at_once_are_answered_in_order(control: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(control)
        client.sendall(b"".join(json.dumps({"command": "echo", "arguments": {"n": n}}).encode() + b"\n" for n in "ab"))
        file = client.makefile("rb")
        assert [json.loads(file.readline())["result"]["n"] for _ in range(2)] == ["a", "b"]
        file.close()


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"command": 3}', b'{"command": "echo", "arguments": 3}', b"null"])
def test_what_is_no_request_is_refused_and_the_connection_goes_on(control: str, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(control)
        client.sendall(line + b"\n" + b'{"command": "echo"}\n')
        with client.makefile("rb") as file:
            assert json.loads(file.readline())["ok"] is False
            assert json.loads(file.readline())["ok"] is True


def test_an_endless_line_is_cut_off(control: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(control)
        with pytest.raises(OSError):  # reset or broken pipe, as the kernel likes
            for _ in range(100):
                client.sendall(b"x" * ipc.MAX_LINE_BYTES)
            if not client.recv(1):
                raise ConnectionResetError


def test_a_client_that_leaves_early_hurts_nobody(control: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(control)
        client.sendall(b'{"command": "slow"}\n')
    assert call(control, "echo", deadline_s=5, still="here") == {"still": "here"}

"""An exec that fails: what was made ready for it is taken back, and a failure that passes is waited for."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from duck.app import inheritance, succession
from duck.app.succession import Succession
from duck.exceptions import ApplicationError


class Ended(BaseException):
    """In the place of the new Duck."""


class Exec:
    """Fails with each of `errors` in turn, and succeeds then."""

    def __init__(self, *errors: OSError) -> None:
        self.errors = list(errors)
        self.inheritable: list[list[int]] = []
        self.environ: dict[str, str] = {}

    def __call__(self, path: str, arguments: list[str], environ: dict[str, str]) -> None:
        descriptors = [int(name) for name in os.listdir("/proc/self/fd")]
        self.inheritable.append([one for one in descriptors if one > 2 and _is_inheritable(one)])
        self.environ = environ
        if self.errors:
            raise self.errors.pop(0)
        raise Ended


def _is_inheritable(descriptor: int) -> bool:
    try:
        return os.get_inheritable(descriptor)
    except OSError:
        return False  # of the listing


@pytest.fixture
def kept() -> Iterator[tuple[socket.socket, Any, Any, Any]]:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as lock:
        presence = SimpleNamespace(fileno=lock.fileno)
        host = SimpleNamespace(hand_over=lambda: {"NOTIFY_SOCKET": "/run/notify"})
        yield listener, presence, host, SimpleNamespace(hand_over=list)


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def test_a_failure_that_passes_is_waited_for(
    kept: tuple[socket.socket, Any, Any, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    busy = OSError(errno.ETXTBSY, "Text file busy")
    execute = Exec(busy, busy)
    monkeypatch.setattr(os, "execve", execute)
    pauses: list[float] = []
    monkeypatch.setattr(succession.time, "sleep", pauses.append)
    listener, presence, host, redirect = kept
    with pytest.raises(Ended):
        Succession().start_again([listener], presence, host, redirect)
    assert len(pauses) == 2
    assert caplog.text.count("Text file busy. It is tried again.") == 1
    assert {listener.fileno(), presence.fileno()} <= set(execute.inheritable[-1])
    assert execute.environ["NOTIFY_SOCKET"] == "/run/notify"


def test_one_that_does_not_pass_is_an_error_of_one_sentence(
    kept: tuple[socket.socket, Any, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = Exec(*[OSError(errno.ENOMEM, "Cannot allocate memory")] * 100)
    monkeypatch.setattr(os, "execve", execute)
    monkeypatch.setattr(succession.time, "sleep", lambda seconds: None)
    listener, presence, host, redirect = kept
    with pytest.raises(ApplicationError, match=r"cannot be replaced by running .* again: Cannot allocate memory\.$"):
        Succession().start_again([listener], presence, host, redirect)


def test_what_was_made_ready_for_it_is_taken_back(
    kept: tuple[socket.socket, Any, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "execve", Exec(OSError(errno.ENOENT, "No such file or directory")))
    listener, presence, *_ = kept
    before = dict(os.environ), set(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        inheritance.become_new([listener], presence.fileno(), environ={"NOTIFY_SOCKET": "/run/notify"})
    assert (dict(os.environ), set(os.listdir("/proc/self/fd"))) == before
    assert not listener.get_inheritable()
    assert not os.get_inheritable(presence.fileno())
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}

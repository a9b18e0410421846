"""Who holds a port."""

from __future__ import annotations

import os
import socket

import pytest

from duck.services.ports import address_in_use, holder_of, port_in_url


@pytest.fixture
def listener():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock


def test_the_holder_is_named(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    holder = holder_of("127.0.0.1", port)
    assert holder is not None
    assert holder.pid == os.getpid()


def test_the_sentence_says_who_and_what_to_do(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    sentence = str(address_in_use("127.0.0.1", port))
    assert f"127.0.0.1:{port}" in sentence
    assert f"process id {os.getpid()}" in sentence
    assert f"--port {port + 1}" in sentence


def test_a_wildcard_bind_meets_every_listener(listener: socket.socket) -> None:
    assert holder_of("0.0.0.0", listener.getsockname()[1]) is not None


def test_a_listener_on_another_address_is_not_the_holder(listener: socket.socket) -> None:
    assert holder_of("127.0.0.2", listener.getsockname()[1]) is None


def test_a_free_port_has_no_holder_and_a_plain_sentence() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    assert holder_of("127.0.0.1", port) is None
    assert "another process" in str(address_in_use("127.0.0.1", port))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8000", ("127.0.0.1", 8000)),
        ("http://[::1]:80/", ("::1", 80)),
        ("unix:/run/x.sock", None),
        ("fd:3", None),
        ("http://host", None),
    ],
)
def test_a_listen_url_is_taken_apart(url: str, expected: tuple[str, int] | None) -> None:
    assert port_in_url(url) == expected

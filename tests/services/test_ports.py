"""Who holds a port."""

from __future__ import annotations

import os
import socket

import pytest

from duck.exceptions import AddressInUse
from duck.net.listener import open_listeners
from duck.services.ports import holder_of, who_holds
from duck.settings.listen import ListenAddress


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


def test_the_sentence_on_a_busy_port_names_who_holds_it(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert who_holds("127.0.0.1", port).endswith(f"(process id {os.getpid()})")
    with pytest.raises(AddressInUse, match=rf"port {port} .*process id {os.getpid()}.*--port"):
        open_listeners([ListenAddress("http", host="127.0.0.1", port=port)], holder_of=who_holds)


def test_a_wildcard_bind_meets_every_listener(listener: socket.socket) -> None:
    assert holder_of("0.0.0.0", listener.getsockname()[1]) is not None


def test_a_listener_on_another_address_is_not_the_holder(listener: socket.socket) -> None:
    assert holder_of("127.0.0.2", listener.getsockname()[1]) is None


def test_a_free_port_has_no_holder_and_no_name_in_the_sentence() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    assert holder_of("127.0.0.1", port) is None
    assert who_holds("127.0.0.1", port) == ""

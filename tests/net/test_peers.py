"""Who is at the other end, and whom the kernel watches."""

import socket

import pytest

from duck.net.listener import open_listeners
from duck.settings.listen import ListenAddress
from tests.net.front import Front, get


@pytest.mark.parametrize(
    ("peername", "sockname", "expected"),
    [
        (("192.0.2.1", 5), ("127.0.0.1", 8000), ("192.0.2.1", 5, "127.0.0.1", 8000)),
        (("::ffff:192.0.2.1", 5, 0, 0), ("::1", 80, 0, 0), ("192.0.2.1", 5, "::1", 80)),
        (("2001:db8::1", 5, 0, 0), ("2001:db8::2", 80, 0, 0), ("2001:db8::1", 5, "2001:db8::2", 80)),
        ("", "/run/duck.sock", ("", 0, "localhost", 80)),
        (None, ("127.0.0.1", 8000), ("", 0, "127.0.0.1", 8000)),
    ],
)
def test_addresses_are_told_as_they_are(peername, sockname, expected):
    front = Front()
    client = front.connect(peername=peername, sockname=sockname)
    client.receive(get())
    peer = front.exchanges[0].peer
    assert (peer.host, peer.port, peer.server_host, peer.server_port) == expected


def test_a_client_without_an_address_is_not_taken_for_a_unix_socket():
    front = Front(trusted=("unix",))
    for peername, sockname, trusted in (("", "/run/duck.sock", True), (None, ("127.0.0.1", 8000), False)):
        client = front.connect(peername=peername, sockname=sockname)
        client.receive(get())
        assert front.exchanges[-1].peer.trusted is trusted


def test_vanished_clients_are_found_by_the_kernel():
    (listener,) = open_listeners([ListenAddress("http", host="127.0.0.1")])
    with listener, socket.create_connection(listener.getsockname()):
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            if hasattr(socket, "TCP_KEEPIDLE"):
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60

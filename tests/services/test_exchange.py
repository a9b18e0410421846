"""An exchange that is over at a time of ours."""

from __future__ import annotations

import gc
import socket
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from duck.services.exchange import Exchange


def test_one_that_ends_as_it_is_connected_leaves_nothing_open() -> None:
    exchange = Exchange()

    def trace(event: str, told: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            exchange.end()
        exchange.extensions["trace"](event, told)

    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with pytest.raises(httpx.TransportError), exchange, httpx.Client(timeout=30) as client:
            client.get(url, extensions={"trace": trace})
    gc.collect()  # a socket that nobody has closed is a warning now, and so a failure


def test_one_that_is_over_does_not_begin() -> None:
    exchange = Exchange()
    exchange.end()
    with pytest.raises(TimeoutError), exchange, httpx.Client(timeout=30) as client:
        client.get("http://127.0.0.1:1/", extensions=exchange.extensions)

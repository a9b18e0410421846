"""The id of a request: made, or taken from a trusted proxy."""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING

import pytest

from duck.net.peer import Peer
from duck.net.request_id import is_request_id, new_request_id
from duck.testing import record_exchange

if TYPE_CHECKING:
    from duck.net.exchange import Exchange


def asked_with(*ids: bytes, trusted: bool) -> Exchange:
    exchange, _ = record_exchange(fields=[(b"X-Request-Id", one) for one in ids])
    exchange.peer = Peer("192.0.2.1", 1, "localhost", 80, trusted=trusted)
    return exchange


def test_no_two_requests_have_the_same_whichever_thread_they_are_of() -> None:
    made: list[list[bytes]] = [[] for _ in range(4)]
    together = threading.Barrier(4)

    def make(into: list[bytes]) -> None:
        together.wait(10)
        into.extend(new_request_id() for _ in range(10_000))

    threads = [threading.Thread(target=make, args=(into,)) for into in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    everything = [one for into in made for one in into]
    assert len(set(everything)) == len(everything) == 40_000
    assert all(re.fullmatch(rb"[0-9a-f]{18}", one) for one in everything)


def test_an_exchange_keeps_its_id() -> None:
    exchange = asked_with(trusted=False)
    assert exchange.id == exchange.id != asked_with(trusted=False).id


def test_only_a_trusted_proxy_says_the_id() -> None:
    assert asked_with(b"abc-1.2_3", trusted=True).id == b"abc-1.2_3"
    assert asked_with(b"abc-1.2_3", trusted=False).id != b"abc-1.2_3"


@pytest.mark.parametrize("said", [b"", b"a b", b'"', b"a\\", b"a,b", b"\xe9", b"x" * 129, b"a\n"])
def test_what_is_no_token_or_too_long_is_no_id(said: bytes) -> None:
    assert not is_request_id(said)
    assert asked_with(said, trusted=True).id != said


def test_two_ids_are_none() -> None:
    assert asked_with(b"a", b"b", trusted=True).id not in (b"a", b"b")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_makes_others() -> None:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, new_request_id())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read()[:12] != new_request_id()[:12]

"""AsyncDuplex: an upgraded connection, awaited."""

import asyncio

import pytest

from duck.exceptions import ClientGone
from duck.http.duplex import HIGH_WATER_BYTES, AsyncDuplex
from tests.http.lane import run


class Wire:
    """A Duplex that keeps what it is told."""

    def __init__(self):
        self.told = []
        self.receiver = None

    def connect(self, receiver):
        self.receiver = receiver

    def write(self, data):
        self.told.append(data)

    def __getattr__(self, name):
        return lambda: self.told.append(name)


def duplex():
    wire = Wire()
    return AsyncDuplex(wire), wire


def test_bytes_are_received_in_order_and_cut_to_what_is_asked_for():
    async def work():
        made, wire = duplex()
        receiving = asyncio.ensure_future(made.receive(2))
        await asyncio.sleep(0)
        wire.receiver.duplex_data(b"abc")
        assert [await receiving, await made.receive()] == [b"ab", b"c"]
        wire.receiver.duplex_eof()
        assert await made.receive() == b""

    run(work)


def test_reading_pauses_while_nobody_takes_what_has_come():
    async def work():
        made, wire = duplex()
        wire.receiver.duplex_data(b"x" * HIGH_WATER_BYTES)
        wire.receiver.duplex_data(b"x")
        assert wire.told == ["pause_reading"]
        await made.receive()
        assert wire.told == ["pause_reading", "resume_reading"]

    run(work)


def test_sending_waits_for_a_slow_peer():
    async def work():
        made, wire = duplex()
        await made.send(b"a")
        wire.receiver.duplex_pause()
        sending = asyncio.ensure_future(made.send(b"b"))
        await asyncio.sleep(0.01)
        assert not sending.done()
        wire.receiver.duplex_resume()
        await sending
        made.send_eof()
        made.close()
        made.abort()
        assert wire.told == [b"a", b"b", "write_eof", "close", "abort"]

    run(work)


@pytest.mark.parametrize("error", [None, ConnectionResetError()])
def test_every_wait_ends_with_the_connection(error):
    async def work():
        made, wire = duplex()
        wire.receiver.duplex_pause()
        wire.receiver.duplex_data(b"last")
        sending = asyncio.ensure_future(made.send(b"x"))
        await asyncio.sleep(0)
        wire.receiver.duplex_lost(error)
        with pytest.raises(ClientGone):
            await sending
        assert await made.receive() == b"last"
        if error is None:
            assert await made.receive() == b""
        else:
            with pytest.raises(ClientGone):
                await made.receive()
        assert made.is_lost
        with pytest.raises(ClientGone):
            made.write(b"more")
        told = list(wire.told)
        made.send_eof()
        made.close()
        made.abort()
        assert wire.told == told

    run(work)

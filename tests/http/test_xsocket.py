"""xsocket: back-pressure both ways, and what becomes of a wait when the client leaves."""

import asyncio
import os

import pytest

from duck.exceptions import ClientGone
from duck.testing import FakeStream, record_exchange
from duck.utils.xsocket import HIGH_WATER_BYTES, ssl_xsocket, xsocket
from duck.wire.head import ResponseHead
from tests.http.lane import give, run


def carrier(*, length=None, make=xsocket, **stream):
    stream = FakeStream(**stream)
    exchange, _ = record_exchange(b"POST", b"/", content_length=length, stream=stream)
    return make(exchange), exchange, stream


def test_both_kinds_know_who_is_there():
    async def work():
        for make, secure in ((xsocket, False), (ssl_xsocket, True)):
            made, _, _ = carrier(make=make)
            assert made.getpeername() == ("127.0.0.1", 40000)
            assert made.getsockname() == ("127.0.0.1", 8000)
            assert made.is_secure is secure

    run(work)


def test_the_body_is_asked_for_by_the_first_receive_and_ends_with_nothing():
    async def work():
        made, exchange, stream = carrier()
        assert made.body_is_untouched
        assert not stream.body_started
        receiving = asyncio.ensure_future(made.receive())
        await asyncio.sleep(0)
        assert stream.body_started
        give(exchange, b"abcdef")
        assert await receiving == b"abcdef"
        assert await made.receive() == b""
        assert await made.receive() == b""

    run(work)


def test_a_chunk_larger_than_asked_for_is_cut():
    async def work():
        made, exchange, _ = carrier()
        asyncio.get_running_loop().call_soon(lambda: give(exchange, b"abcdef"))
        assert [await made.receive(4), await made.receive(4), await made.receive(4)] == [b"abcd", b"ef", b""]

    run(work)


def test_a_client_that_is_faster_than_its_reader_waits():
    async def work():
        made, exchange, stream = carrier()
        receiving = asyncio.ensure_future(made.receive())
        await asyncio.sleep(0)
        give(exchange, b"x", b"y" * HIGH_WATER_BYTES, b"z", end=False)
        assert stream.body_paused
        await receiving
        assert stream.body_paused
        await made.receive()
        assert not stream.body_paused

    run(work)


def test_a_slow_client_holds_the_sender_until_it_has_caught_up():
    async def work():
        made, _, stream = carrier(high_water=10)
        await made.send_head(ResponseHead(200))
        sending = asyncio.ensure_future(made.send(b"x" * 11))
        await asyncio.sleep(0.01)
        assert not sending.done()
        stream.drain()
        await sending
        made.end()
        assert stream.ended

    run(work)


@pytest.mark.parametrize("waits_for", ["receive", "send"])
def test_every_wait_ends_when_the_client_leaves(waits_for):
    async def work():
        made, _, stream = carrier(high_water=1)
        lost = []
        made.on_lost = lambda: lost.append(True)
        if waits_for == "send":
            await made.send_head(ResponseHead(200))
            waiting = asyncio.ensure_future(made.send(b"xx"))
        else:
            waiting = asyncio.ensure_future(made.receive())
        await asyncio.sleep(0)
        stream.leave()
        with pytest.raises(ClientGone):
            await waiting
        assert lost == [True]
        assert made.is_over
        with pytest.raises(ClientGone):
            made.answer(ResponseHead(200), b"")

    run(work)


def test_what_is_left_of_a_body_is_dropped_with_the_end_of_the_answer():
    async def work():
        made, exchange, stream = carrier()
        asyncio.get_running_loop().call_soon(lambda: give(exchange, b"x", end=False))
        await made.receive()
        made.answer(ResponseHead(200, content_length=0), b"")
        assert exchange.request_state == "broken"
        assert stream.ended

    run(work)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_file_goes_the_cheap_way_unless_somebody_has_to_see_it(tmp_path, wrapped):
    async def work():
        path = tmp_path / "file"
        path.write_bytes(os.urandom(700_000))
        made, exchange, stream = carrier()
        if wrapped:
            exchange.wrap(Passing)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            await made.send_head(ResponseHead(200, content_length=699_999))
            await made.send_file(descriptor, 1, 699_999)
        finally:
            os.close(descriptor)
        made.end()
        assert bytes(stream.body) == path.read_bytes()[1:]
        assert stream.chunks == ([262144, 262144, 175711] if wrapped else [0])

    run(work)


class Passing:
    """A sink before another."""

    def __init__(self, sink):
        self.head, self.data, self.end = sink.head, sink.data, sink.end

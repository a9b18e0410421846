"""Django's URLs in the application lane: the direct lane's handler within, middlewares around it."""

import asyncio
import os

import pytest

from duck.exceptions import BackendCut, BackendUnreachable, ClientGone
from duck.http.core.pipe import pipe
from duck.http.middleware import Middleware
from duck.http.response import HttpResponse
from duck.net.measure import Measure
from duck.testing import FakeStream
from duck.utils.xsocket import HIGH_WATER_BYTES
from duck.wire.head import ResponseHead
from tests.http.lane import App, Backend, BodyKeeper, Producer, give, run, until


def app(script, *middlewares, **more):
    backend = Backend(script)
    made = App(proxy=backend, USE_DJANGO=True, MIDDLEWARES=list(middlewares), **more)
    made.backend = backend
    return made


def whole(exchange):
    fields = [(b"X-One", b"1"), (b"x-two", b"2"), (b"X-One", b"3")]
    exchange.backend = "django 1"
    exchange.response.answer(ResponseHead(200, fields, content_length=4, reason=b"Fine"), b"pond")


class Stamp(Middleware):
    async def process_response(self, response, request):
        response.headers["X-Stamp"] = "quack"


def test_a_whole_answer_crosses_as_it_is():
    async def work():
        lane = app(whole)
        exchange, stream = lane.begin(b"/x?y")
        await lane.idle()
        assert stream.head.fields == [(b"X-One", b"1"), (b"x-two", b"2"), (b"X-One", b"3")]
        assert (stream.status, stream.head.reason, bytes(stream.body), stream.chunks) == (200, b"Fine", b"pond", [])
        assert exchange.backend == "django 1"
        inner = lane.backend.exchanges[0]
        assert inner.peer is exchange.peer
        asked = exchange.request
        assert (inner.request.method, inner.request.target) == (asked.method, asked.target)
        assert (inner.request.fields, inner.request.authority) == (asked.fields, asked.authority)

    run(work)


def test_a_middleware_changes_the_head_and_nothing_else():
    async def work():
        stream = await app(whole, Stamp).ask()
        assert stream.head.fields[-1] == (b"X-Stamp", b"quack")
        assert stream.head.fields[:3] == [(b"X-One", b"1"), (b"x-two", b"2"), (b"X-One", b"3")]
        assert (stream.head.content_length, stream.head.reason, bytes(stream.body)) == (4, b"Fine", b"pond")

    run(work)


def test_a_middleware_may_replace_the_body():
    class Shout(Middleware):
        async def process_response(self, response, request):
            response.content = (await response.read()).upper() + b"!"

    def in_pieces(exchange):
        exchange.response.head(ResponseHead(200, [(b"Content-Length", b"4")], content_length=4))
        exchange.response.data(b"po")
        exchange.response.data(b"nd")
        exchange.response.end(None)

    async def work():
        for script in (whole, in_pieces):
            stream = await app(script, Shout).ask()
            assert (bytes(stream.body), stream.head.content_length) == (b"POND!", 5)
            assert stream.field_lines("Content-Length") in ([], ["5"])

    run(work)


def test_a_middleware_that_refuses_keeps_the_request_from_django():
    class Closed(Middleware):
        async def process_request(self, request):
            return self.request_bad

        async def get_error_response(self, request):
            return HttpResponse("closed", 403)

    async def work():
        lane = app(whole, Closed)
        assert (await lane.ask()).status == 403
        assert not lane.backend.exchanges

    run(work)


def test_django_side_urls_may_skip_middlewares():
    async def work():
        stream = await app(whole, Stamp, DJANGO_SIDE_URLS_SKIP_MIDDLEWARES=True).ask()
        assert stream.field("X-Stamp") is None

    run(work)


def test_an_answer_is_relayed_chunk_by_chunk_with_its_trailers():
    def script(exchange):
        exchange.response.informational(ResponseHead(103, [(b"Link", b"x")]))
        exchange.response.head(ResponseHead(200))
        exchange.response.data(b"a")
        exchange.response.data(b"bc")
        exchange.response.end([(b"X-Sum", b"3")])

    async def work():
        stream = await app(script).ask()
        assert (stream.chunks, bytes(stream.body)) == ([1, 2], b"abc")
        assert stream.trailers == [(b"X-Sum", b"3")]
        assert [head.status for head in stream.informational] == [103]
        assert stream.head.content_length is None

    run(work)


def test_django_is_paused_while_the_client_is_slow():
    producer = Producer()

    def script(exchange):
        exchange.producer = producer
        exchange.response.head(ResponseHead(200))

    async def work():
        lane = app(script)
        _, stream = lane.begin(stream=FakeStream(high_water=10))
        await until(lambda: stream.head)
        inner = lane.backend.exchanges[0]
        chunk = b"x" * (HIGH_WATER_BYTES // 2)
        sent = 0
        while "pause" not in producer.told:
            inner.response.data(chunk)
            sent += len(chunk)
            await asyncio.sleep(0)
            assert sent < 10 * HIGH_WATER_BYTES
        while "resume" not in producer.told:
            stream.drain()
            await asyncio.sleep(0)
        inner.response.end(None)
        while lane.handler.in_flight:
            stream.drain()
            await asyncio.sleep(0)
        assert len(stream.body) == sent
        assert producer.told == ["pause", "resume"]

    run(work)


@pytest.mark.parametrize("answered", [False, True])
def test_django_is_told_when_the_client_leaves(answered):
    producer = Producer()

    def script(exchange):
        exchange.producer = producer
        if answered:
            exchange.response.head(ResponseHead(200))

    async def work():
        lane = app(script)
        _, stream = lane.begin()
        await until(lambda: lane.backend.exchanges and (stream.head or not answered))
        stream.leave()
        await lane.idle()
        assert producer.told == ["cancel"]
        assert lane.backend.exchanges[0].is_over

    run(work)


def test_an_answer_that_django_cuts_is_cut():
    async def work():
        lane = app(lambda exchange: exchange.response.head(ResponseHead(200, content_length=10)))
        _, stream = lane.begin()
        await until(lambda: stream.head)
        inner = lane.backend.exchanges[0]
        inner.response.data(b"half")
        error = BackendCut("gone", backend="django 1")
        inner.response.abort(error)
        await lane.idle()
        assert (bytes(stream.body), stream.cut) == (b"half", error)

    run(work)


def test_an_answer_given_up_before_its_head_is_an_error_page(caplog):
    async def work():
        lane = app(lambda exchange: exchange.response.abort(BackendUnreachable("nobody", backend="django 1")))
        assert (await lane.ask()).status == 502

    run(work)
    assert "django 1" in caplog.text


def test_without_django_its_urls_are_502():
    async def work():
        assert (await App(USE_DJANGO=True).ask()).status == 502

    run(work)


def test_the_body_goes_to_django_as_it_comes():
    def script(exchange):
        exchange.read_body(BodyKeeper(exchange))

    async def work():
        lane = app(script)
        exchange, stream = lane.begin(method=b"POST", length=None)
        await until(lambda: stream.body_started)
        give(exchange, b"one", b"two")
        await lane.idle()
        assert bytes(stream.body) == b"onetwo"
        assert lane.backend.exchanges[0].bytes_received == 6

    run(work)


def test_pausing_the_inner_body_pauses_the_client():
    async def work():
        lane = app(lambda exchange: exchange.read_body(BodyKeeper(exchange)))
        exchange, stream = lane.begin(method=b"POST", length=None)
        await until(lambda: stream.body_started)
        inner = lane.backend.exchanges[0]
        inner.pause_body()
        assert stream.body_paused
        inner.resume_body()
        assert not stream.body_paused
        give(exchange)
        await lane.idle()

    run(work)


def test_a_body_that_breaks_is_told_to_django():
    keepers = []

    def script(exchange):
        keepers.append(BodyKeeper(exchange))
        exchange.read_body(keepers[0])

    async def work():
        lane = app(script)
        _, stream = lane.begin(method=b"POST", length=None)
        await until(lambda: stream.body_started)
        stream.leave()
        await lane.idle()
        assert isinstance(keepers[0].error, ClientGone)

    run(work)


@pytest.mark.parametrize("size", [3, 200_000])
def test_a_body_that_a_middleware_has_read_is_there_for_django_too(size):
    class Reading(Middleware):
        async def process_request(self, request):
            assert len(await request.read()) == size
            return self.request_ok

    def script(exchange):
        keeper = BodyKeeper(exchange)
        exchange.read_body(keeper)
        exchange.pause_body()
        exchange.resume_body()

    async def work():
        body = os.urandom(size)
        stream = await app(script, Reading).ask(method=b"POST", body=body)
        assert bytes(stream.body) == body

    run(work)


def test_a_body_that_a_middleware_has_streamed_is_gone_and_it_is_told_so(caplog):
    class Streaming(Middleware):
        async def process_request(self, request):
            async for _ in request.stream():
                pass
            return self.request_ok

    async def work():
        assert (await app(whole, Streaming).ask(method=b"POST", body=b"x")).status == 500

    run(work)
    assert "await request.read()" in caplog.text


def test_a_middleware_may_add_fields_for_django_but_not_touch_framing():
    class Adding(Middleware):
        async def process_request(self, request):
            request.headers["X-User"] = "duck"
            request.headers["X-Forwarded-For"] = "10.0.0.1"
            request.headers["Content-Length"] = "999"
            request.headers["Host"] = "evil.org"
            return self.request_ok

    async def work():
        lane = app(whole, Adding)
        await lane.ask(b"/", (b"Accept", b"x"))
        head = lane.backend.exchanges[0].request
        assert (b"X-User", b"duck") in head.fields
        assert (b"Accept", b"x") in head.fields
        assert [value for name, value in head.fields if name.lower() == b"host"] == [b"example.org"]
        assert not [name for name, _ in head.fields if name.lower() == b"content-length"]
        # What only a trusted proxy may say stays marked as such, whoever wrote it.
        assert [head.fields[index][0] for index in head.block.claims] == [b"X-Forwarded-For"]

    run(work)


def test_a_file_that_the_direct_lane_sends_is_read_as_it_is_asked_for(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(600_000))
    done = []

    def script(exchange):
        descriptor = os.open(path, os.O_RDONLY)
        exchange.response.head(ResponseHead(200, content_length=600_000))

        def finished(error):
            os.close(descriptor)
            done.append(error)
            exchange.end(None)

        exchange.file(descriptor, 0, 600_000, finished)

    async def work():
        stream = await app(script).ask()
        assert bytes(stream.body) == path.read_bytes()
        assert done == [None]

    run(work)


def test_a_file_is_given_back_when_the_client_leaves(tmp_path):
    done = []

    def script(exchange):
        exchange.response.head(ResponseHead(200, content_length=10))
        exchange.file(0, 0, 10, done.append)

    async def work():
        lane = app(script)
        collector_holds_it = []

        class Leaving(Middleware):
            async def process_response(self, response, request):
                collector_holds_it.append(True)
                await asyncio.Event().wait()

        lane = app(script, Leaving)
        _, stream = lane.begin()
        await until(lambda: collector_holds_it)
        stream.leave()
        await lane.idle()
        assert isinstance(done[0], ClientGone)

    run(work)


class Receiver:
    """A DuplexReceiver that keeps what it is told."""

    def __init__(self):
        self.data = bytearray()
        self.told = []

    def duplex_data(self, data):
        self.data += data

    def duplex_eof(self):
        self.told.append("eof")

    def duplex_lost(self, error):
        self.told.append("lost")

    def duplex_pause(self):
        self.told.append("pause")

    def duplex_resume(self):
        self.told.append("resume")


class TestPipe:
    def test_what_is_written_at_one_end_is_received_at_the_other_a_turn_later(self):
        async def work():
            one, two = pipe()
            receiver = Receiver()
            one.write(b"early ")
            two.connect(receiver)
            one.write(b"late")
            assert not receiver.data
            await asyncio.sleep(0)
            assert receiver.data == b"early late"
            one.write_eof()
            await asyncio.sleep(0)
            assert receiver.told == ["eof"]

        run(work)

    def test_an_end_that_does_not_read_pauses_the_other(self):
        async def work():
            one, two = pipe()
            left, right = Receiver(), Receiver()
            one.connect(left)
            two.connect(right)
            two.pause_reading()
            one.write(b"x")
            await asyncio.sleep(0)
            assert (left.told, right.data) == (["pause"], b"")
            two.resume_reading()
            await asyncio.sleep(0)
            assert (left.told, right.data) == (["pause", "resume"], b"x")

        run(work)

    @pytest.mark.parametrize(("end", "data"), [("close", b"x"), ("abort", b"")])
    def test_closing_ends_both_after_what_was_written_and_aborting_without_it(self, end, data):
        async def work():
            one, two = pipe()
            left, right = Receiver(), Receiver()
            one.connect(left)
            two.connect(right)
            one.write(b"x")
            getattr(one, end)()
            await asyncio.sleep(0.001)
            assert (left.told, right.told, bytes(right.data)) == (["lost"], ["lost"], data)
            two.write(b"into the void")

        run(work)


def test_what_django_took_is_known_of_the_request_itself_of_a_stream_at_its_end():
    def told_first(exchange):
        exchange.measure = Measure(1, 0.1, 0.0, 0.2)
        whole(exchange)

    def told_last(exchange):
        exchange.response.head(ResponseHead(200, []))
        exchange.response.data(b"pond")
        exchange.measure = Measure(1, 0.1, 0.0, 0.2)
        exchange.response.end(None)

    async def work():
        for script in (told_first, told_last):
            lane = app(script)
            exchange, stream = lane.begin(b"/")
            await lane.idle()
            assert (bytes(stream.body), exchange.measure) == (b"pond", Measure(1, 0.1, 0.0, 0.2))

    run(work)

"""What is kept of exchanges, and that nobody else notices."""

import itertools

import pytest

from duck.exceptions import BackendCut, ClientGone
from duck.http.ducksight.recorder import Recorder
from duck.http.ducksight.recording import MAX_BODY_BYTES
from duck.net.exchange import FILES
from duck.testing import FakeStream, record_exchange
from duck.wire.head import ResponseHead
from tests.net.front import Body, Front, Producer, chunked, get, post


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def make_recorder(count=100, clock=None, **more):
    return Recorder(count, itertools.count(1).__next__, clock or Clock(), lambda: 1_700_000_000.0, **more)


def ask(recorder, *, answer=b"hello", status=200, backend="", **request):
    exchange, stream = record_exchange(**request)
    recorder.begin(exchange)
    exchange.backend = backend
    exchange.response.answer(ResponseHead(status, [(b"Content-Type", b"text/plain")]), answer)
    return stream


def test_an_exchange_that_was_answered_at_once():
    recorder = make_recorder()
    stream = ask(recorder, target=b"/a?b", fields=[(b"Host", b"x")])
    (recording,) = recorder.recordings()
    assert (recording.id, recording.state, recording.status) == (1, "done", 200)
    assert (recording.request.target, recording.answer.data, recording.answer.is_whole) == (b"/a?b", b"hello", True)
    assert recording.head.fields == [(b"Content-Type", b"text/plain")]
    assert stream.body == b"hello" and stream.ended
    # Nothing is held on to, and nothing holds on.
    assert recording.exchange is None and stream.exchange.stream is stream and stream.exchange.on_end is None


def test_an_exchange_that_goes_on_is_there_at_once():
    clock = Clock()
    recorder = make_recorder(clock=clock)
    exchange, _ = record_exchange()
    recorder.begin(exchange)
    (recording,) = recorder.recordings()
    assert (recording.state, recorder.busy) == ("waiting", 1)
    exchange.response.head(ResponseHead(200, []))
    exchange.response.data(b"one ")
    recording.refresh()
    assert (recording.state, recording.status, recording.answer.data) == ("answering", 200, b"one ")
    clock.now = 2.0
    assert recording.lasted(2.0) == 2.0 - exchange.started
    exchange.response.data(b"two")
    exchange.response.end(None)
    assert (recording.state, recording.answer.data, recorder.busy) == ("done", b"one two", 0)


def test_what_was_to_be_told_of_the_end_is_told():
    recorder = make_recorder()
    exchange, _ = record_exchange()
    told = []
    exchange.on_end = told.append
    recorder.begin(exchange)
    exchange.response.answer(ResponseHead(204, []), b"")
    assert told == [exchange]


def test_an_answer_that_was_cut():
    recorder = make_recorder()
    exchange, stream = record_exchange()
    recorder.begin(exchange)
    exchange.response.head(ResponseHead(200, [], content_length=10))
    exchange.response.data(b"half")
    exchange.response.abort(BackendCut("Django cut its answer", backend="django"))
    exchange.ended()
    (recording,) = recorder.recordings()
    assert (recording.state, recording.error) == ("cut", "Django cut its answer")
    assert (recording.answer.data, recording.answer.is_whole) == (b"half", False)
    assert stream.cut is not None


def test_a_client_that_leaves():
    recorder = make_recorder()
    exchange, stream = record_exchange()
    recorder.begin(exchange)
    producer = exchange.producer = Producer()
    stream.leave()
    exchange.ended()
    (recording,) = recorder.recordings()
    assert recording.state == "cut" and isinstance(producer.error, ClientGone)


@pytest.mark.parametrize("method", [b"HEAD", b"GET"])
def test_of_an_answer_that_has_no_body_none_is_kept(method):
    recorder = make_recorder()
    exchange, _ = record_exchange(method=method)
    recorder.begin(exchange)
    exchange.response.head(ResponseHead(200 if method == b"HEAD" else 304, []))
    exchange.response.end(None)
    assert recorder.recordings()[0].answer.size == 0


def test_fields_that_the_site_adds_are_seen():
    from duck.wire.answer_fields import AnswerFields

    recorder = make_recorder()
    exchange, _ = record_exchange()
    recorder.begin(exchange)
    exchange.answer_fields = AnswerFields([(b"X-Frame-Options", b"DENY")])
    exchange.response.answer(ResponseHead(200, []), b"")
    assert recorder.recordings()[0].head.fields == [(b"X-Frame-Options", b"DENY")]


def test_a_file_is_sent_by_the_kernel_as_before_and_told_of_by_its_size(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 1000)
    recorder = make_recorder()
    exchange, stream = record_exchange()
    recorder.begin(exchange)
    assert exchange.response is exchange  # by which senders of files know that nobody looks
    exchange.backend = FILES
    exchange.response.head(ResponseHead(200, [], content_length=1000))
    with (tmp_path / "a").open("rb") as file:
        done = []
        exchange.file(file.fileno(), 0, 1000, done.append)
    exchange.response.end(None)
    (recording,) = recorder.recordings()
    assert stream.chunks == [0] and done == [None]
    assert (recording.answer.size, recording.answer.kept, recording.is_file) == (1000, 0, True)


def test_the_last_are_kept_and_files_apart():
    recorder = make_recorder(8)
    ask(recorder, target=b"/page")
    for number in range(50):
        ask(recorder, target=b"/static/%d" % number, backend=FILES)
    ask(recorder, target=b"/last")
    assert [one.request.target for one in recorder.recordings()] == [b"/last", b"/static/49", b"/static/48", b"/page"]
    for number in range(20):
        ask(recorder, target=b"/%d" % number)
    kept = [one.request.target for one in recorder.recordings() if not one.is_file]
    assert kept == [b"/%d" % number for number in range(19, 11, -1)]


@pytest.mark.parametrize(
    ("kind", "status", "is_file"),
    [(b"text/javascript", 200, True), (b"text/css", 304, True), (b"text/html", 200, False), (b"text/css", 404, False)],
)
def test_modules_of_a_front_end_server_are_files_and_its_pages_and_failures_are_not(kind, status, is_file):
    recorder = make_recorder(file_server="vite")
    exchange, _ = record_exchange()
    recorder.begin(exchange)
    exchange.backend = "vite"
    exchange.response.answer(ResponseHead(status, [(b"Content-Type", kind + b"; charset=utf-8")]), b"")
    ask(recorder, backend="django")
    assert [one.is_file for one in recorder.recordings()] == [False, is_file]


def test_memory_is_bounded_by_letting_go_of_the_oldest():
    recorder = make_recorder(1000, max_bytes=1_000_000)
    for _ in range(30):
        ask(recorder, answer=b"x" * 100_000)
    assert 5 <= len(recorder.recordings()) <= 10
    assert sum(one.size for one in recorder.recordings()) == recorder._bytes <= 1_000_000
    recorder.clear()
    assert recorder.recordings() == [] and recorder._bytes == 0


def test_an_exchange_that_is_let_go_of_while_it_goes_on_is_carried_to_its_end():
    recorder = make_recorder(1000, max_bytes=100_000)
    exchange, stream = record_exchange()
    recorder.begin(exchange)
    exchange.response.head(ResponseHead(200, []))
    exchange.response.data(b"x" * 60_000)
    ask(recorder, answer=b"y" * 60_000)
    assert [one.id for one in recorder.recordings()] == [2]
    exchange.response.data(b"x" * 60_000)
    exchange.response.end(None)
    assert len(stream.body) == 120_000 and stream.ended
    assert recorder._bytes == recorder.recordings()[0].size
    assert (recorder.busy, [one.id for one in recorder.recordings()]) == (0, [2])


def test_one_exchange_that_is_too_much_alone_does_no_harm():
    recorder = make_recorder(1000, max_bytes=10_000)
    assert ask(recorder, answer=b"y" * 60_000).ended
    assert recorder.recordings() == [] and recorder._bytes == 0


def test_one_that_waited_and_comes_again_is_recorded_once():
    recorder = make_recorder()
    exchange, _ = record_exchange()
    recorder.begin(exchange)
    recorder.begin(exchange)
    exchange.response.answer(ResponseHead(204, []), b"")
    assert len(recorder.recordings()) == 1


# -- before a server ----------------------------------------------------------------------------------------------


@pytest.fixture
def recorder():
    return make_recorder()


def served(recorder, answer):
    """A server that records; `finished` are the exchanges that its log was told of."""

    def handle(exchange):
        recorder.begin(exchange)
        answer(exchange)

    return Front(handle)


def take_body(exchange):
    body = Body()
    body.on_end = lambda: exchange.response.answer(ResponseHead(200, []), b"%d" % len(body.data_seen))
    exchange.read_body(body)


@pytest.mark.parametrize("request_bytes", [post(b"abc" * 10), chunked(b"abc" * 9, b"abc")])
def test_bodies_of_requests(recorder, request_bytes):
    front = served(recorder, take_body)
    assert front.ask(request_bytes).endswith(b"\r\n\r\n30")
    (recording,) = recorder.recordings()
    assert (recording.body.data, recording.body.is_whole, recording.moved) == (b"abc" * 10, True, (30, 2))
    assert front.finished == front.exchanges


def test_of_a_long_body_the_first_bytes_are_kept_and_all_is_passed_on(recorder):
    front = served(recorder, take_body)
    assert front.ask(post(b"x" * 1_000_000)).endswith(b"1000000")
    (recording,) = recorder.recordings()
    assert (recording.body.kept, recording.body.size) == (MAX_BODY_BYTES, 1_000_000)
    assert not recording.body.is_whole


def test_a_body_that_nobody_reads(recorder):
    front = served(recorder, lambda exchange: exchange.response.answer(ResponseHead(403, []), b"no"))
    front.ask(post(b"x" * 10))
    (recording,) = recorder.recordings()
    assert (recording.body.size, recording.body.is_whole, recording.state) == (0, False, "done")


def test_a_body_whose_client_leaves(recorder):
    front = served(recorder, take_body)
    transport = front.connect()
    transport.receive(post(b"x" * 10, length=20))
    transport.lose()
    front.loop.run()
    (recording,) = recorder.recordings()
    assert (recording.state, recording.body.data, recording.body.is_whole) == ("cut", b"x" * 10, False)
    assert front.finished == front.exchanges


def test_several_on_one_connection(recorder):
    front = served(recorder, lambda exchange: exchange.response.answer(ResponseHead(200, []), exchange.request.target))
    front.ask(get("/1") + get("/1") + get("/2"))
    assert [one.answer.data for one in recorder.recordings()] == [b"/2", b"/1", b"/1"]
    assert front.finished == front.exchanges


def test_the_parts_of_the_time(recorder):
    clock = recorder._clock
    exchange, _ = record_exchange(method=b"POST", content_length=3)
    exchange.started = 10.0
    clock.now = 10.0
    recorder.begin(exchange)
    body = Body()
    exchange.read_body(body)
    clock.now = 11.0
    exchange.body_sink.data(b"abc")
    exchange.body_ended(None)
    exchange.waited_s = 0.5
    exchange.dispatched_at = 11.75
    clock.now = 13.75
    exchange.response.head(ResponseHead(200, []))
    exchange.response.data(b"x")
    clock.now = 14.0
    exchange.response.end(None)
    timing = recorder.recordings()[0].timing(99.0)
    assert (timing.receive, timing.wait, timing.django, timing.send, timing.front, timing.total) == (
        1.0,
        0.5,
        2.0,
        0.25,
        0.25,
        4.0,
    )


def test_a_websocket_is_open_and_then_closed(recorder):
    class Upgraded(FakeStream):
        def send_upgrade(self, head):
            return "the bytes"

    exchange, _ = record_exchange(stream=Upgraded(), fields=[(b"Host", b"x")])
    exchange.request.upgrade = b"websocket"
    recorder.begin(exchange)
    assert exchange.response.upgrade(ResponseHead(101, [(b"Sec-WebSocket-Accept", b"x")])) == "the bytes"
    (recording,) = recorder.recordings()
    recording.refresh()
    assert (recording.state, recording.status, recording.is_socket) == ("open", 101, True)
    exchange.bytes_sent, exchange.bytes_received = 7, 3
    exchange.ended()
    assert (recording.state, recording.moved) == ("closed", (3, 7))

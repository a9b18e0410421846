"""Exchanges over HTTP/2: the same as over HTTP/1, one stream each."""

import itertools

import pytest

from duck.exceptions import ClientGone
from duck.wire import h2_frames as frames
from duck.wire.head import ResponseHead
from tests.net.front import Body, Front, Producer, answers, echo, echo_body, get, post
from tests.net.h2_client import Client
from tests.wire.h2_peer import SETTINGS, START, frame, number, setting


def head(length=None, status=200, fields=()):
    return ResponseHead(status, list(fields), content_length=length)


def end(front, *clients):
    """Everybody leaves, and nothing is left."""
    for client in clients:
        client.leave()
    settled(front)


def settled(front):
    """Every exchange has ended once, in whatever order, and nothing is kept."""
    front.loop.run()
    front.finished.sort(key=front.exchanges.index)
    front.check_clean()


def test_many_requests_on_one_connection():
    front = Front()
    client = Client(front)
    for path in ("/a", "/b?c=d", "/a", "/a"):
        answer = client.ask(path)
        assert (answer.status, answer.body, answer.ended, answer.reset) == (200, path.encode(), True, None)
    assert [exchange.request.version for exchange in front.finished] == [20] * 4
    assert [exchange.bytes_sent for exchange in front.finished] == [2, 6, 2, 2]
    assert client.transport.connection.peer.host == "192.0.2.7"
    assert front.server.snapshot()["now"] == {"loops": 1, "connections": 1, "tunnels": 0, "in_flight": 0}
    end(front, client)


def test_answers_come_in_any_order():
    held = []
    front = Front(held.append)
    client = Client(front)
    streams = [client.start(f"/{number}") for number in range(5)]
    for index in (3, 0, 4, 2, 1):
        held[index].answer(head(), held[index].request.target)
    front.loop.run()
    client.read()
    assert [client.answers[one].body for one in streams] == [b"/0", b"/1", b"/2", b"/3", b"/4"]
    end_order = [exchange.request.target for exchange in front.finished]
    assert end_order == [b"/3", b"/0", b"/4", b"/2", b"/1"]
    client.leave()


def test_all_that_is_read_at_once_is_answered_in_one_write():
    front = Front()
    client = Client(front)
    for stream_id in range(1, 21, 2):
        client.h2.send_headers(
            stream_id, [(":method", "GET"), (":path", "/x"), (":scheme", "http"), (":authority", "x")], end_stream=True
        )
    before = client.transport.writes
    client.send()
    assert client.transport.writes == before + 1
    assert sum(answer.ended for answer in client.answers.values()) == 10
    end(front, client)


def test_answers_of_one_turn_go_in_one_write():
    held = []
    front = Front(held.append)
    client = Client(front)
    for _ in range(10):
        client.start()
    before = client.transport.writes
    for exchange in held:
        exchange.answer(head(), b"hello")
    assert client.transport.writes == before
    front.loop.run()
    client.read()
    assert client.transport.writes == before + 1
    end(front, client)


# -- the same as over HTTP/1 ------------------------------------------------------------------------------------------


def shared(exchange):
    shared = ResponseHead(200, [(b"X-A", b"1")], content_length=5)
    shared.is_shared = True
    exchange.answer(shared, b"hello")


def pieces(exchange):
    exchange.head(head(6, fields=[(b"Content-Type", b"text/plain"), (b"Set-Cookie", b"a=b"), (b"Set-Cookie", b"c")]))
    exchange.data(b"abc")
    exchange.data(b"def")
    exchange.end(None)


def dated(exchange):
    exchange.answer(head(fields=[(b"Date", b"then"), (b"Content-Length", b"5")]), b"hello")


KINDS = {
    "echo": echo,
    "shared": shared,
    "pieces": pieces,
    "dated": dated,
    "empty": lambda exchange: exchange.answer(head(), b""),
    "no content": lambda exchange: exchange.answer(head(status=204, fields=[(b"Content-Length", b"5")]), b""),
    "not modified": lambda exchange: exchange.answer(head(status=304, fields=[(b"ETag", b'"x"')]), b""),
    "a length": lambda exchange: exchange.answer(head(5), b"hello"),
    "a fault": lambda exchange: 1 / 0,
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_http1(kind, method, caplog):
    front = Front(KINDS[kind])
    client = Client(front)
    answer = client.ask("/target", method=method)
    plain = front.connect()
    plain.receive(get("/target", method=method))
    sent = plain.pop_sent()
    block, _, body = sent.partition(b"\r\n\r\n")
    line, *lines = block.split(b"\r\n")
    expected = [tuple(part.partition(b": ")[::2]) for part in lines]
    assert answer.status == int(line.split(b" ")[1]) and bytes(answer.body) == body
    assert sorted(answer.fields[1:]) == sorted((name.lower(), value) for name, value in expected)
    assert answer.ended and answer.reset is None
    assert front.finished[0].bytes_sent == front.finished[1].bytes_sent
    plain.receive_eof()
    end(front, client)


def test_a_body_of_unknown_length():
    def answer(exchange):
        exchange.head(head(fields=[(b"Content-Length", b"7")]))
        exchange.data(b"abc")
        exchange.end([(b"x-sum", b"1")])

    front = Front(answer)
    client = Client(front)
    plain = client.ask()
    assert plain.body == b"abc" and plain.field("content-length") is None and plain.trailers is None
    with_te = client.ask("/", ("te", "trailers"))
    assert with_te.body == b"abc" and with_te.trailers == [(b"x-sum", b"1")] and with_te.ended
    end(front, client)


def test_nothing_follows_where_there_is_no_body():
    def answer(exchange):
        exchange.head(head(5))
        exchange.data(b"hello")
        exchange.end(None)

    front = Front(answer)
    client = Client(front)
    answer = client.ask(method="HEAD")
    assert answer.field("content-length") == b"5" and not answer.body and answer.ended
    assert front.finished[0].bytes_sent == 0
    end(front, client)


def test_interim_answers():
    def answer(exchange):
        exchange.informational(ResponseHead(103, [(b"Link", b"</a.css>")]))
        exchange.answer(head(), b"hello")

    front = Front(answer)
    client = Client(front)
    answer = client.ask()
    assert answer.informational == [[(b":status", b"103"), (b"link", b"</a.css>")]] and answer.body == b"hello"
    end(front, client)


def test_too_much_is_cut_off_and_too_little_is_reset(caplog):
    def long(exchange):
        exchange.head(head(3))
        exchange.data(b"abcdef")
        exchange.data(b"ghi")
        exchange.end(None)

    front = Front(long)
    client = Client(front)
    answer = client.ask()
    assert answer.body == b"abc" and answer.ended
    front._answer = lambda exchange: exchange.answer(head(9), b"abc")
    answer = client.ask()
    assert answer.body == b"abc" and answer.reset == frames.INTERNAL_ERROR and not answer.ended
    assert "shorter" in str(front.finished[1].error)
    front._answer = lambda exchange: exchange.answer(head(2), b"abc")
    assert client.ask().body == b"ab"
    front._answer = lambda exchange: exchange.answer(head(2), b"")
    assert client.ask().reset == frames.INTERNAL_ERROR
    front._answer = echo
    assert client.ask("/next").body == b"/next"
    end(front, client)


def test_an_answer_that_is_given_up_resets_its_stream():
    def answer(exchange):
        exchange.head(head(9))
        exchange.data(b"abc")
        exchange.abort(RuntimeError("no"))

    front = Front(answer)
    client = Client(front)
    answer = client.ask()
    assert answer.body == b"abc" and answer.reset == frames.INTERNAL_ERROR
    front._answer = echo
    assert client.ask("/next").body == b"/next"
    end(front, client)


# -- what cannot be understood ----------------------------------------------------------------------------------------


def test_refused_requests_are_answered_and_told():
    front = Front(max_target_bytes=100)
    client = Client(front)
    answer = client.ask("/" * 200)
    assert answer.status == 414 and b"target is too long" in answer.body and answer.ended
    assert client.ask("/", ("expect", "x")).status == 417
    assert front.refused == [414, 417] and front.server.refused_count == 2
    assert client.ask("/next").body == b"/next"
    end(front, client)


def test_a_refused_request_with_a_body_is_not_read():
    front = Front()
    client = Client(front)
    stream_id = client.start("/", ("expect", "x"), method="POST", end=False)
    answer = client.answers[stream_id]
    assert answer.status == 417 and answer.ended and answer.reset == frames.NO_ERROR
    end(front, client)


def test_a_refusal_waits_for_the_window():
    front = Front()
    client = Client(front, initial_window=0)
    stream_id = client.start("/", ("expect", "x"), method="POST", end=False)
    assert client.answers[stream_id].status == 417 and not client.answers[stream_id].body
    client.open_window(1000, stream_id)
    assert client.answers[stream_id].ended and client.answers[stream_id].reset == frames.NO_ERROR
    assert not client.transport.connection.http2.streams
    end(front, client)


def test_malformed_requests_are_told():
    front = Front()
    client = Client(front)
    client.raw(frame(frames.HEADERS, 5, 1, b"\x82\x87\x84\x01\x01x\x00\x01A\x01b"))
    assert front.refused == [400] and not front.exchanges
    client.leave()


def test_a_fault_of_the_client_ends_the_connection():
    held = []
    front = Front(held.append)
    client = Client(front)
    client.start()
    client.raw(frame(frames.PING, 0, 1, b"8" * 8))
    assert client.goaway == frames.PROTOCOL_ERROR and client.transport.wrote_eof
    assert front.refused == [400]
    assert held[0].is_over and held[0].error is not None
    client.raw(b"whatever comes now")
    assert not client.transport.aborted
    client.leave()
    front.loop.run()
    front.check_clean()


def test_whoever_goes_on_after_a_fault_is_cut_off():
    front = Front()
    client = Client(front)
    client.raw(frame(frames.PING, 0, 1, b"8" * 8))
    for _ in range(17):
        if not client.transport.aborted:
            client.transport.receive(b"x" * 65_536)
    assert client.transport.aborted
    front.loop.run()
    front.check_clean()


def test_too_many_connections():
    front = Front(max_connections=1)
    client = Client(front)
    protocol = front.server.protocol_for("h2")
    from duck.testing import FakeTransport

    other = FakeTransport(protocol, front.loop)
    assert bytes(other.sent).count(b"too many connections") == 1 and other.wrote_eof
    assert client.ask("/a").body == b"/a"
    other.lose()
    end(front, client)


# -- how HTTP/2 begins ------------------------------------------------------------------------------------------------


def test_alpn_chooses():
    from duck.testing import FakeTransport

    front = Front()
    transport = FakeTransport(front.server.protocol_for("h2"), front.loop)
    transport.receive(START)
    assert bytes(transport.sent)[3] == frames.SETTINGS
    transport.lose()
    front.server.http2 = False
    for chosen in ("h2", "http/1.1", None):
        transport = FakeTransport(front.server.protocol_for(chosen), front.loop)
        transport.receive(get("/a"))
        assert answers(transport.pop_sent())[0][2] == b"/a"
        transport.lose()
    front.check_clean()


def test_the_preface_is_known_however_it_is_split():
    sent = START + frame(frames.HEADERS, 5, 1, b"\x82\x86\x84\x01\x01x")
    whole = None
    for at in range(len(sent)):
        front = Front()
        transport = front.connect()
        for piece in (sent[:at], sent[at:]):
            if piece:
                transport.receive(piece)
        got = transport.pop_sent()
        whole = whole or got
        assert got == whole and len(front.finished) == 1
        transport.lose()
        front.check_clean()


def test_the_preface_byte_by_byte():
    front = Front()
    transport = front.connect()
    for byte in START:
        transport.receive(bytes([byte]))
    assert transport.pop_sent()[3] == frames.SETTINGS and not front.refused
    transport.lose()


def test_without_http2_the_preface_is_an_unknown_version():
    front = Front()
    front.server.http2 = False
    assert front.ask(START).startswith(b"HTTP/1.1 505 ") and front.refused == [505]


def test_under_tls_and_later_the_preface_is_an_unknown_version():
    front = Front()
    transport = front.connect(sslcontext=object())
    transport.receive(START)
    assert transport.pop_sent().startswith(b"HTTP/1.1 505 ")
    transport = front.connect()
    transport.receive(get("/"))
    transport.pop_sent()
    transport.receive(START)
    assert transport.pop_sent().startswith(b"HTTP/1.1 505 ")


# -- bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [(), (("content-length", "100000"),)])
def test_bodies_are_read(fields):
    front = Front(echo_body)
    client = Client(front)
    body = bytes(range(250)) * 400
    answer = client.ask("/", *fields, method="POST", body=body)
    assert answer.body == body and answer.ended and answer.reset is None
    assert front.finished[0].bytes_received == 100_000
    end(front, client)


def test_a_body_in_many_small_frames_comes_in_few_pieces():
    pieces = []

    def answer(exchange):
        body = Body()
        body.on_data = pieces.append
        body.on_end = lambda: exchange.answer(head(), b"%d" % len(body.data_seen))
        exchange.read_body(body)

    front = Front(answer)
    client = Client(front)
    stream_id = client.start("/", method="POST", end=False)
    one = frame(frames.DATA, 0, stream_id, b"x")
    client.raw(one * 500)
    client.raw(one * 500 + frame(frames.DATA, 1, stream_id, b"y"))
    assert pieces == [b"x" * 500, b"x" * 500 + b"y"] and client.answers[stream_id].body == b"1001"
    end(front, client)


def test_a_body_waits_until_it_is_wanted():
    held = []
    front = Front(held.append)
    client = Client(front)
    stream_id = client.start("/", method="POST", end=False)
    client.body(stream_id, b"x" * 60_000)
    assert client.h2.local_flow_control_window(stream_id) == 5535
    body = Body()
    held[0].read_body(body)
    assert body.data_seen == b"x" * 60_000 and body.ended
    held[0].answer(head(), b"done")
    front.loop.run()
    client.read()
    assert client.answers[stream_id].body == b"done"
    end(front, client)


@pytest.mark.parametrize("is_wanted", [True, False])
def test_what_a_client_gives_up_shuts_no_window_of_others(is_wanted):
    front = Front(lambda exchange: (exchange.read_body(Body()), exchange.pause_body()) if is_wanted else None)
    client = Client(front)
    for _ in range(40):
        stream_id = client.start("/", method="POST", end=False)
        client.body(stream_id, b"x" * 60_000, end=False)
        client.h2.reset_stream(stream_id)
        client.send()
        front.loop.run()
        client.read()
    assert client.h2.outbound_flow_control_window > 1 << 19
    end(front, client)


def test_uploads_that_nobody_takes_keep_no_other_stream_waiting():
    unread = []

    def answer(exchange):
        body = Body()
        exchange.read_body(body)
        if exchange.request.target == b"/unread":
            unread.append(exchange)
            exchange.pause_body()
        else:
            body.on_end = lambda: exchange.answer(head(), b"%d" % len(body.data_seen))

    front = Front(answer, max_body_bytes=1 << 24)
    client = Client(front)

    def fill(stream_id):
        """Send what the stream's window has room for, at most what is more than any has."""
        sent = 0
        while sent < 1 << 19 and (room := min(client.h2.local_flow_control_window(stream_id), 16_384)):
            client.h2.send_data(stream_id, b"x" * room)
            client.send()
            sent += room
        return sent

    for _ in range(20):
        stream_id = client.start("/unread", method="POST", end=False)
        front.loop.run()
        client.read()
        assert fill(stream_id) >= 65_535
    stream_id = client.start("/", method="POST", end=False)
    front.loop.run()
    client.read()
    sent = 0
    while sent < 1 << 21:
        sent += (more := fill(stream_id))
        assert more, "it is kept waiting"
        front.loop.run()
        client.read()
    client.body(stream_id, b"")
    front.loop.run()
    client.read()
    assert client.answers[stream_id].body == b"%d" % sent
    for exchange in unread:
        exchange.response.answer(head(), b"")
        exchange.drop_body()
    front.loop.run()
    client.leave()
    front.loop.run()


def test_a_body_is_paused_by_its_window():
    bodies = []

    def answer(exchange):
        body = Body()
        bodies.append((exchange, body))
        body.on_data = lambda data: exchange.pause_body()
        body.on_end = lambda: exchange.answer(head(), b"done")
        exchange.read_body(body)

    front = Front(answer)
    client = Client(front)
    stream_id = client.start("/", method="POST", end=False)
    front.loop.run()
    client.read()
    sent = 0
    while window := min(client.h2.local_flow_control_window(stream_id), 16_384):
        client.h2.send_data(stream_id, b"x" * window)
        client.send()
        sent += window
        assert sent < 1 << 20
    exchange, body = bodies[0]
    assert len(body.data_seen) == 16_384 and sent <= 16_384 + (1 << 18)
    # Another stream of the same connection is not kept waiting.
    assert client.ask("/", method="POST", body=b"") is not None
    exchange.resume_body()
    exchange.resume_body()
    front.loop.run()
    client.read()
    assert len(body.data_seen) > 16_384
    exchange.resume_body()
    client.h2.end_stream(stream_id)
    client.send()
    exchange.resume_body()
    front.loop.run()
    client.read()
    assert client.answers[stream_id].body == b"done" and len(body.data_seen) == sent
    for exchange, _ in bodies:
        exchange.resume_body()
    end(front, client)


def test_trailers_of_a_request():
    seen = []

    def answer(exchange):
        body = Body()
        body.on_end = lambda: (seen.append(body.trailers), exchange.answer(head(), b""))
        exchange.read_body(body)

    front = Front(answer)
    client = Client(front)
    stream_id = client.start("/", method="POST", end=False)
    client.body(stream_id, b"abc", end=False)
    client.h2.send_headers(stream_id, [("x-sum", "1"), ("x-forwarded-for", "evil")], end_stream=True)
    client.send()
    assert seen == [[(b"x-sum", b"1")]] and client.answers[stream_id].ended
    end(front, client)


@pytest.mark.parametrize("told", [True, False])
def test_bodies_longer_than_allowed_are_refused(told):
    front = Front(echo_body, max_body_bytes=1000)
    client = Client(front)
    fields = (("content-length", "2000"),) if told else ()
    stream_id = client.start("/", *fields, method="POST", end=False)
    if not told:
        client.body(stream_id, b"x" * 2000, end=False)
    answer = client.answers[stream_id]
    assert answer.status == 413 and answer.ended and answer.reset == frames.NO_ERROR
    assert client.ask("/", method="POST", body=b"x").body == b"x"
    end(front, client)


def test_a_producer_answers_for_its_body():
    producers = []

    def answer(exchange):
        exchange.producer = Producer()
        producers.append(exchange)
        exchange.read_body(Body())

    front = Front(answer, max_body_bytes=10)
    client = Client(front)
    stream_id = client.start("/", method="POST", end=False)
    client.body(stream_id, b"x" * 20, end=False)
    assert stream_id not in client.answers
    producers[0].answer(head(status=413), b"own page")
    front.loop.run()
    client.read()
    assert client.answers[stream_id].body == b"own page"
    end(front, client)


def test_100_continue():
    held = []
    front = Front(held.append)
    client = Client(front)
    stream_id = client.start("/", ("expect", "100-continue"), ("content-length", "3"), method="POST", end=False)
    assert stream_id not in client.answers
    body = Body()
    held[0].read_body(body)
    front.loop.run()
    client.read()
    assert client.answers[stream_id].informational == [[(b":status", b"100")]]
    client.body(stream_id, b"abc")
    assert body.ended
    held[0].answer(head(), b"")
    front.loop.run()
    # Who has sent already is not told to.
    stream_id = client.start("/", ("expect", "100-continue"), method="POST", end=False)
    client.body(stream_id, b"abc", end=False)
    held[1].read_body(Body())
    front.loop.run()
    client.read()
    assert stream_id not in client.answers or not client.answers[stream_id].informational
    client.leave()


def test_an_early_answer_ends_the_request():
    front = Front()
    client = Client(front)
    stream_id = client.start("/early", method="POST", end=False)
    answer = client.answers[stream_id]
    assert answer.body == b"/early" and answer.ended and answer.reset == frames.NO_ERROR
    client.raw(frame(frames.DATA, 0, stream_id, b"on its way"))
    assert client.goaway is None and client.ask("/next").body == b"/next"
    end(front, client)


def test_an_early_answer_leaves_a_body_that_is_read():
    def answer(exchange):
        exchange.read_body(body)
        exchange.answer(head(), b"early")

    body = Body()
    front = Front(answer)
    client = Client(front)
    stream_id = client.start("/", method="POST", end=False)
    assert client.answers[stream_id].ended and client.answers[stream_id].reset is None and not front.finished
    client.raw(frame(frames.DATA, 0, stream_id, b"abc") + frame(frames.DATA, 1, stream_id, b"def"))
    assert body.data_seen == b"abcdef" and body.ended and len(front.finished) == 1
    end(front, client)


def test_an_answer_within_the_last_bytes_of_a_body():
    def answer(exchange):
        body.on_data = lambda data: exchange.answer(head(), b"early")
        exchange.read_body(body)

    body = Body()
    front = Front(answer)
    client = Client(front)
    stream_id = client.start("/", method="POST", end=False)
    client.raw(frame(frames.DATA, 1, stream_id, b"abc"))
    assert body.ended and client.answers[stream_id].ended and len(front.finished) == 1
    end(front, client)


def test_a_body_that_is_dropped():
    held = []
    front = Front(held.append)
    client = Client(front)
    stream_id = client.start("/", method="POST", end=False)
    client.body(stream_id, b"abc", end=False)
    held[0].drop_body()
    held[0].answer(head(), b"no")
    front.loop.run()
    client.read()
    assert client.answers[stream_id].reset == frames.NO_ERROR
    end(front, client)


def test_a_body_that_is_not_as_long_as_it_was_said():
    body = Body()
    front = Front(lambda exchange: exchange.read_body(body))
    client = Client(front)
    stream_id = client.start("/", ("content-length", "3"), method="POST", end=False)
    client.raw(frame(frames.DATA, 0, stream_id, b"abcd"))
    assert client.answers[stream_id].reset == frames.PROTOCOL_ERROR
    assert body.aborts and front.finished[0].error is not None
    assert client.goaway is None
    end(front, client)


# -- clients that leave -----------------------------------------------------------------------------------------------


def test_a_stream_that_its_client_resets():
    producer = Producer()

    def answer(exchange):
        exchange.producer = producer
        exchange.head(head())
        exchange.data(b"abc")

    front = Front(answer)
    client = Client(front)
    stream_id = client.start()
    client.h2.reset_stream(stream_id)
    client.send()
    assert producer.calls == ["cancel"] and isinstance(producer.error, ClientGone)
    assert isinstance(front.finished[0].error, ClientGone)
    front.exchanges[0].data(b"more")
    front.exchanges[0].end(None)
    assert client.goaway is None
    end(front, client)


def test_a_client_that_leaves_within_answers_and_bodies():
    body, producer = Body(), Producer()

    def answer(exchange):
        if exchange.request.method == b"POST":
            exchange.read_body(body)
        else:
            exchange.producer = producer

    front = Front(answer)
    client = Client(front)
    client.start("/", method="POST", end=False)
    client.start("/")
    client.transport.lose()
    assert body.aborts == 1 and isinstance(body.error, ClientGone) and producer.calls == ["cancel"]
    front.check_clean()


def test_a_client_that_closes_its_half_gets_its_answers():
    held = []
    front = Front(held.append)
    client = Client(front)
    one = client.start("/")
    client.start("/", method="POST", end=False)
    client.transport.receive_eof()
    assert not client.transport.closed and held[1].is_over
    held[0].answer(head(), b"hello")
    front.loop.run()
    client.read()
    assert client.answers[one].body == b"hello" and client.transport.closed
    settled(front)


def test_whoever_makes_an_answer_hears_that_the_client_may_have_left():
    heard = []

    class Watching(Producer):
        def half_closed(self):
            heard.append(True)

    def answer(exchange):
        exchange.producer = Watching()

    front = Front(answer)
    client = Client(front)
    client.start("/")
    client.transport.receive_eof()
    assert heard == [True]
    client.transport.lose()


def test_an_idle_client_that_closes_is_let_go():
    front = Front()
    client = Client(front)
    client.ask()
    client.transport.receive_eof()
    assert client.transport.closed
    front.check_clean()


# -- slow clients -----------------------------------------------------------------------------------------------------


def test_a_producer_is_paused_by_the_window_of_its_stream():
    producer = Producer()

    def answer(exchange):
        if exchange.request.target == b"/slow":
            exchange.producer = producer
            exchange.head(head())
        else:
            echo(exchange)

    front = Front(answer)
    client = Client(front)
    client.auto = False
    stream_id = client.start("/slow")
    for _ in range(140):
        front.exchanges[0].data(b"x" * 1000)
    front.loop.run()
    client.read()
    assert len(client.answers[stream_id].body) == 65_535 and producer.calls == ["pause"]
    client.open_window(200_000)
    assert client.ask("/other").body == b"/other"
    client.open_window(50_000, stream_id)
    assert producer.calls == ["pause"]
    client.open_window(50_000, stream_id)
    assert producer.calls == ["pause", "resume"]
    front.exchanges[0].end(None)
    front.loop.run()
    client.read()
    assert client.answers[stream_id].ended and len(client.answers[stream_id].body) == 140_000
    end(front, client)


def test_bodies_wait_for_a_transport_that_is_full():
    producer = Producer()

    def answer(exchange):
        exchange.producer = producer
        exchange.head(head())

    front = Front(answer)
    client = Client(front, initial_window=1 << 20)
    client.open_window(1 << 20)
    stream_id = client.start()
    client.transport.slow = True
    for _ in range(40):
        front.exchanges[0].data(b"x" * 10_000)
        front.loop.run()
    assert client.transport.get_write_buffer_size() < 300_000
    assert producer.calls == ["pause"]
    while client.transport.get_write_buffer_size():
        client.transport.take()
    client.read()
    assert producer.calls == ["pause", "resume"] and len(client.answers[stream_id].body) == 400_000
    client.transport.slow = False
    front.exchanges[0].end(None)
    front.loop.run()
    client.read()
    end(front, client)


def test_whoever_takes_no_answers_is_not_read():
    front = Front(lambda exchange: exchange.answer(head(status=304), b""))
    client = Client(front)
    client.transport.slow = True
    http2 = client.transport.connection.http2
    block = b"\x82\x86\x84\x01\x01x"
    for stream_id in itertools.count(1, 2):
        if not client.transport.reading:
            break
        assert stream_id < 100_000
        client.transport.receive(frame(frames.HEADERS, 5, stream_id, block))
        if client.transport.get_write_buffer_size() > 65_536:
            assert len(http2.out) < 300
    assert stream_id > 1000
    while client.transport.get_write_buffer_size():
        client.transport.take()
    assert client.transport.reading and not http2.out
    client.transport.lose()
    front.check_clean()


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 2000)
    with path.open("rb") as opened:
        yield opened


def send_file(file, offset, count, dones, length=None):
    def answer(exchange):
        def done(error):
            dones.append(error)
            if error is None:
                exchange.end(None)
            elif not exchange.is_over:
                exchange.abort(error)

        exchange.head(head(count if length is None else length))
        exchange.file(file.fileno(), offset, count, done)

    return answer


def test_files_are_sent_in_frames(file):
    dones = []
    front = Front(send_file(file, 10, 500_000, dones))
    client = Client(front)
    answer = client.ask()
    assert bytes(answer.body) == (bytes(range(256)) * 2000)[10:500_010] and answer.ended and dones == [None]
    assert front.finished[0].bytes_sent == 500_000
    assert client.ask(method="HEAD").ended and dones == [None, None]
    end(front, client)


def test_a_file_is_read_as_it_is_taken(file):
    dones = []
    front = Front(send_file(file, 0, 500_000, dones))
    client = Client(front)
    client.auto = False
    stream_id = client.start()
    stream = client.transport.connection.live[stream_id]
    assert len(client.answers[stream_id].body) == 65_535 and stream.pending_bytes <= 65_536 and not dones
    client.h2.reset_stream(stream_id)
    client.send()
    assert len(dones) == 1 and isinstance(dones[0], ClientGone)
    assert front.finished[0].bytes_sent < 200_000
    end(front, client)


def test_a_file_that_became_shorter(file):
    dones = []
    front = Front(send_file(file, 511_000, 5000, dones))
    client = Client(front)
    answer = client.ask()
    assert isinstance(dones[0], OSError) and answer.reset == frames.INTERNAL_ERROR and not answer.ended
    end(front, client)


def test_a_file_for_a_client_that_has_left(file):
    dones = []
    held = []
    front = Front(held.append)
    client = Client(front)
    stream_id = client.start()
    stream = client.transport.connection.live[stream_id]
    held[0].head(head(10))
    client.h2.reset_stream(stream_id)
    client.send()
    stream.send_file(file.fileno(), 0, 10, dones.append)
    assert isinstance(dones[0], ClientGone)
    assert not stream.send_from(lambda: 1, 1, lambda: None, dones.append)
    stream.send_head(held[0], head())
    stream.send_data(b"x")
    stream.send_end(None)
    stream.send_answer(held[0], head(), b"")
    stream.send_informational(head(status=103))
    stream.start_body()
    stream.pause_body()
    stream.resume_body()
    end(front, client)


# -- deadlines --------------------------------------------------------------------------------------------------------


def test_an_idle_connection_ends_by_goaway():
    front = Front(keep_alive_timeout_s=10)
    client = Client(front)
    client.ask()
    front.pass_time(9)
    client.read()
    assert client.goaway is None
    front.pass_time(3)
    client.read()
    assert client.goaways == [(1, frames.NO_ERROR)] and client.transport.wrote_eof
    front.pass_time(3)
    front.check_clean()


def test_pings_do_not_keep_an_idle_connection():
    front = Front(keep_alive_timeout_s=10)
    client = Client(front)
    for _ in range(12):
        front.pass_time(1)
        client.read()
        if client.goaway is not None:
            break
        client.raw(frame(frames.PING, 0, 0, b"8" * 8))
    assert client.goaway == frames.NO_ERROR


def test_a_busy_connection_is_not_idle():
    held = []
    front = Front(held.append, keep_alive_timeout_s=10)
    client = Client(front)
    client.start()
    front.pass_time(30)
    held[0].answer(head(), b"late")
    front.loop.run()
    client.read()
    assert client.answers[1].body == b"late" and client.goaway is None
    front.pass_time(12)
    client.read()
    assert client.goaway == frames.NO_ERROR


@pytest.mark.parametrize("sent", [b"PRI * HT", START[:30], START + frame(frames.HEADERS, 0, 1, b"\x82"), START + b"\0"])
def test_a_head_that_comes_too_slowly(sent):
    front = Front(head_timeout_s=5)
    transport = front.connect()
    transport.receive(sent)
    front.pass_time(7)
    heard = transport.pop_sent()
    assert transport.wrote_eof or transport.closed
    assert heard.startswith(b"HTTP/1.1 408 ") or b"too slowly" in heard or not heard


def test_a_head_that_comes_in_time_has_no_deadline_after():
    front = Front(head_timeout_s=5)
    client = Client(front)
    client.raw(frame(frames.HEADERS, 1, 1, b"\x82\x86"))
    front.pass_time(4)
    client.raw(frame(frames.CONTINUATION, 4, 1, b"\x84\x01\x01x"))
    front.pass_time(20)
    assert client.answers[1].ended and client.goaway is None
    end(front, client)


def test_reads_that_all_end_within_a_frame():
    # As those of a busy connection do: each time it is another frame, and none of them is slow.
    front = Front(head_timeout_s=5)
    client = Client(front)
    client.auto = False
    left = b""
    for stream_id in range(1, 41, 2):
        whole = frame(frames.HEADERS, 5, stream_id, b"\x82\x86\x84\x01\x01x")
        client.raw(left + whole[:12])
        left = whole[12:]
        front.pass_time(1)
    client.read()
    assert client.goaway is None and all(client.answers[one].ended for one in range(1, 39, 2))
    front.pass_time(7)
    client.read()
    assert client.goaway == frames.ENHANCE_YOUR_CALM
    end(front, client)


def test_a_slow_block_behind_other_frames():
    front = Front(head_timeout_s=5)
    client = Client(front)
    client.auto = False
    client.raw(frame(frames.HEADERS, 5, 1, b"\x82\x86\x84\x01\x01x") + frame(frames.HEADERS, 1, 3, b"\x82"))
    for _ in range(6):
        front.pass_time(1)
        client.raw(frame(frames.CONTINUATION, 0, 3, b"\x86"))
    client.read()
    assert client.answers[1].ended and client.goaway == frames.ENHANCE_YOUR_CALM
    end(front, client)


def test_a_body_that_comes_too_slowly():
    front = Front(echo_body, body_timeout_s=5)
    client = Client(front)
    stream_id = client.start("/", method="POST", end=False)
    client.body(stream_id, b"x" * 10_000, end=False)
    front.pass_time(4)
    client.body(stream_id, b"x", end=False)
    front.pass_time(4)
    client.read()
    assert stream_id not in client.answers
    front.pass_time(3)
    client.read()
    answer = client.answers[stream_id]
    assert answer.status == 408 and answer.reset == frames.NO_ERROR and client.goaway is None
    end(front, client)


def test_a_slow_frame_is_a_body_that_comes():
    front = Front(echo_body, body_timeout_s=5, min_body_rate=0)
    client = Client(front)
    stream_id = client.start("/", method="POST", end=False)
    whole = frame(frames.DATA, 1, stream_id, b"x" * 10)
    client.raw(whole[:9])
    for at in range(9, len(whole)):
        front.pass_time(3)
        client.raw(whole[at : at + 1])
    assert client.answers[stream_id].body == b"x" * 10
    end(front, client)


def test_a_body_that_is_paused_has_no_deadline():
    body = Body()
    front = Front(lambda exchange: (exchange.read_body(body), exchange.pause_body()), body_timeout_s=5)
    client = Client(front)
    stream_id = client.start("/", method="POST", end=False)
    front.pass_time(20)
    front.exchanges[0].resume_body()
    front.pass_time(3)
    client.body(stream_id, b"abc")
    assert body.ended
    front.exchanges[0].answer(head(), b"")
    front.loop.run()
    end(front, client)


def test_a_client_that_opens_no_window_is_cut_off():
    front = Front(lambda exchange: exchange.answer(head(), b"x" * 1000), send_timeout_s=5)
    client = Client(front, initial_window=0)
    client.auto = False
    stream_id = client.start()
    front.pass_time(3)
    client.open_window(10, stream_id)
    front.pass_time(4)
    client.read()
    assert client.answers[stream_id].reset is None and client.answers[stream_id].body == b"x" * 10
    front.pass_time(4)
    client.read()
    assert client.answers[stream_id].reset == frames.CANCEL
    assert "took nothing" in str(front.finished[0].error)
    end(front, client)


def test_a_client_that_takes_nothing_is_cut_off():
    front = Front(lambda exchange: exchange.answer(head(), b"x" * 60_000), send_timeout_s=5)
    client = Client(front, initial_window=1 << 20)
    client.open_window(1 << 20)
    client.transport.slow = True
    for _ in range(3):
        client.start()
    front.pass_time(4)
    client.transport.take(1000)
    front.pass_time(4)
    assert not client.transport.aborted
    front.pass_time(8)
    assert client.transport.aborted
    front.loop.run()
    assert "took nothing" in str(front.finished[-1].error)
    assert front.finished[-1].bytes_sent < 60_000 and front.server.stats.snapshot()["cut"] >= 1
    settled(front)


def test_a_client_that_does_not_close_is_cut_off():
    front = Front(linger_s=2, send_timeout_s=5)
    client = Client(front)
    client.transport.slow = True
    client.raw(frame(frames.PING, 0, 1, b"8" * 8))
    front.pass_time(4)
    assert not client.transport.aborted  # its time to take what was said
    front.pass_time(8)
    assert client.transport.aborted
    front.loop.run()
    front.check_clean()


# -- the end ----------------------------------------------------------------------------------------------------------


def test_a_drain_in_two_steps():
    held = []
    front = Front(held.append)
    client = Client(front)
    client.pongs = False
    client.start("/one")
    emptied = []
    front.server.drain(lambda: emptied.append(True))
    front.loop.run()
    client.read()
    assert client.goaways == [(frames.MAX_WINDOW, 0)]
    client.raw(frame(frames.HEADERS, 5, 3, b"\x82\x86\x84\x01\x01x"))  # was on its way
    ping = next(one for one in client.frames if one[3] == frames.PING)
    client.raw(ping[:4] + b"\1" + ping[5:])
    assert client.goaways[1:] == [(3, 0)]
    client.raw(frame(frames.HEADERS, 5, 5, b"\x82\x86\x84\x01\x01x"))
    assert len(held) == 2
    for exchange in held:
        exchange.answer(head(), b"hello")
    front.loop.run()
    client.read()
    assert client.transport.wrote_eof and not emptied
    client.leave()
    front.loop.run()
    assert emptied
    front.check_clean()


def test_a_drain_does_not_wait_for_a_client_that_is_silent():
    front = Front(linger_s=1)
    client = Client(front)
    client.pongs = False
    emptied = []
    front.server.drain(lambda: emptied.append(True))
    front.loop.run()
    client.read()
    front.pass_time(2)
    client.read()
    assert [last for last, _ in client.goaways][:2] == [frames.MAX_WINDOW, 0]
    front.pass_time(3)
    front.loop.run()
    assert emptied


def test_a_client_that_goes_away_gets_its_answers():
    held = []
    front = Front(held.append)
    client = Client(front)
    client.start()
    client.raw(frame(frames.GOAWAY, 0, 0, number(0) + number(0)))
    assert not client.transport.wrote_eof
    held[0].answer(head(), b"hello")
    front.loop.run()
    client.read()
    assert client.answers[1].body == b"hello" and client.transport.wrote_eof
    client.leave()
    front.loop.run()
    front.check_clean()


def test_a_cut_ends_everything():
    held = []
    front = Front(held.append)
    client = Client(front)
    client.start()
    assert front.server.cut(upgraded=False) == 1
    front.loop.run()
    assert client.transport.aborted and "Duck stopped" in str(held[0].error)
    client.transport.connection.cut()
    front.check_clean()


def test_answers_that_have_begun_outlast_what_is_cut_before_them():
    held = []
    front = Front(held.append)
    client = Client(front)
    begun, silent = client.start("/begun"), client.start("/silent")
    held[0].head(head())
    front.loop.run()
    assert front.server.cut(upgraded=False, answering=False) == 1
    assert front.server.cut(upgraded=False, answering=False) == 0
    front.loop.run()
    client.read()
    assert client.answers[silent].reset == frames.CANCEL
    held[0].data(b"hello")
    held[0].end(None)
    front.loop.run()
    client.read()
    assert client.answers[begun].body == b"hello" and client.answers[begun].ended
    end(front, client)


def test_an_answer_that_its_client_has_not_taken_is_not_cut_before_others():
    front = Front()
    client = Client(front)
    client.transport.slow = True
    client.start("/")
    assert front.server.cut(upgraded=False, answering=False) == 0
    client.transport.take()
    assert front.server.cut(upgraded=False, answering=False) == 1
    front.loop.run()
    assert client.transport.aborted
    front.check_clean()


def test_a_connection_that_opens_when_others_are_told_to_go_ends_soon_after_its_request():
    front = Front(linger_s=1, keep_alive_timeout_s=60)
    other = front.connect()
    front.server.drain(lambda: None)
    client = Client(front)
    front.pass_time(0.5)
    assert client.ask("/").status == 200 and not client.transport.wrote_eof
    front.pass_time(2)
    client.read()
    assert client.transport.wrote_eof
    other.lose()
    end(front, client)


def test_nothing_happens_to_a_connection_that_is_gone():
    front = Front()
    client = Client(front)
    protocol = client.transport._protocol
    client.leave()
    protocol.flush()
    protocol.expire(5000.0)
    protocol.cut()
    front.check_clean()


def test_settings_of_a_client_that_is_slow():
    front = Front(lambda exchange: exchange.answer(head(), b"x" * 100))
    transport = front.connect()
    transport.receive(frames.PREFACE + frame(frames.SETTINGS, 0, 0, setting(4, 1)))
    transport.receive(frame(frames.HEADERS, 5, 1, b"\x82\x86\x84\x01\x01x"))
    transport.receive(frame(frames.SETTINGS, 0, 0, setting(4, 100)) + SETTINGS)
    assert front.finished and front.finished[0].bytes_sent == 100
    transport.lose()
    front.check_clean()


def test_http1_still_is_spoken_beside_it():
    front = Front(echo_body)
    client = Client(front)
    plain = front.connect()
    plain.receive(post(b"hello"))
    assert answers(plain.pop_sent())[0][2] == b"hello"
    assert client.ask(method="POST", body=b"hello").body == b"hello"
    plain.receive_eof()
    end(front, client)

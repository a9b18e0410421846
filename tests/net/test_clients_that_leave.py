"""Half-closed, reset and slow clients: who is told, how often, and what is left."""

import pytest

from duck.exceptions import ClientGone
from duck.net.exchange import BROKEN, CUT
from tests.net.front import (
    Body,
    Front,
    Producer,
    answers,
    chunked,
    echo_body,
    get,
    head,
    post,
)


def test_a_client_that_closes_its_half_gets_its_answer():
    held = []
    front = Front(held.append)
    client = front.connect()
    client.receive(get())
    client.receive_eof()
    assert not client.is_closing()
    held[0].answer(head(), b"here")
    assert client.pop_sent().endswith(b"here")
    front.loop.run()
    assert client.closed and not client.aborted
    front.check_clean()


def test_a_client_that_closes_its_half_gets_all_it_pipelined():
    held = []
    front = Front(held.append)
    client = front.connect()
    client.receive(get("/1") + get("/2") + get("/3"))
    client.receive_eof()
    for number in (1, 2, 3):
        held[-1].answer(head(), b"%d" % number)
        front.loop.run()
    found = answers(client.pop_sent())
    assert [body for _, _, body in found] == [b"1", b"2", b"3"]
    assert [b"Connection: close" in fields for _, fields, _ in found] == [
        False,
        False,
        True,
    ]
    assert client.closed
    front.check_clean()


def test_an_end_that_comes_between_two_pipelined_requests_loses_none():
    held = []
    front = Front(held.append)
    client = front.connect()
    client.receive(get("/1") + get("/2"))
    held[0].answer(head(), b"1")  # the second is taken up in the next turn of the loop; the end comes before
    assert len(held) == 1
    client.receive_eof()
    assert len(held) == 2 and not client.is_closing()
    held[1].answer(head(), b"2")
    front.loop.run()
    assert len(answers(client.pop_sent())) == 2 and client.closed
    front.check_clean()


def test_an_end_while_answers_wait_for_a_slow_client_loses_none():
    front = Front(lambda exchange: exchange.answer(head(), b"x" * 50_000))
    client = front.connect()
    client.slow = True
    for _ in range(5):
        client.receive(get())
    client.receive_eof()
    assert not client.is_closing()
    while client.get_write_buffer_size():
        client.take()
    assert len(answers(client.pop_sent())) == 5 and client.closed
    front.check_clean()


def test_an_end_within_a_head_closes_without_a_word():
    front = Front()
    client = front.connect()
    client.receive(b"GET / HTTP/1.1\r\nHost:")
    client.receive_eof()
    assert client.closed and client.pop_sent() == b""
    front.check_clean()


@pytest.mark.parametrize("data", [post(b"hello"), chunked(b"he", b"llo")], ids=["length", "chunked"])
def test_a_body_that_is_there_is_read_though_the_client_closed_its_half(data):
    held = []
    front = Front(held.append)
    client = front.connect()
    at = data.index(b"\r\n\r\n") + 4
    client.receive(data[:at])
    client.receive(data[at:])
    client.receive_eof()
    assert not client.is_closing()
    echo_body(held[0])
    front.loop.run()
    assert client.pop_sent().endswith(b"hello") and client.closed
    front.check_clean()


@pytest.mark.parametrize(
    "data",
    [post(b"hell", length=5), chunked(b"he", end=b"")],
    ids=["length", "chunked"],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_end_within_a_body_tells_its_reader_once(data, when):
    held = []
    front = Front(held.append)
    client = front.connect()
    at = data.index(b"\r\n\r\n") + 4
    client.receive(data[:at])
    client.receive(data[at:])
    body = Body()
    if when == "after":
        held[0].read_body(body)
    client.receive_eof()
    if when == "before":
        held[0].read_body(body)
    front.loop.run()
    assert client.pop_sent() == b""
    assert body.aborts == 1 and not body.ended and isinstance(body.error, ClientGone)
    assert client.is_closing()
    front.check_clean()


def test_who_makes_an_answer_is_told_of_a_half_closed_client():
    told = []

    class Told(Producer):
        def half_closed(self):
            told.append(True)

    front = Front(lambda exchange: setattr(exchange, "producer", Told()))
    client = front.connect()
    client.receive(get())
    client.receive_eof()
    assert told == [True]


@pytest.mark.parametrize("begun", [False, True])
def test_a_client_that_leaves_cancels_its_answer_once(begun):
    producer = Producer()

    def answer(exchange):
        exchange.producer = producer
        if begun:
            exchange.head(head())
            exchange.data(b"x")

    front = Front(answer)
    client = front.connect()
    client.receive(get())
    client.lose(ConnectionResetError())
    assert producer.calls == ["cancel"] and isinstance(producer.error, ClientGone)
    exchange = front.exchanges[0]
    assert exchange.answer_state is CUT and isinstance(exchange.error, ClientGone)
    # A backend that goes on is not heard.
    exchange.response.data(b"y") if begun else exchange.response.answer(head(), b"")
    exchange.response.abort(OSError())
    front.check_clean()


def test_a_client_that_leaves_within_its_body_aborts_it_once_and_cancels_once():
    producer, body = Producer(), Body()

    def answer(exchange):
        exchange.producer = producer
        exchange.read_body(body)

    front = Front(answer)
    client = front.connect()
    client.receive(post(b"1", length=5))
    client.lose()
    assert (producer.calls, body.aborts) == (["cancel"], 1)
    front.check_clean()


def test_a_client_that_left_before_its_body_was_read_is_told_so():
    held = []
    front = Front(held.append)
    client = front.connect()
    client.receive(post(b"1", length=5))
    client.lose()
    assert held[0].request_state is BROKEN and held[0].is_over
    with pytest.raises(ClientGone):
        held[0].read_body(Body())
    front.check_clean()


def test_an_answer_cut_while_the_body_is_read_aborts_the_body():
    body = Body()

    def answer(exchange):
        exchange.read_body(body)
        exchange.head(head())
        exchange.abort(OSError("the backend is gone"))

    front = Front(answer)
    client = front.connect()
    client.receive(post(b"1", length=5))
    assert client.aborted and body.aborts == 1
    front.check_clean()


@pytest.mark.parametrize("state", ["new", "head", "lingering", "answered", "closing"])
def test_a_connection_may_be_lost_in_any_state(state):
    front = Front()
    client = front.connect()
    if state == "head":
        client.receive(b"GET /")
    elif state == "lingering":
        client.receive(b"nonsense\r\n\r\n")
    elif state == "answered":
        client.receive(get())
    elif state == "closing":
        client.slow = True
        client.receive(get("/", "Connection: close"))
    client.lose(OSError())
    front.check_clean()


def test_a_slow_client_pauses_and_resumes_what_makes_the_answer():
    producer = Producer()

    def answer(exchange):
        exchange.producer = producer
        exchange.head(head())

    front = Front(answer)
    client = front.connect()
    client.slow = True
    client.receive(get())
    exchange = front.exchanges[0]
    exchange.data(b"x" * 60_000)
    assert producer.calls == []
    exchange.data(b"x" * 10_000)
    assert producer.calls == ["pause"] and exchange.paused
    client.take(40_000)
    assert producer.calls == ["pause"]
    client.take()
    assert producer.calls == ["pause", "resume"] and not exchange.paused
    exchange.end(None)
    client.take()
    client.receive_eof()
    front.check_clean()


def test_draining_closes_idle_connections_and_ends_the_others_after_their_answer():
    held, empty = [], []
    front = Front(held.append)
    idle, busy, begun = front.connect(), front.connect(), front.connect()
    busy.receive(get())
    begun.receive(b"GET / HTTP/1.1\r\n")
    front.server.drain(lambda: empty.append(True))
    front.loop.run()
    assert idle.closed and not busy.is_closing() and not begun.is_closing() and not empty
    begun.receive(b"Host: x\r\n\r\n")
    for exchange in held:
        exchange.answer(head(), b"last")
    front.loop.run()
    for client in (busy, begun):
        # Half: the client may have sent a request more, which a whole close would answer by a reset.
        assert b"Connection: close" in client.pop_sent() and client.wrote_eof and not client.closed
        client.receive(get())
        client.receive_eof()
        assert client.closed
    assert empty == [True]
    front.check_clean()


def test_cutting_ends_everything_at_once():
    producer = Producer()
    front = Front(lambda exchange: setattr(exchange, "producer", producer))
    client = front.connect()
    client.receive(get())
    front.server.cut()
    front.loop.run()
    assert client.aborted and producer.calls == ["cancel"]
    front.check_clean()


def test_who_asks_on_an_idle_connection_while_it_drains_is_answered():
    held, empty = [], []
    front = Front(held.append)
    kept, fresh, silent = front.connect(), front.connect(), front.connect()
    kept.receive(get())
    held.pop().answer(head(), b"first")
    assert b"Connection: close" not in kept.pop_sent()
    front.server.drain(lambda: empty.append(True), 2.0)
    front.loop.run()
    assert not kept.closed and not fresh.closed and not silent.closed
    for client in (kept, fresh):
        client.receive(get())
        held.pop().answer(head(), b"last")
        front.loop.run()
        assert b"Connection: close" in client.pop_sent() and client.wrote_eof
        client.receive_eof()
        assert client.closed
    assert not silent.closed and not empty
    front.pass_time(1.0)
    front.loop.advance(2.1)
    front.loop.run()
    assert silent.closed and empty
    front.check_clean()


def test_who_has_just_connected_may_still_ask_when_idle_connections_are_closed():
    held, empty = [], []
    front = Front(held.append)
    unused = front.connect()
    front.pass_time(5.0)
    kept, slow, silent = front.connect(), front.connect(), front.connect()
    kept.receive(get())
    held.pop().answer(head(), b"first")
    kept.pop_sent()
    front.server.drain(lambda: empty.append(True), 0.05)
    front.loop.advance(0.06)
    front.loop.run()
    # A client may have no time to ask between its connection and the end of all idle ones.
    assert front.server.closes_idle and unused.closed and kept.closed
    assert not slow.closed and not silent.closed
    slow.receive(get())
    held.pop().answer(head(), b"last")
    front.loop.run()
    assert b"Connection: close" in slow.pop_sent() and slow.wrote_eof
    slow.receive_eof()
    assert not silent.closed and not empty
    front.loop.advance(1.0)
    assert silent.closed and empty
    front.check_clean()

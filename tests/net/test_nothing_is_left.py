"""What a request leaves behind: nothing, and nothing that only the garbage collector finds."""

import gc

import pytest

from duck.exceptions import ClientGone
from duck.net.exchange import Exchange
from tests.net.front import Front, Producer, get, head, post


def streamed(exchange):
    exchange.producer = Producer()
    exchange.response.head(head())
    exchange.response.data(b"x")
    exchange.response.end(None)


def cut(exchange):
    exchange.producer = Producer()
    exchange.response.head(head())
    exchange.response.abort(OSError("gone"))


class Shout:
    """Changes an answer on its way."""

    def __init__(self, sink):
        self._sink = sink

    def answer(self, head, body):
        self._sink.answer(head, body.upper())


class Reply:
    """Answers when the body is complete."""

    def __init__(self, exchange):
        self._exchange = exchange

    def data(self, chunk):
        pass

    def end(self, trailers):
        self._exchange.response.answer(head(), b"")


def read(exchange):
    exchange.read_body(Reply(exchange))


def wrapped(exchange):
    exchange.wrap(Shout)
    exchange.response.answer(head(), b"quiet")


@pytest.mark.parametrize(
    ("answer", "data"),
    [
        (None, get()),
        (read, post(b"x")),
        (streamed, get()),
        (wrapped, get()),
        (cut, get()),
    ],
    ids=["whole", "body", "streamed", "wrapped", "cut"],
)
def test_a_request_makes_no_reference_cycle(answer, data):
    front = Front(answer)

    client = front.connect()

    def serve(count):
        nonlocal client
        for _ in range(count):
            client.receive(data)
            client.sent.clear()
            if client.is_closing():
                client = front.connect()
        front.exchanges.clear()
        front.finished.clear()

    serve(5)
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        others = {id(one) for one in gc.get_objects() if type(one) is Exchange}  # other tests' own
        serve(200)
        # A cut ends its connection, and that and its fake transport know one another.
        assert len(gc.get_objects()) - before < (50 if answer is not cut else 2000)
        assert not [one for one in gc.get_objects() if type(one) is Exchange and id(one) not in others]
    finally:
        gc.enable()


def test_what_is_said_after_the_end_is_not_heard():
    front = Front()
    client = front.connect()
    client.receive(get())
    sent = client.pop_sent()
    response = front.exchanges[0].response
    response.informational(head(103))
    response.head(head())
    response.data(b"x")
    response.end(None)
    response.answer(head(), b"x")
    response.abort(OSError())
    with pytest.raises(ClientGone):
        response.upgrade(head(101))
    assert client.pop_sent() == b"" and sent and not client.is_closing()

"""Time limits of a connection, by a clock that the test moves."""

import pytest

from duck.exceptions import BackendCut
from tests.net.front import Body, Front, Producer, answers, chunked, echo_body, get, head, post


def test_an_idle_connection_is_closed_without_a_word():
    front = Front(keep_alive_timeout_s=10)
    client = front.connect()
    front.pass_time(9)
    client.receive(get())
    client.pop_sent()
    front.pass_time(9)
    assert not client.is_closing()
    front.pass_time(2)
    assert client.closed and client.pop_sent() == b""
    front.check_clean()


def test_a_head_that_comes_too_slowly_is_answered_408():
    front = Front(head_timeout_s=5)
    client = front.connect()
    for piece in (
        b"GET / HT",
        b"TP/1.1\r\n",
        b"X: 1\r\n",
        b"Y: 1\r\n",
    ):  # each piece does not buy more time
        client.receive(piece)
        front.pass_time(2)
    assert [status for status, _, _ in answers(client.pop_sent())] == [408]
    front.pass_time(3)
    assert client.is_closing() and front.refused == [408]
    front.check_clean()


def test_a_head_begun_behind_another_request_has_its_deadline():
    front = Front(head_timeout_s=5)
    client = front.connect()
    client.receive(get() + b"GET / HT")
    client.pop_sent()
    front.pass_time(6)
    assert [status for status, _, _ in answers(client.pop_sent())] == [408]


def test_a_body_that_pauses_too_long_is_answered_408():
    front = Front(echo_body, body_timeout_s=5, min_body_rate=0)
    client = front.connect()
    client.receive(post(b"1", length=10))
    for _ in range(5):
        front.pass_time(4)
        client.receive(b"1")
    assert client.pop_sent() == b""
    front.pass_time(6)
    assert [status for status, _, _ in answers(client.pop_sent())] == [408]
    front.pass_time(3)
    front.check_clean()


def test_a_body_below_the_least_rate_is_answered_408():
    front = Front(echo_body, body_timeout_s=5, min_body_rate=100)
    client = front.connect()
    client.receive(chunked(end=b""))
    seconds = 0
    while not client.wrote_eof:
        client.receive(b"1\r\nx\r\n")
        front.pass_time(1)
        seconds += 1
        assert seconds < 20
    assert seconds >= 5
    assert [status for status, _, _ in answers(client.pop_sent())] == [408]


def test_a_body_at_a_fair_rate_may_take_its_time():
    front = Front(echo_body, body_timeout_s=5, min_body_rate=100)
    client = front.connect()
    client.receive(post(b"", length=100 * 60))
    for _ in range(60):
        client.receive(b"x" * 100)
        front.pass_time(1)
    assert client.pop_sent().startswith(b"HTTP/1.1 200 ")


def test_a_body_that_nobody_reads_yet_has_no_deadline():
    held = []
    front = Front(held.append, body_timeout_s=5)
    client = front.connect()
    client.receive(post(b"12", length=4))
    front.pass_time(600)
    assert client.pop_sent() == b"" and not client.is_closing()
    body = Body()
    held[0].read_body(body)
    front.pass_time(4)
    client.receive(b"34")
    assert body.ended


def test_a_body_that_nobody_reads_yet_has_no_deadline_after_a_slow_answer_either():
    held = []

    def answer(exchange):
        if exchange.request.method == b"GET":
            exchange.answer(head(), b"x" * 100_000)
        else:
            held.append(exchange)

    front = Front(answer, body_timeout_s=5, send_timeout_s=50)
    client = front.connect()
    client.slow = True
    client.receive(get())
    client.take(90_000)
    client.receive(post(b"12", length=4))
    client.take()
    front.pass_time(600)
    assert held and not client.wrote_eof and not client.is_closing()


def test_a_client_that_takes_nothing_is_cut_off():
    front = Front(lambda exchange: exchange.answer(head(), b"x" * 1_000_000), send_timeout_s=10)
    client = front.connect()
    client.slow = True
    client.receive(get())
    for _ in range(5):  # slow, but it takes some
        front.pass_time(9)
        client.take(10_000)
    assert not client.is_closing()
    front.pass_time(25)
    assert client.aborted
    front.check_clean()


def test_who_cut_an_answer_and_why_is_told():
    def begin(exchange):
        exchange.producer = producer
        exchange.head(head())
        exchange.data(b"x" * 100_000)

    def of_deadline(front, client):
        client.slow = True
        client.receive(get())
        front.pass_time(12)

    def of_stop(front, client):
        client.receive(get())
        front.server.cut()
        front.loop.run()

    def of_backend(front, client):
        client.receive(get())
        front.exchanges[0].abort(BackendCut("django was killed"))
        front.loop.run()

    def of_client(front, client):
        client.receive(get())
        client.lose(ConnectionResetError())

    for end, told in (
        (of_deadline, "the client took nothing of its answer for 10 s and was cut off"),
        (of_stop, "Duck stopped before the answer was complete"),
        (of_backend, "django was killed"),
        (of_client, "the client left"),
    ):
        front = Front(begin, send_timeout_s=10)
        producer = Producer()
        end(front, front.connect())
        (exchange,) = front.finished
        assert str(exchange.error) == told
        assert end is of_backend or str(producer.error) == told
        front.check_clean()


def test_who_cut_a_body_short_and_why_is_told():
    for when in ("before", "after"):
        body = Body()
        front = Front(lambda exchange, body=body, when=when: when == "before" or exchange.read_body(body))
        client = front.connect()
        client.receive(post(b"12", length=4))
        front.server.cut()
        front.loop.run()
        (exchange,) = front.finished
        assert str(exchange.error) == "Duck stopped before the answer was complete"
        assert when == "before" or body.error is exchange.error


def test_a_client_that_takes_nothing_of_a_last_answer_is_cut_off():
    front = Front(lambda exchange: exchange.answer(head(), b"x" * 30_000), send_timeout_s=10)
    client = front.connect()
    client.slow = True
    client.receive(get("/", "Connection: close"))
    assert client.closed and not client.aborted
    front.pass_time(12)
    assert client.aborted
    front.check_clean()


def test_a_refused_client_that_takes_nothing_is_cut_off():
    front = Front(linger_s=2)
    client = front.connect()
    client.slow = True
    client.receive(b"nonsense\r\n\r\n")
    front.pass_time(3)
    assert client.aborted
    front.check_clean()


def test_an_answer_that_is_being_made_has_no_deadline_of_the_connection():
    held = []
    front = Front(held.append)
    client = front.connect()
    client.receive(get())
    front.pass_time(3600)
    assert not client.is_closing()
    held[0].answer(head(), b"at last")
    assert client.pop_sent().endswith(b"at last")


def test_a_fault_in_one_deadline_does_not_stop_the_others(caplog):
    front = Front(keep_alive_timeout_s=1)

    class Faulty:
        deadline = 0.0

        def expire(self, now):
            raise ZeroDivisionError("a fault")

    faults = [Faulty() for _ in range(20)]
    front.clock.watched.update(faults)
    clients = [front.connect() for _ in range(20)]
    front.pass_time(2)
    assert all(client.closed for client in clients)
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("end", ["unread body", "close"])
@pytest.mark.parametrize("size", [50_000, 500_000])
def test_the_last_answer_of_a_connection_is_taken_as_slowly_as_any_other(end, size):
    front = Front(lambda exchange: exchange.answer(head(), b"x" * size), send_timeout_s=10, linger_s=2)
    client = front.connect()
    client.slow = True
    client.receive(get("/", "Connection: close") if end == "close" else post(b"1", length=9))
    whole = client.get_write_buffer_size()
    for _ in range(12):
        front.pass_time(9)
        client.take(size // 20)
    assert not client.aborted
    client.take()
    assert len(client.pop_sent()) == whole
    front.pass_time(11)
    assert client.is_closing()
    front.check_clean()


@pytest.mark.parametrize("end", ["unread body", "close"])
def test_a_last_answer_that_is_not_taken_is_cut(end):
    front = Front(lambda exchange: exchange.answer(head(), b"x" * 50_000), send_timeout_s=10, linger_s=2)
    client = front.connect()
    client.slow = True
    client.receive(get("/", "Connection: close") if end == "close" else post(b"1", length=9))
    front.pass_time(21)
    assert client.aborted
    front.check_clean()

"""RFC 9112 over a connection: persistence, pipelining, bodies, expectations, and what closes it."""

import sys
from itertools import pairwise

import pytest

from duck.net.exchange import READING
from duck.wire.head import ResponseHead
from tests.net.front import (
    DATE,
    Body,
    Front,
    answers,
    chunked,
    echo_body,
    get,
    head,
    post,
)


def test_an_answer_is_one_write_and_the_connection_stays():
    front = Front()
    client = front.connect()
    for number in (1, 2):
        client.receive(get("/hello"))
        assert client.pop_sent() == b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 6\r\n\r\n/hello"
        assert client.writes == number and not client.is_closing()
    client.receive_eof()
    front.check_clean()


def test_a_request_may_come_in_any_pieces():
    front = Front(echo_body)
    data = post(b"hello") + chunked(b"a", b"bc")
    for size in (1, 2, 3, 7):
        client = front.connect()
        for at in range(0, len(data), size):
            client.receive(data[at : at + size])
        assert [body for _, _, body in answers(client.pop_sent())] == [b"hello", b"abc"]
        client.receive_eof()
    front.check_clean()


def test_pipelined_requests_are_answered_in_order():
    front = Front()
    client = front.connect()
    client.receive(b"".join(get(f"/{number}") for number in range(20)))
    assert [body for _, _, body in answers(client.pop_sent())] == [b"/%d" % number for number in range(20)]


def test_a_thousand_pipelined_requests_need_no_recursion():
    front = Front()
    limit = sys.getrecursionlimit()
    client = front.connect()
    sys.setrecursionlimit(len(__import__("inspect").stack()) + 60)
    try:
        client.receive(b"".join(get(f"/{number}") for number in range(1000)))
    finally:
        sys.setrecursionlimit(limit)
    assert len(answers(client.pop_sent())) == 1000
    client.receive_eof()
    front.check_clean()


LONE = get("/lone", version="1.0")
WITH_COOKIE = get("/cookie", "Cookie: a=b")
NOT_A_HEAD = post(b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n", target="/body")
COOKIE_IN_BODY = post(b"\r\nCookie: a=b\r\n\r\n", target="/body")


@pytest.mark.parametrize(
    ("data", "targets"),
    [
        (get("/a") + get("/b"), [b"/a", b"/b"]),
        (WITH_COOKIE + get("/b"), [b"/cookie", b"/b"]),
        (get("/a") + WITH_COOKIE, [b"/a", b"/cookie"]),
        (WITH_COOKIE * 3, [b"/cookie"] * 3),
        (NOT_A_HEAD, [b"/body"]),
        (NOT_A_HEAD + WITH_COOKIE, [b"/body", b"/cookie"]),
        (COOKIE_IN_BODY, [b"/body"]),
        (WITH_COOKIE + COOKIE_IN_BODY + get("/c"), [b"/cookie", b"/body", b"/c"]),
        (get("/close", "Connection: keep-alive", version="1.0") + LONE, [b"/close", b"/lone"]),
        (get("/a") + b"\r\n\r\n", [b"/a"]),
    ],
)
def test_what_ends_like_a_head_is_not_taken_for_one(data, targets):
    front = Front(echo_body)
    for known in (get("/a"), WITH_COOKIE, LONE):  # their fields are remembered
        front.ask(known)
    front.exchanges.clear()
    for _ in range(2):
        front.ask(data)
        assert [exchange.request.target for exchange in front.exchanges] == targets
        front.exchanges.clear()


def test_a_client_that_asks_the_same_again_is_answered_as_before():
    front = Front(echo_body)
    transport = front.connect()
    other = get("/same", "Cookie: a=2")
    same = get("/same", "Cookie: a=1")
    for data in (same, same, other, same, other, other, post(b"same"), post(b"same"), same):
        transport.receive(data)
    assert [exchange.request.fields[-1][1] for exchange in front.exchanges] == [
        *(b"a=1", b"a=1", b"a=2", b"a=1", b"a=2", b"a=2"),
        *(b"4", b"4", b"a=1"),
    ]
    assert len({id(exchange) for exchange in front.exchanges}) == 9
    # Of another connection nothing is known.
    front.connect().receive(same)
    assert front.exchanges[-1].request is not front.exchanges[-2].request


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (get("/"), True),
        (get("/", *(f"X-{number}: y" for number in range(31))), True),
        (get("/", *(f"X-{number}: y" for number in range(32))), False),
        (get("/", "Cookie: " + "x" * 2048), False),
        (post(b""), True),
        (post(b"x"), False),
    ],
)
def test_only_a_short_head_without_a_body_is_kept_with_the_connection(data, kept):
    front = Front(echo_body)
    transport = front.connect()
    transport.receive(data)
    transport.receive(data)
    first, second = front.exchanges
    assert (first.request is second.request) == kept


def test_a_thousand_pipelined_requests_leave_the_loop_to_others():
    front = Front()
    client = front.connect()
    client.connection.data_received(b"".join(get(f"/{number}") for number in range(1000)))
    turns = [len(front.exchanges)]
    while len(front.exchanges) < 1000:
        front.loop.call_soon(lambda: turns.append(len(front.exchanges)))
        for _ in range(len(front.loop._ready)):
            callback, arguments = front.loop._ready.popleft()
            callback(*arguments)
    assert max(after - before for before, after in pairwise(turns)) <= turns[0] <= 50
    assert [body for _, _, body in answers(client.pop_sent())] == [b"/%d" % number for number in range(1000)]


def test_what_is_pipelined_while_one_is_answered_waits_its_turn():
    held = []
    front = Front(held.append)
    client = front.connect()
    client.receive(get("/1"))
    client.receive(get("/2") + get("/3"))
    assert len(held) == 1
    for number in (1, 2, 3):
        assert len(held) == number
        held[-1].answer(head(), b"%d" % number)
        front.loop.run()
    assert [body for _, _, body in answers(client.pop_sent())] == [b"1", b"2", b"3"]


def test_reading_stops_at_64_kib_of_pipelined_requests_and_goes_on():
    held = []
    front = Front(lambda exchange: held.append(exchange) if exchange.request.path == b"/slow" else exchange.answer(
        head(), b""
    ))  # fmt: skip
    client = front.connect()
    client.receive(get("/slow"))
    count = 0
    while client.reading:
        client.receive(get("/fast") * 100)
        count += 100
    assert 65_536 < count * len(get("/fast")) < 65_536 + 101 * len(get("/fast"))
    held[0].answer(head(), b"")
    front.loop.run()
    assert client.reading and len(answers(client.pop_sent())) == count + 1
    client.receive_eof()
    front.check_clean()


def test_a_client_that_takes_no_answers_gets_no_more_requests_answered():
    front = Front(lambda exchange: exchange.answer(head(), b"x" * 50_000))
    client = front.connect()
    client.slow = True
    for _ in range(50):
        client.receive(get("/"))
    assert len(front.exchanges) == 2 and client.get_write_buffer_size() < 150_000
    while client.get_write_buffer_size():
        client.take()
    assert len(front.exchanges) == 50
    client.receive_eof()
    front.check_clean()


@pytest.mark.parametrize(
    ("fields", "stays"),
    [
        ((), False),
        (("Connection: keep-alive",), True),
        (("Connection: Keep-Alive, x",), True),
    ],
)
def test_http_1_0_closes_unless_asked_to_stay(fields, stays):
    front = Front()
    client = front.connect()
    client.receive(get("/", *fields, version="1.0"))
    answer = client.pop_sent()
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert (b"Connection: keep-alive" in answer, b"Connection: close" in answer) == (
        stays,
        not stays,
    )
    assert client.is_closing() != stays


def test_http_1_0_gets_an_answer_of_unknown_length_until_the_end_of_the_connection():
    def answer(exchange):
        exchange.head(head())
        exchange.data(b"one")
        exchange.data(b"two")
        exchange.end(None)

    front = Front(answer)
    client = front.connect()
    client.receive(get("/", "Connection: keep-alive", version="1.0"))
    sent = client.pop_sent()
    assert b"Connection: close" in sent and b"Transfer-Encoding" not in sent and sent.endswith(b"\r\n\r\nonetwo")
    assert client.closed and not client.aborted
    front.check_clean()


def test_an_answer_of_unknown_length_goes_in_chunks():
    def answer(exchange):
        exchange.head(head())
        exchange.data(b"one")
        exchange.data(b"x" * 5000)
        exchange.end([(b"Digest", b"1")])

    front = Front(answer)
    body = b"3\r\none\r\n1388\r\n" + b"x" * 5000 + b"\r\n0\r\n"
    assert front.ask(get()).endswith(b"Transfer-Encoding: chunked\r\n\r\n" + body + b"\r\n")
    # Trailers only for those that say they take them (RFC 9110 §6.5.1).
    assert front.ask(get("/", "TE: trailers", "Connection: TE")).endswith(body + b"Digest: 1\r\n\r\n")


def test_head_gets_the_head_alone():
    def answer(exchange):
        if exchange.request.path == b"/whole":
            exchange.answer(head(), b"12345")
        else:
            exchange.head(head(length=5) if exchange.request.path == b"/length" else head())
            exchange.data(b"12345")
            exchange.end(None)

    front = Front(answer)
    client = front.connect()
    for path in ("/whole", "/length", "/stream"):
        client.receive(get(path, method="HEAD"))
        sent = client.pop_sent()
        assert sent.endswith(b"\r\n\r\n") and sent.count(b"\r\n\r\n") == 1 and b"chunked" not in sent
    assert not client.is_closing()
    assert [exchange.bytes_sent for exchange in front.finished] == [0, 0, 0]


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body_have_none(status):
    front = Front(lambda exchange: exchange.answer(head(status, (b"ETag", b'"1"')), b"body"))
    sent = front.ask(get())
    assert sent.endswith(b"\r\n\r\n") and b"body" not in sent
    assert status == 304 or b"Content-Length" not in sent


def test_informational_answers_are_passed_on_to_http_1_1_alone():
    def answer(exchange):
        exchange.informational(head(103, (b"Link", b"</a>")))
        exchange.answer(head(), b"")

    front = Front(answer)
    assert front.ask(get()).startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK")
    assert front.ask(get(version="1.0")).startswith(b"HTTP/1.1 200 OK")


# -- Expect: 100-continue (RFC 9110 §10.1.1) --------------------------------------------------------------------------


def test_100_continue_is_sent_only_when_the_body_is_wanted():
    held = []
    front = Front(held.append)
    client = front.connect()
    client.receive(post(b"", "Expect: 100-continue", length=5))
    assert client.pop_sent() == b""
    body = Body()
    held[0].read_body(body)
    assert client.pop_sent() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.receive(b"hello")
    assert body.ended and body.data_seen == b"hello"


def test_100_continue_is_not_sent_to_who_sends_already():
    front = Front(echo_body)
    assert front.ask(post(b"hello", "Expect: 100-continue")).startswith(b"HTTP/1.1 200 OK")


def test_a_body_that_would_be_refused_is_never_asked_for():
    front = Front(echo_body, max_body_bytes=10)
    client = front.connect()
    client.receive(post(b"", "Expect: 100-continue", length=11))
    sent = client.pop_sent()
    assert sent.startswith(b"HTTP/1.1 413 ") and b"Connection: close" in sent and client.wrote_eof


def test_http_1_0_expects_nothing():
    front = Front(echo_body)
    client = front.connect()
    client.receive(
        get(
            "/",
            "Content-Length: 2",
            "Expect: 100-continue",
            method="POST",
            version="1.0",
        )
    )
    assert client.pop_sent() == b""
    client.receive(b"hi")
    assert client.pop_sent().endswith(b"hi")


# -- early answers ----------------------------------------------------------------------------------------------------


def test_an_answer_before_the_body_closes_the_connection_but_not_at_once():
    front = Front()
    client = front.connect()
    client.receive(post(b"half", length=1000))
    ((_, fields, _),) = answers(client.pop_sent())
    assert b"Connection: close" in fields
    assert client.wrote_eof and not client.is_closing() and client.reading
    client.receive(b"x" * 500)
    assert client.pop_sent() == b""
    front.pass_time(3)
    assert client.is_closing()
    front.check_clean()


def test_what_comes_after_a_close_is_bounded():
    front = Front()
    client = front.connect()
    client.receive(post(b"half", length=1 << 30))
    for _ in range(17):
        client.receive(b"x" * 65_536)
    assert client.is_closing()


def test_an_answer_complete_while_its_handler_still_reads_ends_in_order():
    body = Body()

    def answer(exchange):
        exchange.read_body(body)
        exchange.answer(head(), b"early")

    front = Front(answer)
    client = front.connect()
    client.receive(post(b"12345", length=10))
    assert client.pop_sent().endswith(b"early")
    client.receive(b"67890")
    assert body.ended and client.is_closing()
    front.check_clean()


def test_a_body_that_breaks_after_its_answer_ends_the_connection():
    body = Body()

    def answer(exchange):
        exchange.read_body(body)
        exchange.answer(head(), b"early")

    front = Front(answer)
    client = front.connect()
    client.receive(chunked(b"1", end=b""))
    client.receive(b"nonsense\r\n")
    assert body.aborts == 1
    front.pass_time(3)
    assert client.is_closing()
    front.check_clean()


def test_a_body_is_paused_and_resumed_by_its_reader():
    held = []
    front = Front(held.append)
    client = front.connect()
    client.receive(post(b"12", length=6))
    assert not client.reading
    body = Body()
    body.on_data = lambda chunk: held[0].pause_body()
    held[0].read_body(body)
    assert body.data_seen == b"12" and not client.reading
    held[0].resume_body()
    assert client.reading
    client.receive(b"34")
    assert body.data_seen == b"1234" and not client.reading
    front.pass_time(500)  # the wait is not the client's: no deadline
    body.on_data = None
    held[0].resume_body()
    client.receive(b"56")
    assert body.ended == 1
    held[0].answer(head(), b"")
    client.receive(get())
    assert len(held) == 2


def test_trailers_of_a_request_are_no_fields():
    body = Body()
    front = Front(lambda exchange: exchange.read_body(body))
    client = front.connect()
    client.receive(chunked(b"a", end=b"0\r\nDigest: 1\r\nContent-Length: 5\r\n\r\n"))
    assert body.trailers == [(b"Digest", b"1")]
    assert front.exchanges[0].request_state == "complete"
    assert b"Digest" not in [name for name, _ in front.exchanges[0].request.fields]


# -- answers that do not keep their word ------------------------------------------------------------------------------


def test_an_answer_longer_than_its_length_is_cut_to_it(caplog):
    def answer(exchange):
        exchange.head(head(length=3))
        exchange.data(b"12")
        exchange.data(b"345")
        exchange.data(b"678")
        exchange.end(None)

    front = Front(answer)
    client = front.connect()
    client.receive(get() + get())
    assert [body for _, _, body in answers(client.pop_sent())] == [b"12" + b"3"] * 2
    assert len(caplog.records) == 2


def test_a_whole_answer_longer_than_its_length_is_cut_to_it(caplog):
    front = Front(lambda exchange: exchange.answer(head(length=3), b"12345"))
    assert [body for _, _, body in answers(front.ask(get() + get()))] == [b"123"] * 2
    assert "longer than its Content-Length" in caplog.text


@pytest.mark.parametrize("whole", [True, False])
def test_an_answer_shorter_than_its_length_never_looks_complete(whole, caplog):
    def answer(exchange):
        if whole:
            exchange.answer(head(length=5), b"123")
        else:
            exchange.head(head(length=5))
            exchange.data(b"123")
            exchange.end(None)

    front = Front(answer)
    client = front.connect()
    client.receive(get())
    assert client.aborted and b"Content-Length: 5\r\n" in client.pop_sent()
    assert "shorter than its Content-Length" in caplog.text
    front.check_clean()
    assert front.finished[0].error is not None


def test_a_chunked_answer_given_up_has_no_last_chunk():
    def answer(exchange):
        exchange.head(head())
        exchange.data(b"123")
        exchange.abort(OSError("gone"))

    front = Front(answer)
    client = front.connect()
    client.receive(get())
    assert client.aborted and client.pop_sent().endswith(b"3\r\n123\r\n")
    front.check_clean()


def test_a_handler_that_fails_answers_500_and_the_connection_survives(caplog):
    def answer(exchange):
        if exchange.request.path == b"/boom":
            raise ZeroDivisionError("boom")
        exchange.answer(head(), b"fine")

    front = Front(answer)
    client = front.connect()
    client.receive(get("/boom") + get("/"))
    assert [status for status, _, _ in answers(client.pop_sent())] == [500, 200]
    assert "ZeroDivisionError" in caplog.text
    assert not client.is_closing()


def test_a_handler_that_fails_within_its_answer_cuts_it(caplog):
    def answer(exchange):
        exchange.head(head())
        exchange.data(b"12")
        raise ZeroDivisionError("boom")

    front = Front(answer)
    client = front.connect()
    client.receive(get())
    assert client.aborted and client.pop_sent().endswith(b"2\r\n12\r\n")
    front.check_clean()


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
        (b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            501,
        ),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n", 417),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET /" + b"a" * 40_000, 414),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000, 431),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 101 + b"Host: a\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 102, 431),
    ],
)
def test_what_cannot_be_understood_is_refused_and_the_connection_closed(data, status):
    front = Front()
    client = front.connect()
    client.receive(data)
    ((got, fields, _),) = answers(client.pop_sent())
    assert got == status and b"Connection: close" in fields and front.refused == [status]
    assert client.wrote_eof and not client.is_closing() and not front.exchanges
    client.receive(get())  # thrown away
    assert client.pop_sent() == b""
    front.pass_time(3)
    assert client.is_closing()
    front.check_clean()


def test_a_refusal_comes_after_the_answers_before_it():
    held = []
    front = Front(held.append)
    client = front.connect()
    client.receive(get() + b"nonsense\r\n\r\n")
    held[0].answer(head(), b"first")
    front.loop.run()
    assert [status for status, _, _ in answers(client.pop_sent())] == [200, 400]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("lines", [0, 1, 2, 3])
def test_one_empty_line_before_each_request_is_let_pass_however_it_is_split(lines, size):
    for before in ([], [200]):
        client = Front().connect()
        data = (get() if before else b"") + b"\r\n" * lines + get("/2")
        for at in range(0, len(data), size):
            if not client.wrote_eof:
                client.receive(data[at : at + size])
        found = [status for status, _, _ in answers(client.pop_sent())]
        assert found == [*before, 200 if lines < 2 else 400]


def test_an_empty_line_behind_a_request_takes_nothing_of_the_next_ones_time():
    # Some clients end a body with a line end that its length does not count.
    for data in ([post(b"x") + b"\r\n"], [post(b"x"), b"\r\n"]):
        front = Front(echo_body, head_timeout_s=5, keep_alive_timeout_s=50)
        client = front.connect()
        for piece in data:
            client.receive(piece)
        front.pass_time(45)
        assert not client.is_closing()
        client.receive(get())
        assert [status for status, _, _ in answers(client.pop_sent())] == [200, 200]
        front.pass_time(55)
        assert client.closed and client.pop_sent() == b""


@pytest.mark.parametrize(
    "data",
    [
        post(b"x" * 11),
        chunked(b"x" * 6, b"x" * 5),
        post(b"", length=11),
        chunked(b"x" * 6, end=b"5\r\n"),
        chunked(b"x" * 6, end=b"5\r\nx"),
        chunked(end=b"ffffffffffff\r\n"),
    ],
    ids=[
        "declared",
        "chunked",
        "declared, not sent",
        "a chunk announced, not sent",
        "a chunk announced, and begun",
        "a chunk of any size",
    ],
)
def test_a_body_beyond_its_limit_is_refused(data):
    front = Front(echo_body, max_body_bytes=10)
    client = front.connect()
    client.receive(data)
    ((status, fields, _),) = answers(client.pop_sent())
    assert status == 413 and b"Connection: close" in fields and client.wrote_eof
    front.pass_time(3)
    front.check_clean()


def test_chunks_that_have_just_the_allowed_bytes_are_taken():
    front = Front(echo_body, max_body_bytes=10)
    data = chunked(b"x" * 6, b"x" * 4)
    for at in range(data.index(b"6\r\n"), len(data) + 1):
        client = front.connect()
        client.receive(data[:at])
        client.receive(data[at:]) if at < len(data) else None
        assert [status for status, _, _ in answers(client.pop_sent())] == [200]


def test_a_route_may_allow_a_longer_body():
    def answer(exchange):
        exchange.max_body_bytes = 20
        echo_body(exchange)

    front = Front(answer, max_body_bytes=10)
    assert front.ask(post(b"x" * 20)).endswith(b"x" * 20)
    assert front.ask(post(b"x" * 21)).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("body", [b"zz\r\n", b"3\r\nabcd\r\n", b"3 \r\nabc\r\n", b"-1\r\n", b"3\nabc\n"])
def test_malformed_chunks_are_refused(body):
    front = Front(echo_body)
    client = front.connect()
    client.receive(chunked(end=body))
    assert [status for status, _, _ in answers(client.pop_sent())] == [400]
    front.pass_time(3)
    front.check_clean()


def test_a_refused_head_request_gets_no_body():
    front = Front()
    client = front.connect()
    client.receive(b"HEAD / HTTP/1.1\r\nHost: a b\r\n\r\n")
    head, _, body = client.pop_sent().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ") and b"Content-Length: " in head and body == b""
    front.pass_time(3)


def test_connections_beyond_the_limit_are_told_and_closed(caplog):
    front = Front(max_connections=2)
    first, second = front.connect(), front.connect()
    third = front.connect()
    assert third.pop_sent().startswith(b"HTTP/1.1 503 ") and third.wrote_eof
    third.receive(get())
    assert third.pop_sent() == b"" and not front.exchanges
    front.pass_time(3)
    assert third.is_closing()
    first.receive_eof()
    fourth = front.connect()
    fourth.receive(get("/4"))
    assert fourth.pop_sent().endswith(b"/4")
    second.receive(get("/2"))
    assert second.pop_sent().endswith(b"/2")
    front.connect()
    second.receive_eof()
    fourth.receive_eof()
    front.pass_time(3)
    assert [record.getMessage() for record in caplog.records] == [
        "2 connections are open, as many as MAX_CONNECTIONS allows; more are answered 503"
    ]
    for _ in range(3):
        front.connect()
    assert len(caplog.records) == 2  # there was room again in between


def test_an_exchange_reads_its_body_where_it_was_told_to():
    held = []
    front = Front(held.append)
    client = front.connect()
    client.receive(post(b"hello"))
    body = Body()
    held[0].read_body(body)
    with pytest.raises(AssertionError):
        held[0].request_state = READING
        held[0].read_body(Body())


def test_the_dates_of_answers_are_not_doubled():
    front = Front(lambda exchange: exchange.answer(ResponseHead(200, [(b"Date", b"then")]), b""))
    assert front.ask(get()).count(b"Date: ") == 1


def test_no_interim_answer_comes_within_a_final_one():
    # A view that streams its answer and reads the body only then: the client would take 100 for a part of it.
    held = []
    front = Front(held.append)
    client = front.connect()
    client.receive(post(b"", "Expect: 100-continue", length=2))
    held[0].head(head(200, length=4))
    held[0].data(b"ab")
    body = Body()
    held[0].read_body(body)
    client.receive(b"12")
    assert bytes(body.data_seen) == b"12" and body.ended
    held[0].data(b"cd")
    held[0].end(None)
    assert b"100 Continue" not in client.pop_sent()


def test_requests_behind_the_last_one_do_not_reset_its_answer():
    # What comes after a close would be answered by a reset, which overtakes the answer (RFC 9112 §9.6).
    held = []
    front = Front(held.append)
    client = front.connect()
    client.receive(get())
    front.server.drain(lambda: None)
    client.receive(get("/2") * 5)
    held[0].answer(head(), b"last")
    front.loop.run()
    assert b"Connection: close" in client.pop_sent()
    assert client.wrote_eof and not client.closed
    client.receive(get("/3"))
    client.receive_eof()
    assert client.closed and len(held) == 1
    front.check_clean()

"""What a request has cost in Django reaches its exchange, whatever way the answer takes, and no client."""

import pytest

from duck.net.measure import Measure
from duck.wire import link
from tests.net.front import get
from tests.proxy.backends import answer, read_request, serve

TOLD = link.measure_frame(3, 1500, 20, 4000)
MEASURE = Measure(3, 0.0015, 0.00002, 0.004)
SEALED = {"secret": "s3cret", "measure_field": "x-duck-measure"}


def measured(front, data=None):
    """The answer, and what its exchange knows of its cost."""
    before = len(front.exchanges)
    found = front.ask(data or get())
    front.wait_exchanges(before + 1)
    return found, front.exchanges[-1].measure


def test_of_a_whole_answer_over_the_link_it_is_told_before(front, link_backend):
    def script(slot, items, fields, body):
        slot.send(TOLD)
        slot.answer(b"whole")

    front.switch(link_backend(script).upstream())
    found, measure = measured(front)
    assert (found.body, measure) == (b"whole", MEASURE)


def test_of_a_stream_the_last_word_counts(front, link_backend):
    def script(slot, items, fields, body):
        slot.send(link.measure_frame(1, 1, 1, 1))
        slot.head(b"a ")
        slot.data(b"stream")
        slot.send(TOLD)
        slot.end()
        slot.free()

    front.switch(link_backend(script).upstream())
    found, measure = measured(front)
    assert (found.body, measure) == (b"a stream", MEASURE)


def test_what_is_told_of_an_answer_that_nobody_waits_for_is_dropped(front, link_backend):
    def script(slot, items, fields, body):
        body = items["path"].encode()
        answer = link.head_frame(200, b"OK", b"", len(body), body, complete=True)
        # After its end, and before the next request: in one write, which is read at once.
        slot.send(answer + link.free_frame(0) + TOLD)

    front.switch(link_backend(script).upstream())
    for path in ("/one", "/two"):
        found, measure = measured(front, get(path))
        assert (found.body, measure) == (path.encode(), None)


@pytest.mark.parametrize("body", [b"", b"whole", b"x" * 300_000])
def test_through_asgi_the_field_is_taken_off(front, http_backend, body):
    def reply(connection, line, fields, _):
        return answer(body, "A: 1", "X-Duck-Measure: s3cret 3 1500 20 4000", "B: 2")

    front.switch(http_backend(serve(reply)).upstream(**SEALED))
    for _ in range(2):  # a second time from what is remembered of the first
        found, measure = measured(front)
        assert (found.body, measure) == (body, MEASURE)
        assert (found.headers["A"], found.headers["B"], found.headers["X-Duck-Measure"]) == ("1", "2", None)


def test_a_server_that_duck_did_not_start_is_passed_on_and_not_believed(front, http_backend):
    field = "X-Duck-Measure: s3cret 3 1500 20 4000"
    front.switch(http_backend(serve(lambda *_: answer(b"", field))).upstream())
    found, measure = measured(front)
    assert (found.headers["X-Duck-Measure"], measure) == ("s3cret 3 1500 20 4000", None)


def test_the_tail_of_a_stream_is_taken_off_too(front, http_backend):
    mark = b"\0" + b"m" * 15
    field = b"X-Duck-Measure: s3cret 1 1 1 1 " + mark.hex().encode()
    pieces = [b"a stream\0", b" and more", mark[:7], mark[7:] + TOLD[5:]]

    def script(connection):
        while True:
            read_request(connection)
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + field + b"\r\n\r\n")
            for piece in pieces:
                connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            connection.send(b"0\r\n\r\n")

    front.switch(http_backend(script).upstream(**SEALED))
    found, measure = measured(front)
    assert (found.body, found.headers["X-Duck-Measure"], measure) == (b"a stream\0 and more", None, MEASURE)

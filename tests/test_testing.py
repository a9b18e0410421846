"""The fake stream holds its callers to what a real one expects."""

import pytest

from duck.exceptions import ClientGone
from duck.testing import FakeStream, record_exchange
from duck.wire.head import ResponseHead


def test_an_answer_is_recorded():
    exchange, stream = record_exchange(b"GET", b"/x?y")
    exchange.response.informational(ResponseHead(103, [(b"Link", b"</a>")]))
    exchange.response.answer(ResponseHead(200, [(b"A", b"1"), (b"a", b"2")], content_length=2), b"hi")
    assert [head.status for head in stream.informational] == [103]
    assert (stream.status, bytes(stream.body), stream.ended) == (200, b"hi", True)
    assert stream.field("A") == "1" and stream.field_lines("a") == ["1", "2"] and stream.field("b") is None


def test_a_body_of_another_length_than_announced_is_an_error():
    exchange, _ = record_exchange()
    with pytest.raises(AssertionError, match="3 announced"):
        exchange.answer(ResponseHead(200, [], content_length=3), b"hi")


def test_a_body_where_there_is_none_is_an_error():
    exchange, _ = record_exchange(b"HEAD")
    with pytest.raises(AssertionError, match="where there is none"):
        exchange.answer(ResponseHead(200, [], content_length=2), b"hi")


def test_a_client_that_leaves_lets_go_of_a_held_file(tmp_path):
    exchange, stream = record_exchange(stream=FakeStream(hold_files=True))
    told = []
    exchange.head(ResponseHead(200, [], content_length=2))
    with (tmp_path / "f").open("w+b") as file:
        exchange.file(file.fileno(), 0, 2, told.append)
        stream.leave()
    assert exchange.is_over and isinstance(told[0], ClientGone) and len(told) == 1

"""Sending files: paused, cut short, left alone; the descriptor is closed in every case."""

import os

import pytest

from duck.exceptions import BackendCut, ClientGone
from duck.http.file_sender import CHUNK, TURN, FileSender
from duck.testing import FakeStream, record_exchange
from duck.wire.head import ResponseHead


class Through:
    """A sink before the exchange that changes nothing, as a compressing one would stand there."""

    def __init__(self, inner):
        self._inner = inner
        for name in ("informational", "head", "data", "end", "answer", "abort", "upgrade"):
            setattr(self, name, getattr(inner, name))


class Later:
    """Stands in for the loop: what is to be called soon."""

    def __init__(self):
        self.calls = []

    def __call__(self, callback):
        self.calls.append(callback)

    def run(self):
        calls, self.calls = self.calls, []
        for call in calls:
            call()


def is_open(descriptor):
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@pytest.fixture
def file(tmp_path):
    """Makes a file of some size, and opens it."""

    def make(size):
        path = tmp_path / "file.bin"
        path.write_bytes(os.urandom(size))
        return path, os.open(path, os.O_RDONLY)

    return make


def start(descriptor, parts, size, *, wrapped, stream=None, soon=None):
    exchange, stream = record_exchange(stream=stream)
    if wrapped:
        exchange.wrap(Through)
    sender = FileSender(exchange, descriptor, "file.bin", parts, soon or Later())
    sender.start(ResponseHead(200, [], content_length=size))
    return exchange, stream


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_file_is_sent_whole(file, wrapped):
    path, descriptor = file(CHUNK * 2 + 7)
    _, stream = start(descriptor, [(0, CHUNK * 2 + 7)], CHUNK * 2 + 7, wrapped=wrapped)
    assert stream.ended and stream.body == path.read_bytes()
    assert stream.chunks == ([CHUNK, CHUNK, 7] if wrapped else [0])
    assert not is_open(descriptor)


@pytest.mark.parametrize("wrapped", [False, True])
def test_parts_are_sent_in_their_order(file, wrapped):
    path, descriptor = file(100)
    data = path.read_bytes()
    _, stream = start(descriptor, [b"<", (90, 10), b"|", (0, 5), b">"], 18, wrapped=wrapped)
    assert stream.ended and stream.body == b"<" + data[90:] + b"|" + data[:5] + b">"
    assert not is_open(descriptor)


@pytest.mark.parametrize("wrapped", [False, True])
def test_nothing_to_send_is_a_complete_answer(file, wrapped):
    _, descriptor = file(0)
    _, stream = start(descriptor, [], 0, wrapped=wrapped)
    assert stream.ended and not is_open(descriptor)


def test_a_slow_client_pauses_the_reading(file):
    path, descriptor = file(CHUNK * 5)
    stream = FakeStream(high_water=CHUNK)
    start(descriptor, [(0, CHUNK * 5)], CHUNK * 5, wrapped=True, stream=stream, soon=lambda callback: callback())
    assert len(stream.body) == CHUNK * 2
    stream.drain()
    assert len(stream.body) == CHUNK * 4
    stream.drain()
    assert stream.ended and stream.body == path.read_bytes() and not is_open(descriptor)


def test_a_client_that_was_slow_from_the_start_gets_the_head_only(file):
    _, descriptor = file(10)
    exchange, stream = record_exchange()
    exchange.wrap(Through)
    exchange.pause_answer()
    FileSender(exchange, descriptor, "file.bin", [(0, 10)], Later()).start(ResponseHead(200, [], content_length=10))
    assert stream.status == 200 and not stream.body
    stream.drain()
    assert stream.ended and not is_open(descriptor)


def test_a_resume_within_a_chunk_does_not_start_a_second_reading(file):
    """A sink that pauses and resumes while it takes a chunk."""
    path, descriptor = file(CHUNK * 3)

    class Nervous(FakeStream):
        def send_data(self, chunk):
            super().send_data(chunk)
            self.exchange.pause_answer()
            self.exchange.resume_answer()

    _, stream = start(descriptor, [(0, CHUNK * 3)], CHUNK * 3, wrapped=True, stream=Nervous())
    assert stream.body == path.read_bytes() and stream.ended


def test_others_get_their_turn_when_nobody_pauses(file):
    path, descriptor = file(TURN * 2 + 1)
    later = Later()
    exchange, stream = start(descriptor, [(0, TURN * 2 + 1)], TURN * 2 + 1, wrapped=True, soon=later)
    assert len(stream.body) == TURN and len(later.calls) == 1
    exchange.pause_answer()
    exchange.resume_answer()
    assert len(stream.body) == TURN and len(later.calls) == 1
    later.run()
    later.run()
    assert stream.ended and stream.body == path.read_bytes() and not is_open(descriptor)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_file_that_became_shorter_cuts_the_answer(file, wrapped):
    path, descriptor = file(100)
    os.truncate(path, 60)
    exchange, stream = start(descriptor, [(0, 100)], 100, wrapped=wrapped)
    assert not stream.ended and isinstance(stream.cut, BackendCut) and "file.bin" in str(stream.cut)
    assert stream.body == path.read_bytes()
    assert exchange.is_over and not is_open(descriptor)


def test_a_file_that_grows_is_sent_as_long_as_it_was(file):
    path, descriptor = file(100)
    with path.open("ab") as more:
        more.write(b"more")
    _, stream = start(descriptor, [(0, 100)], 100, wrapped=True)
    assert stream.ended and stream.body == path.read_bytes()[:100]


def test_a_read_error_cuts_the_answer(file, monkeypatch):
    _, descriptor = file(100)

    def fail(*args):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("duck.http.file_sender.read_at", fail)
    _, stream = start(descriptor, [(0, 100)], 100, wrapped=True)
    assert isinstance(stream.cut, BackendCut) and isinstance(stream.cut.__cause__, OSError)
    assert not is_open(descriptor)


def test_a_client_that_leaves_while_paused_closes_the_file(file):
    _, descriptor = file(CHUNK * 5)
    stream = FakeStream(high_water=1)
    start(descriptor, [(0, CHUNK * 5)], CHUNK * 5, wrapped=True, stream=stream)
    assert is_open(descriptor)
    stream.leave()
    assert not is_open(descriptor) and isinstance(stream.cut, ClientGone)


def test_a_file_in_the_streams_hands_is_closed_when_the_stream_lets_go(file):
    _, descriptor = file(100)
    stream = FakeStream(hold_files=True)
    exchange, _ = start(descriptor, [(0, 100)], 100, wrapped=False, stream=stream)
    exchange.lost(ClientGone("the client left"))
    assert is_open(descriptor)
    stream.reset(ClientGone("the client left"))
    assert not is_open(descriptor)


def test_a_held_file_is_sent_later(file):
    path, descriptor = file(100)
    stream = FakeStream(hold_files=True)
    start(descriptor, [(0, 100)], 100, wrapped=False, stream=stream)
    assert not stream.ended
    stream.release_file()
    assert stream.ended and stream.body == path.read_bytes() and not is_open(descriptor)


def test_a_client_that_left_before_the_head_closes_the_file(file):
    _, descriptor = file(100)
    exchange, stream = record_exchange()
    exchange.lost(ClientGone("the client left"))
    FileSender(exchange, descriptor, "file.bin", [(0, 100)], Later()).start(ResponseHead(200, [], content_length=100))
    assert stream.head is None and not is_open(descriptor)


def test_an_exchange_that_somebody_else_aborts_closes_the_file(file):
    _, descriptor = file(CHUNK * 5)
    stream = FakeStream(high_water=1)
    exchange, _ = start(descriptor, [(0, CHUNK * 5)], CHUNK * 5, wrapped=True, stream=stream)
    exchange.abort(TimeoutError("too slow"))
    assert not is_open(descriptor)


@pytest.mark.parametrize("error", [ClientGone("left"), BrokenPipeError(32, "Broken pipe"), ConnectionResetError()])
def test_a_client_that_the_stream_misses_first_is_not_taken_for_a_fault_of_the_file(file, error):
    _, descriptor = file(100)
    stream = FakeStream(hold_files=True)
    exchange, _ = start(descriptor, [(0, 100)], 100, wrapped=False, stream=stream)
    stream.reset(error)
    assert isinstance(exchange.error, ClientGone) and not is_open(descriptor)

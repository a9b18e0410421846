"""What a field block of HTTP/2 costs: by Duck, by the `hpack` library, by `jh2` and `h2` where they are installed.

    python -m tests.benchmarks.field_blocks

CPU time of this process in microseconds for one block of a browser's, or one exchange; each in turn, least and median.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any, Final

import hpack

from duck.wire.h2_connection import Http2Connection
from duck.wire.h2_frames import END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, frame_header
from duck.wire.h2_head import request_head
from duck.wire.h2_stream import StreamState
from duck.wire.hpack import Decoder, encode_lines, encode_status
from tests.benchmarks.load import BROWSER_FIELDS

ROUNDS: Final = 11
BLOCKS: Final = 400
ANSWER: Final = (
    b"content-type: text/plain\r\ncontent-length: 13\r\ndate: Sat, 28 Nov 2026 03:57:37 GMT\r\n"
    b"x-frame-options: DENY\r\nvary: Cookie\r\n"
)
PAIRS: Final = [
    (b":status", b"200"),
    *[(name, value) for line in ANSWER.split(b"\r\n")[:-1] for name, _, value in [line.partition(b": ")]],
]


def fields(path: bytes) -> list[tuple[bytes, bytes]]:
    """What a browser sends."""
    pseudo = [(b":method", b"GET"), (b":authority", b"localhost:8000"), (b":scheme", b"https"), (b":path", path)]
    rest = [(name.lower().encode(), value.encode()) for name, value in BROWSER_FIELDS.items() if name != "Connection"]
    return pseudo + rest


def blocks(*, varied: bool) -> list[bytes]:
    """One connection's; `varied`: a path of its own for each."""
    encoder = hpack.Encoder()
    return [encoder.encode(fields(b"/items/%d?page=2" % (number if varied else 0))) for number in range(BLOCKS)]


def decode(make: Callable[[], Any], method: str, *more: object) -> Callable[[list[bytes]], None]:
    """Read blocks by one decoder."""

    def run(those: list[bytes]) -> None:
        read = getattr(make(), method)
        for block in those:
            read(block, *more)

    return run


def understand(those: list[bytes]) -> None:
    """Read blocks, and make requests of them, checked."""
    decoder = Decoder()
    for block in those:
        found = decoder.decode(block, 65_536)
        assert found is not None
        request_head(found, ended=True, scheme=b"https", max_fields=100, max_target_bytes=16_384)


class Answers:
    """Answers every request at once."""

    def __init__(self) -> None:
        self.connection = Http2Connection(self, b"https", 0.0)
        self.connection.feed(PREFACE + frame_header(0, SETTINGS, 0, 0), 0.0)

    def make_stream(self, stream_id: int, send_window: int) -> StreamState:
        return StreamState(stream_id, send_window)

    def request(self, stream: StreamState, head: object) -> None:
        self.connection.send_head(stream, encode_status(200) + encode_lines(ANSWER))
        self.connection.send_data(stream, b"Hello, world!", end=True)

    def refused(self, stream: StreamState, error: Exception, head: object) -> None:
        raise error

    def malformed(self, stream: StreamState, error: Exception, head: object) -> None:
        raise error

    def sent_end(self, stream: StreamState) -> None: ...
    def body(self, stream: StreamState, data: bytes) -> None: ...
    def body_end(self, stream: StreamState, fields: object) -> None: ...
    def was_reset(self, stream: StreamState, error: Exception) -> None: ...
    def emitted(self, stream: StreamState) -> None: ...
    def refill(self, stream: StreamState) -> None: ...
    def goodbye_heard(self) -> None: ...


def exchange(those: list[bytes]) -> None:
    """Requests in, answers out, by Duck's framing."""
    answers = Answers()
    connection = answers.connection
    for number, block in enumerate(those):
        header = frame_header(len(block), HEADERS, END_HEADERS | END_STREAM, 2 * number + 1)
        connection.feed(header + block, 0.0)
        b"".join(connection.out)
        connection.out.clear()
        connection.send_window = 65_535
    assert connection.error is None


def exchange_by(module: str) -> Callable[[list[bytes]], None] | None:
    """The same by `h2` or `jh2`; None where it is not installed."""
    try:
        config = importlib.import_module(f"{module}.config")
        made = importlib.import_module(f"{module}.connection")
    except ImportError:
        return None

    def run(those: list[bytes]) -> None:
        connection = made.H2Connection(config.H2Configuration(client_side=False, header_encoding=None))
        connection.initiate_connection()
        connection.receive_data(PREFACE + frame_header(0, SETTINGS, 0, 0))
        for number, block in enumerate(those):
            header = frame_header(len(block), HEADERS, END_HEADERS | END_STREAM, 2 * number + 1)
            connection.receive_data(header + block)
            connection.send_headers(2 * number + 1, PAIRS)
            connection.send_data(2 * number + 1, b"Hello, world!", end_stream=True)
            connection.data_to_send()

    return run


def encode_by(make: Callable[[], Any], *, triples: bool) -> Callable[[list[bytes]], None]:
    """Write as many answers as there are blocks."""
    pairs: list[Any] = [(*pair, False) for pair in PAIRS] if triples else PAIRS

    def run(those: list[bytes]) -> None:
        write = make().encode
        for _ in those:
            write(pairs)

    return run


def encode(those: list[bytes]) -> None:
    """The same by Duck."""
    for _ in those:
        encode_status(200) + encode_lines(ANSWER)


def first(those: list[bytes], run: Callable[[list[bytes]], None]) -> None:
    """The first block of as many connections."""
    for _ in those:
        run(those[:1])


def main() -> None:
    """Print one line for each way."""
    readers: dict[str, Callable[[list[bytes]], None]] = {
        "Duck": decode(Decoder, "decode", 65_536),
        "Duck, to a checked request": understand,
        "hpack": decode(lambda: hpack.Decoder(65_536), "decode", True),
    }
    writers: dict[str, Callable[[list[bytes]], None]] = {
        "Duck": encode,
        "hpack": encode_by(hpack.Encoder, triples=False),
    }
    exchanges: dict[str, Callable[[list[bytes]], None]] = {"Duck": exchange}
    try:
        native = importlib.import_module("jh2._hazmat")
    except ImportError:
        pass
    else:
        readers["jh2, native"] = decode(lambda: native.Decoder(65_536), "decode", True)
        writers["jh2, native"] = encode_by(native.Encoder, triples=True)
    for module in ("h2", "jh2"):
        run = exchange_by(module)
        if run is not None:
            exchanges[module] = run
    same, varied = blocks(varied=False), blocks(varied=True)
    kinds: dict[str, tuple[Callable[[list[bytes]], None], list[bytes]]] = {}
    for name, run in readers.items():
        kinds[f"read, a connection's first: {name}"] = (lambda those, run=run: first(those, run)), same
        kinds[f"read, the same again: {name}"] = run, same
        kinds[f"read, another path each: {name}"] = run, varied
    for name, run in writers.items():
        kinds[f"write: {name}"] = run, same
    for name, run in exchanges.items():
        kinds[f"a whole exchange, another path each: {name}"] = run, varied
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, (run, those) in kinds.items():
            started = time.process_time_ns()
            run(those)
            found.setdefault(name, []).append((time.process_time_ns() - started) / len(those) / 1000)
    for name, costs in found.items():
        print(f"{name:58} {min(costs):7.2f} {sorted(costs)[len(costs) // 2]:7.2f}")
    encoder = hpack.Encoder()
    sizes = [len(encoder.encode(PAIRS)) for _ in range(2)]
    own = len(encode_status(200) + encode_lines(ANSWER))
    print(f"bytes of an answer's block: {own} of Duck; {sizes[0]} of hpack at first, and {sizes[1]} then")


if __name__ == "__main__":
    main()

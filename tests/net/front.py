"""A server over fake transports, a clock that the test moves, and a handler that the test plays."""

from collections.abc import Callable

from duck.net.clock import Clock
from duck.net.exchange import Exchange
from duck.net.limits import Limits
from duck.net.server import Server, Trust
from duck.net.server_connection import ServerConnection
from duck.testing import FakeLoop, FakeTransport
from duck.wire.head import ResponseHead

DATE = b"Date: now\r\n"


def get(target: str = "/", *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    """A request without a body."""
    lines = [
        f"{method} {target} HTTP/{version}",
        *(() if version == "1.0" else ("Host: x",)),
        *fields,
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


def post(body: bytes, *fields: str, target: str = "/", length: int | None = None) -> bytes:
    """A request with a body of known length."""
    size = len(body) if length is None else length
    return get(target, f"Content-Length: {size}", *fields, method="POST") + body


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n", fields: tuple[str, ...] = ()) -> bytes:
    """A request with a chunked body."""
    head = get("/", "Transfer-Encoding: chunked", *fields, method="POST")
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end


def head(status: int = 200, *fields: tuple[bytes, bytes], length: int | None = None) -> ResponseHead:
    return ResponseHead(status, list(fields), content_length=length)


class Body:
    """A BodySink that remembers, and checks that it is ended once."""

    def __init__(self):
        self.data_seen = bytearray()
        self.ended = 0
        self.error: Exception | None = None
        self.aborts = 0
        self.trailers = None
        self.on_data: Callable[[bytes], None] | None = None
        self.on_end: Callable[[], None] | None = None

    def data(self, chunk):
        assert chunk and not self.ended and not self.aborts
        self.data_seen += chunk
        if self.on_data is not None:
            self.on_data(chunk)

    def end(self, trailers):
        assert not self.ended and not self.aborts
        self.ended += 1
        self.trailers = trailers
        if self.on_end is not None:
            self.on_end()

    def abort(self, error):
        assert not self.ended and not self.aborts
        self.aborts += 1
        self.error = error


class Producer:
    """A Producer that remembers."""

    def __init__(self):
        self.calls: list[str] = []
        self.error: Exception | None = None

    def pause(self):
        self.calls.append("pause")

    def resume(self):
        self.calls.append("resume")

    def cancel(self, error):
        self.calls.append("cancel")
        self.error = error


class Front:
    """A server whose handler is `answer`: by default it answers with the target, at once."""

    def __init__(
        self,
        answer: Callable[[Exchange], None] | None = None,
        *,
        trusted: tuple[str, ...] = (),
        **limits: float,
    ):
        self.loop = FakeLoop()
        self.clock = Clock(self.loop)
        self.now = 1000.0
        self.clock.time = lambda: self.now
        self.clock.now = self.now
        self.clock.date = DATE
        self.exchanges: list[Exchange] = []
        self.finished: list[Exchange] = []
        self.refused = []
        self.unread: list[Exchange] = []
        self._asked: set[int] = set()
        self._answer = echo if answer is None else answer
        self.server = Server(
            self.loop,
            self.clock,
            self,
            Limits(**limits),
            trust=Trust(trusted),
            on_exchange=self._ended,
            on_refusal=lambda peer, error: self.refused.append(error.status),
        )

    def handle(self, exchange):
        self.exchanges.append(exchange)
        self._asked.add(id(exchange))
        self._answer(exchange)

    def _ended(self, exchange):
        """Of the handler's, or one that stands for a request that could not be understood."""
        (self.finished if id(exchange) in self._asked else self.unread).append(exchange)

    def connect(self, **extra) -> FakeTransport:
        connection = ServerConnection(self.server)
        transport = FakeTransport(connection, self.loop, **extra)
        transport.connection = connection
        return transport

    def ask(self, data: bytes) -> bytes:
        """What a new connection answers to `data`."""
        transport = self.connect()
        transport.receive(data)
        return transport.pop_sent()

    def pass_time(self, seconds: float) -> None:
        """`seconds` pass, with a sweep each."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 1.0)
            self.clock.now = self.now
            self.clock.sweep(self.now)
            self.loop.run()

    def check_clean(self) -> None:
        """Every exchange has ended once, and nothing is kept of any connection."""
        assert [id(exchange) for exchange in self.finished] == [id(exchange) for exchange in self.exchanges]
        assert not self.server.connections and not self.clock.watched


def echo(exchange: Exchange) -> None:
    """Answer with the request's target."""
    exchange.response.answer(ResponseHead(200, []), exchange.request.target)


def echo_body(exchange: Exchange) -> None:
    """Answer with the request's body, when it is complete."""
    body = Body()
    body.on_end = lambda: exchange.response.answer(ResponseHead(200, []), bytes(body.data_seen))
    exchange.read_body(body)


def answers(data: bytes) -> list[tuple[int, bytes, bytes]]:
    """Status, field lines and body of each answer in `data`, which has answers with Content-Length only."""
    found = []
    while data:
        block, _, data = data.partition(b"\r\n\r\n")
        line, _, fields = block.partition(b"\r\n")
        status = int(line.split(b" ")[1])
        length = 0
        for field in fields.lower().split(b"\r\n"):
            if field.startswith(b"content-length:"):
                length = int(field[15:])
        assert len(data) >= length, (block, data)
        found.append((status, fields, data[:length]))
        data = data[length:]
    return found

"""What is guessed, remembered and shared about requests is never seen: all is as if each were parsed by itself."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from duck.net.server_connection import ServerConnection
from duck.proxy.rules import ForwardRules
from duck.wire import h1
from duck.wire.field_block import parse_field_block
from duck.wire.head import ResponseHead
from tests.net.front import Body, Front

LINES = [
    b"Host: a",
    b"Host: b",
    b"host:a",
    b"Host: a:80",
    b"Cookie: s=1",
    b"Cookie: s=2",
    b"cookie: s=1",
    b"cookie:   ",
    b"Cookie: ",
    b"Cookie:s=1",
    b"COOKIE: s=1",
    b"cOokie: s=1",
    b"Cookie: \xff\x80=1",
    b"Cookie: a\0b",
    b"Cookie: a\x7fb",
    b"Cookie: a\rb",
    b"Cookie: a\nX: y",
    b"Cookie: Cookie: s=1",
    b"Cookie: " + b"c" * 3000,
    b"Set-Cookie: s=1",
    b"X-Cookie: s=1",
    b"X: ookie: s=1",
    b"X: Cookie: s=1",
    b"X: a\0",
    b"X: \0ookie: ",
    b"C\0X: y",
    b"C: y",
    b"X: y",
    b" Cookie: s=1",
    b"Connection: cookie, x",
    b"Connection: close",
    b"Connection: upgrade",
    b"Upgrade: websocket",
    b"Expect: 100-continue",
    b"X-Forwarded-For: 10.0.0.1",
    b"X_Real: y",
    b"TE: trailers",
    b"Content-Length: 0",
    b"",
]
STARTS = [
    b"GET / HTTP/1.1",
    b"GET /a HTTP/1.1",
    b"GET / HTTP/1.0",
    b"HEAD / HTTP/1.1",
    b"GET http://h/x HTTP/1.1",
    b"G",
]
BODIES = [b"", b"\r\n", b"ab", b"GET / HTTP/1.1\r\nHost: z\r\n\r\n"]


def request(start: bytes, lines: list[bytes], body: bytes | None) -> bytes:
    if body is not None:
        lines = [*lines, b"Content-Length: %d" % len(body)]
    return b"\r\n".join([start, *lines, b"", body or b""])


def chunked(start: bytes, lines: list[bytes], trailer: bytes) -> bytes:
    lines = [*lines, b"Transfer-Encoding: chunked"]
    return b"\r\n".join([start, *lines, b"", b"2", b"ab", b"0", trailer, b"" if trailer == b"" else b"\r\n"])


requests = st.one_of(
    st.builds(
        request,
        st.sampled_from(STARTS),
        st.lists(st.sampled_from(LINES), max_size=4).map(lambda lines: [b"Host: a", *lines]),
        st.one_of(st.none(), st.none(), st.sampled_from(BODIES)),
    ),
    st.builds(request, st.sampled_from(STARTS[:3]), st.lists(st.sampled_from(LINES), max_size=5), st.none()),
    st.builds(
        chunked,
        st.just(b"POST / HTTP/1.1"),
        st.just([b"Host: a", b"Cookie: s=1"]),
        st.sampled_from([b"", b"Cookie: s=9", b"Cookie: a\0", b"X: y"]),
    ),
    st.sampled_from([b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"\0"]),
)


@st.composite
def streams(draw: st.DrawFn) -> list[list[bytes]]:
    """What comes on some connections, in pieces; the same requests again and again."""
    known = draw(st.lists(requests, min_size=1, max_size=3))
    connections = []
    for _ in range(draw(st.integers(1, 3))):
        sent = draw(st.lists(st.sampled_from(known), min_size=1, max_size=5))
        data = b"".join(sent)
        if draw(st.booleans()):
            ends = [len(b"".join(sent[: count + 1])) for count in range(len(sent))]
        else:
            ends = draw(st.lists(st.integers(0, len(data)), max_size=6))
        cuts = sorted({0, *ends, len(data)})
        connections.append([data[a:b] for a, b in pairwise(cuts)])
    return connections


class Recorder:
    """A front whose handler notes all that is said of each request, and to backends."""

    def __init__(self, later: bool) -> None:
        self.seen: list[object] = []
        self.bodies: list[bytes] = []
        self._later = later
        self._waiting: list[Callable[[], None]] = []
        self._rules = [
            ForwardRules(),
            ForwardRules(prefix=b"/a", secure_name=b"cookie"),
            ForwardRules(secure_name=b"x"),
        ]
        self.front = Front(self._answer)

    def _answer(self, exchange) -> None:
        head = exchange.request
        names = [name for name in type(head).__slots__ if name not in ("_fields", "block", "cookie")]
        self.seen.append([(name, getattr(head, name)) for name in names])
        self.seen.append((list(head.fields), head.lines))
        for rules in self._rules:
            self.seen.append(rules.http_head(head, exchange.peer))
            self.seen.append(rules.link_head(head, exchange.peer, b"", b""))
        body = Body()

        def answer() -> None:
            self.seen.append((bytes(body.data_seen), body.trailers))
            exchange.response.answer(ResponseHead(200, []), head.target)

        def ended() -> None:
            if self._later:
                self._waiting.append(answer)
            else:
                answer()

        body.on_end = ended
        exchange.read_body(body)

    def play(self, connections: list[list[bytes]], prepare: Callable[[ServerConnection], None]) -> list[object]:
        for pieces in connections:
            transport = self.front.connect()
            for piece in pieces:
                prepare(transport.connection)
                if transport.reading:
                    transport.receive(piece)
                while self._waiting:
                    self._waiting.pop(0)()
                    self.front.loop.run()
            self.seen.append((bytes(transport.sent), transport.closed, transport.wrote_eof, transport.reading))
            transport.lose()
        return [self.seen, self.front.refused]


def as_it_is(connection: ServerConnection) -> None:
    """Nothing is changed."""


def plainly(connection: ServerConnection) -> None:
    """Neither guess nor remember."""
    connection._pipelines = True
    connection._last_data = b""
    connection._last_request = None


COOKIE = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: s=1\r\n\r\n"


@pytest.mark.skipif(not h1.__file__.endswith(".py"), reason="nothing of a native module can be replaced")
@settings(deadline=None, max_examples=400)
@given(connections=streams(), later=st.booleans())
@example(connections=[[COOKIE, COOKIE * 3, COOKIE, COOKIE[:-2], COOKIE[-2:]], [COOKIE]], later=False)
@example(connections=[[COOKIE], [COOKIE.replace(b"s=1", b"s=1\r\n\r\nX: y")]], later=True)
def test_requests_are_understood_as_if_nothing_was_known_before(connections, later) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(h1, "request_fields", lambda block, max_fields: (parse_field_block(block, max_fields), b""))
        expected = Recorder(later).play(connections, plainly)
    assert Recorder(later).play(connections, as_it_is) == expected

"""The same conversations through both lanes: client and backend see the same bytes."""

import asyncio
import contextlib
import re

import pytest

from duck.http.core.asgi import ASGI
from duck.http.core.wsgi import WSGI
from duck.http.handlers import AppHandler
from duck.net.clock import Clock
from duck.net.server import Trust
from duck.proxy.handler import ProxyHandler
from duck.proxy.spool import Spool
from duck.proxy.upstream import Generation, Upstream
from tests.http.lane import run, serving

OK = b"HTTP/1.1 200 OK\r\n"
ANSWERS = {
    b"/length": OK + b"Content-Type: text/plain\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 4\r\n\r\npond",
    b"/chunked": OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\npond\r\n3\r\nbig\r\n0\r\n\r\n",
    b"/trailers": OK + b"Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n4\r\npond\r\n0\r\nX-Sum: 4\r\n\r\n",
    b"/empty": b"HTTP/1.1 204 Fine\r\nX-A: 1\r\n\r\n",
    b"/same": b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 12\r\n\r\n',
    b"/cookies": OK + b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
    b"/hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok",
    b"/hops": OK + b"Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok",
    b"/until-close": b"HTTP/1.0 200 OK\r\nX-A: 1\r\n\r\nuntil the end",
    b"/big": OK + b"Content-Length: 300000\r\n\r\n" + b"x" * 300_000,
    b"/cut": OK + b"Content-Length: 10\r\n\r\nhalf",
    b"/cut-chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    b"/nonsense": b"NONSENSE\r\n\r\n",
    b"/gone": b"",
    b"/error": b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops",
}
CLOSES = (b"/until-close", b"/cut", b"/cut-chunks", b"/nonsense", b"/gone")


class RawBackend:
    """An HTTP/1.1 server that answers with prepared bytes, echoes `/echo`, and keeps what it was sent."""

    def __init__(self):
        self.heard = []

    async def serve(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await self.body(reader, head.lower())
                # Each request has an id of its own; that it has one is what is compared.
                self.heard.append((re.sub(rb"(?m)^X-Request-ID: [0-9a-f]{18}\r", b"X-Request-ID: some\r", head), body))
                path = head.split(b" ")[1].split(b"?")[0]
                if path == b"/socket":
                    await self.tunnel(reader, writer)
                    break
                answer = OK + b"Content-Length: %d\r\n\r\n" % len(body) + body if path == b"/echo" else ANSWERS[path]
                if head.startswith(b"HEAD"):
                    answer = answer[: answer.index(b"\r\n\r\n") + 4]
                writer.write(answer)
                await writer.drain()
                if path in CLOSES:
                    break
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def body(self, reader, head):
        if b"transfer-encoding: chunked" in head:
            body = b""
            while (size := int(await reader.readline(), 16)) > 0:
                body += await reader.readexactly(size)
                await reader.readline()
            while await reader.readline() != b"\r\n":
                pass
            return body
        length = re.search(rb"\r\ncontent-length: (\d+)", head)
        return await reader.readexactly(int(length[1])) if length else b""

    async def tunnel(self, reader, writer):
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-T: 1\r\n\r\nfirst "
        )
        while data := await reader.read(1000):
            writer.write(data.upper())
        writer.write(b" last")


async def converse(make_handler, *requests, then_eof=False):
    """What the client received and what the backend heard, when `requests` are sent on one connection."""
    loop = asyncio.get_running_loop()
    backend = RawBackend()
    listener = await asyncio.start_server(backend.serve, "127.0.0.1", 0)
    clock = Clock(loop)
    spool = Spool(None, 1 << 30)
    proxy = ProxyHandler(loop, clock, spool, Trust())
    upstream = Upstream("http", listener.sockets[0].getsockname()[:2], 8, "backend 1", patient=False)
    proxy.switch(Generation(1, (upstream,), (upstream,)))
    handler = make_handler(proxy)
    received = b""
    try:
        async with serving(handler) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for request in requests:
                writer.write(request)
                await writer.drain()
            with contextlib.suppress(ConnectionError):
                if then_eof:
                    writer.write_eof()
                while data := await reader.read(65_536):
                    received += data
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
    finally:
        if isinstance(handler, AppHandler):
            await handler.close(1)
        proxy.close()
        spool.close()
        listener.close()
        await listener.wait_closed()
    received = re.sub(rb"\r\nDate: [^\r]*", b"", received)
    return received, backend.heard


def direct(proxy):
    return proxy


def application(proxy):
    return AppHandler(None, ASGI({"USE_DJANGO": True}), proxy=proxy)


def threads(proxy):
    return AppHandler(None, WSGI({"USE_DJANGO": True}), proxy=proxy)


def get(path, *fields, method=b"GET", body=b""):
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"%b %b HTTP/1.1\r\nHost: example.org\r\n%b\r\n%b" % (method, path, lines, body)


LAST = get(b"/length?last", b"Connection: close")
CONVERSATIONS = {
    "one": [LAST],
    "kept alive": [get(b"/length"), get(b"/cookies"), LAST],
    "pipelined": [get(b"/length") + get(b"/chunked") + get(b"/empty") + LAST],
    "chunked": [get(b"/chunked"), LAST],
    "trailers": [get(b"/trailers", b"TE: trailers", b"Connection: TE"), LAST],
    "trailers unasked": [get(b"/trailers"), LAST],
    "no content": [get(b"/empty"), get(b"/same"), LAST],
    "head": [get(b"/length", method=b"HEAD"), get(b"/chunked", method=b"HEAD"), LAST],
    "early hints": [get(b"/hints"), LAST],
    "hop-by-hop fields": [get(b"/hops", b"Connection: X-Mine", b"X-Mine: 1"), LAST],
    "until the end": [get(b"/until-close"), LAST],
    "large": [get(b"/big"), LAST],
    "a body": [get(b"/echo", b"Content-Length: 5", method=b"POST", body=b"quack"), LAST],
    "a large body": [get(b"/echo", b"Content-Length: 400000", method=b"POST", body=b"q" * 400_000), LAST],
    "a chunked body": [
        get(b"/echo", b"Transfer-Encoding: chunked", method=b"PUT", body=b"3\r\nqua\r\n2\r\nck\r\n0\r\n\r\n"),
        LAST,
    ],
    "expectation": [get(b"/echo", b"Content-Length: 2", b"Expect: 100-continue", method=b"POST"), b"ok", LAST],
    "HTTP/1.0": [b"GET /chunked HTTP/1.0\r\nHost: example.org\r\n\r\n"],
    "odd bytes": [get(b"/length?%00%zz&<>;=a//../b", b"X-Odd: \xff\xfe", b"X-Odd: \ttwice "), LAST],
    "forged fields": [get(b"/length", b"X-Forwarded-For: 1.2.3.4", b"X_Forwarded_Proto: https", b"Forwarded: x"), LAST],
    "an error": [get(b"/error"), LAST],
    "cut": [get(b"/cut")],
    "cut chunks": [get(b"/cut-chunks")],
    "nonsense": [get(b"/nonsense", b"Connection: close")],
    "nobody": [get(b"/gone", b"Connection: close", b"Accept: text/html")],
    "not the protocol": [get(b"/length", b"Connection: Upgrade, close", b"Upgrade: h2c")],
}


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("lane", [application, threads])
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_both_lanes_say_the_same(name, lane, loop):
    async def work():
        requests = CONVERSATIONS[name]
        expected = await converse(direct, *requests)
        assert expected[0], "the direct lane said nothing"
        assert await converse(lane, *requests) == expected

    run(work, loop)


UPGRADE = get(
    b"/socket",
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version: 13",
)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("lane", [application, threads])
def test_both_lanes_tunnel_the_same_early_bytes_and_half_closes_included(lane, loop):
    async def work():
        expected = await converse(direct, UPGRADE + b"early ", b"later", then_eof=True)
        received, heard = await converse(lane, UPGRADE + b"early ", b"later", then_eof=True)
        assert received == expected[0]
        assert received.endswith(b"\r\n\r\nfirst EARLY LATER last")
        assert heard == expected[1]

    run(work, loop)

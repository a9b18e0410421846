"""Requests as browsers, strangers and relays send them."""

from duck.net.exchange import Exchange
from duck.net.peer import Peer
from duck.testing import FakeStream
from duck.wire.fields import render_fields
from duck.wire.h1 import parse_request_head

TOKEN = "t0ken"
COOKIE = (b"Cookie", b"a=b; duck-sight-8000=t0ken")


def head(target="/", *fields, host="localhost:8000", method="GET"):
    """A parsed request."""
    line = f"{method} {target} HTTP/1.1\r\n".encode()
    return parse_request_head(line + render_fields([(b"Host", host.encode()), *fields]))


def peer(host="127.0.0.1", *, server="127.0.0.1", scheme=b"http", via=""):
    """Who asks."""
    return Peer(host, 40_000, server, 8000, scheme=scheme, via=via)


def asked(target="/", *fields, by=None, stream=None, **more):
    """An exchange, and the stream that takes its answer."""
    stream = stream or FakeStream()
    exchange = Exchange(head(target, *fields, **more), by or peer(), stream, 0.0, 1 << 30)
    stream.exchange = exchange
    return exchange, stream

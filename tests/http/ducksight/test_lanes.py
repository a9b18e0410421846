"""The client in what the application lane answers: Duck's own views, and Django's URLs behind Duck's middlewares."""

import asyncio

import pytest

from duck.http.ducksight.config import DuckSightConfig
from duck.http.ducksight.sight import Sight
from duck.http.response import HttpResponse, StreamingHttpResponse
from duck.http.routing import path
from duck.wire.head import ResponseHead
from tests.http.ducksight.asking import TOKEN, asked, peer
from tests.http.lane import App, Backend, run

PAGE = "<!doctype html><html><head><title>x</title></head></html>"
DOCUMENT = (b"Sec-Fetch-Dest", b"document")


async def pieces():
    for letter in PAGE:
        yield letter.encode()


def django(exchange):
    assert dict(exchange.request.fields)[b"Accept-Encoding"] == b"identity"
    exchange.response.head(ResponseHead(200, [(b"Content-Type", b"text/html")]))
    exchange.response.data(PAGE.encode())
    exchange.response.end(None)


VIEWS = {
    "/page": lambda request: HttpResponse(PAGE),
    "/stream": lambda request: StreamingHttpResponse(pieces(), content_type="text/html"),
}


@pytest.mark.parametrize("at", [*VIEWS, "/django", "/missing", "/fails"])
def test_pages_of_the_application_lane_get_the_client(at):
    async def work():
        sight = Sight(DuckSightConfig(TOKEN, run="r"), asyncio.get_running_loop())
        routes = [path(name, view) for name, view in VIEWS.items()]
        routes.append(path("/fails", lambda request: 1 / 0))
        proxy = Backend(django)
        app = App(routes, proxy=proxy, debug=True, USE_DJANGO=True, DJANGO_SIDE_URLS=["/django"])
        exchange, stream = asked(at, DOCUMENT, (b"Accept", b"text/html"), (b"Accept-Encoding", b"gzip"))
        if at == "/missing":
            proxy.script = lambda inner: inner.response.answer(
                ResponseHead(404, [(b"Content-Type", b"text/html")], content_length=len(PAGE)), PAGE.encode()
            )
        sight.prepare(exchange)
        app.handler.handle(exchange)
        await app.idle()
        assert stream.ended
        assert b"/.duck/client.js" in stream.body
        if at == "/fails":
            assert "/.duck/client.js" in stream.field("Content-Security-Policy")

    run(work)


@pytest.mark.parametrize(
    ("by", "host"),
    [
        (peer("192.168.0.7"), "localhost:8000"),
        (peer("192.168.0.7", server="192.168.0.2"), "192.168.0.2:8000"),
        (peer("127.0.0.1", via="127.0.0.1"), "localhost:8000"),
        (peer(), "shop.example"),
    ],
)
def test_who_may_not_use_it_gets_pages_as_they_are(by, host):
    async def work():
        sight = Sight(DuckSightConfig(TOKEN, run="r"), asyncio.get_running_loop())
        exchange, _ = asked("/", DOCUMENT, (b"Accept-Encoding", b"gzip"), by=by, host=host)
        request = exchange.request
        sight.prepare(exchange)
        assert exchange.request is request and exchange.response is exchange

    run(work)

"""Duck's own views over HTTP/2: bodies, streams and WebSockets, each as over HTTP/1."""

import asyncio
import json

import httpx
import pytest

from duck.http.core.asgi import ASGI
from duck.http.core.wsgi import WSGI
from duck.http.response import HttpResponse, StreamingHttpResponse
from duck.http.routing import path
from duck.http.websocket import WebSocketView
from tests.h2_asyncio import Connection
from tests.http.lane import App, run, serving, until

BIG = bytes(range(256)) * 2000  # more than any window, and less than half of what a body may have


def told(request):
    return {"method": request.method, "path": request.path, "args": dict(request.GET), "secure": request.scheme}


def length(request):
    return str(len(request.body))


async def count(request):
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    return {"size": size}


async def early(request):
    return HttpResponse("no, thanks", status_code=403)


def fails(request):
    raise ValueError("on purpose")


def whole(request):
    return HttpResponse(BIG, content_type="application/octet-stream")


class Echo(WebSocketView):
    max_message_bytes = 1 << 20
    closed: list = []

    async def on_receive(self, message):
        if message == "bye":
            await self.close(4000, "as you wish")
        elif message == "fail":
            raise ValueError("on purpose")
        else:
            await self.send(message)

    async def on_close(self, code, reason):
        type(self).closed.append(code)


class Stream:
    """A view that sends what the test puts, and says when it was closed."""

    def __init__(self):
        self.pieces = asyncio.Queue()
        self.was_closed = False

    async def __call__(self, request):
        return StreamingHttpResponse(self.chunks(), content_type="text/event-stream")

    async def chunks(self):
        try:
            while (piece := await self.pieces.get()) is not None:
                yield piece
        finally:
            self.was_closed = True


ROUTES = [path(f"{view.__name__}", view) for view in (told, length, count, early, fails, whole)]
ROUTES.append(path("echo", Echo))


def conversation(work, routes=ROUTES, gateway=ASGI, **limits):
    async def serve():
        Echo.closed.clear()
        settings = {"URLPATTERNS": list(routes), "ALLOWED_HOSTS": ["*"], "DEBUG": False}
        app = App(gateway=gateway(settings))
        async with serving(app.handler, **limits) as port:
            connection = await Connection.open(port)
            try:
                await work(connection, port)
            finally:
                await connection.close()
            await app.idle()

    run(serve)


@pytest.mark.parametrize("gateway", [ASGI, WSGI])
def test_they_answer_as_over_http1(gateway):
    async def work(connection, port):
        async with httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{port}", timeout=60) as one:
            for method, target, body in (
                ("GET", "/told?a=1&b=%20", None),
                ("HEAD", "/told", None),
                ("GET", "/nowhere", None),
                ("POST", "/length", b"x" * 100_000),
                ("POST", "/count", BIG[:200_000]),
                ("GET", "/fails", None),
                ("GET", "/whole", None),
                ("OPTIONS", "/told", None),
            ):
                first = await one.request(method, target, content=body, headers={"host": "localhost"})
                second = await connection.ask(target, method=method, body=body)
                assert first.status_code == second.status and first.content == bytes(second.body), (method, target)
                ours, theirs = dict(first.headers), dict(second.fields)
                for fields in (ours, theirs):
                    fields.pop("date")
                    fields.pop("connection", None)
                assert ours == theirs

    conversation(work, gateway=gateway)


def test_a_long_body_is_read_as_it_comes_and_others_are_answered_meanwhile():
    async def work(connection, port):
        stream_id = connection.begin("/count", method="POST", end=False)
        await connection.send(stream_id, BIG)
        assert (await connection.ask("/told")).status == 200
        await connection.send(stream_id, BIG, end=True)
        answer = connection.answers[stream_id]
        await connection.until(lambda: answer.is_over)
        assert json.loads(answer.body) == {"size": 2 * len(BIG)}

    conversation(work)


def test_a_view_that_reads_slowly_holds_its_own_client_back_and_no_other_stream():
    goes_on = asyncio.Event()
    taken = []

    async def slow(request):
        async for chunk in request.stream():
            taken.append(len(chunk))
            await goes_on.wait()
        return str(sum(taken))

    async def work(connection, port):
        streams = [connection.begin("/slow", method="POST", end=False) for _ in range(5)]
        sending = [asyncio.ensure_future(connection.send(one, BIG * 2, end=True)) for one in streams]
        await until(lambda: len(taken) == 5)
        for _ in range(3):
            assert (await connection.ask("/count", method="POST", body=BIG)).status == 200
        assert not any(one.done() for one in sending)
        goes_on.set()
        await asyncio.gather(*sending)
        await connection.until(lambda: all(connection.answers[one].ended for one in streams))

    conversation(work, [*ROUTES, path("slow", slow)])
    assert sum(taken) == 10 * len(BIG)


def test_an_answer_before_the_body_has_come():
    async def work(connection, port):
        stream_id = connection.begin("/early", method="POST", end=False)
        answer = connection.answers[stream_id]
        await connection.until(lambda: answer.is_over)
        assert (answer.status, bytes(answer.body)) == (403, b"no, thanks")
        assert (await connection.ask("/told")).status == 200

    conversation(work)


def test_a_body_beyond_the_limit_is_refused_and_the_connection_goes_on():
    async def work(connection, port):
        assert (await connection.ask("/length", method="POST", body=BIG[:300_000])).status == 413
        assert (await connection.ask("/told")).status == 200

    conversation(work, max_body_bytes=200_000)


def test_each_piece_of_a_stream_leaves_at_once():
    stream = Stream()

    async def work(connection, port):
        stream_id = connection.begin("/events")
        answer = connection.answers[stream_id]
        for number in range(3):
            stream.pieces.put_nowait(b"data: %d\n\n" % number)
            await connection.until(lambda: answer.body.endswith(b"data: %d\n\n" % number))  # noqa: B023
            assert not answer.is_over
        stream.pieces.put_nowait(None)
        await connection.until(lambda: answer.ended)
        assert answer.fields["content-type"].startswith("text/event-stream")

    conversation(work, [path("events", stream)])
    assert stream.was_closed


def test_a_stream_ends_with_its_client():
    stream = Stream()

    async def work(connection, port):
        stream_id = connection.begin("/events")
        stream.pieces.put_nowait(b"data: 0\n\n")
        await connection.until(lambda: connection.answers[stream_id].body)
        connection.reset(stream_id)
        await until(lambda: stream.was_closed)
        assert (await connection.ask("/told")).status == 200

    conversation(work, [*ROUTES, path("events", stream)])


def test_a_websocket_talks_beside_requests():
    async def work(connection, port):
        sockets = [await connection.websocket("/echo") for _ in range(3)]
        for socket in sockets:
            assert socket.answer.status == 200
            for text in ("Küken", "", "x" * 300_000):
                await socket.send(text)
                assert await socket.receive() == text
            assert (await connection.ask("/told")).status == 200
        await sockets[0].close(1000)
        await sockets[1].send("bye")
        assert await sockets[1].receive() is None and sockets[1].close_code == 4000
        await sockets[2].send("fail")
        assert await sockets[2].receive() is None and sockets[2].close_code == 1011

    conversation(work)
    assert sorted(Echo.closed) == [1000, 1011, 4000]


def test_a_websocket_whose_stream_is_reset_has_no_close():
    async def work(connection, port):
        socket = await connection.websocket("/echo")
        await socket.send("one")
        assert await socket.receive() == "one"
        connection.reset(socket._stream_id)
        await until(lambda: Echo.closed)

    conversation(work)
    assert Echo.closed == [1006]


def test_a_websocket_of_another_site_is_refused():
    async def work(connection, port):
        socket = await connection.websocket("/echo", origin="https://evil.example")
        assert socket.answer.status == 403
        assert (await connection.websocket("/nowhere")).answer.status == 404
        assert (await connection.ask("/echo")).status == 400  # no handshake

    conversation(work)

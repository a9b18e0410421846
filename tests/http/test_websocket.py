"""WebSocketView, over real connections, with another implementation's client."""

import asyncio

import pytest
import websockets.asyncio.client as client
from websockets.exceptions import ConnectionClosed, InvalidStatus

from duck.exceptions import ClientGone
from duck.http.core.asgi import ASGI
from duck.http.core.wsgi import WSGI
from duck.http.routing import path
from duck.http.websocket import WebSocketView
from duck.net.farewell import Farewell
from tests.http.lane import App, run, serving, until


class Echo(WebSocketView):
    subprotocols = ("quack", "honk")
    max_message_bytes = 100_000
    closed: list = []

    async def on_receive(self, message):
        if message == "bye":
            await self.close(4000, "as you wish")
        elif message == "fail":
            raise ValueError("on purpose")
        else:
            await self.send(message)

    async def on_close(self, code, reason):
        type(self).closed.append((code, reason))


class Greeting(WebSocketView):
    async def run(self):
        await self.send_json({"hello": self.kwargs["name"]})
        assert await self.receive() == "thanks"


class Watchful(WebSocketView):
    ping_interval_s = 0.02
    ping_timeout_s = 0.05
    close_timeout_s = 0.05
    closed: list = []

    async def on_close(self, code, reason):
        type(self).closed.append(code)


ROUTES = [path("echo", Echo), path("greet/<slug:name>", Greeting), path("watch", Watchful)]


def connect(port, at="/echo", **more):
    return client.connect(f"ws://127.0.0.1:{port}{at}", proxy=None, **more)


def conversation(work, routes=ROUTES):
    async def serve():
        Echo.closed.clear()
        app = App(routes)
        async with serving(app.handler) as port:
            await work(port)
            await app.idle()

    run(serve)


@pytest.mark.parametrize("compression", ["deflate", None])
@pytest.mark.parametrize("message", ["Küken", b"\0\xff", "", "x" * 90_000])
def test_messages_come_back(message, compression):
    async def work(port):
        async with connect(port, compression=compression) as ws:
            await ws.send(message)
            assert await ws.recv() == message

    conversation(work)
    assert Echo.closed == [(1000, "")]


def test_fragments_are_one_message():
    async def work(port):
        async with connect(port) as ws:
            await ws.send(["qu", "a", "ck"])
            assert await ws.recv() == "quack"

    conversation(work)


def test_a_client_may_close_within_a_message():
    async def work(port):
        async with connect(port) as ws:
            ws.protocol.send_text(b"qu", fin=False)
            ws.protocol.expect_continuation_frame = False  # it would not do so by itself
            await ws.close(4001, "enough")
            assert (ws.close_code, ws.close_reason) == (4001, "enough")
            assert ws.protocol.close_rcvd.code == 4001

    conversation(work)
    assert Echo.closed == [(4001, "enough")]


def test_the_view_may_end_the_connection_with_its_reason():
    async def work(port):
        async with connect(port) as ws:
            await ws.send("bye")
            with pytest.raises(ConnectionClosed) as end:
                await ws.recv()
            assert (end.value.rcvd.code, end.value.rcvd.reason) == (4000, "as you wish")

    conversation(work)
    assert Echo.closed == [(4000, "as you wish")]


def test_a_view_with_a_loop_of_its_own_gets_what_the_path_says():
    async def work(port):
        async with connect(port, "/greet/donald") as ws:
            assert await ws.recv() == '{"hello": "donald"}'
            await ws.send("thanks")
            with pytest.raises(ConnectionClosed) as end:
                await ws.recv()
            assert end.value.rcvd.code == 1000

    conversation(work)


def test_a_view_that_fails_ends_with_1011_and_the_log_says_why(caplog):
    async def work(port):
        async with connect(port) as ws:
            await ws.send("fail")
            with pytest.raises(ConnectionClosed) as end:
                await ws.recv()
            assert end.value.rcvd.code == 1011

    conversation(work)
    assert "Echo failed" in caplog.text


def test_a_message_beyond_the_limit_ends_with_1009():
    async def work(port):
        async with connect(port, compression=None) as ws:
            await ws.send("x" * 100_001)
            with pytest.raises(ConnectionClosed) as end:
                await ws.recv()
            assert end.value.rcvd.code == 1009

    conversation(work)


def test_the_first_common_subprotocol_is_taken_and_none_is_fine():
    async def work(port):
        async with connect(port, subprotocols=["honk", "quack"]) as ws:
            assert ws.subprotocol == "quack"
        async with connect(port, subprotocols=["moo"]) as ws:
            assert ws.subprotocol is None

    conversation(work)


@pytest.mark.parametrize(
    ("origin", "status"), [("http://evil.example", 403), ("null", 403), ("http://{host}", 101), (None, 101)]
)
def test_only_pages_of_this_host_may_connect(origin, status):
    async def work(port):
        try:
            async with connect(port, origin=origin and origin.format(host=f"127.0.0.1:{port}")):
                assert status == 101
        except InvalidStatus as refusal:
            assert refusal.response.status_code == status

    conversation(work)


def test_a_plain_request_is_told_what_the_address_is_for():
    async def work(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 400")
        writer.close()
        await writer.wait_closed()

    conversation(work)


HANDSHAKE = (
    b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: %b\r\nSec-WebSocket-Key: %b\r\n\r\n"
)
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


@pytest.mark.parametrize(("version", "key"), [(b"8", KEY), (b"13", b"short")])
def test_a_handshake_that_is_wrong_is_refused(version, key):
    async def work(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HANDSHAKE % (version, key))
        assert (await reader.readline())[9:12] == b"400"
        writer.close()
        await writer.wait_closed()

    conversation(work)


def test_frames_sent_together_with_the_handshake_are_not_lost():
    async def work(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        masked_hi = b"\x81\x82\0\0\0\0hi"
        writer.write(HANDSHAKE % (b"13", KEY) + masked_hi)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
        assert head.lower().count(b"\nupgrade:") == head.lower().count(b"\nconnection:") == 1
        assert await reader.readexactly(4) == b"\x81\x02hi"
        writer.close()
        await writer.wait_closed()

    conversation(work)
    assert Echo.closed == [(1006, "")]


def test_text_that_is_not_utf8_ends_with_1007():
    async def work(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HANDSHAKE % (b"13", KEY) + b"\x81\x82\0\0\0\0\xff\xff")
        await reader.readuntil(b"\r\n\r\n")
        frame = await reader.readexactly(4)
        assert (frame[0], int.from_bytes(frame[2:4])) == (0x88, 1007)
        writer.close()
        await writer.wait_closed()

    conversation(work)


def test_a_client_that_vanishes_ends_the_view():
    async def work(port):
        ws = await connect(port)
        ws.transport.abort()
        await ws.wait_closed()
        await until(lambda: Echo.closed)

    conversation(work)
    assert Echo.closed == [(1006, "")]


def test_an_idle_client_is_asked_for_a_sign_of_life_and_keeps_its_connection():
    async def work(port):
        async with connect(port, "/watch") as ws:
            await asyncio.sleep(0.2)
            assert ws.state.name == "OPEN"

    conversation(work)


def test_a_silent_client_is_let_go():
    async def work(port):
        Watchful.closed.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write((HANDSHAKE % (b"13", KEY)).replace(b"/echo", b"/watch"))
        await reader.readuntil(b"\r\n\r\n")
        await until(lambda: Watchful.closed)
        assert Watchful.closed == [1011]
        writer.close()
        await writer.wait_closed()

    conversation(work)


def test_a_client_that_is_faster_than_its_view_waits():
    class Slow(WebSocketView):
        max_queued = 2
        gate: asyncio.Event

        async def run(self):
            await self.gate.wait()
            total = 0
            while (message := await self.receive()) is not None:
                total += len(message)
                if message == b"end":
                    await self.send(str(total))

    async def work(port):
        Slow.gate = asyncio.Event()
        async with connect(port, "/slow", compression=None) as ws:
            sending = asyncio.ensure_future(send_all(ws))
            await asyncio.sleep(0.1)
            assert not sending.done(), "a slow view did not hold its client"
            Slow.gate.set()
            await sending
            assert int(await ws.recv()) == 400 * 65_536 + 3

    async def send_all(ws):
        for _ in range(400):
            await ws.send(b"x" * 65_536)
        await ws.send(b"end")

    conversation(work, [path("slow", Slow)])


def test_a_server_that_ends_says_that_it_goes_away():
    async def serve():
        app = App(ROUTES)
        async with serving(app.handler) as port, connect(port) as ws:
            await ws.send("quack")
            assert await ws.recv() == "quack"
            closing = asyncio.ensure_future(app.handler.close(2))
            with pytest.raises(ConnectionClosed) as end:
                await ws.recv()
            assert end.value.rcvd.code == 1001
            await closing

    run(serve)


class Listening(WebSocketView):
    """Waits for something else than its client."""

    ended: list = []

    async def run(self):
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.append("run")


class Busy(WebSocketView):
    """Is within a message when the server ends."""

    gate: asyncio.Event
    seen: list = []

    async def on_receive(self, message):
        await self.gate.wait()
        self.seen.append(message)


async def drained(handler, ws):
    """The code of the Close, the connection having been closed by both."""
    handler.drain()
    with pytest.raises(ConnectionClosed) as end:
        while True:
            await ws.recv()
    assert end.value.rcvd_then_sent
    return end.value.rcvd.code


@pytest.mark.parametrize("gateway", [ASGI, WSGI])
def test_a_drain_closes_the_websockets_of_views_by_the_book(gateway):
    async def serve():
        Echo.closed.clear()
        app = App(ROUTES, gateway=gateway({"URLPATTERNS": ROUTES, "ALLOWED_HOSTS": ["*"]}))
        async with serving(app.handler) as port, connect(port) as ws:
            await ws.send("quack")
            assert await ws.recv() == "quack"
            assert await drained(app.handler, ws) == 1001
            await app.idle()
        assert Echo.closed == [(1001, "")]

    run(serve)


def test_a_drain_lets_a_view_finish_what_it_has_received():
    async def serve():
        Busy.seen.clear()
        Busy.gate = asyncio.Event()
        app = App([path("busy", Busy)])
        async with serving(app.handler) as port, connect(port, "/busy") as ws:
            await ws.send("one")
            await ws.send("two")
            await (await ws.ping())
            assert await drained(app.handler, ws) == 1001
            assert Busy.seen == []
            Busy.gate.set()
            await app.idle()
        assert Busy.seen == ["one", "two"]

    run(serve)


def test_a_drain_ends_a_view_that_waits_for_something_else(monkeypatch):
    monkeypatch.setattr("duck.http.handlers.CONFIRM_S", 0.05)

    async def serve():
        Listening.ended.clear()
        app = App([path("listen", Listening)])
        async with serving(app.handler) as port, connect(port, "/listen") as ws:
            assert await drained(app.handler, ws) == 1001
            await app.idle()
        assert Listening.ended == ["run"]

    run(serve)


def test_a_websocket_that_opens_during_a_drain_is_closed_as_well():
    async def serve():
        app = App(ROUTES)
        async with serving(app.handler) as port:
            app.handler.drain(Farewell(sockets_s=4))
            async with connect(port) as ws:
                with pytest.raises(ConnectionClosed) as end:
                    await ws.recv()
                assert end.value.rcvd.code == 1001
            await app.idle()

    run(serve)


def test_a_view_can_ask_for_a_sign_of_life_and_is_told_when_all_is_over():
    seen = []

    class Asking(WebSocketView):
        ping_interval_s = 0

        async def run(self):
            await self.ping(b"?")
            await self.close(1000, "enough")
            seen.append(self.is_open)
            assert await self.receive() is None
            with pytest.raises(ClientGone):
                await self.send("more")

        def on_close(self, code, reason):
            seen.append((code, reason))

    async def work(port):
        async with connect(port, "/ask") as ws:
            with pytest.raises(ConnectionClosed):
                await ws.recv()

    conversation(work, [path("ask", Asking)])
    assert seen == [False, (1000, "enough")]


def test_a_view_may_let_other_origins_in():
    class Open(WebSocketView):
        allowed_origins = ("https://duck.example",)

    async def work(port):
        async with connect(port, "/open", origin="https://duck.example"):
            pass
        with pytest.raises(InvalidStatus):
            await connect(port, "/open", origin=f"http://127.0.0.1:{port}")

    conversation(work, [path("open", Open)])

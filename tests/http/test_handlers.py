"""The application lane as a Handler: every exchange is answered or cut, whatever the application does."""

import asyncio
import logging

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404

from duck.exceptions import HttpError
from duck.http.core.asgi import ASGI
from duck.http.handlers import AppHandler
from duck.http.middleware import Middleware
from duck.http.response import HttpResponse, StreamingHttpResponse
from duck.http.routing import path
from duck.http.views import View
from duck.net.farewell import Farewell
from duck.net.server import Trust
from duck.testing import FakeStream
from duck.wire.head import ResponseHead
from tests.http.lane import App, give, run, serving, until


async def hello(request, name="duck"):
    return f"hello {name}"


def plain(request):
    return {"method": request.method, "body": request.body.decode()}


async def failing(request):
    raise ValueError("secret of the view")


ROUTES = [
    path("", hello),
    path("<slug:name>/", hello),
    path("plain", plain),
    path("fails", failing),
    path("post", hello, methods=["POST"]),
]


def test_a_view_answers_on_the_loop_and_a_plain_one_in_a_thread():
    async def work():
        app = App(ROUTES)
        assert bytes((await app.ask(b"/")).body) == b"hello duck"
        assert bytes((await app.ask(b"/donald/")).body) == b"hello donald"
        stream = await app.ask(b"/plain", method=b"POST", body=b"abc")
        assert bytes(stream.body) == b'{"method": "POST", "body": "abc"}'
        assert stream.field("Content-Type") == "application/json"

    run(work)


def test_what_a_view_changes_of_its_head_is_its_own():
    def move(request):
        request.request_data.head.authority = b"elsewhere.example"
        return "moved"

    async def work():
        app = App([path("", move)])
        exchange, stream = app.begin(b"/")
        authority = exchange.request.authority
        await app.idle()
        # The next request of the connection may be the same object.
        assert bytes(stream.body) == b"moved" and exchange.request.authority == authority

    run(work)


def test_a_path_that_is_not_there_and_a_method_that_is_not_answered():
    async def work():
        app = App(ROUTES)
        assert (await app.ask(b"/a/b/c")).status == 404
        stream = await app.ask(b"/post")
        assert (stream.status, stream.field("Allow")) == (405, "POST")

    run(work)


@pytest.mark.parametrize("debug", [False, True])
def test_a_view_that_fails_is_a_page_that_tells_more_in_debug_only(debug, caplog):
    async def work():
        stream = await App(ROUTES, debug=debug).ask(b"/fails", (b"Accept", b"text/html"))
        assert stream.status == 500
        assert (b"secret of the view" in stream.body) is debug

    run(work)
    assert any(record.exc_info for record in caplog.records)


def test_a_view_that_returns_nonsense_is_told_so(caplog):
    async def nothing(request):
        return None

    async def work():
        assert (await App([path("", nothing)]).ask()).status == 500

    run(work)
    assert "a view returns an HttpResponse" in caplog.text


def test_a_view_may_raise_a_status():
    async def gone(request):
        raise HttpError(410, "The duck has flown.")

    async def work():
        stream = await App([path("", gone)]).ask()
        assert (stream.status, b"The duck has flown." in stream.body) == (410, True)

    run(work)


def test_a_body_beyond_what_the_application_takes_is_413():
    async def work():
        app = App(ROUTES)
        exchange, stream = app.begin(b"/plain", method=b"POST", length=2 << 20)
        await app.idle()
        assert stream.status == 413
        assert not stream.body_started
        assert exchange.is_over

    run(work)


def test_a_task_is_named_and_ends_with_its_client():
    ended = []

    async def waits(request):
        ended.append(asyncio.current_task().get_name())
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def work():
        app = App([path("waits", waits)])
        _, stream = app.begin(b"/waits")
        await until(lambda: ended)
        assert app.handler.in_flight == 1
        stream.leave()
        await app.idle()
        assert ended == ["duck-app b'GET' b'/waits'", "cancelled"]
        assert stream.head is None

    run(work)


def test_a_client_that_has_left_already_starts_nothing():
    async def work():
        app = App(ROUTES)
        exchange, _ = app.begin(b"/")
        exchange.lost(Exception("left"))
        app.handler.handle(exchange)
        await app.idle()

    run(work)


def test_an_answer_that_fails_on_its_way_is_cut_and_never_looks_complete(caplog):
    async def half(request):
        async def chunks():
            yield b"half"
            raise ValueError("the other half")

        return StreamingHttpResponse(chunks())

    async def work():
        stream = await App([path("", half)]).ask()
        assert bytes(stream.body) == b"half"
        assert isinstance(stream.cut, ValueError)
        assert not stream.ended

    run(work)
    assert "was cut" in caplog.text


class Silent(ASGI):
    async def start_response(self, request, response=None):
        return


class Broken(ASGI):
    async def get_request(self, client_socket, client_address, request_data):
        raise RuntimeError("no request today")


class HeadOnly(ASGI):
    async def send_response(self, response, client_socket, request=None, disable_logging=False):
        await client_socket.send_head(response.head(3))


@pytest.mark.parametrize(
    ("gateway", "status", "cut"), [(Silent, 500, False), (Broken, 500, False), (HeadOnly, 200, True)]
)
def test_a_gateway_that_does_not_answer_is_answered_for(gateway, status, cut, caplog):
    async def work():
        stream = await App(gateway=gateway({"URLPATTERNS": ROUTES, "ALLOWED_HOSTS": ["*"]})).ask()
        assert stream.status == status
        assert (stream.cut is not None) is cut

    run(work)
    assert caplog.records


def test_any_callable_can_be_the_gateway():
    async def gateway(application, client_socket, client_address, request_data):
        body = await client_socket.receive()
        client_socket.answer(ResponseHead(200, content_length=len(body)), body)

    async def work():
        stream = await App(gateway=gateway).ask(method=b"POST", body=b"echo")
        assert bytes(stream.body) == b"echo"

    run(work)


@pytest.mark.parametrize(
    "step",
    [
        "get_request",
        "start_response",
        "get_response",
        "produce_final_response_failsafe",
        "apply_middlewares_to_response",
        "finalize_response",
        "send_response",
    ],
)
def test_every_step_can_be_overridden(step):
    calls = []

    def spy(name):
        original = getattr(ASGI, name)

        async def method(self, *args, **kwargs):
            calls.append(name)
            if name == "get_request":
                return await original(*args, **kwargs)
            return await original(self, *args, **kwargs)

        return method

    gateway = type("Gateway", (ASGI,), {step: spy(step)})

    async def work():
        stream = await App(gateway=gateway({"URLPATTERNS": ROUTES, "ALLOWED_HOSTS": ["*"]})).ask()
        assert bytes(stream.body) == b"hello duck"

    run(work)
    assert calls == [step]


def test_a_last_word_on_every_response():
    class Stamped(ASGI):
        async def finalize_response(self, response, request=None):
            response.headers["X-Stamp"] = "quack"
            await super().finalize_response(response, request)

    async def work():
        app = App(gateway=Stamped({"URLPATTERNS": ROUTES, "ALLOWED_HOSTS": ["*"]}))
        assert (await app.ask()).field("X-Stamp") == "quack"
        assert (await app.ask(b"/nothing/here")).field("X-Stamp") == "quack"

    run(work)


def test_a_host_that_is_not_allowed_reaches_no_middleware_and_no_view():
    class Never(Middleware):
        async def process_request(self, request):
            raise AssertionError("a middleware was reached")

    async def work():
        app = App(ROUTES, MIDDLEWARES=[Never], ALLOWED_HOSTS=["duck.example"], MIDDLEWARE_FAILURE_BEHAVIOR="ignore")
        assert (await app.ask()).status == 400

    run(work)


def test_a_project_may_have_error_pages_of_its_own():
    async def not_found(response, request):
        return HttpResponse("no such pond", 404)

    async def work():
        stream = await App(ROUTES, CUSTOM_TEMPLATES={404: not_found}).ask(b"/no/where")
        assert (stream.status, bytes(stream.body)) == (404, b"no such pond")

    run(work)


class Pond(View):
    def get(self, number):
        return f"pond {number}"

    async def post(self, number):
        return HttpResponse(b"", 201)


def test_a_view_with_a_method_for_each():
    async def work():
        app = App([path("<int:number>", Pond)])
        assert bytes((await app.ask(b"/7")).body) == b"pond 7"
        assert (await app.ask(b"/7", method=b"POST")).status == 201
        stream = await app.ask(b"/7", method=b"DELETE")
        assert (stream.status, stream.field("Allow")) == (405, "GET, HEAD, POST, OPTIONS")
        stream = await app.ask(b"/7", method=b"OPTIONS")
        assert (stream.status, stream.field("Allow")) == (204, "GET, HEAD, POST, OPTIONS")

    run(work)


def test_the_end_of_the_server_lets_views_finish_and_then_cancels_them():
    async def waits(request):
        await asyncio.Event().wait()

    async def work():
        app = App([path("", waits)])
        _, stream = app.begin()
        await asyncio.sleep(0)
        await app.handler.close(0.01)
        assert not app.handler.in_flight
        assert stream.cut is not None

    run(work)


def streaming(content_type):
    async def chunks():
        yield b"data: 1\n\n"
        await asyncio.Event().wait()

    return path("", lambda request: StreamingHttpResponse(chunks(), content_type=content_type))


@pytest.mark.parametrize("content_type", ["text/event-stream", "text/event-stream; charset=utf-8"])
def test_a_drain_ends_a_views_stream_of_events_in_order_when_its_time_is_over(content_type):
    async def work():
        app = App([streaming(content_type)])
        exchange, stream = app.begin()
        await until(lambda: stream.body)
        app.handler.drain(Farewell(streams_s=0.4))
        assert not stream.ended
        await app.idle()
        assert bytes(stream.body) == b"data: 1\n\n" and stream.ended and stream.cut is None
        assert str(exchange.error) == "Duck went away"

    run(work)


def test_a_drain_cuts_a_views_stream_whose_end_would_make_it_look_whole():
    async def work():
        app = App([streaming("text/csv")])
        _, stream = app.begin()
        await until(lambda: stream.body)
        app.handler.drain(Farewell(streams_s=0.1))
        await app.idle()
        assert stream.cut is not None and not stream.ended

    run(work)


def test_a_slow_reader_of_many_plain_views_never_waits_for_a_free_thread_of_theirs():
    """Forms are read in the view's own thread: with all of them waiting, none could be left to do it."""

    def form(request):
        return request.POST["a"]

    async def work():
        app = App([path("", form)])
        kind = (b"Content-Type", b"application/x-www-form-urlencoded")
        begun = [app.begin(b"/", kind, method=b"POST", length=3, stream=FakeStream()) for _ in range(70)]
        given = set()
        while app.handler.in_flight:
            for exchange, _ in begun:
                if exchange.body_sink is not None and id(exchange) not in given:
                    given.add(id(exchange))
                    give(exchange, b"a=1")
            await asyncio.sleep(0.001)
        assert all(bytes(stream.body) == b"1" for _, stream in begun)

    run(work)


def test_what_the_lane_logs_has_no_empty_lines(caplog):
    caplog.set_level(logging.DEBUG)

    async def work():
        await App(ROUTES).ask(b"/fails")

    run(work)
    assert all(record.getMessage().strip() for record in caplog.records)


def test_head_gets_the_head_of_get_and_no_body():
    async def work():
        stream = await App(ROUTES).ask(method=b"HEAD")
        assert (stream.status, stream.head.content_length, bytes(stream.body)) == (200, 10, b"")

    run(work)


@pytest.mark.parametrize(
    ("error", "status"), [(Http404("no"), 404), (PermissionDenied(), 403), (SuspiciousOperation(), 400)]
)
def test_what_django_raises_means_what_it_means_there(error, status):
    async def raising(request):
        raise error

    async def work():
        assert (await App([path("", raising)]).ask()).status == status

    run(work)


@pytest.mark.parametrize(("trusted", "seen"), [(True, "203.0.113.9 https"), (False, "127.0.0.1 http")])
def test_the_client_that_a_trusted_proxy_names_is_known_to_views(trusted, seen):
    async def who(request):
        return f"{request.client_address[0]} {request.scheme}"

    async def work():
        app = App([path("", who)])
        handler = AppHandler(None, app.gateway, trust=Trust(["127.0.0.1"]))
        async with serving(handler, trust=["127.0.0.1"] if trusted else []) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n\r\n"
            )
            assert (await reader.read()).endswith(seen.encode())
            writer.close()
            await writer.wait_closed()

    run(work)


def test_a_body_that_no_view_wants_costs_the_connection_and_not_the_answer():
    async def work():
        async with serving(App(ROUTES).handler) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nfirst bytes")
            answer = await reader.read()
            assert answer.endswith(b"hello duck")
            assert b"\r\nConnection: close\r\n" in answer
            writer.close()
            await writer.wait_closed()

    run(work)


def test_a_view_that_stops_reading_midway_is_answered_too():
    async def first(request):
        async for chunk in request.stream():
            return chunk

    async def work():
        async with serving(App([path("", first)]).handler) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nfirst bytes")
            assert (await reader.read()).endswith(b"first bytes")
            writer.close()
            await writer.wait_closed()

    run(work)

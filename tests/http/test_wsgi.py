"""The gateway for threads: the same conversations, each in a thread of its own."""

import asyncio
import threading

import pytest

from duck.http.core.processor import RequestProcessor
from duck.http.core.proxyhandler import HttpProxyHandler
from duck.http.core.wsgi import WSGI
from duck.http.handlers import AppHandler
from duck.http.response import HttpResponse, StreamingHttpResponse
from duck.http.routing import path
from tests.http.lane import App, Backend, run
from tests.http.test_proxyhandler import whole


def plain(request):
    return f"{request.method} {request.body.decode()} in {threading.current_thread().name[:9]}"


async def awaited(request):
    return "awaited"


def stream(request):
    return StreamingHttpResponse(iter(["a", "b"]))


def failing(request):
    raise ValueError("on purpose")


ROUTES = [path("", plain), path("async", awaited), path("stream", stream), path("fails", failing)]


def app(gateway=WSGI, **more):
    return App(gateway=gateway({"URLPATTERNS": ROUTES, "ALLOWED_HOSTS": ["*"], **more}))


def test_views_of_every_kind_are_answered():
    async def work():
        made = app()
        assert bytes((await made.ask(method=b"POST", body=b"abc")).body) == b"POST abc in duck-view"
        assert bytes((await made.ask(b"/async")).body) == b"awaited"
        assert (await made.ask(b"/stream")).chunks == [1, 1]
        assert (await made.ask(b"/fails")).status == 500
        assert (await made.ask(b"/nowhere")).status == 404
        await made.handler.close(1)

    run(work)


def test_steps_run_in_a_thread_and_can_be_overridden():
    threads = []

    class Stamped(WSGI):
        def finalize_response(self, response, request):
            threads.append(threading.current_thread().name)
            response.headers["X-Stamp"] = "quack"
            super().finalize_response(response, request)

    async def work():
        made = app(Stamped)
        assert (await made.ask(b"/async")).field("X-Stamp") == "quack"
        await made.handler.close(1)

    run(work)
    assert threads[0].startswith("duck-wsgi")


def test_djangos_answers_pass_through():
    async def work():
        gateway = WSGI({"USE_DJANGO": True, "ALLOWED_HOSTS": ["*"]})
        made = App(gateway=gateway, proxy=Backend(whole))
        assert bytes((await made.ask()).body) == b"pond"
        await made.handler.close(1)

    run(work)


def test_code_in_a_thread_may_ask_django_and_process_by_itself():
    class Own(WSGI):
        def get_response(self, request):
            if request.path == "/django":
                return HttpProxyHandler(Backend(whole)).get_response(request)
            return RequestProcessor(request, self.lane).get_response()

    async def work():
        made = app(Own)
        assert bytes((await made.ask(b"/django")).body) == b"pond"
        assert bytes((await made.ask(b"/async")).body) == b"awaited"
        await made.handler.close(1)

    run(work)


def test_a_client_that_leaves_ends_what_its_thread_waits_for():
    reached = threading.Event()

    class Waiting(WSGI):
        def get_response(self, request):
            reached.set()
            request.read_error = None
            try:
                request.body  # noqa: B018
            except Exception as error:
                request.read_error = error
                raise
            return HttpResponse("never")

    async def work():
        made = app(Waiting)
        _, stream = made.begin(method=b"POST", length=10)
        await asyncio.to_thread(reached.wait)
        stream.leave()
        await made.idle()
        assert stream.head is None
        await made.handler.close(1)

    run(work)


def test_more_requests_than_threads_are_all_answered():
    async def work():
        made = app()
        streams = await asyncio.gather(*(made.ask(b"/") for _ in range(80)))
        assert {stream.status for stream in streams} == {200}
        await made.handler.close(1)

    run(work)


@pytest.mark.parametrize("gateway", [WSGI, lambda *arguments: None])
def test_what_is_no_coroutine_function_runs_in_a_thread(gateway):
    handler = AppHandler(None, gateway({}) if isinstance(gateway, type) else gateway)
    assert handler._threads is not None

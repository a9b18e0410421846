"""Middlewares: the way in, the way back, and failures."""

import pytest

from duck.exceptions import HttpError, SettingsError
from duck.http.core.chain import MiddlewareChain, load_middlewares
from duck.http.middleware import HostsMiddleware, Middleware, is_host_allowed
from duck.http.response import HttpResponse
from tests.http.lane import request, run


class Noting(Middleware):
    def __init__(self, name="noting", verdict=1, fails=""):
        self.name, self.verdict, self.fails = name, verdict, fails
        self.calls = []

    def process_request(self, request):
        request.state.setdefault("way", []).append(f"{self.name} in")
        if self.fails == "request":
            raise ValueError("on the way in")
        return self.verdict

    async def process_response(self, response, request):
        request.state.setdefault("way", []).append(f"{self.name} out")
        if self.fails == "response":
            raise ValueError("on the way back")
        response.headers.add("X-Passed", self.name)

    def get_error_response(self, request):
        return HttpResponse(f"{self.name} says no", 403)


class OfClassMethods:
    """As projects of the existing framework write them."""

    @classmethod
    def process_request(cls, request):
        return 1

    @classmethod
    def process_response(cls, response, request):
        response.headers["X-Class"] = "yes"

    @classmethod
    def get_error_response(cls, request):
        return HttpResponse(b"", 403)


async def pass_through(chain, made=None):
    made = made or request()
    response = await chain.process_request(made) or HttpResponse("view")
    response = await chain.process_response(response, made)
    return made.state.get("way", []), response


def test_middlewares_run_in_order_and_back_in_reverse():
    async def work():
        way, response = await pass_through(MiddlewareChain([Noting("a"), Noting("b")]))
        assert way == ["a in", "b in", "b out", "a out"]
        assert response.headers.getlist("X-Passed") == ["b", "a"]

    run(work)


def test_the_response_goes_back_from_where_a_middleware_stopped_the_request():
    async def work():
        way, response = await pass_through(MiddlewareChain([Noting("a"), Noting("b", verdict=0), Noting("c")]))
        assert way == ["a in", "b in", "b out", "a out"]
        assert (response.status_code, response.content) == (403, b"b says no")

    run(work)


def test_a_bad_request_goes_on_where_that_is_to_be_ignored():
    async def work():
        chain = MiddlewareChain([Noting("a", verdict=0), Noting("b", fails="request")], behavior="ignore")
        way, response = await pass_through(chain)
        assert way == ["a in", "b in", "b out", "a out"]
        assert response.content == b"view"

    run(work)


def test_a_failure_on_the_way_in_stops_the_request():
    async def work():
        made = request()
        with pytest.raises(ValueError, match="way in"):
            await MiddlewareChain([Noting("a"), Noting("b", fails="request"), Noting("c")]).process_request(made)
        assert made.stopped_at == 1

    run(work)


@pytest.mark.parametrize(("behavior", "status"), [("block", 500), ("ignore", 200)])
def test_a_failure_on_the_way_back_blocks_or_is_ignored(behavior, status):
    async def work():
        chain = MiddlewareChain([Noting("a"), Noting("b", fails="response")], behavior=behavior)
        way, response = await pass_through(chain)
        assert way[-1] == "a out"
        assert response.status_code == status

    run(work)


def test_a_refusal_counts_whatever_the_behavior():
    class Refusing(Noting):
        async def process_request(self, request):
            raise HttpError(429)

    async def work():
        with pytest.raises(HttpError):
            await MiddlewareChain([Refusing()], behavior="ignore").process_request(request())

    run(work)


def test_middlewares_are_loaded_by_dotted_name_class_or_object():
    ready = Noting("ready")
    loaded = load_middlewares(["duck.http.middleware.Middleware", OfClassMethods, ready])
    assert [type(one) for one in loaded] == [Middleware, OfClassMethods, Noting]

    async def work():
        _, response = await pass_through(MiddlewareChain(loaded))
        assert response["X-Class"] == "yes"

    run(work)


@pytest.mark.parametrize("name", ["no.such.Thing", "duck.http.middleware.Missing", "plain", object])
def test_what_is_no_middleware_is_named(name):
    with pytest.raises(SettingsError, match="MIDDLEWARES"):
        load_middlewares([name])


def test_an_unknown_behavior_is_named():
    with pytest.raises(SettingsError, match="MIDDLEWARE_FAILURE_BEHAVIOR"):
        MiddlewareChain([], behavior="maybe")


@pytest.mark.parametrize(
    ("host", "allowed", "expected"),
    [
        ("example.org", ["example.org"], True),
        ("example.org:8000", ["example.org"], True),
        ("Example.ORG", ["example.org"], True),
        ("example.org.", ["example.org"], True),
        ("a.example.org", ["example.org"], False),
        ("a.example.org", [".example.org"], True),
        ("example.org", [".example.org"], True),
        ("a.example.org", ["*.example.org"], True),
        ("example.org", ["*.example.org"], False),
        ("evilexample.org", [".example.org"], False),
        ("[::1]:80", ["[::1]"], True),
        ("anything", ["*"], True),
        ("", ["*"], False),
        ("a b", ["*"], False),
        ("evil.org/@example.org", ["*"], False),
        ("example.org", [], False),
        ("user@example.org", ["*"], False),
    ],
)
def test_hosts(host, allowed, expected):
    assert is_host_allowed(host, allowed) is expected


@pytest.mark.parametrize(
    ("debug", "host", "verdict"),
    [(True, b"localhost:8000", 1), (True, b"example.org", 0), (False, b"localhost", 0), (True, b"app.localhost", 1)],
)
def test_without_allowed_hosts_this_machine_is_answered_in_debug_and_nobody_else(debug, host, verdict):
    async def work():
        made = request()
        made.request_data.head.authority = host
        hosts = HostsMiddleware([], debug=debug)
        assert await hosts.process_request(made) == verdict
        assert (await hosts.get_error_response(made)).status_code == 400

    run(work)

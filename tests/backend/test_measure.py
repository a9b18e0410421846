"""What a request costs in Django is counted in development, told with its answer, and neither in production."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from duck.backend.django.worker import measure
from duck.net.measure import Measure, Tail, take_off
from duck.wire.head import ResponseHead
from tests.backend.conftest import change_project
from tests.backend.link_client import Answer, Worker
from tests.backend.test_worker_asgi import IDENTITY, SECRET, UnixConnection

if TYPE_CHECKING:
    from tests.backend.conftest import MakeProject, MakeWorker

URLS = """
import asyncio, threading, time
from django.contrib.auth.models import User
from django.db import connection, connections
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import path

def slowly(execute, sql, params, many, context):
    time.sleep(0.02)
    return execute(sql, params, many, context)

def hello(request):
    return HttpResponse("hello")

def queries(request):
    return HttpResponse(str(sum(User.objects.count() for _ in range(3))))

def late(request):  # a connection that is made while another wrapper is on it
    connection.close()
    with connection.execute_wrapper(slowly):
        User.objects.count()
    User.objects.count()
    return HttpResponse("late")

def page(request):
    return render(request, "outer.html", {"pause": lambda: time.sleep(0.03) or "", "count": User.objects.count})

def stream(request):
    def chunks():
        for _ in range(2):
            yield f"{User.objects.count()}\\n"
            time.sleep(0.02)
    User.objects.count()
    return StreamingHttpResponse(chunks())

def declared(request):
    return StreamingHttpResponse((str(User.objects.count()) for _ in range(2)), headers={"Content-Length": "2"})

def fails(request):
    User.objects.count()
    list(User.objects.raw("SELECT nothing"))

async def asynchronous(request):
    await asyncio.gather(*(User.objects.acount() for _ in range(4)))
    return HttpResponse(str(await User.objects.acount()))

def other_thread(request):
    def count():
        User.objects.count()
        connections.close_all()
    thread = threading.Thread(target=count)
    thread.start()
    thread.join()
    return HttpResponse("counted")

urlpatterns = [path(view.__name__, view) for view in
               (hello, queries, late, page, stream, declared, fails, asynchronous, other_thread)]
"""
OUTER = "{{ pause }}{% include 'inner.html' %}{{ count }}"
INNER = "{{ pause }}"
SETTINGS = """
TEMPLATES[0]["DIRS"] = [BASE_DIR / "templates"]
"""
ASGI = """
from django.core.asgi import get_asgi_application
django_application = get_asgi_application()

async def application(scope, receive, send):  # more than Django's own: all goes through ASGI
    assert not any(name == b"x-duck-measure" for name, value in scope["headers"])
    await django_application(scope, receive, send)
"""


@pytest.fixture(scope="module")
def measured_project(stock_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("measured") / "project"
    shutil.copytree(stock_project, directory)
    change_project(directory, URLS, SETTINGS, {"templates/outer.html": OUTER, "templates/inner.html": INNER})
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=directory, check=True)
    return directory


@pytest.fixture(scope="module")
def worker(measured_project: Path) -> Iterator[Worker]:
    sockets = Path(tempfile.mkdtemp(prefix="duck-"))
    with Worker(measured_project, sockets, threads=1) as worker:
        worker.wait_ready()
        assert worker.ready["measures"] is True
        yield worker
    shutil.rmtree(sockets)


def ask(worker: Worker, target: str, method: str = "GET") -> Answer:
    with worker.client() as client:
        return client.request(method, target)


def test_queries_and_their_time_are_told_before_a_whole_answer(worker: Worker) -> None:
    answer = ask(worker, "/queries")
    assert answer.body == b"0" and answer.complete_at_once
    ((queries, database_us, template_us, all_us),) = answer.measures
    assert queries == 3
    assert 0 < database_us < all_us
    assert template_us == 0


def test_a_request_is_not_told_what_the_one_before_it_has_cost(worker: Worker) -> None:
    with worker.client() as client:
        assert [client.get(path).measures[0][0] for path in ("/queries", "/hello", "/queries")] == [3, 0, 3]


def test_queries_on_a_connection_that_is_made_under_another_wrapper_are_counted_once(worker: Worker) -> None:
    with worker.client() as client:
        counted = [client.get("/late").measures[0] for _ in range(2)]
    assert [queries for queries, *_ in counted] == [2, 2]
    assert all(database_us >= 20_000 for _, database_us, *_ in counted), "the project's wrapper is part of it"


def test_templates_within_templates_are_counted_once_and_without_their_queries(worker: Worker) -> None:
    ((queries, database_us, template_us, all_us),) = ask(worker, "/page").measures
    assert queries == 1
    # Both templates pause for 30 ms, the inner one within the outer.
    assert 60_000 <= template_us <= all_us - database_us


def test_a_stream_is_told_of_when_it_begins_and_again_at_its_end(worker: Worker) -> None:
    answer = ask(worker, "/stream")
    assert answer.body == b"0\n0\n" and not answer.complete_at_once
    first, last = answer.measures
    # Django asks for the first chunk before the head leaves.
    assert (answer.head_measures, first[0], last[0]) == (1, 2, 3)
    assert last[3] - first[3] >= 40_000


def test_a_stream_of_known_length_is_told_of_at_its_end_too(worker: Worker) -> None:
    answer = ask(worker, "/declared")
    assert answer.body == b"00"
    assert [measure[0] for measure in answer.measures] == [1, 2]


def test_a_query_that_fails_is_one_and_djangos_page_does_not_show_the_counting(worker: Worker) -> None:
    answer = ask(worker, "/fails")
    assert answer.status == 500
    assert answer.measures[-1][0] == 2
    assert b"OperationalError" in answer.body
    assert b"measure.py" not in answer.body


def test_queries_of_an_asynchronous_view_are_counted_and_those_of_its_own_threads_not(worker: Worker) -> None:
    assert ask(worker, "/asynchronous").measures[0][0] == 5
    assert ask(worker, "/other_thread").measures[0][0] == 0


def test_head_is_told_of_as_get_is(worker: Worker) -> None:
    assert ask(worker, "/queries", "HEAD").measures[0][0] == 3


@pytest.mark.parametrize("settings", ["DEBUG = False", ""])
def test_nothing_is_counted_without_debug_or_in_production(
    make_project: MakeProject, make_worker: MakeWorker, settings: str
) -> None:
    project = make_project(URLS, "ALLOWED_HOSTS = ['*']\n" + settings)
    worker = make_worker(project, mode="runserver" if settings else "serve").wait_ready()
    assert worker.ready["measures"] is False
    with worker.client() as client:
        assert client.get("/hello").measures == []


def fetch(worker: Worker, target: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = UnixConnection(worker.ready["address"])
    connection.request("GET", target, headers={"X-Duck-Identity": IDENTITY})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def test_through_asgi_it_is_told_in_a_sealed_field(
    make_worker: MakeWorker, measured_project: Path, tmp_path: Path
) -> None:
    project = shutil.copytree(measured_project, tmp_path / "project")
    change_project(project, files={"mysite/asgi.py": ASGI})
    worker = make_worker(project, secret=SECRET).wait_ready()
    assert worker.ready["protocol"] == "http" and worker.ready["measures"] is True
    for target, queries in (("/queries", 3), ("/asynchronous", 5), ("/page", 1), ("/hello", 0)):
        response, _ = fetch(worker, target)
        secret, *counts = (response.headers["X-Duck-Measure"] or "").split(" ")
        assert (response.status, secret, int(counts[0])) == (200, SECRET, queries)
        assert int(counts[3]) >= int(counts[1]) + int(counts[2])


def test_through_asgi_a_stream_tells_it_again_at_its_end(
    make_worker: MakeWorker, measured_project: Path, tmp_path: Path
) -> None:
    project = shutil.copytree(measured_project, tmp_path / "project")
    change_project(project, files={"mysite/asgi.py": ASGI})
    worker = make_worker(project, secret=SECRET).wait_ready()
    response, body = fetch(worker, "/stream")
    told = ResponseHead(200, [(name.encode(), value.encode()) for name, value in response.getheaders()])
    _, before, mark = take_off(told, b"x-duck-measure:s3cret")
    tail = Tail(mark)
    assert tail.feed(body) == b"0\n0\n"
    rest, after = tail.end()
    assert before is not None and after is not None
    assert (rest, before.queries, after.queries) == (b"", 1, 3)
    assert after.django_s - before.django_s >= 0.04
    response, body = fetch(worker, "/declared")
    assert body == b"00", "a body whose length is declared has no tail"


MARK = b"\0" + bytes(range(200, 215))
TAIL = MARK + bytes((0, 0, 0, 3, 0, 0, 5, 220, 0, 0, 0, 20, 0, 0, 15, 160))


@pytest.mark.parametrize("body", [b"", b"text", b"\0", b"zeros\0\0\0", MARK[:9] + b"x" + MARK[:15], bytes(range(256))])
def test_a_tail_is_taken_off_however_the_body_comes(body: bytes) -> None:
    whole = body + TAIL
    for at in range(len(whole) + 1):
        tail = Tail(MARK)
        passed = tail.feed(whole[:at]) + tail.feed(whole[at:])
        assert (passed, tail.end()) == (body, (b"", Measure(3, 0.0015, 0.00002, 0.004)))
    tail = Tail(MARK)
    assert b"".join(tail.feed(whole[at : at + 1]) for at in range(len(whole))) == body


@pytest.mark.parametrize("cut", range(len(TAIL)))
def test_a_stream_that_was_cut_loses_nothing_of_its_body(cut: int) -> None:
    tail = Tail(MARK)
    passed = tail.feed(b"text" + TAIL[:cut])
    rest, told = tail.end()
    assert (passed + rest, told) == (b"text" + TAIL[:cut], None)
    assert passed == b"text", "text itself is not held back"


def head(*values: bytes) -> ResponseHead:
    return ResponseHead(200, [(b"A", b"1"), *((b"X-Duck-Measure", value) for value in values), (b"B", b"2")])


def test_the_front_takes_a_sealed_field_off() -> None:
    shared = head(b"s3cret 3 1500 20 4000000")
    shared.is_shared = True
    found, told, mark = take_off(shared, b"x-duck-measure:s3cret")
    assert (found.fields, mark) == ([(b"A", b"1"), (b"B", b"2")], b"")
    assert told is not None
    assert (told.queries, told.database_s, told.template_s, told.django_s) == (3, 0.0015, 0.00002, 4.0)
    assert len(shared.fields) == 3, "the head is another answer's, too"


@pytest.mark.parametrize(
    "value", [b"other 3 1500 20 4", b"s3cret 3 1500 20", b"s3cret 3 1500 20 -4", b"s3cret", b"", b"s3cret 1 2 3 4 5"]
)
def test_a_field_of_that_name_without_the_seal_is_the_applications(value: bytes) -> None:
    told = head(value)
    assert take_off(told, b"x-duck-measure:s3cret") == (told, None, b"")


def test_a_jinja_template_is_counted_and_none_is_wrapped_twice() -> None:
    class Template:
        def render(self, context: object = None, request: object = None) -> str:
            return f"{context}"

    module = SimpleNamespace(Template=Template)
    for _ in range(2):
        measure._measure_templates(module)
    tally = measure.Tally(lambda: "GET /")
    token = measure.current.set(tally)
    try:
        assert Template().render({"a": 1}) == "{'a': 1}"
    finally:
        measure.current.reset(token)
    assert tally.template_s > 0
    assert Template.render.__wrapped__.__qualname__.endswith("Template.render")
    assert not hasattr(Template.render.__wrapped__, "__wrapped__")

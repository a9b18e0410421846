"""The corners of PEP 3333 that Django never turns, by a WSGI application of the test's own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backend.link_client import LinkClient, Worker

APPLICATION = '''
import time
log = []

class Body:
    """An iterable whose close() is logged."""
    def __init__(self, name, *chunks):
        self.name, self.chunks = name, iter(chunks)
    def __iter__(self):
        return self
    def __next__(self):
        chunk = next(self.chunks)
        if isinstance(chunk, Exception):
            raise chunk
        return chunk
    def close(self):
        log.append("closed " + self.name)
        if self.name == "bad-close":
            raise ValueError("in close")

def application(environ, start_response):
    name = environ["PATH_INFO"][1:]
    def start(status="200 OK", *headers):
        return start_response(status, list(headers))
    if name == "log":
        start()
        return [",".join(log).encode()]
    if name == "write":
        write = start()
        write(b"a")
        write(b"b")
        return [b"c"]
    if name == "list":
        start()
        return [b"a", b"", b"b"]
    if name == "lazy":
        def lazy():
            start_response("201 Created", [("X-Lazy", "1")])
            yield b""
            yield b"lazy"
        return lazy()
    if name == "no-start":
        return [b"body"]
    if name == "twice":
        start()
        start()
    if name == "exc-info":
        import sys
        start()
        try:
            raise ValueError("x")
        except ValueError:
            start_response("503 Later", [("X-E", "1")], sys.exc_info())
        return [b"e"]
    if name == "exc-info-late":
        import sys
        write = start()
        write(b"a")
        try:
            raise ValueError("too late")
        except ValueError:
            start_response("500 No", [], sys.exc_info())
    if name == "raise":
        raise KeyError("before")
    if name == "raise-first":
        start()
        return Body(name, KeyError("first"))
    if name == "raise-later":
        start()
        return Body(name, b"one", KeyError("later"))
    if name == "bad-close":
        start()
        return Body(name, b"one")
    if name == "short":
        start("200 OK", ("Content-Length", "10"))
        return Body(name, b"abc", b"de")
    if name == "short-list":
        start("200 OK", ("Content-Length", "10"))
        return [b"abc"]
    if name == "long":
        start("200 OK", ("Content-Length", "4"))
        return Body(name, b"abc", b"def", b"ghi")
    if name == "long-list":
        start("200 OK", ("Content-Length", "4"))
        return [b"abc", b"def"]
    if name == "exact":
        start("200 OK", ("Content-Length", "6"))
        return Body(name, b"abc", b"def")
    if name == "hop":
        start("200 OK", ("Connection", "close"), ("Keep-Alive", "1"), ("Transfer-Encoding", "chunked"), ("X-A", "1"))
        return [b""]
    if name == "empty":
        start()
        return Body(name)
    if name == "none":
        start()
        return None
    if name == "large":
        start()
        return Body(name, b"x" * 300_000, b"y" * 300_000)
    if name == "bytes-name":
        start("200 OK", (b"X-A", "1"))
        return [b""]
    if name.startswith("header/"):
        value = environ["QUERY_STRING"].encode().decode("unicode_escape")
        start("200 OK", ("X-A", value) if name == "header/value" else (value, "1"))
        return [b"x"]
    if name.startswith("status/"):
        start(name[7:])
        return [b"x"]
    start("404 Not Found")
    return []
'''


@pytest.fixture(scope="module")
def raw(stock_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    directory = tmp_path_factory.mktemp("raw") / "project"
    shutil.copytree(stock_project, directory)
    (directory / "rawapp.py").write_text(APPLICATION)
    sockets = Path(tempfile.mkdtemp(prefix="duck-"))
    with Worker(directory, sockets, wsgi="rawapp:application") as worker:
        yield worker.wait_ready()
    shutil.rmtree(sockets)


@pytest.fixture
def client(raw: Worker) -> Iterator[LinkClient]:
    with raw.client() as client:
        yield client
        # Whatever was answered, the slot serves on.
        assert client.get("/list").body == b"ab"


def was_closed(client: LinkClient, name: str) -> bool:
    return f"closed {name}" in client.get("/log").body.decode().split(",")


def test_a_list_is_one_frame(client: LinkClient) -> None:
    answer = client.get("/list")
    assert answer.complete_at_once
    assert (answer.body, answer.content_length) == (b"ab", 2)


def test_write_sends_before_the_iterable(client: LinkClient) -> None:
    answer = client.get("/write")
    assert answer.chunks == [b"a", b"b", b"c"]
    assert answer.ended


def test_start_response_may_come_with_the_first_chunk(client: LinkClient) -> None:
    answer = client.get("/lazy")
    assert (answer.status, answer.body, answer.get(b"x-lazy")) == (201, b"lazy", b"1")


@pytest.mark.parametrize("name", ["no-start", "twice", "raise", "raise-first", "none", "bytes-name"])
def test_a_failure_before_the_head_is_a_500(client: LinkClient, name: str) -> None:
    answer = client.get(f"/{name}")
    assert answer.status == 500
    assert answer.complete_at_once
    assert answer.body.startswith(b"<!doctype html>")


def test_a_failure_is_a_500_without_body_for_head(client: LinkClient) -> None:
    answer = client.request("HEAD", "/raise")
    assert (answer.status, answer.body) == (500, b"")


def test_exc_info_replaces_a_head_that_was_not_sent(client: LinkClient) -> None:
    answer = client.get("/exc-info")
    assert (answer.status, answer.reason, answer.get(b"x-e")) == (503, b"Later", b"1")


def test_exc_info_after_the_head_cuts(client: LinkClient) -> None:
    answer = client.get("/exc-info-late")
    assert (answer.status, answer.body) == (200, b"a")
    assert answer.cut is not None


@pytest.mark.parametrize("name", ["raise-first", "raise-later", "short", "long", "exact", "bad-close", "empty"])
def test_close_is_always_called(client: LinkClient, name: str) -> None:
    client.get(f"/{name}")
    assert was_closed(client, name)


@pytest.mark.parametrize("name", ["raise-later", "short", "short-list"])
def test_an_answer_that_ends_early_is_cut(client: LinkClient, name: str) -> None:
    answer = client.get(f"/{name}")
    assert answer.cut is not None
    assert not answer.ended


@pytest.mark.parametrize("name", ["long", "long-list"])
def test_an_answer_longer_than_declared_is_cut_to_its_length(client: LinkClient, name: str) -> None:
    answer = client.get(f"/{name}")
    assert (answer.body, answer.content_length) == (b"abcd", 4)
    assert answer.ended
    assert answer.cut is None


def test_an_answer_of_the_declared_length_is_complete(client: LinkClient) -> None:
    answer = client.get("/exact")
    assert (answer.body, answer.content_length, answer.ended) == (b"abcdef", 6, True)


def test_an_empty_iterable_is_an_empty_answer(client: LinkClient) -> None:
    answer = client.get("/empty")
    assert (answer.status, answer.body, answer.content_length, answer.ended) == (200, b"", 0, True)


def test_large_chunks_arrive(client: LinkClient) -> None:
    answer = client.get("/large")
    assert answer.body == b"x" * 300_000 + b"y" * 300_000


def test_hop_by_hop_fields_end_here(client: LinkClient) -> None:
    assert client.get("/hop").fields == [(b"X-A", b"1")]


@pytest.mark.parametrize("text", ["a\\r\\nSet-Cookie: b", "a\\nb", "a\\rb", "a\\0b", "a\\x1bb", "\\u20ac"])
@pytest.mark.parametrize("part", ["value", "name"])
def test_no_header_can_break_a_line(client: LinkClient, part: str, text: str) -> None:
    answer = client.get(f"/header/{part}?{text}")
    assert answer.status == 500
    assert answer.get(b"set-cookie") is None


@pytest.mark.parametrize("text", ["", "a b", "a:", "ä"])
def test_a_header_name_is_a_token(client: LinkClient, text: str) -> None:
    assert client.get(f"/header/name?{text.encode('unicode_escape').decode()}").status == 500


def test_a_header_value_may_be_latin_1(client: LinkClient) -> None:
    assert client.get("/header/value?caf\\xe9\\t1").get(b"x-a") == b"caf\xe9\t1"


@pytest.mark.parametrize(("text", "status"), [("299%20Odd%20One", 299), ("200", 200), ("404%20", 404)])
def test_any_final_status_is_passed_on(client: LinkClient, text: str, status: int) -> None:
    assert client.get(f"/status/{text}").status == status


@pytest.mark.parametrize("text", ["100%20Continue", "20%20OK", "OK", "2000", "200%0D%0Ax"])
def test_a_status_that_is_none_is_a_500(client: LinkClient, text: str) -> None:
    assert client.get(f"/status/{text}").status == 500

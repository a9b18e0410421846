"""Requests over the link to a real Django project, frame by frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from duck.wire import link

if TYPE_CHECKING:
    from tests.backend.link_client import LinkClient, Worker


@pytest.fixture
def client(served: Worker) -> LinkClient:
    with served.client() as client:
        yield client


def meta(client: LinkClient, target: str, *args: object, **kwargs: object) -> dict:
    answer = client.request(kwargs.pop("method", "GET"), target, *args, **kwargs)
    assert answer.status == 200, answer
    return json.loads(answer.body)


def test_a_small_answer_is_one_frame(client: LinkClient) -> None:
    answer = client.get("/hello")
    assert (answer.status, answer.reason, answer.body) == (200, b"OK", b"hello")
    assert answer.complete_at_once
    assert answer.content_length == 5
    assert answer.get(b"content-length") == b"5"


def test_environ_is_what_pep_3333_says(client: LinkClient) -> None:
    told = meta(
        client,
        "/meta/caf%C3%A9%20x?a=1&b=%32",
        [("User-Agent", "test"), ("X-Two-Words", "one"), ("Cookie", "a=1")],
    )
    environ = told["meta"]
    assert environ["REQUEST_METHOD"] == "GET"
    assert environ["SCRIPT_NAME"] == ""
    assert environ["PATH_INFO"] == "/meta/café x"
    assert environ["QUERY_STRING"] == "a=1&b=%32"
    assert environ["REQUEST_URI"] == environ["RAW_URI"] == "/meta/caf%C3%A9%20x?a=1&b=%32"
    assert environ["REMOTE_ADDR"] == "192.0.2.1"
    assert environ["REMOTE_PORT"] == "40000"
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("127.0.0.1", "8000")
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert environ["HTTP_USER_AGENT"] == "test"
    assert environ["HTTP_X_TWO_WORDS"] == "one"
    assert "CONTENT_LENGTH" not in environ
    assert told["uri"] == "http://localhost:8000/meta/caf%C3%A9%20x?a=1&b=%32"
    assert told["get"] == {"a": "1", "b": "2"}


def test_the_scheme_is_the_fronts_word(client: LinkClient) -> None:
    told = meta(client, "/meta", [("X-Forwarded-Proto", "http")], scheme="https", server_port="443")
    assert told["secure"] is True
    assert told["uri"].startswith("https://localhost:8000/")


def test_duplicate_fields_are_joined(client: LinkClient) -> None:
    fields = [("Accept", "a"), ("accept", "b"), ("Cookie", "a=1"), ("Cookie", "b=2"), ("X-Y", "1"), ("x-y", "2")]
    told = meta(client, "/meta", fields)
    assert told["meta"]["HTTP_ACCEPT"] == "a,b"
    assert told["meta"]["HTTP_X_Y"] == "1,2"
    assert told["cookies"] == {"a": "1", "b": "2"}


def test_names_with_underscores_are_dropped(client: LinkClient) -> None:
    told = meta(client, "/meta", [("X_Forwarded_For", "evil"), ("X_A", "1")])
    assert "HTTP_X_FORWARDED_FOR" not in told["meta"]
    assert "HTTP_X_A" not in told["meta"]
    assert "" not in told["meta"]


def test_a_prefix_is_the_script_name(client: LinkClient) -> None:
    told = meta(client, "/app/meta", script_name="/app", path="/meta")
    assert told["path"] == "/app/meta"
    assert told["path_info"] == "/meta"
    assert told["uri"] == "http://localhost:8000/app/meta"


@pytest.mark.parametrize("size", [1, 1000, 32_000, 33_000, 70_000, 2_000_000])
def test_a_body_of_any_size_arrives(client: LinkClient, size: int) -> None:
    body = b"a" * size
    answer = client.request("PUT", "/hello", [("Content-Type", "text/plain")], body)
    assert answer.status in (200, 403)  # Django's CSRF check, which reads nothing
    if size < 2_000_000:
        told = meta(client, "/meta", [("Content-Type", "text/plain"), ("Content-Length", str(size))], body)
        assert told["body"] == body.decode()
        assert told["meta"]["CONTENT_LENGTH"] == str(size)
        assert told["meta"]["CONTENT_TYPE"] == "text/plain"


def test_a_spooled_body_is_read_from_its_file(client: LinkClient, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.write_bytes(b"spooled body")
    told = meta(client, "/meta", length=12, spool=str(spool))
    assert told["body"] == "spooled body"


def test_a_declared_empty_body_has_a_length(client: LinkClient) -> None:
    assert meta(client, "/meta", length=0)["meta"]["CONTENT_LENGTH"] == "0"


def test_a_stream_goes_chunk_by_chunk(client: LinkClient) -> None:
    answer = client.get("/numbers")
    assert not answer.complete_at_once
    assert answer.content_length is None
    assert answer.chunks == [b"0", b"1", b"2"]
    assert answer.ended


def test_an_endless_stream_ends_when_the_client_left(served: Worker) -> None:
    with served.client() as client:
        client.wait_hello()
        client.send("GET", "/endless")
        while len(client.answer.body) < 30:
            client.receive()
        client.abort()
        answer = client.read_answer()
        assert not answer.ended
        assert "endless" in json.loads(client.get("/closed").body)["closed"]


def test_an_abort_that_crosses_the_end_of_an_answer_is_ignored(client: LinkClient) -> None:
    client.get("/hello")
    client.abort()
    assert client.get("/hello").body == b"hello"


def test_a_stream_that_fails_is_cut(client: LinkClient, served: Worker) -> None:
    answer = client.get("/broken")
    assert answer.chunks == [b"one"]
    assert answer.cut is not None
    assert not answer.ended
    assert "in the middle" in served.wait_text("ValueError")
    assert client.get("/hello").status == 200


def test_a_view_that_fails_is_answered_by_django(client: LinkClient) -> None:
    answer = client.get("/boom")
    assert answer.status == 500
    assert b"ZeroDivisionError" in answer.body


def test_a_view_that_exits_costs_only_its_own_answer(client: LinkClient) -> None:
    answer = client.get("/leave")
    assert answer.status == 500
    assert b"Server Error" in answer.body
    assert client.get("/hello").status == 200


def test_a_file_is_sent_in_large_frames(client: LinkClient, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(range(256)) * 4000)
    answer = client.get(f"/file?path={path}")
    assert answer.content_length == 1_024_000
    assert answer.body == path.read_bytes()
    assert answer.ended


def test_a_small_file_is_one_frame(client: LinkClient, tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(b"small")
    answer = client.get(f"/file?path={path}")
    assert answer.complete_at_once
    assert answer.body == b"small"


def test_head_has_the_length_and_no_body(client: LinkClient) -> None:
    answer = client.request("HEAD", "/hello")
    assert answer.complete_at_once
    assert answer.content_length == 5
    assert answer.body == b""


def test_head_of_a_stream_does_not_run_it(client: LinkClient) -> None:
    answer = client.request("HEAD", "/endless")
    assert answer.complete_at_once
    assert answer.content_length is None
    assert answer.body == b""


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body_have_no_length(client: LinkClient, status: int) -> None:
    answer = client.get(f"/empty?status={status}")
    assert answer.status == status
    assert answer.get(b"content-length") is None
    assert answer.complete_at_once


def test_an_answer_leaves_before_late_work_in_close(served: Worker) -> None:
    with served.client() as client:
        client.wait_hello()
        client.send("GET", "/late")
        while not client.answer.ended:
            client.receive()
        assert not client.answer.freed
        client.read_answer()
        assert "late" in json.loads(client.get("/closed").body)["closed"]


def test_static_files_are_found_by_the_projects_finders(client: LinkClient) -> None:
    assert client.find("admin/css/base.css").endswith(b"/admin/css/base.css")
    assert client.find("no/such.css") == b""
    assert client.find("../../etc/passwd") == b""
    assert client.get("/hello").status == 200


def test_requests_run_at_once_up_to_the_number_of_threads(served: Worker) -> None:
    clients = [served.client() for _ in range(3)]
    for client in clients:
        client.wait_hello()
    for client in clients:
        client.send("GET", "/meet")
    for client in clients:
        assert client.read_answer().body == b"met"
        client.socket.close()


def test_a_frame_that_is_none_ends_the_connection_alone(served: Worker) -> None:
    with served.client() as client:
        client.wait_hello()
        client.socket.sendall(link.frame(99, b"x"))
        with pytest.raises(EOFError):
            client.receive()
    with served.client() as client:
        assert client.get("/hello").status == 200


def test_a_request_in_pieces_is_put_together(served: Worker) -> None:
    with served.client() as client:
        client.wait_hello()
        sent: list[bytes] = []
        whole = client.socket
        client.socket = type("Recorder", (), {"sendall": lambda self, data: sent.append(data)})()  # type: ignore[assignment]
        client.send("GET", "/hello")
        client.socket = whole
        for index in range(len(sent[0])):
            whole.sendall(sent[0][index : index + 1])
        assert client.read_answer().body == b"hello"

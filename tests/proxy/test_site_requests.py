"""Requests that a site records, in DEBUG: every lane, their pages, and what is sent again."""

import json
import re

import httpx
import pytest

from duck.http.ducksight import replay
from duck.http.ducksight.config import DuckSightConfig
from duck.http.frontend import FrontendConfig, FrontendState
from duck.http.handlers import AppHandler
from duck.http.request import HttpRequest
from duck.wire.head import ResponseHead
from tests.http.lane import Backend
from tests.net.front import chunked, get, post
from tests.proxy.backends import answer, read_request, serve
from tests.proxy.conftest import wait

UPGRADE = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: a\r\n\r\n"
)


def config(count=50):
    """Numbers begin with 1 in each."""
    return DuckSightConfig("t0ken", run="r", requests=count)


def cookie(front):
    return f"Cookie: duck-sight-{front.address[1]}=t0ken"


def own(front, target, *fields, method="GET"):
    return get(target, f"Host: 127.0.0.1:{front.address[1]}", cookie(front), *fields, method=method).replace(
        b"Host: x\r\n", b""
    )


def look(front, target="/.duck/requests", *fields):
    """What the inspector answers to a developer."""
    return front.ask(own(front, target, *fields))


def told(front, target):
    response = look(front, target)
    assert response.status == 200, response.body
    return json.loads(response.body)


def rows(front, query=""):
    return told(front, f"/.duck/requests/list.json{query}")["requests"]


def one(front, number=None):
    """All of the request with this number, or of the last one."""
    number = rows(front, "?files=1")[0]["id"] if number is None else number
    return told(front, f"/.duck/requests/{number}.json")


def send_again(front, number, proof=None):
    if proof is None:
        page = look(front, f"/.duck/requests/{number}").body.decode()
        proof = re.search(r'name="proof" value="([^"]+)"', page)[1]
    body = f"proof={proof}".encode()
    fields = (f"Host: 127.0.0.1:{front.address[1]}", cookie(front))
    return front.ask(post(body, *fields, target=f"/.duck/requests/{number}/replay").replace(b"Host: x\r\n", b""))


@pytest.fixture
def duck(make_front):
    return make_front(development=True, ducksight=config())


def echo(slot, items, fields, body):
    slot.answer(items["path"].encode() + b" " + body)


def test_what_django_answers(duck, link_backend):
    duck.switch(link_backend(echo).upstream(name="django"), debug=True)
    duck.ask(post(b"name=Ann&password=geheim", "Content-Type: application/x-www-form-urlencoded", target="/a?b=c"))
    (row,) = rows(duck)
    assert (row["method"], row["target"], row["status"], row["state"]) == ("POST", "/a?b=c", 200, "done")
    assert (row["answered_by"], row["received_bytes"], row["sent_bytes"]) == ("django", 24, 27)
    found = one(duck)
    assert found["request"]["body"]["fields"] == [["name", "Ann"], ["password", "(hidden)"]]
    assert found["answer"]["body"]["text"].startswith("/a name=Ann&password=(hidden)")
    assert (found["version"], found["scheme"], found["client"]) == ("HTTP/1.1", "http", "127.0.0.1")
    assert found["request_id"] == duck.exchanges[0].id.decode()
    timing = found["timing"]
    assert sum(timing[f"{name}_ms"] for name in ("receive", "front", "wait", "django", "send")) == pytest.approx(
        timing["total_ms"], abs=0.01
    )


def test_the_token_in_what_is_put_into_a_page_is_hidden(duck, link_backend):
    def script(slot, items, fields, body):
        page = b"<!doctype html><html><body><p>hello</body></html>"
        slot.head(page, block=b"Content-Type: text/html\r\n", length=len(page), complete=True)
        slot.free()

    duck.switch(link_backend(script).upstream(), debug=True)
    page = duck.ask(own(duck, "/", "Accept: text/html"))
    assert b"t0ken" in page.body
    found = one(duck)
    assert "data-duck-sight" in found["answer"]["body"]["text"] and "t0ken" not in json.dumps(found)
    assert b"t0ken" not in look(duck, "/.duck/requests/1").body


@pytest.mark.parametrize("make", [post, lambda body, **more: chunked(body)])
def test_long_bodies_are_passed_on_whole_and_their_beginning_is_kept(duck, link_backend, make):
    received = []

    def script(slot, items, fields, body):
        received.append(len(body))
        slot.answer(b"x" * 1_000_000)

    duck.switch(link_backend(script).upstream(), debug=True)
    assert len(duck.ask(make(b"y" * 500_000)).body) == 1_000_000
    found = one(duck)
    assert received == [500_000]
    assert found["received_bytes"] == found["request"]["body"]["size"] == 500_000
    assert found["answer"]["body"]["size"] == 1_000_000
    assert "262144 are kept" in found["request"]["body"]["note"] and "262144" in found["cannot_repeat"]


def test_an_http_backend_and_its_stream(duck, http_backend, event):
    def script(connection):
        read_request(connection)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        event.wait(20)
        connection.send(b"data: 2\n\n")

    duck.switch(http_backend(script).upstream(), debug=True)
    client = duck.connect()
    client.sendall(get("/events"))
    assert client.head().read(9) == b"data: 1\n\n"
    found = one(duck)
    assert (found["state"], found["status"], found["type"]) == ("answering", 200, "text/event-stream")
    assert found["answer"]["body"]["text"] == "data: 1\n\n"
    assert "did not come to its end" in found["answer"]["body"]["note"]
    event.set()
    wait(lambda: one(duck)["state"] == "done")
    assert one(duck)["answer"]["body"]["text"] == "data: 1\n\ndata: 2\n\n"


def test_a_websocket_is_open_until_it_is_closed(duck, http_backend):
    def script(connection):
        read_request(connection)
        connection.send(UPGRADE + b"hi")
        connection.wait_end()

    backend = http_backend(script)
    duck.switch(backend.upstream(), sockets=(backend.upstream(),), debug=True)
    client = duck.connect()
    client.sendall(get("/ws", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: a", "Origin: http://x"))
    wait(lambda: rows(duck) and rows(duck)[0]["state"] == "open")
    found = one(duck)
    assert (found["status"], found["answer"]["body"]["kind"]) == (101, "none")
    assert ["Sec-WebSocket-Accept", "a"] in found["answer"]["fields"]
    assert "WebSocket" in found["cannot_repeat"]
    client.close()
    wait(lambda: rows(duck)[0]["state"] == "closed")
    assert rows(duck)[0]["sent_bytes"] == 2


def test_files_are_told_of_apart_and_sent_as_before(duck, link_backend, tmp_path):
    (tmp_path / "a.css").write_bytes(b"a{}")
    (tmp_path / "b.bin").write_bytes(b"x" * 3_000_000)
    static = {"installed": True, "url": "/static/", "root": str(tmp_path), "finders": False}
    duck.switch(link_backend(echo).upstream(), static=static, debug=True)
    assert duck.ask(get("/static/a.css")).body == b"a{}"
    assert len(duck.ask(get("/static/b.bin")).body) == 3_000_000
    duck.ask(get("/page"))
    assert [row["target"] for row in rows(duck)] == ["/page"]
    assert [row["target"] for row in rows(duck, "?files=1")] == ["/page", "/static/b.bin", "/static/a.css"]
    assert [row["answered_by"] for row in rows(duck, "?files=1")[1:]] == ["file", "file"]
    small, large = one(duck, 1), one(duck, 2)
    assert small["answer"]["body"]["text"] == "a{}"
    assert large["answer"]["body"]["kind"] == "gone" and large["answer"]["body"]["size"] == 3_000_000


async def echo_by_duck(application, client_socket, client_address, request_data):
    """A gateway of Duck's own."""
    request = HttpRequest(request_data, client_socket, client_address)
    body = await request.read()
    request.close()
    client_socket.answer(ResponseHead(200, [(b"Content-Type", b"text/plain")], content_length=len(body)), body)


def test_modules_of_a_front_end_server_are_left_out_and_its_failures_are_not(make_front, link_backend, http_backend):
    def vite(connection, line, fields, body):
        if b"missing" in line:
            return answer(b"none", status="404 Not Found")
        return answer(b"export {}", "Content-Type: text/javascript")

    duck = make_front(development=True, ducksight=config(), frontend=FrontendConfig("vite"))
    server = http_backend(serve(vite))
    duck.switch(link_backend(echo).upstream(), debug=True)
    duck.call(duck.site.turn_frontend, FrontendState(server.address))
    module = ("Host: localhost:8000", "Sec-Fetch-Dest: script", "Sec-Fetch-Mode: cors")
    for path in ("/@vite/client", "/@fs/missing.js"):
        duck.ask(get(path, *module).replace(b"Host: x\r\n", b""))
    assert [(row["target"], row["answered_by"]) for row in rows(duck)] == [("/@fs/missing.js", "vite")]
    assert [row["target"] for row in rows(duck, "?files=1")] == ["/@fs/missing.js", "/@vite/client"]


def test_a_view_of_ducks_own_and_its_replay(make_front):
    duck = make_front(
        development=True,
        ducksight=config(),
        application=lambda direct: AppHandler(None, echo_by_duck),
        decide=lambda path: "duck",
        use_django=False,
    )
    assert duck.ask(post(b"y" * 100_000, "Content-Type: text/plain")).body == b"y" * 100_000
    assert send_again(duck, 1).status == 303
    for number in (1, 2):
        found = one(duck, number)
        assert (found["status"], found["answered_by"], found["timing"]["django_ms"]) == (200, "duck", 0)
        assert found["request"]["body"]["size"] == found["answer"]["body"]["size"] == 100_000


def test_the_application_lane(make_front):
    def script(exchange):
        exchange.response.answer(ResponseHead(201, [(b"Content-Type", b"text/plain")], content_length=2), b"ok")

    duck = make_front(
        development=True,
        ducksight=config(),
        application=lambda direct: Backend(script),
        decide=lambda path: "duck",
        use_django=False,
    )
    assert duck.ask(get("/own")).status == 201
    found = one(duck)
    assert (found["answered_by"], found["status"], found["answer"]["body"]["text"]) == ("duck", 201, "ok")


@pytest.mark.parametrize(("query", "paths"), [("", ["/b?x", "/a"]), ("?path=X", ["/b?x"]), ("?status=4", [])])
def test_over_http2_and_chosen(duck, link_backend, query, paths):
    duck.switch(link_backend(echo).upstream(), debug=True)
    with httpx.Client(http1=False, http2=True, timeout=20, trust_env=False) as client:
        for path in ("/a", "/b?x"):
            assert client.post("http://{}:{}".format(*duck.address) + path, content=b"body").status_code == 200
    assert [row["target"] for row in rows(duck, query)] == paths
    assert send_again(duck, 2).status == 303
    for number in (2, 3):
        found = one(duck, number)
        assert (found["version"], found["request"]["body"]["text"], found["answer"]["body"]["text"]) == (
            "HTTP/2",
            "body",
            "/b body",
        )


def test_a_request_that_was_held_has_waited(duck, link_backend):
    client = duck.connect()
    client.sendall(get("/held"))
    wait(lambda: duck.call(duck.worker.server.snapshot)["now"]["held"] == 1)
    assert rows(duck)[0]["state"] == "waiting"
    duck.switch(link_backend(echo).upstream(), debug=True)
    assert client.answer().status == 200
    (row,) = rows(duck)
    timing = one(duck)["timing"]
    assert row["state"] == "done" and 0 < timing["wait_ms"] <= timing["total_ms"]
    assert timing["front_ms"] < timing["wait_ms"] or timing["wait_ms"] < 50


def test_a_backend_that_fails_is_told_by_name(duck, http_backend):
    def script(connection):
        read_request(connection)
        connection.close()

    duck.switch(http_backend(script).upstream(name="scripted"), debug=True)
    assert duck.ask(get("/")).status == 502
    (row,) = rows(duck, "?status=x")
    assert row["status"] == 502 and "scripted" in row["error"]


def test_what_is_ducksights_own_is_not_recorded(duck, link_backend):
    duck.switch(link_backend(echo).upstream(), debug=True)
    for target in ("/.duck/requests", "/.duck/ready", "/.duck/other"):
        look(duck, target)
    assert rows(duck, "?files=1") == []


def test_with_debug_off_nothing_is_recorded_and_what_was_is_gone(duck, link_backend):
    upstream = link_backend(echo).upstream()
    duck.switch(upstream, debug=True)
    duck.ask(get("/before"))
    duck.switch(upstream, debug=False)
    duck.ask(get("/meanwhile"))
    assert look(duck).body.startswith(b"/.duck/requests")  # Django's own path
    assert duck.call(duck.site.sight.recorder.recordings) == []
    duck.switch(upstream, debug=True)
    assert rows(duck) == []


@pytest.mark.parametrize(
    ("count", "debug", "word"), [(50, False, "DEBUG is off"), (0, True, "DUCKSIGHT_REQUESTS is 0")]
)
def test_who_asks_is_told_why_there_are_none(make_front, link_backend, count, debug, word):
    duck = make_front(development=True, ducksight=config(count))
    duck.switch(link_backend(echo).upstream(), debug=debug)
    answers = []
    duck.call(duck.site.inspect, {"do": "list"}, answers.append)
    assert word in answers[0]["error"]


def test_where_none_are_wanted_there_are_none(make_front, link_backend):
    duck = make_front(development=True, ducksight=config(0))
    duck.switch(link_backend(echo).upstream(), debug=True)
    duck.ask(get("/"))
    assert look(duck).status == 404
    assert duck.site.sight.recorder is None


# -- pages --------------------------------------------------------------------------------------------------------


def test_pages_come_with_their_policy_and_are_not_kept(duck, link_backend):
    duck.switch(link_backend(echo).upstream(), debug=True)
    duck.ask(get("/<script>alert(1)</script>?a=<b>"))
    for target in ("", "/1", "/page.js", "/page.css", "/list.json", "/1.json"):
        found = look(duck, f"/.duck/requests{target}")
        assert found.status == 200, target
        assert found.headers["Content-Security-Policy"].startswith(
            "default-src 'none'; style-src 'self'; script-src 's"
        )
        assert found.headers["Cache-Control"] == "no-store"
        assert found.headers["X-Content-Type-Options"] == "nosniff"
        assert b"<script>alert" not in found.body or target.endswith(".json")
    assert look(duck, "/.duck/requests/1.json").headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("target", ["/2", "/2.json", "/x", "/1/", "/1/replay/", "/-1", "/page.jsx", "/../requests/1"])
def test_what_is_not_there_is_404(duck, link_backend, target):
    duck.switch(link_backend(echo).upstream(), debug=True)
    duck.ask(get("/"))
    assert look(duck, f"/.duck/requests{target}").status == 404


@pytest.mark.parametrize(("target", "method"), [("", "POST"), ("/1", "DELETE"), ("/1/replay", "GET")])
def test_each_has_its_methods(duck, link_backend, target, method):
    duck.switch(link_backend(echo).upstream(), debug=True)
    duck.ask(get("/"))
    assert duck.ask(own(duck, f"/.duck/requests{target}", method=method)).status == 405


def test_a_list_that_has_not_changed_is_not_sent_again(duck, link_backend):
    duck.switch(link_backend(echo).upstream(), debug=True)
    duck.ask(get("/1"))
    first = look(duck)
    tag = first.headers["ETag"]
    again = look(duck, "/.duck/requests", f"If-None-Match: {tag}")
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    assert look(duck, "/.duck/requests?files=1", f"If-None-Match: {tag}").status == 200
    duck.ask(get("/2"))
    changed = look(duck, "/.duck/requests", f"If-None-Match: {tag}")
    assert changed.status == 200 and changed.headers["ETag"] != tag


# -- sent again ---------------------------------------------------------------------------------------------------


def test_a_request_is_sent_again_as_it_came(duck, link_backend):
    backend = link_backend(echo)
    duck.switch(backend.upstream(), debug=True)
    fields = ("Cookie: sessionid=geheim", "X-Other: b", "Content-Type: text/plain")
    duck.ask(post(b"z" * 100_000, *fields, target="/a?b=%20c"))
    answered = send_again(duck, 1)
    assert (answered.status, answered.headers["Location"]) == (303, "/.duck/requests/2")
    (first, second) = [request for slot in backend.connections for request in slot.requests]
    assert first[2] == second[2] == b"z" * 100_000
    assert [pair for pair in first[1] if pair[0] != "X-Request-ID"] == [
        pair for pair in second[1] if pair[0] != "X-Request-ID"
    ]
    assert ("Cookie", "sessionid=geheim") in second[1]
    assert {name: value for name, value in first[0].items() if name != "request_id"} == {
        name: value for name, value in second[0].items() if name != "request_id"
    }
    found = one(duck)
    assert (found["id"], found["replay_of"], found["status"], found["received_bytes"]) == (2, 1, 200, 100_000)
    assert b"sent again, of 1" in look(duck, "/.duck/requests/2").body
    assert send_again(duck, 2).headers["Location"] == "/.duck/requests/3"


@pytest.mark.parametrize("proof", ["", "wrong", "t0ken", "%ff"])
def test_nothing_is_sent_again_without_the_proof_of_the_page(duck, link_backend, proof):
    backend = link_backend(echo)
    duck.switch(backend.upstream(), debug=True)
    duck.ask(post(b"x"))
    assert send_again(duck, 1, proof).status == 403
    assert len(rows(duck)) == 1


def test_a_form_that_is_too_long_is_refused(duck, link_backend):
    duck.switch(link_backend(echo).upstream(), debug=True)
    duck.ask(post(b"x"))
    assert send_again(duck, 1, "x" * 100_000).status == 413


@pytest.mark.parametrize("field", ["Origin: http://evil.example", "Sec-Fetch-Site: cross-site"])
def test_a_page_of_strangers_sends_nothing_again(duck, link_backend, field):
    duck.switch(link_backend(echo).upstream(), debug=True)
    duck.ask(post(b"x"))
    fields = (f"Host: 127.0.0.1:{duck.address[1]}", cookie(duck), field)
    request = post(b"proof=x", *fields, target="/.duck/requests/1/replay").replace(b"Host: x\r\n", b"")
    assert duck.ask(request).status == 404
    assert len(rows(duck)) == 1


def test_what_is_not_whole_is_not_sent_again(duck, link_backend):
    duck.switch(link_backend(echo).upstream(), debug=True)
    duck.ask(post(b"x"))
    duck.ask(post(b"x" * 300_000))
    page = look(duck, "/.duck/requests/1").body.decode()
    proof = re.search(r'name="proof" value="([^"]+)"', page)[1]
    refused = send_again(duck, 2, proof)
    assert refused.status == 409 and b"262144 of 300000 bytes" in refused.body
    assert send_again(duck, 77, proof).status == 404


def test_a_replay_of_a_stream_without_an_end_is_ended(duck, http_backend, event, monkeypatch):
    monkeypatch.setattr(replay, "MAX_S", 0.2)

    def script(connection):
        read_request(connection)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        if connection.number:
            connection.wait_end()

    duck.switch(http_backend(script).upstream(), debug=True)
    assert duck.ask(get("/events")).body == b"data: 1\n\n"
    assert send_again(duck, 1).status == 303
    found = one(duck, 2)
    assert (found["state"], found["answer"]["body"]["text"]) == ("cut", "data: 1\n\n")
    assert "a replay is ended after 0.2 s" in found["error"]


def test_a_replay_whose_backend_fails_is_a_recorded_failure(duck, http_backend):
    def reply(connection, line, fields, body):
        return answer(b"fine", "Connection: close") if not connection.number else None

    backend = http_backend(serve(reply))
    duck.switch(backend.upstream(), debug=True)
    assert duck.ask(post(b"x")).body == b"fine"
    assert send_again(duck, 1).status == 303
    assert one(duck, 2)["status"] == 502


def test_the_log_is_told_of_a_replay_once(make_front, link_backend):
    told = []
    duck = make_front(development=True, ducksight=DuckSightConfig("t0ken", on_replay=told.append))
    duck.switch(link_backend(echo).upstream(), debug=True)
    duck.ask(post(b"x", target="/a"))
    assert send_again(duck, 1).status == 303
    (exchange,) = told
    assert (exchange.request.path, exchange.status, exchange.ended_at > exchange.started) == (b"/a", 200, True)


def test_a_file_is_sent_again(duck, link_backend, tmp_path):
    (tmp_path / "b.bin").write_bytes(b"x" * 3_000_000)
    static = {"installed": True, "url": "/static/", "root": str(tmp_path), "finders": False}
    duck.switch(link_backend(echo).upstream(), static=static, debug=True)
    duck.ask(get("/static/b.bin"))
    assert send_again(duck, 1).status == 303
    found = one(duck, 2)
    assert (found["state"], found["sent_bytes"], found["answered_by"]) == ("done", 3_000_000, "file")

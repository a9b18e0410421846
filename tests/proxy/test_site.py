"""A site chooses who answers, and bounds what each may be sent."""

import pytest

from duck.net.limits import Limits
from tests.net.front import chunked, get, post
from tests.proxy.conftest import wait


def told(slot, items, fields, body):
    named = {name.lower(): value for name, value in fields}
    said = [
        items["script_name"],
        items["path"],
        items["remote_host"],
        items["scheme"],
        named.get("x-forwarded-for", ""),
    ]
    slot.answer("|".join(said).encode())


def test_every_lane_and_the_log_know_the_client_behind_a_trusted_proxy(make_front, link_backend, tmp_path):
    (tmp_path / "a.css").write_bytes(b"a")
    front = make_front(trusted_proxies=("127.0.0.1",))
    static = {"installed": True, "url": "/static/", "root": str(tmp_path), "finders": False}
    front.switch(link_backend(told).upstream(), static=static)
    client = front.connect()
    fields = ("X-Forwarded-For: 6.6.6.6, 192.0.2.1", "X-Forwarded-Proto: https")
    assert client.ask(get("/static/a.css", *fields)).body == b"a"
    assert client.ask(get("/page", *fields)).body == b"|/page|192.0.2.1|https|6.6.6.6, 192.0.2.1, 127.0.0.1"
    assert client.ask(get("/page")).body == b"|/page|127.0.0.1|http|127.0.0.1"
    wait(lambda: len(front.exchanges) == 3)
    assert [exchange.peer.host for exchange in front.exchanges] == ["192.0.2.1", "192.0.2.1", "127.0.0.1"]


def test_nobody_else_is_believed(make_front, link_backend):
    front = make_front(trusted_proxies=("192.0.2.0/24",))
    front.switch(link_backend(told).upstream())
    found = front.ask(get("/", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https", "X_Forwarded_Proto: https"))
    assert found.body == b"|/|127.0.0.1|http|127.0.0.1"


def test_a_prefix_is_moved_and_everything_else_is_not_there(make_front, link_backend):
    front = make_front(prefix="/app/")
    front.switch(link_backend(told).upstream())
    client = front.connect()
    assert client.ask(get("/app/x%2Fy?q")).body.startswith(b"/app|/x%2Fy|")
    assert client.ask(get("/app")).body.startswith(b"/app||")
    assert client.ask(get("/application")).status == 404
    assert client.ask(get("/")).status == 404


def test_force_script_name_is_moved_where_it_is_there(make_front, link_backend):
    front = make_front()
    front.switch(link_backend(told).upstream(), force_script_name="/app")
    client = front.connect()
    assert client.ask(get("/app/x")).body.startswith(b"/app|/x|")
    assert client.ask(get("/x")).body.startswith(b"|/x|")


@pytest.mark.parametrize("make", [lambda size: post(b"x" * size), lambda size: chunked(b"x" * size)])
def test_a_route_has_its_own_limit_however_it_is_spelled(make_front, link_backend, make):
    front = make_front(
        Limits(max_body_bytes=100), max_body_bytes=100, body_limits=(("/upload/.*", 1000), ("/small", 10))
    )
    front.switch(link_backend(told).upstream())

    def status(path, size):
        return front.ask(make(size).replace(b"POST / ", b"POST " + path + b" ")).status

    assert [status(b"/", 100), status(b"/", 101)] == [200, 413]
    assert [status(b"/upload/a", 1000), status(b"/upload/a", 1001)] == [200, 413]
    assert [status(b"/small", 10), status(b"/small", 11)] == [200, 413]
    assert [status(b"/sm%61ll", 11), status(b"/x/../small", 11)] == [413, 413]


@pytest.mark.parametrize("url", ["/stätic files/", "/st%C3%A4tic%20files/"])
def test_files_are_below_their_url_however_it_is_spelled(make_front, link_backend, tmp_path, url):
    (tmp_path / "a.css").write_bytes(b"a")
    front = make_front()
    static = {"installed": True, "url": url, "root": str(tmp_path), "finders": False}
    front.switch(link_backend(told).upstream(), static=static)
    client = front.connect()
    for path in ("/st%C3%A4tic%20files/a.css", "/st%c3%a4tic%20files/a.css", "/%73t%C3%A4tic%20files/a.css"):
        assert client.ask(get(path)).body == b"a", path
    assert client.ask(get("/st%25C3%25A4tic%2520files/a.css")).body.startswith(b"|/st%25C3")


def test_a_waiting_page_learns_when_to_load_again(make_front, link_backend):
    front = make_front(development=True)
    client = front.connect()
    assert client.ask(get("/.duck/ready")).status == 503
    front.switch(link_backend(told).upstream(), debug=True)
    assert client.ask(get("/.duck/ready")).status == 200
    assert client.ask(get("/.duck/other")).status == 404
    front.switch(link_backend(told).upstream(), debug=False)
    assert client.ask(get("/.duck/ready")).body.startswith(b"|/.duck/ready|")


def test_in_production_nothing_is_reserved_for_development(make_front, link_backend):
    front = make_front()
    front.switch(link_backend(told).upstream())
    assert front.ask(get("/.duck/ready")).body.startswith(b"|/.duck/ready|")


@pytest.mark.parametrize(("scheme", "value"), [("http", ""), ("https", "on")])
def test_the_field_of_the_project_is_written_by_duck(make_front, link_backend, scheme, value):
    def script(slot, items, fields, body):
        slot.answer(repr([pair[1] for pair in fields if pair[0].lower().replace("_", "-") == "x-secure"]).encode())

    front = make_front(trusted_proxies=("127.0.0.1",))
    front.switch(link_backend(script).upstream(), secure_proxy_ssl_header=["HTTP_X_SECURE", "on"])
    found = front.ask(get("/", "X-Secure: on", "X_Secure: on", f"X-Forwarded-Proto: {scheme}"))
    assert found.body == repr([value] if value else []).encode()

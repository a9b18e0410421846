"""A site beside a front-end server: who is asked, by which name, and who stands in for whom."""

import json

import pytest

from duck.http.frontend import FrontendConfig, FrontendState
from tests.proxy.backends import answer, serve
from tests.proxy.conftest import wait
from tests.proxy.test_tunnels import UPGRADE, echo, read, read_head

MODULE = ("Sec-Fetch-Dest: script", "Sec-Fetch-Mode: cors")
IMAGE = ("Sec-Fetch-Dest: image", "Sec-Fetch-Mode: no-cors")


def get(path, *fields):
    host = [] if any(field.startswith("Host:") for field in fields) else ["Host: localhost:8000"]
    return "\r\n".join((f"GET {path} HTTP/1.1", *host, *fields, "", "")).encode()


def vite(connection, line, fields, body):
    """Tells what it was asked; has nothing by the name of `missing`."""
    if b"missing" in line:
        return answer(b"none of vite's", status="404 Not Found")
    told = {"line": line.decode(), "fields": {name.decode(): value.decode() for name, value in fields.items()}}
    return answer(json.dumps(told).encode())


def django(slot, items, fields, body):
    """Has pages alone: what begins with /src or /img is not there."""
    if items["path"].startswith(("/src", "/img", "/missing", "/app")):
        slot.answer(b"not found by Django" * 100, status=404)
    else:
        slot.answer(f"django {items['path']}".encode())


@pytest.fixture
def site(make_front, link_backend, http_backend, tmp_path):
    """A front with Django and a front-end server, which has sources below `src` at `base`."""

    def make(base="/", *, script=None, paths=(), root="root", turn=True, **facts):
        (tmp_path / "root" / "src").mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / "src" / "main.js").write_text("source")
        front = make_front(frontend=FrontendConfig("vite", str(tmp_path / root), paths))
        front.server = http_backend(serve(vite) if script is None else script)
        front.switch(link_backend(django).upstream(), **{"debug": True, **facts})
        if turn:
            front.call(front.site.turn_frontend, FrontendState(front.server.address, base))
        return front

    return make


def told(front, path, *fields, method="GET"):
    found = front.ask(get(path, *fields).replace(b"GET ", method.encode() + b" ", 1), method)
    assert found.status == 200, found.body
    return json.loads(found.body)


def test_it_is_asked_by_a_name_that_it_knows_and_sees_the_path_as_it_came(site):
    front = site()
    found = told(front, "/@fs/a%20b/x.js?import", "Host: shop.localhost:8000", "Cookie: a=b")
    assert found["line"] == "GET /@fs/a%20b/x.js?import HTTP/1.1"
    assert found["fields"]["host"] == f"localhost:{front.server.address[1]}"
    assert found["fields"]["x-forwarded-host"] == "shop.localhost:8000"
    assert found["fields"]["via"] == "1.1 duck"
    front.wait_exchanges(1)
    assert front.exchanges[0].backend == "vite"


def test_what_it_is_told_is_not_told_to_others_with_the_same_fields(site, http_backend):
    front = site()
    other = http_backend(serve(vite))
    front.switch(other.upstream(), debug=True)
    client = front.connect()
    for _ in range(2):
        assert json.loads(client.ask(get("/@vite/client")).body)["fields"]["host"].startswith("localhost:")
        assert json.loads(client.ask(get("/page")).body)["fields"]["host"] == "localhost:8000"


def test_pages_are_djangos_and_sources_its_own(site):
    front = site()
    assert front.ask(get("/page")).body == b"django /page"
    assert told(front, "/src/main.js", *MODULE)["line"].startswith("GET /src/main.js")


def test_what_django_does_not_have_it_is_asked_for_as_part_of_a_page(site):
    front = site()
    assert told(front, "/img/logo.svg", *IMAGE)["line"] == "GET /img/logo.svg HTTP/1.1"
    found = front.ask(get("/img/logo.svg", "Sec-Fetch-Dest: empty"))
    assert (found.status, found.body[:19]) == (404, b"not found by Django")
    found = front.ask(get("/missing.svg", *IMAGE))
    assert (found.status, found.body) == (404, b"none of vite's")
    assert front.ask(get("/has.svg", *IMAGE)).body == b"django /has.svg"


def test_a_long_404_is_dropped_and_the_connection_goes_on(site, http_backend):
    def long(connection, line, fields, body):
        return (
            b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"".join(b"1000\r\n" + b"x" * 0x1000 + b"\r\n" for _ in range(64))
            + b"0\r\n\r\n"
        )

    front = site()
    front.switch(http_backend(serve(long)).upstream(), debug=True)
    client = front.connect()
    for _ in range(3):
        assert json.loads(client.ask(get("/img/a.png", *IMAGE)).body)["line"] == "GET /img/a.png HTTP/1.1"
    client.sendall(get("/img/a.png", *IMAGE).replace(b"GET", b"HEAD", 1))
    assert client.head("HEAD").status == 200


def test_a_client_that_leaves_meanwhile_leaves_nothing(site):
    def slow(connection):
        connection.read_until(b"\r\n\r\n")
        connection.fill()  # until it is closed

    front = site(script=slow)
    client = front.connect()
    client.sendall(get("/img/a.png", *IMAGE))
    wait(lambda: front.server.connections)
    client.close()
    front.wait_exchanges(1)


def test_its_pages_stand_in_for_djangos_404_where_it_has_pages(site, tmp_path):
    front = site()
    page = ("Sec-Fetch-Dest: document", "Accept: text/html")
    assert front.ask(get("/app/x", *page)).status == 404
    (tmp_path / "root" / "index.html").write_text("<p>")
    assert told(front, "/app/x", *page)["line"] == "GET /app/x HTTP/1.1"
    assert front.ask(get("/page", *page)).body == b"django /page"


def test_below_the_static_url_files_come_first_and_modules_are_its_own(site, tmp_path):
    (tmp_path / "static" / "src").mkdir(parents=True)
    (tmp_path / "static" / "src" / "main.js").write_text("the static file")
    (tmp_path / "static" / "site.css").write_text("a{}")
    static = {"installed": True, "url": "/static/", "root": str(tmp_path / "static"), "finders": False}
    front = site("/static/", static=static)
    assert front.ask(get("/static/site.css")).body == b"a{}"
    assert front.ask(get("/static/src/main.js", "Sec-Fetch-Dest: script", "Sec-Fetch-Mode: no-cors")).body == (
        b"the static file"
    )
    assert told(front, "/static/src/main.js", *MODULE)["line"].startswith("GET /static/src/main.js")
    assert told(front, "/static/@vite/client")["line"].startswith("GET /static/@vite/client")
    assert told(front, "/static/font.woff2", "Sec-Fetch-Dest: font")["line"].startswith("GET /static/font")
    assert front.ask(get("/static/page")).body == b"django /static/page"


def test_its_hot_reload_socket_is_a_tunnel_and_others_are_djangos(site):
    front = site("/static/", script=echo)
    client = front.connect()
    client.sendall(
        get("/static/?token=x", *UPGRADE, "Sec-WebSocket-Protocol: vite-hmr", "Origin: http://localhost:8000")
    )
    assert read_head(client).startswith(b"HTTP/1.1 101 ")
    client.sendall(b"\x81\x02hi")
    assert read(client, 4) == b"\x81\x02hi"
    assert front.ask(get("/page", *UPGRADE)).body == b"django /page"
    evil = get("/page", *UPGRADE, "Sec-WebSocket-Protocol: vite-hmr", "Origin: http://evil.example")
    assert front.ask(evil).body == b"django /page"


@pytest.mark.parametrize(
    "fields", [("Host: evil.example",), ("Sec-Fetch-Site: cross-site",), ("Via: 1.1 duck",)], ids=lambda it: it[0]
)
def test_strangers_and_its_own_proxy_get_django(site, fields):
    front = site(allowed_hosts=["example.org", "*"])
    for path in ("/@vite/client", "/src/main.js", "/img/x.svg"):
        found = front.ask(get(path, *MODULE, *fields))
        assert b"jango" in found.body


def test_with_debug_off_it_is_not_there(site):
    front = site(debug=False)
    for path in ("/@vite/client", "/src/main.js", "/img/x.svg"):
        assert b"jango" in front.ask(get(path, *MODULE)).body
    front.switch(*front.site.proxy.generation.pages, debug=True)
    assert told(front, "/@vite/client")


def test_who_comes_before_it_listens_waits(site):
    front = site(turn=False)
    client = front.connect()
    client.sendall(get("/static/@vite/client"))
    wait(lambda: front.call(lambda: front.site._frontend.proxy.gate.held) == 1)
    front.call(front.site.turn_frontend, FrontendState(front.server.address, "/static/"))
    assert json.loads(client.answer().body)["line"] == "GET /static/@vite/client HTTP/1.1"


def test_one_that_is_gone_is_waited_for_and_one_that_cannot_start_is_said_to_be(site):
    front = site()
    front.call(front.site.turn_frontend, FrontendState(None))
    client = front.connect()
    client.sendall(get("/@vite/client"))
    wait(lambda: front.call(lambda: front.site._frontend.proxy.gate.held) == 1)
    front.call(front.site.turn_frontend, FrontendState(None, failure="exit code 1"))
    found = client.answer()
    assert found.status == 502
    assert b"vite does not run" in found.body
    assert b"exit code" not in found.body
    assert front.ask(get("/img/x.svg", *IMAGE)).status == 404  # of Django's: nobody stands in
    assert front.ask(get("/page")).body == b"django /page"


def test_it_may_come_back_elsewhere(site, http_backend):
    front = site()
    assert told(front, "/@vite/client")
    other = http_backend(serve(vite))
    front.call(front.site.turn_frontend, FrontendState(other.address, "/static/"))
    assert told(front, "/static/@vite/client")["fields"]["host"] == f"localhost:{other.address[1]}"
    assert front.ask(get("/@vite/client")).body == b"django /@vite/client"


def test_named_paths_are_its_own_and_may_have_bodies(site):
    front = site(paths=("/bundles/.*", "/.duck/.*"))
    assert told(front, "/bundles/x", method="DELETE")["line"] == "DELETE /bundles/x HTTP/1.1"
    assert front.ask(get("/.duck/x")).body == b"django /.duck/x"  # never: they are Duck's


def test_a_site_without_django_has_it_too(make_front, http_backend):
    front = make_front(use_django=False, development=True, frontend=FrontendConfig("vite"))
    server = http_backend(serve(vite))
    front.call(front.site.turn_frontend, FrontendState(server.address))
    assert told(front, "/@vite/client")
    assert told(front, "/x.svg")
    assert front.ask(get("/page")).status == 404

"""Which requests are a front-end server's, decided from their heads."""

import pytest

from duck.http.frontend import is_known_host
from duck.http.frontend_paths import AFTER, FIRST, NEVER, SOURCE, FrontendPaths, comes_from_duck, is_same_site
from duck.wire.h1 import parse_request_head

FILES = {"/p/src/main.js", "/p/src/style.css", "/p/src/App.vue", "/p/src/logo.svg", "/p/manage.py", "/p/db.sqlite3"}
MODULE = ("Sec-Fetch-Dest: script", "Sec-Fetch-Mode: cors")
CLASSIC = ("Sec-Fetch-Dest: script", "Sec-Fetch-Mode: no-cors")
STYLE = ("Sec-Fetch-Dest: style", "Sec-Fetch-Mode: no-cors")
IMAGE = ("Sec-Fetch-Dest: image", "Sec-Fetch-Mode: no-cors")
FETCH = ("Sec-Fetch-Dest: empty", "Sec-Fetch-Mode: cors")
PAGE = ("Sec-Fetch-Dest: document", "Sec-Fetch-Mode: navigate")
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: k", "Sec-WebSocket-Version: 13")


def head(path, *fields, method="GET", host="localhost:8000"):
    lines = "".join(f"{field}\r\n" for field in (f"Host: {host}", *fields))
    return parse_request_head(f"{method} {path} HTTP/1.1\r\n{lines}".encode(), b"http")


def decide(path, *fields, base="/", static=None, files=FILES, expressions=(), method="GET"):
    paths = FrontendPaths("/p", expressions, files.__contains__)
    paths.base = base
    return paths.decide(head(path, *fields, method=method), static)


@pytest.mark.parametrize(
    "path",
    [
        "@vite/client",
        "@id/__x00__virtual:x",
        "@fs/home/me/x.js",
        "@react-refresh",
        "@vite-plugin-pwa/entry",
        "node_modules/.vite/deps/vue.js?v=1",
        "__vite_ping",
        "__open-in-editor?file=x",
    ],
)
@pytest.mark.parametrize("base", ["/", "/static/"])
def test_what_only_vite_has_is_its_own_below_its_base(path, base):
    assert decide(base + path, base=base) is FIRST
    assert decide("/elsewhere/" + path, base="/static/") is NEVER


@pytest.mark.parametrize("path", ["/@ada", "/@ada/followers", "/users/@id/", "/@vitesse", "/node_modules/x"])
def test_names_that_a_project_may_give_are_not(path):
    assert decide(path) is NEVER


@pytest.mark.parametrize(
    ("path", "fields", "decision"),
    [
        ("/src/main.js", MODULE, SOURCE),
        ("/src/main.js?t=17", MODULE, SOURCE),
        ("/src/App.vue", MODULE, SOURCE),
        ("/src/style.css", STYLE, SOURCE),
        ("/src/main.js", (), SOURCE),
        ("/src/../src/main.js", (), SOURCE),
        ("/src/absent.js", MODULE, AFTER),
        ("/src/logo.svg", IMAGE, AFTER),  # it may be a protected picture of Django's
        ("/favicon.ico", IMAGE, AFTER),
        ("/dev-sw.js", ("Sec-Fetch-Dest: serviceworker",), AFTER),
        ("/ponds/", PAGE, NEVER),
        ("/ponds/", (), NEVER),
        ("/api/ponds", FETCH, NEVER),
        ("/api/ponds.js", FETCH, NEVER),
        ("/manage.py", MODULE, AFTER),
        ("/manage.py", (), NEVER),
        ("/db.sqlite3", (), NEVER),
        ("/src/main.js/", (), NEVER),
        ("/src/%00.js", (), AFTER),
    ],
)
def test_its_sources_come_first_and_other_parts_of_a_page_after_django(path, fields, decision):
    assert decide(path, *fields) is decision


@pytest.mark.parametrize(
    ("path", "fields", "decision"),
    [
        ("/static/src/main.js", MODULE, SOURCE),
        ("/static/src/main.js", CLASSIC, AFTER),  # {% static %} means the file as it is
        ("/static/src/style.css", STYLE, AFTER),
        ("/static/src/style.css", MODULE, SOURCE),
        ("/static/src/main.js", ("Sec-Fetch-Dest: worker", "Sec-Fetch-Mode: same-origin"), SOURCE),
        ("/static/src/main.js", (), AFTER),  # of a browser that says nothing: plain HTTP to another machine
        ("/static/src/App.vue", (), SOURCE),
        ("/static/src/logo.svg", IMAGE, AFTER),
        ("/src/main.js", MODULE, NEVER),
        ("/static/", PAGE, NEVER),
    ],
)
def test_below_the_static_url_a_module_is_a_source_and_the_rest_a_static_file_first(path, fields, decision):
    assert decide(path, *fields, base="/static/", static="/static/") is decision


def test_a_page_that_django_does_not_have_is_its_own_where_it_has_pages():
    pages = {"/p/index.html"}
    assert decide("/app/settings", *PAGE, files=pages) is AFTER
    assert decide("/app/settings", *FETCH, files=pages) is NEVER


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS"])
def test_it_is_asked_for_files_alone(method):
    assert decide("/src/main.js", method=method) is NEVER
    assert decide("/favicon.ico", *IMAGE, method=method) is NEVER
    assert decide("/src/main.js", method="HEAD") is SOURCE


def test_its_sockets_are_known_by_their_protocol():
    assert decide("/", *UPGRADE, "Sec-WebSocket-Protocol: vite-hmr") is FIRST
    assert decide("/anywhere", *UPGRADE, "Sec-WebSocket-Protocol: vite-ping", base="/static/") is FIRST
    assert decide("/", *UPGRADE, "Sec-WebSocket-Protocol: graphql-ws") is NEVER
    assert decide("/", *UPGRADE) is NEVER


def test_settings_name_paths():
    for fields in ((), UPGRADE):
        assert decide("/ws", *fields, expressions=("/ws", "/bundles/.*")) is FIRST
        assert decide("/wsx", *fields, expressions=("/ws", "/bundles/.*")) is NEVER
    assert decide("/bundles/x", method="POST", expressions=("/ws", "/bundles/.*")) is FIRST


def test_while_it_starts_its_own_paths_are_known_wherever_its_base_will_be():
    assert decide("/@vite/client", base=None) is FIRST
    assert decide("/static/@vite/client", base=None) is FIRST
    assert decide("/static/@react-refresh", base=None) is FIRST
    assert decide("/src/main.js", *MODULE, base=None) is NEVER


def test_a_server_without_known_files_has_no_sources():
    paths = FrontendPaths("", (), lambda path: True)
    paths.base = "/"
    assert paths.decide(head("/src/main.js", *MODULE)) is AFTER


def test_other_sites_get_nothing():
    assert is_same_site(head("/"), b"http")
    assert is_same_site(head("/", "Sec-Fetch-Site: same-origin"), b"http")
    assert not is_same_site(head("/", "Sec-Fetch-Site: cross-site"), b"http")
    assert is_same_site(head("/", "Origin: http://evil.example"), b"http")  # by CORS it is the server's to refuse
    assert is_same_site(head("/", *UPGRADE, "Origin: http://localhost:8000"), b"http")
    assert not is_same_site(head("/", *UPGRADE, "Origin: http://localhost:8000"), b"https")
    assert not is_same_site(head("/", *UPGRADE, "Origin: http://evil.example"), b"http")


def test_what_duck_has_passed_on_is_not_passed_on_again():
    assert comes_from_duck(head("/", "Via: 1.1 duck"))
    assert comes_from_duck(head("/", "Via: 1.1 other", "Via: 1.1 duck"))
    assert not comes_from_duck(head("/", "Via: 1.1 duck-pond"))
    assert not comes_from_duck(head("/"))


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True),
        ("site.localhost:8000", True),
        ("127.0.0.1:8000", True),
        ("[::1]:8000", True),
        ("192.168.1.5:8000", True),
        ("shop.test:8000", True),
        ("a.example.org", True),
        ("example.org", True),
        ("evil.example", False),
        ("notexample.org", False),
    ],
)
def test_a_name_that_anybody_may_have_lead_here_is_none(host, known):
    assert is_known_host(host.encode(), ("*", "shop.test", ".example.org")) is known
